"""The rules by which labels become pixels, and what each asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rsscale.errors import RecipeError

Overlap = Literal["drop", "majority"]


@dataclass(frozen=True)
class LabelRules:
    """How labels become pixels of the grid.

    Attributes
    ----------
    merge : mapping of str to sequence of (str or int)
        New class by name, and the names or values in the labels that it stands for.
    ignore : sequence of (str or int)
        Names or values in the labels that are no class.
    all_touched : bool
        Label every pixel that a feature touches, and not those alone whose centre it holds.
    edge : float
        Metres on the ground from a polygon's edge within which nothing is labelled. Points keep
        their pixel.
    priority : sequence of str
        Names of classes that win where features overlap, the first over all others.
    overlap : str
        For pixels that features of several classes claim, none of which has a priority: ``"drop"``
        leaves them without a label; ``"majority"`` gives them the class that covers most of the
        pixel, and none where two cover as much.
    most_pixels : int, optional
        Pixels of a class in a block of 512 x 512 pixels of the grid, at most.
    """

    merge: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    ignore: tuple[str | int, ...] = ()
    all_touched: bool = False
    edge: float = 0.0
    priority: tuple[str, ...] = ()
    overlap: Overlap = "drop"
    most_pixels: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.edge) and self.edge >= 0):
            raise RecipeError(
                f"edge is {self.edge}; expected metres from the edge of a polygon, 0 or more"
            )
        if self.overlap not in ("drop", "majority"):
            raise RecipeError(f"overlap is {self.overlap!r}; expected 'drop' or 'majority'")
        if self.most_pixels is not None and self.most_pixels < 1:
            raise RecipeError(
                f"most_pixels is {self.most_pixels}; expected 1 or more, or leave it out for all"
            )
        if self.edge and self.all_touched:
            raise RecipeError(
                "all_touched labels pixels beyond a polygon's edge, and edge none near it: "
                "leave out one of them"
            )

    def refuse_for_raster(self, source: str) -> None:
        """Refuse rules of features for a raster, whose pixels have no edges and don't overlap.

        Raises
        ------
        RecipeError
        """
        features: dict[str, Any] = {
            "all_touched": self.all_touched,
            "edge": self.edge,
            "priority": self.priority,
            "overlap": self.overlap != "drop",
        }
        for key, is_set in features.items():
            if is_set:
                raise RecipeError(
                    f"{source} are a raster, and {key} is a rule for polygons and points; leave it "
                    "out"
                )
