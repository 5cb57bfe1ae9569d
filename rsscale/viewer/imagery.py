"""A pyramid of imagery beside a run, made of the run's own input, to compare its map with."""

from __future__ import annotations

from typing import Any

from rsscale.errors import RecipeError
from rsscale.items.bands import natural_colours
from rsscale.recipe import Recipe
from rsscale.runs.plan import read_frozen
from rsscale.runs.run import Run, run
from rsscale.store.run_folder import RunFolder

FOLDER = "viewer/imagery"
"""Run folder of the imagery, in the run that it belongs to."""
STORE = "imagery.zarr"
# Pixels of all periods together: of a larger product the imagery is coarser, by powers of two.
_MOST = 100_000_000


def imagery_folder(folder: RunFolder) -> RunFolder:
    """The run of a run's imagery; need not exist."""
    return RunFolder.at(folder.storage.child(FOLDER))


def make_imagery(folder: RunFolder, **how: Any) -> Run:
    """Compute red, green and blue composites of a run's first input, with overviews.

    A run of its own in ``viewer/imagery``: what is there is kept, what was interrupted goes on. The
    catalogue is searched again. Pixels are as wide as the run's, or twice, four times … as wide
    where there would be more than 100 million of them.

    Parameters
    ----------
    folder : RunFolder
        A run with an input of the bands red, green and blue.
    **how
        ``client``, ``device``, ``threads``: as for :func:`rsscale.run`.

    Raises
    ------
    RecipeError
        When no input has these bands.
    """
    state = folder.read_state()
    recipe, _ = read_frozen(folder, state)
    area = str(folder.storage.local(state["area"]))
    return run(imagery_recipe(recipe, area, state["extent"]), imagery_folder(folder).url, **how)


def imagery_recipe(recipe: Recipe, area: str, extent: Any) -> dict[str, Any]:
    """The recipe of the imagery: one input with three bands, a composite, its overviews."""
    natural = {n: natural_colours(source.bands) for n, source in recipe.inputs.items()}
    name = next((n for n, bands in natural.items() if bands), None)
    if name is None:
        bands = {n: list(source.bands) for n, source in recipe.inputs.items()}
        raise RecipeError(
            f"imagery needs an input with the bands red, green and blue; there are {bands}: add a "
            "step {kind: imagery, of: INPUT, bands: [nir, red, green]} to the recipe instead"
        )
    row0, col0, row1, col1 = extent
    pixels = (row1 - row0) * (col1 - col0) * len(recipe.periods)
    zoom = 1
    while pixels / zoom**2 > _MOST:
        zoom *= 2
    imagery = recipe.inputs[name].model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
    )
    grid = recipe.grid.model_dump(mode="json", exclude_defaults=True)
    return {
        "name": f"{recipe.name}-imagery",
        "area": area,
        "grid": {**grid, "resolution": recipe.grid.resolution * zoom},
        "periods": list(recipe.periods),
        "inputs": {name: {**imagery, "bands": list(natural[name] or ())}},
        "steps": {
            "imagery": {"kind": "imagery", "of": name},
            "imagery-overviews": {"kind": "overviews", "of": "imagery"},
        },
    }
