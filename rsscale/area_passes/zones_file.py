"""The file of zones that a step names: kept by the run, read where the step is opened."""

from __future__ import annotations

from pathlib import Path

from rsscale.errors import RecipeError
from rsscale.recipe import Recipe
from rsscale.reference.zones import Zones, read_zones
from rsscale.steps.attachments import Attachment
from rsscale.steps.base import Setup

_NAME = "zones"


def zones_attachment(path: str, recipe: Recipe) -> Attachment:
    """The file, which the run is to keep.

    Raises
    ------
    RecipeError
        When it is not there.
    """
    file = Path(recipe.path(path))
    if not file.is_file():
        raise RecipeError(f"there are no zones at {file}")
    return Attachment(_NAME, (file,))


def open_zones(
    step: str, zones: str, id_column: str, layer: str | None, setup: Setup
) -> tuple[Zones, str]:
    """The zones of a step, and the digest of their file.

    Raises
    ------
    RecipeError
        When the file can't be used, or no zone is near the run's area.
    """
    kept = setup.attachment(step, _NAME)
    step_zones = read_zones(kept.folder / Path(zones).name, id_column, setup.grid, layer)
    if not step_zones.near(setup.extent()):
        raise RecipeError(step_zones.far_away)
    return step_zones, kept.digest
