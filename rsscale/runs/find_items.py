"""Search the items of a recipe's inputs, and index them by where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from odc.geo.geom import Geometry

from rsscale.catalog.search import find_features
from rsscale.geo.area import read_area
from rsscale.geo.grid import Grid
from rsscale.items.features import Feature, Item
from rsscale.items.item_index import ItemIndex
from rsscale.items.versions import keep_newest
from rsscale.recipe import Recipe
from rsscale.steps.input_windows import bands_to_read, span


def recipe_area(recipe: Recipe) -> Geometry:
    """The recipe's area in EPSG:4326."""
    if recipe.area is not None:
        return read_area(recipe.area, recipe.area_layer)
    return read_area(list(recipe.bbox or ()))


def index_items(
    recipe: Recipe, grid: Grid, items: Mapping[str, Iterable[Item]]
) -> dict[str, ItemIndex]:
    """The items of each input by where they lie; refuses items without the bands."""
    return {
        name: ItemIndex(found, grid.crs, bands_to_read(recipe.inputs[name]))
        for name, found in items.items()
    }


def find_items(
    recipe: Recipe,
    area: Geometry,
    margin: int,
    periods: tuple[int, ...] | None = None,
    inputs: tuple[str, ...] | None = None,
) -> dict[str, list[Feature]]:
    """Search each input's catalogue, period by period.

    Parameters
    ----------
    recipe : Recipe
    area : Geometry
        EPSG:4326.
    margin : int
        Pixels around the area that a window at its edge reads.
    periods : tuple of int, optional
        The recipe's own when omitted.
    inputs : tuple of str, optional
        Names of those to search; all when omitted.

    Returns
    -------
    dict of input name to list of Feature
        Each scene once, in its newest version.

    Raises
    ------
    CatalogError
        When a catalogue is not there, or has nothing for one of the periods.
    """
    around = _with_margin(recipe.grid.build(), area, margin)
    found = {}
    for name in recipe.inputs if inputs is None else inputs:
        one = recipe.inputs[name]
        items: dict[str, Feature] = {}
        for period in periods or recipe.periods:
            result = find_features(
                one.catalog,
                one.collection,
                area=around,
                datetime=None if one.static else span(one, period),
                query=one.query,
                sign=one.sign,
            )
            items |= {item.id: item for item in result}
        found[name], _ = keep_newest(items.values())
    return found


def _with_margin(grid: Grid, area: Geometry, margin: int) -> Geometry:
    """The area and what windows at its edge read, in EPSG:4326."""
    projected = grid.project(area)
    around = Geometry(projected.geom.buffer(margin * grid.resolution, quad_segs=4), projected.crs)
    return read_area(around)
