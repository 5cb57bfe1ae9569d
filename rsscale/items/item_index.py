"""Resolve STAC items to scene records, once, when a run is planned."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from rsscale.documents.stac_items import check_assets
from rsscale.errors import ItemError
from rsscale.items import assets
from rsscale.items.bands import AssetBand, BandsLike, is_code
from rsscale.items.features import Asset, Item, ItemsLike, location, moment
from rsscale.items.interval import item_range
from rsscale.items.item_store import Extents, Lookup, Rows, ScenesInMemory
from rsscale.items.products import Rule, product_rule, specified
from rsscale.items.radiometry import scaling
from rsscale.items.records import BandRecord, SceneRecord, Scenes
from rsscale.net.signing import PROPERTY
from rsscale.places.place_check import (
    Agreement,
    Box,
    PlaceCheck,
    box_raster,
    footprint_boxes,
    shown_box,
)
from rsscale.places.raster_bounds import EVERYWHERE, RasterBounds, bounds_in, is_degrees

_log = logging.getLogger(__name__)

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
        Bands that will be read; each item must have them. See :func:`rsscale.load`.
    alternate : sequence of str
        Which of an asset's locations is read, in the order of preference.
    codes : collection of str
        Those, by their names in the cube, whose numbers are codes or bits, whatever they are
        called.

    Raises
    ------
    BandError
        When no item, or not every item, has a band.
    ItemError
        When an item has no date.
    """

    def __init__(
        self,
        items: Iterable[Item],
        crs: str,
        bands: BandsLike,
        alternate: Sequence[str] = (),
        codes: Collection[str] = (),
    ) -> None:
        chosen = assets.choose_assets(items, bands)
        locations, self.notes = _locations(chosen)
        scenes = _scenes(chosen, locations, alternate, codes)
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


def resolve(items: ItemsLike, bands: BandsLike, alternate: Sequence[str] = ()) -> Scenes:
    """Resolve some bands of some items to scene records.

    Parameters
    ----------
    items : iterable of pystac.Item, Feature or JSON object
    bands : sequence of str
        See :func:`rsscale.load`.
    alternate : sequence of str
        Which of an asset's locations is read, in the order of preference.

    Raises
    ------
    BandError
        When no item, or not every item, has a band.
    ItemError
        When an item has no date, no such alternate, or a number that is none.
    """
    chosen = assets.choose_assets(items, bands)
    locations, notes = _locations(chosen)
    for note in notes:
        _log.warning("%s", note)
    return _scenes(chosen, locations, alternate)


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
    known = {record.identity for record in old} | {(r.id, None) for r in old if not r.collection}
    added: Rows = np.array(
        [n for n, r in enumerate(new) if not {r.identity, (r.id, None)} & known], np.intp
    )
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
    order = sorted(range(len(records)), key=lambda n: records[n].order)
    return ScenesInMemory(
        Scenes(old.names, old.codes, tuple(records[number] for number in order)),
        frozen.extents.join(fresh).take(np.array(order, np.intp)),
        frozen.crs,
    )


class _Location(NamedTuple):
    """CRS, transform, shape and bounds of a file, as far as the item's metadata is believed.

    Where its fields lie apart from the item's footprint, either may be wrong: the file is looked
    for in both places, and says itself where it lies. Where they are much smaller, it is looked
    for in the footprint too.
    """

    crs: str | None
    transform: tuple[float, ...] | None
    shape: tuple[int, int] | None
    rasters: tuple[RasterBounds, ...]
    footprint: tuple[float, float, float, float] | None = None

    def believed(self, check: PlaceCheck, footprint: Sequence[Box]) -> tuple[Self, Agreement]:
        """The same, compared with the item's footprint."""
        box = footprint[0] if len(footprint) == 1 else None
        around = tuple(map(box_raster, footprint))
        if not self.rasters:
            return self._replace(footprint=box), Agreement.AGREE
        raster, agreement = check.choose(self.rasters, footprint)
        if raster is None:
            nothing = self._replace(crs=None, transform=None, shape=None)
            return nothing._replace(rasters=(*self.rasters, *around), footprint=box), agreement
        taken = self if raster == self.rasters[0] else self._replace(transform=None, shape=None)
        more = around if agreement is Agreement.PARTLY else ()
        return taken._replace(rasters=(raster, *more)), agreement


def _locations(chosen: assets.Selection) -> tuple[list[list[_Location]], tuple[str, ...]]:
    """Locations of the files, by item and band, and what was found wrong with them."""
    keys_of = [[place.key for place in row] for row in chosen.places]
    stated = [
        _locations_of(item, row) for item, row in zip(chosen.items, chosen.places, strict=True)
    ]
    check = PlaceCheck(raster for row in stated for place in row for raster in place.rasters)
    boxes = footprint_boxes([_as_json(item) for item in chosen.items])
    locations: list[list[_Location]] = []
    doubts: dict[tuple[str | None, str], str] = {}
    for item, keys, row, footprint in zip(chosen.items, keys_of, stated, boxes, strict=True):
        memo = {place: place.believed(check, footprint) for place in dict.fromkeys(row)}
        locations.append([memo[place][0] for place in row])
        for key, place in zip(keys, row, strict=True):
            identity = item.collection_id, item.id
            if memo[place][1] is Agreement.APART and identity not in doubts:
                doubts[identity] = _doubt(key, place, check, footprint)
    return locations, _notes(doubts, len(chosen.items))


