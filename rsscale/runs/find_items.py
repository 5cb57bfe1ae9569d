"""Search the items of a recipe's inputs, and index them by where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from odc.geo.geom import Geometry

from rsscale.catalog.search import find_features
from rsscale.errors import CatalogError
from rsscale.geo.area import read_area
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.items.features import Feature, Item
from rsscale.items.item_index import ItemIndex
from rsscale.items.item_store import Lookup
from rsscale.items.versions import keep_newest
from rsscale.recipe import Recipe
from rsscale.steps.input_windows import bands_to_read, mask_band, span


def recipe_area(recipe: Recipe) -> Geometry:
    """The recipe's area in EPSG:4326."""
    return read_area(recipe.area if recipe.area is not None else list(recipe.bbox or ()))


def index_items(
    recipe: Recipe, grid: Grid, items: Mapping[str, Iterable[Item]]
) -> dict[str, ItemIndex]:
    """The items of each input by where they lie; refuses items without the bands."""
    indexes = {}
    for name, found in items.items():
        one = recipe.inputs[name]
        band = mask_band(one)
        codes = () if band is None else (band,)
        indexes[name] = ItemIndex(found, grid.crs, bands_to_read(one), codes)
    return indexes


def check_reach(
    recipe: Recipe,
    grid: Grid,
    indexes: Mapping[str, Lookup],
    boxes: Sequence[PixelBox],
    periods: Iterable[int],
) -> tuple[str, ...]:
    """Refuse items of which none lies in what is to be read, though the catalogue found them.

    Parameters
    ----------
    recipe : Recipe
    grid : Grid
    indexes : mapping of input name to Lookup
    boxes : sequence of PixelBox
        All that is read.
    periods : iterable of int

    Returns
    -------
    tuple of str
        What is to be said of the items: those that contradict themselves, and how many lie outside.

    Raises
    ------
    CatalogError
        Which names an input, a period and an item.
    """
    notes: list[str] = []
    geoboxes = [grid.geobox_of(box) for box in boxes]
    for name, index in indexes.items():
        one, reached, dated = recipe.inputs[name], 0, 0
        notes += [f"{name}: {note}" for note in index.notes]
        for period in periods:
            days = span(one, period)
            there = {int(n) for geobox in geoboxes for n in index.extents.rows(geobox, *days)}
            any_place = index.extents.dated(*days)
            if len(any_place) and not there:
                raise CatalogError(_nowhere(name, period, index, int(any_place[0]), len(any_place)))
            reached, dated = reached + len(there), dated + len(any_place)
        if 2 * reached < dated:
            notes.append(
                f"{name}: {dated - reached} of {dated} items lie outside of all tiles by their "
                "proj: fields"
            )
    return tuple(notes)


def _nowhere(name: str, period: int, index: Lookup, row: int, count: int) -> str:
    (record,) = index.read([row])
    band = record.bands[0]
    bounds = ", ".join(f"{edge:.0f}" for edge in index.extents.bounds[row])
    return (
        f"input {name!r} has {count} items for {period}, and by their proj: fields none of them "
        f"lies in the area; item {record.id!r}, asset {band.asset!r}, is in {band.crs} and lies at "
        f"[{bounds}] in {_short(index.crs)}; correct the items, or the area"
    )


def _short(crs: str) -> str:
    return crs if len(crs) <= 40 else "the grid's CRS"


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
