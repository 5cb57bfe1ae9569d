"""The section ``gates`` of a recipe: when a map is not fit to be published."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictInt

from rsscale.recipe.fields import Strict

Share = Annotated[float, Field(ge=0, le=1)]
Points = Annotated[float, Field(ge=0, le=100)]


class SeamsRecipe(Strict):
    """When a line through the map counts as a seam: significant, and large enough to matter."""

    significance: float = Field(default=0.01, gt=0, lt=1)
    """False alarms of a sound map, for each gate."""
    classes: Points = 1.0
    """Percentage points more of neighbours that differ than beside the line."""
    confidence: Points = 1.0
    """Points of confidence more between neighbours than beside the line."""


class ClassSharesRecipe(Strict):
    """How far a class may move from earlier periods of the run, and how much it may cover."""

    points: Points = 5.0
    """Percentage points of the mapped area that a class may move."""
    ratio: float = Field(default=1.5, gt=1)
    """Of the larger to the smaller share."""
    least_points: Points = 1.0
    """A smaller move is not judged by its ratio."""
    tile_points: Points = 40.0
    """Percentage points of a tile's area that may be of another class."""
    most: Points = 95.0
    """Percent of a period that one class may cover: a model that fails calls all the same."""


class ConfidenceRecipe(Strict):
    """When confidence has collapsed."""

    low: StrictInt = Field(default=50, ge=1, le=100)
    """Percent; pixels below are not confident."""
    share: Share = 0.3
    """Share of such pixels in a period."""
    tile_points: Points = 30.0
    """Percentage points more of them than in the median of all tiles."""


class ApplicabilityRecipe(Strict):
    """The largest share outside the model's area of applicability, of a period and of a tile."""

    share: Share = 0.1
    """Of a period."""
    tile_share: Share = 0.5
    """Of a tile."""


class NeverSeenRecipe(Strict):
    """The largest share without a clear observation, of a period and of a tile."""

    share: Share = 0.02
    """Of a period."""
    tile_share: Share = 0.25
    """Of a tile."""


class UndeclaredFillRecipe(Strict):
    """The largest share of observations of one number in all bands, of a period and of a tile."""

    share: Share = 0.02
    """Of a period."""
    tile_share: Share = 0.25
    """Of a tile."""


class GatesRecipe(Strict):
    """Thresholds of ``rsscale gates``: they decide no pixel, and may be changed at any time."""

    seams: SeamsRecipe = SeamsRecipe()
    """When neighbours differ too much across lines between tiles, windows, zones and scenes."""
    class_shares: ClassSharesRecipe = ClassSharesRecipe()
    """How far a class may move between periods."""
    confidence: ConfidenceRecipe = ConfidenceRecipe()
    """How little confidence a map may have."""
    applicability: ApplicabilityRecipe = ApplicabilityRecipe()
    """How much may lie outside the model's area of applicability."""
    never_seen: NeverSeenRecipe = NeverSeenRecipe()
    """How much may lack a clear observation."""
    undeclared_fill: UndeclaredFillRecipe = UndeclaredFillRecipe()
    """How much of the imagery may be 0, 255 or another extreme number in all bands."""
    least_pixels: StrictInt = Field(default=2500, ge=1)
    """Tiles with fewer pixels in the area are not judged by themselves."""