def _doubt(key: str, place: _Location, check: PlaceCheck, footprint: Sequence[Box]) -> str:
    stated = " or ".join(
        f"at {shown_box(check.box(raster))} ({_shown_crs(raster.crs)})" for raster in place.rasters
    )
    where = " and ".join(map(shown_box, footprint)) or "missing"
    return f"asset {key!r} lies {stated} by its proj: fields, the item's footprint is {where}"


def _shown_crs(text: str) -> str:
    return text if len(text) <= 40 else "proj:wkt2"


def _notes(doubts: Mapping[tuple[str | None, str], str], count: int) -> tuple[str, ...]:
    if not doubts:
        return ()
    (_, name), why = next(iter(doubts.items()))
    note = (
        f"{len(doubts)} of {count} items contradict themselves, so that their files decide where "
        f"they lie; the first is {name!r}: {why}"
    )
    return (note,)


def _as_json(item: Item) -> dict[str, Any]:
    """What footprints are read from."""
    return {
        "geometry": item.geometry,
        "bbox": item.bbox,
        "properties": item.properties,
        "assets": {},
    }


def _locations_of(item: Item, places: Sequence[AssetBand]) -> list[_Location]:
    locations, common = [], None
    check_assets(item, [(place.key, place.index) for place in places])
    for place in places:
        asset = item.assets[place.key]
        if any(name.startswith("proj:") for name in asset.extra_fields):
            locations.append(_location(item, asset))
            continue
        # Assets that say nothing of their own lie where the item does.
        common = common or _location(item, asset)
        locations.append(common)
    return locations


def _location(item: Item, asset: Asset) -> _Location:
    shape = _numbers(assets.projection(item, asset, "shape"), 2)
    return _Location(
        crs=assets.crs(item, asset),
        transform=_numbers(assets.projection(item, asset, "transform"), 6),
        shape=None if shape is None else (int(shape[0]), int(shape[1])),
        rasters=assets.rasters(item, asset),
    )


def _scenes(
    chosen: assets.Selection,
    locations: Sequence[Sequence[_Location]],
    alternate: Sequence[str],
    codes: Collection[str] = (),
) -> Scenes:
    is_coded = tuple(is_code(band) or band in codes for band in chosen.bands)
    return Scenes(
        names=chosen.bands,
        codes=is_coded,
        records=tuple(
            SceneRecord(
                id=item.id,
                microseconds=int((_utc64(moment(item)) - _EPOCH).astype(np.int64)),
                day=int(assets.solar_day(item).astype(np.int64)),
                sign=item.properties.get(PROPERTY),
                bands=tuple(
                    map(
                        partial(_band, item, product_rule(item), alternate=alternate),
                        row,
                        there,
                        is_coded,
                    )
                ),
                collection=item.collection_id,
            )
            for item, row, there in zip(chosen.items, chosen.places, locations, strict=True)
        ),
    )


def _band(
    item: Item,
    rule: Rule | None,
    band: AssetBand,
    place: _Location,
    is_coded: bool,
    *,
    alternate: Sequence[str],
) -> BandRecord:
    key, index, count = band.key, band.index, band.count
    asset = item.assets[key]
    declared = assets.data_type(item, asset, index)
    # Products with a specification here have one band a file; what has several is made of them.
    known = specified(rule, item, key, declared) if index is None else None
    dtype = declared or (known.dtype if known else None)
    nodata = assets.nodata(item, key, index)
    categorical = is_coded or assets.is_categorical(key, asset, index)
    scale, offset = (1.0, 0.0) if categorical else scaling(item, key, known, index)
    return BandRecord(
        asset=key,
        url=location(item, key, alternate),
        dtype=None if dtype is None else dtype.str,
        nodata=known.nodata if nodata is None and known else nodata,
        scale=scale,
        offset=offset,
        categorical=categorical,
        crs=place.crs,
        transform=place.transform,
        shape=place.shape,
        index=index,
        count=count,
        assumed=tuple(
            name
            for name, value in (("dtype", declared), ("nodata", nodata))
            if value is None and known is not None
        ),
        footprint=place.footprint,
    )


def _numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """The first of a list of finite numbers; ``None`` where there is no such list."""
    try:
        numbers = tuple(float(value) for value in values[:count])
    except (TypeError, ValueError, OverflowError, KeyError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _pixel_bytes(record: SceneRecord) -> int:
    """Bytes of one pixel of all bands: a cube's type is the widest of its bands'."""
    return max((band.itemsize for band in record.bands), default=0) * len(record.bands)


def _all_bounds(locations: Sequence[Sequence[_Location]], crs: str) -> npt.NDArray[np.float64]:
    """Bounds of each item's rasters, ``(N, 4)``; everywhere when it does not say."""
    rows = [{raster for place in row for raster in place.rasters} for row in locations]
    # Scenes of one tile share their raster: each is projected once.
    rasters: list[RasterBounds] = list(dict.fromkeys(raster for row in rows for raster in row))
    known = dict(zip(rasters, bounds_in(rasters, crs), strict=True))
    out = np.empty((len(rows), 4))
    for number, (places, row) in enumerate(zip(locations, rows, strict=True)):
        boxes = [known[raster] for raster in row]
        if not boxes or not all(place.rasters for place in places):
            boxes.append(np.array(EVERYWHERE))
        joined = np.array(boxes)
        out[number, :2], out[number, 2:] = joined[:, :2].min(axis=0), joined[:, 2:].max(axis=0)
    return out


def _moments(item: Item) -> tuple[np.datetime64, np.datetime64]:
    start, end = item_range(item.properties)
    nominal = moment(item)
    return _utc64(start or nominal), _utc64(end or nominal)


def _utc64(moment: Any) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")
