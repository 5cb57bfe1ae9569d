"""Labelled pixels of chips as a table of series: all that a model of single pixels learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rsscale.errors import RecipeError
from rsscale.layers import NODATA
from rsscale.learners.chips import InputBands
from rsscale.pipeline.label_chips import ChipReader, LabelledChip
from rsscale.points.series_table import SeriesInput, SeriesTable

MOST_PIXELS = 1000
"""Labelled pixels of a class that are taken of a chip, spread over it: those beside are alike."""


def pixel_table(
    chips: ChipReader, inputs: Sequence[InputBands], most: int = MOST_PIXELS
) -> SeriesTable:
    """Series of the labelled pixels of chips, of which no image is kept.

    Parameters
    ----------
    chips : ChipReader
        Its classes are the targets, its groups those of the table.
    inputs : sequence of InputBands
        What the channels are.
    most : int
        Of a class and a chip at most.

    Raises
    ------
    RecipeError
        When no labelled pixel has a value.
    """
    columns: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    groups: list[np.ndarray] = []
    days: dict[str, list[np.ndarray]] = {i.name: [] for i in inputs}
    thinned: Counter[int] = Counter()
    for chip in chips:
        chosen = _labelled(chip, most, thinned)
        columns.append(chip.image.reshape(len(chip.image), -1)[:, chosen].T)  # (P, C)
        targets.append(chip.labels.ravel()[chosen])
        groups.append(np.full(len(chosen), chip.group))
        for part in inputs:
            middle = 366 * (np.arange(part.length) + 0.5) / part.length
            of_chip = chip.days.get(part.name, middle.round())
            days[part.name].append(np.tile(np.float32(of_chip), (len(chosen), 1)))
    values, first, parts = np.concatenate(columns), 0, []
    for part in inputs:
        last = first + part.channels
        shape = (len(values), part.length, len(part.bands))
        of_input = values[:, first:last].reshape(shape)
        parts.append(
            SeriesInput(
                part.name, part.bands, of_input, np.concatenate(days[part.name]), part.times
            )
        )
        first = last
    if not np.isfinite(values).any():
        raise RecipeError(
            "all imagery under the labels is missing; check the dates, the mask and the area"
        )
    table = SeriesTable(tuple(parts), np.concatenate(targets), np.concatenate(groups))
    notes = [
        f"{count:,} labelled pixels of class {value}: beyond {most:,} of a class in a chip"
        for value, count in sorted(thinned.items())
    ]
    return replace(table, notes=(*chips.left_out, *notes)).seen


def _labelled(chip: LabelledChip, most: int, thinned: Counter[int]) -> np.ndarray:
    """Flat numbers of the labelled pixels that are taken, the same whatever else is read."""
    labels = chip.labels.ravel()
    chosen = []
    for value in np.unique(labels[labels != NODATA]).tolist():
        pixels = np.flatnonzero(labels == value)
        if len(pixels) > most:
            thinned[value] += len(pixels) - most
            # By the place of the chip: the same pixels in whatever order chips are read.
            seed = (chip.period, chip.block.row0 % 2**32, chip.block.col0 % 2**32, value)
            pixels = np.sort(np.random.default_rng(seed).choice(pixels, most, replace=False))
        chosen.append(pixels)
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
