"""Compare where a file lies with what its item says.

Where metadata put a file decides which tiles open it. So a file that lies elsewhere is refused: in
other tiles it would be missing without a word.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from rsscale.errors import ReadError
from rsscale.places.place_check import Box, lie_apart, shown_box
from rsscale.places.raster_bounds import WGS84, RasterBounds, bounds_in
from rsscale.read.placement import Floats, corner, parse_crs, warped_points
from rsscale.read.source import Source

# Pixels of the item's raster; bounds of items leave as much room.
_SLACK = 3.0
_SAMPLES = 5
_LONGEST = 40  # characters of a CRS in a message


def own_crs(dataset: rasterio.DatasetReader) -> CRS | None:
    """The file's CRS; ``None`` where it has none, or a local one that is nowhere on Earth."""
    crs = dataset.crs
    if crs is None or crs.is_projected or crs.is_geographic:
        return crs
    is_local = crs.to_wkt().startswith(("LOCAL_CS", "ENGCRS", "ENGINEERINGCRS"))
    return None if is_local else crs


class Place(NamedTuple):
    """CRS, transform, and (height, width) of a raster."""

    crs: CRS
    transform: Affine
    shape: tuple[int, int]

    def degrees(self) -> Box:
        """A box in degrees around it; infinite where it cannot be projected."""
        raster = RasterBounds(self.crs.to_wkt(), tuple(self.transform)[:6], self.shape)
        left, bottom, right, top = bounds_in([raster], WGS84)[0].tolist()
        return left, bottom, right, top

    def __str__(self) -> str:
        code = self.crs.to_string()
        name = code if len(code) <= _LONGEST else "a CRS without a code"
        numbers = ", ".join(f"{number:g}" for number in tuple(self.transform)[:6])
        return f"{self.shape[0]} x {self.shape[1]} px in {name} by ({numbers})"


def check_place(source: Source, file: Place) -> None:
    """Refuse a file that reaches beyond where its item says that it lies.

    A file that is smaller than that, or of other pixels, is taken as it is.

    Raises
    ------
    ReadError
        Which gives both places.
    """
    if source.crs is None or source.transform is None or source.shape is None:
        if source.footprint is not None:
            _check_footprint(source, source.footprint, file)
        return
    stated = Place(parse_crs(source.crs), Affine(*source.transform[:6]), source.shape)
    if stated == file:
        return
    beyond = _beyond(stated, file)
    if beyond > _SLACK:
        raise ReadError(
            f"{source} is {file}, and the item says {stated}: the file reaches {beyond:.0f} px "
            "beyond; correct proj:code, proj:transform and proj:shape of the item"
        )


def _beyond(stated: Place, file: Place) -> float:
    """How far a file reaches out of what is said of it, in pixels of that; 0 if unknown."""
    if stated.transform.is_degenerate:
        return math.inf
    rows, cols = (np.linspace(0, n, _SAMPLES) for n in file.shape)
    row, col = (a.ravel() for a in np.meshgrid(rows, cols, indexing="ij"))
    xs, ys = warped_points(file.crs, stated.crs, *corner(file.transform, row, col))
    if np.isfinite(xs).all():
        turns = (-360.0, 0.0, 360.0) if stated.crs.is_geographic else (0.0,)
        return min(_outside(stated, xs + turn, ys) for turn in turns)
    # One has no place in the other's projection.
    box, other = stated.degrees(), file.degrees()
    is_known = np.isfinite([*box, *other]).all()
    return math.inf if is_known and lie_apart(box, [other]) else 0.0


def _outside(stated: Place, xs: Floats, ys: Floats) -> float:
    col, row = corner(~stated.transform, ys, xs)
    height, width = stated.shape
    return float(np.max([-row, row - height, -col, col - width]))


def _check_footprint(source: Source, footprint: Box, file: Place) -> None:
    box = file.degrees()
    if np.isfinite(box).all() and lie_apart(box, [footprint]):
        raise ReadError(
            f"{source} lies at {shown_box(box)}, and the item's footprint is "
            f"{shown_box(footprint)}; correct the item, or leave it out"
        )
