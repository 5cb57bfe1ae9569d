"""Labelled pixels of chips as a table of series: all that a model of single pixels learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError
from rsscale.learners.chips import InputBands
from rsscale.points.series_table import SeriesInput, SeriesTable
from rsscale.sampling.chip_task import DAYS_OF, Arrays
from rsscale.sampling.pixel_choice import MOST_PIXELS
from rsscale.text.wording import counted


def pixel_table(
    rows: Arrays,
    inputs: Sequence[InputBands],
    left_out: Sequence[str] = (),
    thinned: Mapping[str, int] | None = None,
) -> SeriesTable:
    """Series of labelled pixels.

    Parameters
    ----------
    rows : dict of array
        Those of :class:`~rsscale.sampling.chip_task.ChipPart` of single pixels.
    inputs : sequence of InputBands
        What the channels are.
    left_out : sequence of str
        Labels that are in no chip, and why.
    thinned : mapping of class name to int
        Pixels beyond :data:`~rsscale.sampling.pixel_choice.MOST_PIXELS`.

    Raises
    ------
    RecipeError
        When no labelled pixel has a value.
    """
    values, first, parts = rows["values"], 0, []
    if not np.isfinite(values).any():
        raise RecipeError(
            "all imagery under the labels is missing; check the dates, the mask and the area"
        )
    for part in inputs:
        last = first + part.channels
        of_input = values[:, first:last].reshape(len(values), part.length, len(part.bands))
        days = _days(rows, part)
        parts.append(SeriesInput(part.name, part.bands, of_input, days, part.times))
        first = last
    table = SeriesTable(tuple(parts), rows["targets"], rows["groups"])
    notes = [
        f"{counted(count, 'labelled pixel')} of {name!r}: beyond {MOST_PIXELS:,} of a class in a "
        "chip"
        for name, count in sorted((thinned or {}).items())
    ]
    return replace(table, notes=(*left_out, *notes)).seen


def _days(rows: Arrays, part: InputBands) -> npt.NDArray[np.float32]:
    """Days of the year ``(N, T)``: of each pixel, or the middles of time windows."""
    known = rows.get(DAYS_OF + part.name)
    if known is not None:
        return known
    middle = (366 * (np.arange(part.length) + 0.5) / part.length).round()
    return np.tile(middle.astype(np.float32), (len(rows["targets"]), 1))
