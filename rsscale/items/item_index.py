"""Resolve STAC items to scene records, once, when a run is planned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rsscale.documents.stac_items import check_asset
from rsscale.errors import ItemError
from rsscale.geo.raster_bounds import EVERYWHERE, RasterBounds, bounds_in, is_degrees
from rsscale.items import assets
from rsscale.items.bands import is_code
from rsscale.items.features import Asset, Item
from rsscale.items.interval import item_range
from rsscale.items.item_store import Extents, Lookup, Rows, ScenesInMemory
from rsscale.items.products import Rule, product_rule, specified
from rsscale.items.radiometry import scaling
from rsscale.items.records import BandRecord, SceneRecord, Scenes
from rsscale.net.signing import PROPERTY

# Longitudes repeat: an item at 181 may hold pixels of a box at -179.
_TURNS = (-360.0, 0.0, 360.0)
_EPOCH = np.datetime64(0, "us")


class ItemIndex(ScenesInMemory):
    """Items in memory, by where their rasters lie and when they were taken.

    Parameters
    ----------
    items : iterable of pystac.Item or Feature
        Sorted by (datetime, id) here.
    crs : str
        The grid's CRS.
    bands : sequence of str
        Bands that will be read; each item must have them.

    Raises
    ------
    BandError
        When no item, or not every item, has a band.
    ItemError
        When an item has no date.
    """

    def __init__(self, items: Iterable[Item], crs: str, bands: Sequence[str]) -> None:
        chosen = assets.choose_assets(items, bands)
        locations = _locations(chosen)
        scenes = _scenes(chosen, locations)
        moments = [_moments(item) for item in chosen.items]
        digests = b"".join(record.digest() for record in scenes)
        extents = Extents(
            bounds=_all_bounds(locations, crs),
            starts=np.array([start for start, _ in moments], "datetime64[us]"),
            ends=np.array([end for _, end in moments], "datetime64[us]"),
            digests=np.frombuffer(digests, np.uint8).reshape(len(scenes), 16),
            generations=np.zeros(len(scenes), np.uint16),
            pixel_bytes=np.array([_pixel_bytes(record) for record in scenes], np.uint16),
            turns=np.array(_TURNS if is_degrees(crs) else (0.0,)),
        )
        super().__init__(scenes, extents, crs)


def resolve(items: Iterable[Item | Mapping[str, Any]], bands: Sequence[str]) -> Scenes:
    """Resolve some bands of some items to scene records.

    Parameters
    ----------
    items : iterable of pystac.Item, Feature or JSON object
    bands : sequence of str

    Raises
    ------
    BandError
        When no item, or not every item, has a band.
    ItemError
        When an item has no date.
    """
    chosen = assets.choose_assets(items, bands)
    return _scenes(chosen, _locations(chosen))


def extend(frozen: Lookup, resolved: Lookup, generation: int | None = None) -> ScenesInMemory:
    """The records of a run and those that it did not have yet.

    Parameters
    ----------
    frozen : Lookup
        What the run has. Kept exactly as it is, also where the catalogue now says something else
        of an item or does not have it any more: tiles that are done were made from it.
    resolved : Lookup
        What was resolved now, of the same bands and CRS. Items whose ids the run has are left
        out; the others become the next generation.
    generation : int, optional
        The number of that generation, at least the greatest that the run's records have: a run
        with several inputs counts for all of them. One more than the greatest when omitted.

    Returns
    -------
    ScenesInMemory
        For :func:`rsscale.items.item_store.write_index`. With no new item, what was frozen.

    Raises
    ------
    ItemError
        When bands or CRS differ, or the number of the generation is too small or too large.
    """
    old, new = frozen.scenes, resolved.scenes
    if (old.names, frozen.crs) != (new.names, resolved.crs):
        raise ItemError(
            f"items of bands {list(new.names)} in {resolved.crs} can't extend items of bands "
            f"{list(old.names)} in {frozen.crs}; plan them as a run of their own"
        )
    known = {record.id for record in old}
    added: Rows = np.array([n for n, record in enumerate(new) if record.id not in known], np.intp)
    newest = int(frozen.extents.generations.max(initial=0))
    if generation is None:
        generation = newest + bool(len(old))
    if not newest <= generation <= np.iinfo(np.uint16).max:
        raise ItemError(
            f"generation {generation} can't follow {newest}; expected a number from there to 65,535"
        )
    fresh = resolved.extents.take(added)
    fresh.generations[:] = generation
    records = (*old.records, *(new.records[number] for number in added))
    order = sorted(range(len(records)), key=lambda n: (records[n].microseconds, records[n].id))
    return ScenesInMemory(
        Scenes(old.names, old.codes, tuple(records[number] for number in order)),
        frozen.extents.join(fresh).take(np.array(order, np.intp)),
        frozen.crs,
    )


class _Location(NamedTuple):
    """CRS, transform, shape and bounds of a file, by the item's metadata."""

    crs: str | None
    transform: tuple[float, ...] | None
    shape: tuple[int, int] | None
    raster: RasterBounds | None


