"""How a class map becomes polygons: which classes, how connected, how simplified, how large."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rsscale.errors import RecipeError
from rsscale.patches.pieces import Connectivity

M2_PER_HECTARE = 10_000
CELL = 256
"""Width of the fixed cells, anchored to the grid's origin, that polygons are traced in, px."""
MOST_GROW = 64
"""Pixels that an instance grows at most: so many more are read around each tile."""
_LEAST_CELL, _MOST_CELL = 32, 4096


@dataclass(frozen=True)
class Instances:
    """Which classes of a network of interiors and boundaries make instances.

    Attributes
    ----------
    interior : int
        Class whose connected pixels are an instance each.
    boundary : int
        Class that instances grow into.
    grow : int
        Steps from pixel to pixel, along edges, that they grow at most.
    """

    interior: int
    boundary: int
    grow: int = 0


@dataclass(frozen=True)
class PolygonRules:
    """What decides the polygons of a map, apart from the map.

    Attributes
    ----------
    classes : tuple of int, optional
        Values of the classes that become polygons; all when None.
    connectivity : 4 or 8
        Whether pixels that touch at a corner alone belong to one object; a MultiPolygon then, whose
        parts touch in a point.
    simplify : float
        Metres on the ground: corners whose triangle with their neighbours is smaller than the
        square of it are left out (Visvalingam and Whyatt 1993, doi:10.1179/000870493786962263).
        0 keeps the edges of pixels.
    minimum : float
        Square metres of pixels, below which an object is dropped.
    fill_below : float
        Square metres below which a hole is filled; 0 keeps all, infinity fills all.
    instances : Instances, optional
    cell : int
        Width of the cells, px: part of the result where lines are simplified.

    Raises
    ------
    RecipeError
        For what can't be.
    """

    classes: tuple[int, ...] | None = None
    connectivity: Connectivity = 4
    simplify: float = 0.0
    minimum: float = 0.0
    fill_below: float = 0.0
    instances: Instances | None = None
    cell: int = CELL

    def __post_init__(self) -> None:
        if self.connectivity not in (4, 8):
            raise RecipeError(f"connectivity is {self.connectivity!r}; expected 4 or 8")
        if not _LEAST_CELL <= self.cell <= _MOST_CELL:
            raise RecipeError(
                f"cell is {self.cell} px; expected {_LEAST_CELL} to {_MOST_CELL}, usually {CELL}"
            )
        for name in ("simplify", "minimum"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise RecipeError(f"{name} is {value:g}; expected 0 or more")
        if not self.fill_below >= 0:
            raise RecipeError(f"holes are filled below {self.fill_below:g}; expected 0 or more")
        if self.instances is not None and not 0 <= self.instances.grow <= MOST_GROW:
            raise RecipeError(
                f"instances.grow is {self.instances.grow} px; expected 0 to {MOST_GROW}"
            )

    @property
    def margin(self) -> int:
        """Pixels around a cell that its polygons depend on."""
        return 1 if self.instances is None else self.instances.grow + 1

    def reach(self, tile: int) -> int:
        """Pixels beyond a tile of so many pixels that are read: to whole cells, and the margin."""
        overhang = self.cell - math.gcd(tile, self.cell)
        return overhang + self.margin
