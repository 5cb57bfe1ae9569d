"""Search the items of a recipe's inputs, index them by where they lie, and keep them in the run."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from odc.geo.geom import Geometry

from rsscale.catalog.search import find_features, is_among, search_filter
from rsscale.errors import CatalogError
from rsscale.geo.area import read_area
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.inputs.band_types import check_band_types
from rsscale.inputs.window_items import window_notes
from rsscale.inputs.windows import bands_to_read, mask_bands, span
from rsscale.items.assets import with_all_bands
from rsscale.items.features import Feature, Item
from rsscale.items.freeze import freeze
from rsscale.items.item_index import ItemIndex
from rsscale.items.item_store import Lookup, write_index
from rsscale.items.versions import keep_newest
from rsscale.memory import paused_collector
from rsscale.recipe import InputRecipe, Recipe
from rsscale.store.run_folder import RunFolder
from rsscale.text.wording import counted

_log = logging.getLogger(__name__)


def recipe_area(recipe: Recipe) -> Geometry:
    """The recipe's area in EPSG:4326."""
    if recipe.area is not None:
        return read_area(recipe.area, recipe.area_layer)
    return read_area(list(recipe.bbox or ()))


def index_items(
    recipe: Recipe, grid: Grid, items: Mapping[str, InputItems]
) -> dict[str, ItemIndex]:
    """The items of each input by where they lie; refuses items without the bands.

    Raises
    ------
    BandError
        When a band is not there, or not in every item.
    RecipeError
        When the recipe names bits, codes or nodata that a band's type does not have.
    """
    indexes = {}
    for name, features in items.items():
        imagery = recipe.inputs[name]
        bands = bands_to_read(imagery)
        codes = mask_bands(imagery)
        indexes[name] = ItemIndex(features.items, grid.crs, bands, imagery.alternate, codes)
        check_band_types(imagery, indexes[name].scenes)
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
        imagery, reached, dated = recipe.inputs[name], 0, 0
        notes += [f"{name}: {note}" for note in index.notes]
        for period in periods:
            days = span(imagery, period)
            there = index.extents.rows_of_any(geoboxes, *days)
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


def item_notes(
    recipe: Recipe,
    grid: Grid,
    indexes: Mapping[str, Lookup],
    boxes: Sequence[PixelBox],
    periods: Iterable[int],
) -> tuple[str, ...]:
    """What is to be said of the items of a plan, by place and by date.

    Parameters and errors are those of :func:`check_reach`.
    """
    given = recipe, grid, indexes, boxes, tuple(periods)
    return (*check_reach(*given), *window_notes(*given))


def _nowhere(name: str, period: int, index: Lookup, row: int, count: int) -> str:
    (record,) = index.read([row])
    band = record.bands[0]
    bounds = ", ".join(f"{edge:.0f}" for edge in index.extents.bounds[row])
    return (
        f"input {name!r} has {counted(count, 'item')} for {period}, and by their proj: fields "
        f"none of them lies in the area; item {record.id!r}, asset {band.asset!r}, is in "
        f"{band.crs} and lies at [{bounds}] in {_short(index.crs)}; correct the items, or the area"
    )


def _short(crs: str) -> str:
    return crs if len(crs) <= 40 else "the grid's CRS"


@dataclass(frozen=True)
class InputItems:
    """The items of one input, and how many were left out by which rule.

    Attributes
    ----------
    items : list of Feature
        Each scene once, in its newest version; sorted.
    excluded : int
        Named by the recipe's ``exclude``.
    lacking : int
        Without one of the bands, where the recipe has ``missing_asset: skip``.
    """

    items: list[Feature]
    excluded: int = 0
    lacking: int = 0

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.items)

    def __getitem__(self, number: int) -> Feature:
        return self.items[number]

    @property
    def left_out(self) -> dict[str, int]:
        """Counts by the recipe's key, those that are not 0."""
        counts = {"exclude": self.excluded, "missing_asset": self.lacking}
        return {key: count for key, count in counts.items() if count}


def find_items(
    recipe: Recipe,
    area: Geometry,
    margin: int,
    periods: tuple[int, ...] | None = None,
    inputs: tuple[str, ...] | None = None,
) -> dict[str, InputItems]:
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
    dict of input name to InputItems

    Raises
    ------
    CatalogError
        When a catalogue is not there, has nothing for one of the periods, or all is excluded.
    """
    around = _with_margin(recipe.grid.build(), area, margin)
    return {
        name: _find(recipe.inputs[name], name, around, periods or recipe.periods)
        for name in (recipe.inputs if inputs is None else inputs)
    }


def _find(imagery: InputRecipe, name: str, around: Geometry, periods: Iterable[int]) -> InputItems:
    # An id is unique in its collection only.
    features: dict[tuple[str | None, str], Feature] = {}
    for period in periods:
        dates = None if imagery.static else span(imagery, period)
        filters = search_filter(imagery.collection, around, dates, imagery.query)
        result = find_features(imagery.catalog, filters, imagery.access)
        features |= {(item.collection_id, item.id): item for item in result}
    # Before versions are compared: where the newest is left out, the one before it counts.
    wanted = [item for item in features.values() if not is_among(item, imagery.exclude)]
    excluded = len(features) - len(wanted)
    if not wanted:
        raise CatalogError(f"inputs.{name}: all {excluded} items are excluded; name fewer")
    _warn_of_unknown(imagery.exclude, features, name)
    lacking: list[Item] = []
    if imagery.missing_asset == "skip":
        whole, lacking = with_all_bands(wanted, bands_to_read(imagery), imagery.alternate)
        names = {id(item) for item in whole}
        wanted = [item for item in wanted if id(item) in names]
        if lacking:
            _log.warning(
                "inputs.%s: left out %d of %d items, which lack a band, such as %s",
                name, len(lacking), len(lacking) + len(wanted), lacking[0].id,
            )  # fmt: skip
    kept, _ = keep_newest(wanted)
    return InputItems(kept, excluded, len(lacking))


def _warn_of_unknown(
    exclude: Iterable[str], collections: Iterable[tuple[str | None, str]], input_name: str
) -> None:
    known = {text for collection, item in collections for text in (item, f"{collection}/{item}")}
    unknown = [name for name in exclude if name not in known]
    if unknown:
        _log.warning(
            "inputs.%s: exclude names %s, which the search did not find",
            input_name,
            ", ".join(unknown),
        )


def _with_margin(grid: Grid, area: Geometry, margin: int) -> Geometry:
    """The area and what windows at its edge read, in EPSG:4326."""
    projected = grid.project(area)
    around = Geometry(projected.geom.buffer(margin * grid.resolution, quad_segs=4), projected.crs)
    return read_area(around)


def write_items(folder: RunFolder, name: str, collection: Collection[Item], index: Lookup) -> None:
    """Freeze the items of an input: for other tools, and as workers read them."""
    with tempfile.TemporaryDirectory() as scratch, paused_collector():
        file = Path(scratch) / "items.parquet"
        freeze(collection, file)
        folder.storage.write(f"items/{name}.parquet", file.read_bytes())
    write_index(index, partial(_write_index_file, folder, name))


def _write_index_file(folder: RunFolder, name: str, ending: str, content: bytes) -> None:
    folder.storage.write(f"items/{name}.{ending}", content)