def _locations(chosen: assets.Selection) -> list[list[_Location]]:
    """Locations of the files, by item and band."""
    return [_locations_of(item, keys) for item, keys in zip(chosen.items, chosen.keys, strict=True)]


def _locations_of(item: Item, keys: Sequence[str]) -> list[_Location]:
    found, common = [], None
    for key in keys:
        check_asset(item, key)
        asset = item.assets[key]
        if any(name.startswith("proj:") for name in asset.extra_fields):
            found.append(_location(item, asset))
            continue
        # Assets that say nothing of their own lie where the item does.
        common = common or _location(item, asset)
        found.append(common)
    return found


def _location(item: Item, asset: Asset) -> _Location:
    shape = _numbers(assets.projection(item, asset, "shape"), 2)
    return _Location(
        crs=assets.crs(item, asset),
        transform=_numbers(assets.projection(item, asset, "transform"), 6),
        shape=None if shape is None else (int(shape[0]), int(shape[1])),
        raster=assets.raster(item, asset),
    )


def _scenes(chosen: assets.Selection, locations: Sequence[Sequence[_Location]]) -> Scenes:
    return Scenes(
        names=chosen.bands,
        codes=tuple(map(is_code, chosen.bands)),
        records=tuple(
            SceneRecord(
                id=item.id,
                microseconds=int((_utc64(assets.moment(item)) - _EPOCH).astype(np.int64)),
                day=int(assets.solar_day(item).astype(np.int64)),
                sign=item.properties.get(PROPERTY),
                bands=tuple(map(partial(_band, item, product_rule(item)), keys, there)),
            )
            for item, keys, there in zip(chosen.items, chosen.keys, locations, strict=True)
        ),
    )


def _band(item: Item, rule: Rule | None, key: str, place: _Location) -> BandRecord:
    asset = item.assets[key]
    declared = assets.data_type(item, asset)
    known = specified(rule, item, key, declared)
    dtype = declared or (known.dtype if known else None)
    nodata = assets.nodata(item, asset)
    categorical = assets.is_categorical(key, asset)
    scale, offset = (1.0, 0.0) if categorical else scaling(item, key, known)
    return BandRecord(
        asset=key,
        url=assets.location(asset),
        dtype=None if dtype is None else dtype.str,
        nodata=known.nodata if nodata is None and known else nodata,
        scale=scale,
        offset=offset,
        categorical=categorical,
        crs=place.crs,
        transform=place.transform,
        shape=place.shape,
    )


def _numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """The first of a list of finite numbers; ``None`` where there is no such list."""
    try:
        found = tuple(float(value) for value in values[:count])
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def _pixel_bytes(record: SceneRecord) -> int:
    """Bytes of one pixel of all bands: a cube's type is the widest of its bands'."""
    return max((band.itemsize for band in record.bands), default=0) * len(record.bands)


def _all_bounds(locations: Sequence[Sequence[_Location]], crs: str) -> npt.NDArray[np.float64]:
    """Bounds of each item's rasters, ``(N, 4)``; everywhere when it does not say."""
    rows = [{place.raster for place in row} for row in locations]
    # Scenes of one tile share their raster: each is projected once.
    rasters: list[RasterBounds] = list(
        dict.fromkeys(r for row in rows for r in row if r is not None)
    )
    known: dict[RasterBounds | None, npt.NDArray[np.float64]] = dict(
        zip(rasters, bounds_in(rasters, crs), strict=True)
    )
    known[None] = np.array(EVERYWHERE)
    out = np.empty((len(rows), 4))
    for number, row in enumerate(rows):
        boxes = np.array([known[raster] for raster in row or {None}])
        out[number, :2], out[number, 2:] = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return out


def _moments(item: Item) -> tuple[np.datetime64, np.datetime64]:
    start, end = item_range(item.properties)
    nominal = assets.moment(item)
    return _utc64(start or nominal), _utc64(end or nominal)


def _utc64(moment: Any) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")
