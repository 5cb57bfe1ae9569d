"""How wide the places of a new recipe's split are: by how the labels lie."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rsscale.reference.label_raster import is_raster
from rsscale.reference.labels import read_frame

if TYPE_CHECKING:
    import geopandas as gpd
    from odc.geo.geom import Geometry

FEWEST_PLACES = 10
"""Places with labels that training, validation and test are shared out of."""
_USUAL = 5000.0  # metres: neighbours that are alike for being near are not parted
_NARROWEST = 100.0
_CHIPS = (256, 128, 64, 32)  # pixels; the first is the default of train.chip, the last its least


def split_lines(labels: str, area: Geometry, resolution: float) -> list[str]:
    """The lines ``split`` and, where it must be smaller than usual, ``chip`` of a recipe.

    Parameters
    ----------
    labels : str
    area : Geometry
        EPSG:4326; labels outside of it are not used.
    resolution : float
        Metres.
    """
    widths = _widths(resolution)
    if is_raster(Path(labels)):
        return _squares(widths[0], resolution, "whole squares, metres, kept back")
    frame = read_frame(labels)
    frame = frame[~(frame.geometry.isna() | frame.geometry.is_empty)]
    if frame.crs is not None:
        frame = frame[frame.to_crs("EPSG:4326").intersects(area.geom)]
    if frame.crs is None or frame.empty:  # told with its reason by plan and train
        return _squares(widths[0], resolution, "whole squares, metres, kept back")
    for width in widths:
        count = _squares_with_labels(frame, width)
        if count >= FEWEST_PLACES:
            why = f"whole squares, metres, kept back; {count} hold labels"
            return _squares(width, resolution, why)
    if len(frame) >= FEWEST_PLACES:
        why = "whole polygons are kept back, as they lie too near for squares"
        return [f"split: {{by: polygon, validation: 0.2, test: 0.2}}  # {why}"]
    few = f"only {len(frame)} labels: too few to measure an accuracy by"
    return _squares(widths[-1], resolution, few)


def _squares(width: float, resolution: float, why: str) -> list[str]:
    chip = next((size for size in _CHIPS if size * resolution <= width), _CHIPS[-1])
    lines = [f"split: {{blocks: {width:.10g}, validation: 0.2, test: 0.2}}  # {why}"]
    if chip != _CHIPS[0]:
        lines.append(f"chip: {chip}  # pixels read around labels; never wider than such a square")
    return lines


def _widths(resolution: float) -> list[float]:
    """Widths from the usual one down to the least that a chip allows: 1, 2, 5 times powers of 10.

    Of coarse pixels they begin with what the usual chip takes.
    """
    widest = max(_USUAL, _CHIPS[0] * resolution)
    least = max(_NARROWEST, _CHIPS[-1] * resolution)
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(widest)) + 1)
    round_widths = sorted(step * 10.0**power for power in powers for step in (1, 2, 5))
    first = next(width for width in round_widths if width >= widest)
    return [width for width in reversed(round_widths) if least <= width <= first]


def _squares_with_labels(frame: gpd.GeoDataFrame, width: float) -> int:
    """Squares that hold a point of a label, by a projection of the labels' own place."""
    projected = frame.to_crs(frame.estimate_utm_crs())
    points = projected.representative_point()
    squares = np.floor(np.column_stack([points.x, points.y]) / width)
    return len(np.unique(squares, axis=0))
