"""What a catalogue has for an area: collection, product, bands, mask, pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyproj

from rsscale.catalog.kinds import open_catalog
from rsscale.catalog.search import search
from rsscale.cube.mask_rules import PRESETS
from rsscale.errors import BandError, CatalogError, RecipeError, nearest
from rsscale.items import assets
from rsscale.items.bands import band_requests, find_bands, is_code
from rsscale.items.features import canonical
from rsscale.items.products import product_name
from rsscale.net.hrefs import shown
from rsscale.recipe_writing.scene_dates import SeasonCounts, season_counts

if TYPE_CHECKING:
    from odc.geo.geom import Geometry

    from rsscale.places.raster_bounds import RasterBounds

_LISTED = 12
_DEGREE = 111_195.0  # metres, along a meridian
_NEAR = 0.02  # degrees: items around one place tell what there is, those of a country are many
_PICTURES = ("thumbnail", "overview", "visual", "metadata")
# Bands of a product that land cover is usually told by, mask presets, and where its pixels begin.
_BANDS = {
    "sentinel-2": ("blue", "green", "red", "nir", "swir16", "swir22"),
    "landsat": ("blue", "green", "red", "nir08", "swir16", "swir22"),
}
_MASKS = {
    "sentinel-2": ("sentinel2-scl",),
    "landsat": ("landsat-qa-pixel",),
    "hls": ("hls-fmask",),
    "dea": ("dea-fmask", "fmask"),
}
# Of other products, where an asset has the band that only such masks call so.
_OTHER_MASKS = ("fmask", "dea-fmask", "landsat-qa-pixel", "sentinel2-scl")
_ORIGINS = {"landsat": (15.0, 15.0)}  # of items that do not say where their pixels begin


@dataclass(frozen=True)
class Imagery:
    """One collection as a recipe needs it.

    Attributes
    ----------
    collection : str
    product : str or None
        ``"sentinel-2"``, ``"landsat"``, ``"hls"``, ``"dea"``; None for others.
    bands : tuple of str
        In the order that a model sees.
    others : tuple of str
        Further bands that the items have.
    mask : str or None
        Name of a preset.
    resolution : float or None
        Of the finest band, metres.
    crs : str or None
        That most items are in.
    origin : (float, float)
        Where pixels begin, metres from a whole number of them.
    has_clouds : bool
        Whether items tell their cloud cover.
    count : int
        Items that were looked at.
    seasons : SeasonCounts
        When there are scenes of a place.
    """

    collection: str
    product: str | None
    bands: tuple[str, ...]
    others: tuple[str, ...]
    mask: str | None
    resolution: float | None
    crs: str | None
    origin: tuple[float, float]
    has_clouds: bool
    count: int
    seasons: SeasonCounts


def collections_of(catalog: str, sign: str | None = None) -> list[str]:
    """The collections of a catalogue, where it can tell without reading all items.

    Raises
    ------
    CatalogError
        When it can't be reached, or is no catalogue.
    """
    return list(open_catalog(catalog, sign).collections())


def probe_imagery(
    catalog: str,
    collection: str | None,
    area: Geometry,
    periods: Sequence[int],
    *,
    bands: Sequence[str] = (),
    sign: str | None = None,
    cloud_cover: float = 100.0,
) -> Imagery:
    """Search a place in the middle of the area for each period, and see what items have.

    Parameters
    ----------
    catalog : str
    collection : str, optional
        Needed where the catalogue has several.
    area : Geometry
        In degrees.
    periods : sequence of int
        The first must have items; of all of them the seasons are counted.
    bands : sequence of str
        Those that are wanted; by the product, or all of data, when empty.
    sign : str, optional
        As of :func:`rsscale.search`.
    cloud_cover : float
        Scenes with as many per cent of clouds do not count among those of a season.

    Raises
    ------
    CatalogError
        When there are no items, or no such collection.
    BandError
        When items lack a band that is wanted.
    RecipeError
        When the product is not known and there are too many bands to take all.
    """
    if collection is None:
        known = collections_of(catalog, sign)
        if len(known) > 1:
            raise RecipeError(
                f"{shown(catalog)} has {len(known)} collections: {_listed(known)}; say which one "
                "with --collection"
            )
        collection = next(iter(known), None)
    items = _some_items(catalog, collection, area, str(periods[0]), sign)
    collection = collection or _one_collection(catalog, items)
    first = canonical(items)[0]
    product = product_name(first)
    every = _data_bands(first)
    chosen = tuple(bands) or _usual(first, product, every)
    _check(first, chosen, every)
    codes = Counter(filter(None, (_crs(item) for item in canonical(items))))
    find = partial(_some_items, catalog, collection, area, sign=sign)
    return Imagery(
        collection=collection,
        product=product,
        bands=chosen,
        others=tuple(name for name in every if name not in chosen),
        mask=_mask(first, product),
        resolution=_resolution(first, chosen),
        crs=codes.most_common(1)[0][0] if codes else None,
        origin=_origin(first, chosen) or _ORIGINS.get(product or "", (0.0, 0.0)),
        has_clouds="eo:cloud_cover" in first.properties,
        count=len(items),
        seasons=season_counts(find, periods, cloud_cover),
    )


def _some_items(
    catalog: str, collection: str | None, area: Geometry, dates: str, sign: str | None
) -> Any:
    """Items at a place inside the area; of all of it where there are none."""
    place = area.geom.representative_point()
    box = (place.x - _NEAR, place.y - _NEAR, place.x + _NEAR, place.y + _NEAR)
    try:
        return search(catalog, collection, area=box, datetime=dates, sign=sign)
    except CatalogError:
        return search(catalog, collection, area=area, datetime=dates, sign=sign)


def _data_bands(item: Any) -> tuple[str, ...]:
    """Keys of assets that are rasters of data: neither pictures nor codes."""
    bands = []
    for key, asset in item.assets.items():
        kind, roles = str(asset.media_type or ""), set(asset.roles or ())
        is_raster = "tiff" in kind or "jp2" in kind or "data" in roles
        if is_raster and not roles & set(_PICTURES) and key not in _PICTURES and not is_code(key):
            bands.append(key)
    return tuple(bands)


def _has(item: Any, names: Sequence[str]) -> bool:
    try:
        return all(place is not None for place in find_bands(item, band_requests(list(names))))
    except BandError:
        return False


def _usual(item: Any, product: str | None, every: tuple[str, ...]) -> tuple[str, ...]:
    usual = _BANDS.get(product or "", ())
    if usual and _has(item, usual):
        return usual
    if not every or len(every) > _LISTED:
        raise RecipeError(
            f"item {item.id!r} has {len(every)} bands; say which ones to use with --bands: "
            f"{', '.join(every[:_LISTED])}{', …' if len(every) > _LISTED else ''}"
        )
    return every


def _check(item: Any, bands: Sequence[str], every: Sequence[str]) -> None:
    for name in bands:
        if not _has(item, [name]):
            raise BandError(
                f"item {item.id!r} has no band {name!r}; it has {', '.join(every[:_LISTED])}"
                f"{', …' if len(every) > _LISTED else ''}{nearest(name, list(every))}"
            )


def _mask(item: Any, product: str | None) -> str | None:
    """The mask preset of a product, where the item has its band."""
    usual = _MASKS.get(product, ()) if product else _OTHER_MASKS
    presets = [name for name in usual if name in PRESETS]
    return next((name for name in presets if _has(item, [PRESETS[name].band])), None)


def _crs(item: Any) -> str | None:
    """The CRS that an item or its first assets declare, by its code where it has one."""
    declared = next(
        (crs for asset in item.assets.values() if (crs := assets.crs(item, asset))), None
    )
    if declared is None:
        return None
    code = pyproj.CRS(declared).to_authority()
    return ":".join(code) if code else None


def _resolution(item: Any, bands: Sequence[str]) -> float | None:
    """Width of a pixel of the finest band, metres; of degrees to two digits."""
    finest = _finest(item, bands)
    if finest is not None:
        return float(abs(finest.transform[0]))
    rasters = _rasters(item, bands)
    if rasters:
        return float(f"{min(abs(raster.transform[4]) for raster in rasters) * _DEGREE:.2g}")
    gsd = item.properties.get("gsd")
    return float(gsd) if isinstance(gsd, int | float) else None


def _finest(item: Any, bands: Sequence[str]) -> RasterBounds | None:
    """The raster of the finest band, where items say how theirs lie in metres."""
    metric = [r for r in _rasters(item, bands) if not pyproj.CRS(r.crs).is_geographic]
    return min(metric, key=lambda raster: abs(raster.transform[0]), default=None)


def _rasters(item: Any, bands: Sequence[str]) -> list[RasterBounds]:
    """How the rasters of bands lie, of those whose items say it."""
    places = filter(None, find_bands(item, band_requests(list(bands))))
    rasters = (assets.raster(item, item.assets[place.key]) for place in places)
    return [raster for raster in rasters if raster is not None]


def _origin(item: Any, bands: Sequence[str]) -> tuple[float, float] | None:
    """Where pixels of the finest band begin, from a whole number of them; metres."""
    finest = _finest(item, bands)
    if finest is None:
        return None
    width, _, left, _, height, top = finest.transform[:6]
    # Rounded to millimetres: what is left of a division of two floats is no shift of pixels.
    x, y = (round(edge % abs(size), 3) % abs(size) for edge, size in ((left, width), (top, height)))
    return x, y


def _one_collection(catalog: str, items: Any) -> str:
    """The collection of items of a catalogue that was searched as a whole."""
    names = sorted({str(item.collection_id) for item in items if item.collection_id})
    if len(names) == 1:
        return names[0]
    raise RecipeError(
        f"{shown(catalog)} has items of {len(names)} collections there: {_listed(names)}; say "
        "which one with --collection"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "") or "none is named"
