"""The accuracy of a map in a notebook: figures by class, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from rsscale.legend.classes import LandClass
from rsscale.text.html_tables import AnyCell, Cell, block, heading, small_lines, table


def accuracy_html(
    summary: str,
    *,
    classes: Sequence[LandClass],
    figures: Sequence[tuple[str, ...]],
    head: Sequence[str],
    matrix: npt.NDArray[np.int64],
    unmapped: npt.NDArray[np.int64],
    notes: Sequence[str],
) -> str:
    """HTML of an accuracy.

    Parameters
    ----------
    summary : str
        The overall figures.
    classes : sequence of LandClass
        K classes.
    figures : sequence of tuples of str
        A row for each class: its name, and its figures.
    head : sequence of str
        Headings of the figures.
    matrix : int64 array (K, K)
        Rows map, columns reference. The darker a cell, the more of the reference's class is in it.
    unmapped : int64 array (K,)
        Reference pixels of each class where the map has none.
    notes : sequence of str
    """
    rows: Iterator[tuple[AnyCell, ...]] = (
        (Cell(name, color=land_class.color), *cells)
        for land_class, (name, *cells) in zip(classes, figures, strict=True)
    )
    names = ("map \\ reference", *(land_class.name for land_class in classes), "all")
    return block(
        heading(summary),
        table(rows, head),
        heading("confusion matrix", "pixels: rows map, columns reference"),
        table(_matrix_rows(classes, matrix, unmapped), names),
        small_lines(notes),
    )


def _matrix_rows(
    classes: Sequence[LandClass], matrix: npt.NDArray[np.int64], unmapped: npt.NDArray[np.int64]
) -> Iterator[tuple[AnyCell, ...]]:
    reference = matrix.sum(axis=0) + unmapped
    shares = matrix / np.maximum(reference, 1)
    for land_class, counts, part in zip(classes, matrix, shares, strict=True):
        cells = (Cell(f"{n:,}", shade=float(s)) for n, s in zip(counts, part, strict=True))
        yield Cell(land_class.name, color=land_class.color), *cells, f"{counts.sum():,}"
    if unmapped.any():
        parts = unmapped / np.maximum(reference, 1)
        cells = (Cell(f"{n:,}", shade=float(s)) for n, s in zip(unmapped, parts, strict=True))
        yield "no class", *cells, f"{unmapped.sum():,}"
    yield Cell("all", is_bold=True), *(f"{n:,}" for n in reference), f"{reference.sum():,}"
