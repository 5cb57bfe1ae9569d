"""How the labels of a new recipe are split, and what learns of them: by how many there are."""

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
_FEW = 50  # labels: a fifth of fewer tells little, and teaches a network little
_USUAL = 5000.0  # metres: neighbours that are alike for being near are not parted
_NARROWEST = 100.0
_SHARES, _FOLDS = "validation: 0.2, test: 0.2", "folds: 5"
_CHIPS = (256, 128, 64, 32)  # pixels; the first is the default of train.chip, the last its least


def learning_lines(labels: str, area: Geometry, resolution: float) -> list[str]:
    """The lines ``split``, ``architecture`` and, where it must be small, ``chip`` of a recipe.

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
        return [*_squares(widths[0], resolution, "whole squares, metres, kept back"), _NETWORK]
    frame = read_frame(labels)
    frame = frame[~(frame.geometry.isna() | frame.geometry.is_empty)]
    if frame.crs is not None:
        frame = frame[frame.to_crs("EPSG:4326").intersects(area.geom)]
    if frame.crs is None or frame.empty:  # told with its reason by plan and train
        return [*_squares(widths[0], resolution, "whole squares, metres, kept back"), _NETWORK]
    learner = _NETWORK if len(frame) >= _FEW else _FOREST
    return [*_split_lines(frame, widths, resolution), learner]


_NETWORK = "architecture: unet  # or pixel, random_forest, tempcnn, … : docs/training.md"
_FOREST = (
    "architecture: random_forest  # networks (unet, tempcnn, …) need more labels: docs/training.md"
)


def _split_lines(frame: gpd.GeoDataFrame, widths: list[float], resolution: float) -> list[str]:
    """Squares where enough of them hold labels, else polygons; all tested in turn where few are."""
    shares = _SHARES if len(frame) >= _FEW else _FOLDS
    for width in widths:
        count = _squares_with_labels(frame, width)
        if count >= FEWEST_PLACES:
            why = f"whole squares, metres, kept back; {count} hold labels"
            return _squares(width, resolution, why, shares)
    if len(frame) >= FEWEST_PLACES:
        why = "whole polygons are kept back, as they lie too near for squares"
        return [f"split: {{by: polygon, {shares}}}  # {why}"]
    few = f"only {len(frame)} labels: too few to measure an accuracy by"
    return _squares(widths[-1], resolution, few)


def _squares(width: float, resolution: float, why: str, shares: str = _SHARES) -> list[str]:
    chip = next((size for size in _CHIPS if size * resolution <= width), _CHIPS[-1])
    lines = [f"split: {{blocks: {width:.10g}, {shares}}}  # {why}"]
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
