"""A pyramid of imagery beside a run, made of the run's own input, to compare its map with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsscale.errors import RecipeError
from rsscale.items.bands import natural_colours, natural_colours_of
from rsscale.items.freeze import read_geoparquet, to_items
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
    """Compute red, green and blue composites of a run's first input that has them, with overviews.

    Bands are known by their names (``red``, ``B04``), else by the common names of the run's items
    (``SR_B3`` of Landsat 7).

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
    made = imagery_recipe(recipe, area, state["extent"], _natural_of_items(folder, recipe))
    return run(made, imagery_folder(folder).url, **how)


def _natural_of_items(folder: RunFolder, recipe: Recipe) -> dict[str, tuple[str, str, str]]:
    """Red, green and blue of inputs, as their first frozen item describes them."""
    natural = {}
    for name, source in recipe.inputs.items():
        file = f"items/{name}.parquet"
        if natural_colours(source.bands) or not folder.storage.exists(file):
            continue
        first = next(iter(read_geoparquet(folder.storage.read(file), file)), None)
        if first is None:
            continue
        named = [{b: source.names[b]} if b in source.names else b for b in source.bands]
        if bands := natural_colours_of(to_items([first])[0], named):
            natural[name] = bands
    return natural


def imagery_recipe(
    recipe: Recipe,
    area: str,
    extent: Any,
    by_items: Mapping[str, tuple[str, str, str]] | None = None,
) -> dict[str, Any]:
    """The recipe of the imagery: one input with three bands, a composite, its overviews.

    ``by_items`` has red, green and blue of inputs whose names of bands do not say them.
    """
    natural = {
        n: bands
        for n, source in recipe.inputs.items()
        if (bands := natural_colours(source.bands) or (by_items or {}).get(n))
    }
    name = next(iter(natural), None)
    if name is None:
        there = {n: list(source.bands) for n, source in recipe.inputs.items()}
        raise RecipeError(
            f"imagery needs an input with the bands red, green and blue; there are {there}: add a "
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
    mask = recipe.inputs[name].mask
    kept = {*natural[name], *(mask.bands if mask else ())}
    for key in ("names", "resampling", "nodata"):  # by band, of bands that are there
        if key in imagery:
            imagery[key] = {band: value for band, value in imagery[key].items() if band in kept}
    grid = recipe.grid.model_dump(mode="json", exclude_defaults=True)
    return {
        "name": f"{recipe.name}-imagery",
        "area": area,
        "grid": {**grid, "resolution": recipe.grid.resolution * zoom},
        "periods": list(recipe.periods),
        "inputs": {name: {**imagery, "bands": list(natural[name])}},
        "steps": {
            "imagery": {"kind": "imagery", "of": name, "bands": list(natural[name])},
            "imagery-overviews": {"kind": "overviews", "of": "imagery"},
        },
    }
