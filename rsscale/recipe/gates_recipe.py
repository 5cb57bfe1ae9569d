"""The section ``gates`` of a recipe: when a map is not fit to be published."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictInt

from rsscale.recipe.fields import Strict

Share = Annotated[float, Field(ge=0, le=1)]
Points = Annotated[float, Field(ge=0, le=100)]


class SeamsRecipe(Strict):
    """When a line through the map counts as a seam: significant, and large enough to matter."""

    significance: float = Field(default=0.01, gt=0, lt=1)  # false alarms of a sound map, each gate
    classes: Points = 1.0  # points more of neighbours that differ than beside the line
    confidence: Points = 1.0  # points of confidence more between neighbours


class ClassSharesRecipe(Strict):
    """How far a class may move from the period before, and from the first of the run."""

    points: Points = 5.0  # of the mapped area
    ratio: float = Field(default=1.5, gt=1)  # of the larger to the smaller share
    least_points: Points = 1.0  # a smaller move is not judged by its ratio
    tile_points: Points = 40.0  # of a tile's area that may be of another class


class ConfidenceRecipe(Strict):
    """When confidence has collapsed."""

    low: StrictInt = Field(default=50, ge=1, le=100)  # percent; pixels below are not confident
    share: Share = 0.3  # of such pixels in a period
    tile_points: Points = 30.0  # more than the median of all tiles


class ApplicabilityRecipe(Strict):
    """The largest share outside the model's area of applicability, of a period and of a tile."""

    share: Share = 0.1
    tile_share: Share = 0.5


class NeverSeenRecipe(Strict):
    """The largest share without a clear observation, of a period and of a tile."""

    share: Share = 0.02
    tile_share: Share = 0.25


class GatesRecipe(Strict):
    """Thresholds of ``rsscale gates``: they decide no pixel, and may be changed at any time."""

    seams: SeamsRecipe = SeamsRecipe()
    class_shares: ClassSharesRecipe = ClassSharesRecipe()
    confidence: ConfidenceRecipe = ConfidenceRecipe()
    applicability: ApplicabilityRecipe = ApplicabilityRecipe()
    never_seen: NeverSeenRecipe = NeverSeenRecipe()
    # Tiles with fewer pixels in the area are not judged by themselves.
    least_pixels: StrictInt = Field(default=2500, ge=1)
