"""Solar parks and greenhouses: objects of known place and size in the simulated landscape.

They stand around the nodes of a lattice that is anchored to the origin of the world's CRS, as the
tiles of a map are. So some are centred on the lines and corners of tiles of 256 px and more,
whatever the area, and some are wider than what a model sees beyond its window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.legend.classes import LandClass
from rsscale.simulation.noise import uniform
from rsscale.simulation.tiles import ANCHOR, WORLD_CRS

SOLAR, GREENHOUSE = 1, 2
SITE_CLASSES = (
    LandClass(SOLAR, "solar park", "#3b4cc0"),
    LandClass(GREENHOUSE, "greenhouse", "#f0f0ea"),
)

_SPACING = 640.0
# Each fourth line of nodes lies on lines of tiles of 256 px, and each eighth on those of 512 px.
_ON_LINE, _LARGE = 4, 8
_SHARE, _SOLAR_SHARE, _NEW = 0.85, 0.5, 0.12
_PIXEL = 10.0

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Sites:
    """Rectangles of whole pixels in the world's CRS, a row each; metres from the anchor.

    Attributes
    ----------
    west, south, east, north : float64 arrays (n,)
    kind : int array (n,)
        ``SOLAR`` or ``GREENHOUSE``.
    node : int array (n, 2)
        Column and row on the lattice: which site it is.
    is_new : bool array (n,)
        Built after the first year.
    """

    west: Array
    south: Array
    east: Array
    north: Array
    kind: Array
    node: Array
    is_new: Array

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, chosen: Array) -> Sites:
        """Some of them, by mask."""
        fields = (self.west, self.south, self.east, self.north, self.kind, self.node, self.is_new)
        return Sites(*(field[chosen] for field in fields))


def sites_within(bounds: tuple[float, float, float, float], salt: int) -> Sites:
    """All sites that touch a box, wherever they would stand: also in water or in a town.

    Parameters
    ----------
    bounds : (float, float, float, float)
        West, south, east, north; metres from the anchor.
    salt : int
    """
    anchor_x, anchor_y = ANCHOR[WORLD_CRS]
    west, south, east, north = bounds
    columns = _nodes(west + anchor_x, east + anchor_x)
    rows = _nodes(south + anchor_y, north + anchor_y)
    column, row = (each.ravel() for each in np.meshgrid(columns, rows))
    sites = _at(column, row, salt)
    near = (sites.west < east) & (sites.east > west) & (sites.south < north) & (sites.north > south)
    return sites.take(near)


def _nodes(low: float, high: float) -> Array:
    """Nodes whose sites may reach into an interval: a large one is as wide as the spacing."""
    return np.arange(np.floor(low / _SPACING) - 1, np.ceil(high / _SPACING) + 2).astype(np.int64)


def _at(column: Array, row: Array, salt: int) -> Sites:
    def draw(quality: int) -> Array:
        return uniform(column, row, quality, salt=salt)

    is_large = (column % _LARGE == 0) & (row % _LARGE == 0)
    beside_large = ~is_large & ((column + 1) % _LARGE < 3) & ((row + 1) % _LARGE < 3)
    exists = (draw(0) < np.where(is_large, 0.9, _SHARE)) & ~beside_large
    is_solar = is_large | (draw(1) < _SOLAR_SHARE)
    small, spread = np.where(is_solar, 120.0, 60.0), np.where(is_solar, 220.0, 130.0)
    width = np.where(is_large, 700 + 200 * draw(2), small + spread * draw(2))
    height = np.where(is_large, 640 + 200 * draw(3), small + spread * draw(3))
    # On the lines themselves in one direction or both, and elsewhere a little beside their nodes.
    east = np.where(column % _ON_LINE == 0, 0.0, 240 * (draw(4) - 0.5))
    north = np.where(row % _ON_LINE == 0, 0.0, 240 * (draw(5) - 0.5))
    anchor_x, anchor_y = ANCHOR[WORLD_CRS]
    x, y = column * _SPACING + east, row * _SPACING + north
    sites = Sites(
        _whole(x - width / 2) - anchor_x,
        _whole(y - height / 2) - anchor_y,
        _whole(x + width / 2) - anchor_x,
        _whole(y + height / 2) - anchor_y,
        np.where(is_solar, SOLAR, GREENHOUSE),
        np.stack([column, row], axis=1),
        (draw(6) < _NEW) & ~is_large,
    )
    return sites.take(exists)


def _whole(metres: Array) -> Array:
    """The nearest border between pixels."""
    rounded: Array = np.rint(metres / _PIXEL) * _PIXEL
    return rounded
