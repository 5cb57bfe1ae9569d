"""Check STAC items where they come in: types of what everything relies on, once.

An item comes from somebody's server. What all of rsscale relies on (an id, properties, assets by
name) is checked here and named where it is wrong. A broken field that a run may never read must not
stop it: links without an address and boxes of text are left out, a broken asset stays with an empty
address, so that whoever reads it hears of it (:func:`check_assets`, and of its address
:func:`rsscale.items.features.location`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rsscale.documents.json_text import kind_of
from rsscale.errors import CatalogError, ItemError

BROKEN = "rsscale:found"
"""Field of a broken asset: what stood in place of its address."""

_LONGEST_ID = 1024
_LARGEST_SHAPE = 2**31
_SPECIAL = {"nan", "inf", "+inf", "-inf", "infinity", "-infinity"}


def check_item(item: Any, source: str) -> dict[str, Any]:
    """The item, with all that is relied on, or an error.

    Parameters
    ----------
    item : JSON value
        As it came; it may become part of the result.
    source : str
        Where it came from, for messages.

    Returns
    -------
    dict
        ``id`` is a text, ``properties`` an object with dates that are texts, ``assets`` objects
        whose ``href`` is a text (empty where it was none), ``links`` objects with ``rel`` and
        ``href``; ``geometry`` an object or null, ``bbox`` numbers or null.

    Raises
    ------
    CatalogError
        Which names the item, the field, what was found and what was expected.
    """
    if not isinstance(item, dict):
        raise CatalogError(f"{source}: an item is {kind_of(item)}; expected an object")
    name = item.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID:
        kind = kind_of(name) if "id" in item else "nothing"
        raise CatalogError(
            f"{source}: an item has no id: found {kind}; expected a text of 1 to {_LONGEST_ID} "
            "characters"
        )
    properties = item.get("properties")
    if not isinstance(properties, dict):
        raise _wrong(source, name, "properties", properties, "an object")
    for key in ("datetime", "start_datetime", "end_datetime"):
        if not isinstance(properties.get(key), (str, type(None))):
            raise _wrong(source, name, f"properties.{key}", properties[key], "a date as text")
    assets = item.get("assets", {})
    if not isinstance(assets, dict):
        raise _wrong(source, name, "assets", assets, "an object")
    item["assets"] = {key: _asset(asset) for key, asset in assets.items()}
    item["links"] = links_of(item)
    for key, is_right, instead in _FIELDS:
        if key in item and not is_right(item[key]):
            item.pop(key) if instead is _ABSENT else item.update({key: instead})
    return item


def links_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The links of a STAC object that have a relation and an address."""
    links = document.get("links")
    return [link for link in links if _is_link(link)] if isinstance(links, list) else []


def check_assets(item: Any, places: Iterable[tuple[str, int | None]]) -> None:
    """Refuse an item of which assets are to be read whose metadata are of wrong types.

    Its address is looked at where it is chosen (:func:`rsscale.items.features.location`).

    Parameters
    ----------
    item : pystac.Item or Feature
    places : iterable of (key, index)
        The assets' keys, and the numbers of the bands that are to be read, from 1; the others may
        be broken.

    Raises
    ------
    ItemError
        Which names the item, the asset, the field, what was found and what was expected.
    """
    common = [item.properties]
    for key, index in places:
        for scope in (*_scopes(item.assets[key], index), *common):
            _check_fields(item, key, scope)
        common = []  # is the same of each


def _check_fields(item: Any, key: str, scope: Mapping[str, Any]) -> None:
    for name in scope:
        if name in _READ:
            value, (is_right, expected) = scope[name], _READ[name]
            if value is not None and not is_right(value):
                raise ItemError(
                    f"item {item.id!r}, asset {key!r}: {name} is {kind_of(value)}; expected "
                    f"{expected}: leave the item out, or tell the catalogue's operator"
                )


def _scopes(asset: Any, index: int | None) -> list[Mapping[str, Any]]:
    """The objects of an asset in which a fact about a band of it may stand."""
    bands: list[Mapping[str, Any]] = []
    for name in ("raster:bands", "bands"):
        entries = asset.extra_fields.get(name)
        if isinstance(entries, list):
            read = entries if index is None else entries[index - 1 : index]
            bands += [entry for entry in read if isinstance(entry, dict)]
    return [*bands, asset.extra_fields]


def _wrong(source: str, name: str, field: str, value: Any, expected: str) -> CatalogError:
    return CatalogError(
        f"{source}: item {name!r} has {kind_of(value)} as {field}; expected {expected}"
    )


def _asset(asset: Any) -> dict[str, Any]:
    if not isinstance(asset, dict):
        return {"href": "", BROKEN: kind_of(asset)}
    href = asset.get("href")
    if not isinstance(href, str) or not href:
        asset[BROKEN] = kind_of(href) if "href" in asset else "nothing"
        asset["href"] = ""
    if not isinstance(asset.get("type"), (str, type(None))):
        del asset["type"]
    if not _is_texts(asset.get("roles", [])):
        del asset["roles"]
    return asset


def _is_link(link: Any) -> bool:
    return (
        isinstance(link, dict)
        and isinstance(link.get("href"), str)
        and isinstance(link.get("rel"), str)
    )


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number, also one written as text."""
    if type(value) is float:
        return math.isfinite(value)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False
    try:
        return math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False


def _is_nodata(value: Any) -> bool:
    return is_number(value) or (
        isinstance(value, (str, float)) and str(value).strip().lower() in _SPECIAL
    )


def _is_numbers(*counts: int) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, (list, tuple)) and len(value) in counts and all(map(is_number, value))
    )


def _is_bbox(value: Any) -> bool:
    return value is None or (
        _is_numbers(4, 6)(value) and not any(isinstance(v, str) for v in value)
    )


def _is_shape(value: Any) -> bool:
    return _is_numbers(2)(value) and all(0 <= float(side) < _LARGEST_SHAPE for side in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


_ABSENT = object()

# What is left out, or replaced, where it is of another type.
_FIELDS: tuple[tuple[str, Callable[[Any], bool], Any], ...] = (
    ("geometry", lambda value: value is None or _is_object(value), None),
    ("bbox", _is_bbox, _ABSENT),
    ("collection", _is_text, _ABSENT),
    ("stac_version", _is_text, "1.0.0"),
    ("stac_extensions", _is_texts, _ABSENT),
)

# What decides pixels, or which tiles are computed.
_READ: dict[str, tuple[Callable[[Any], bool], str]] = {
    **{
        prefix + name: rule
        for prefix in ("", "raster:")
        for name, rule in {
            "nodata": (_is_nodata, "a number, or 'nan'"),
            "scale": (is_number, "a finite number"),
            "offset": (is_number, "a finite number"),
            "data_type": (_is_text, "a text such as 'uint16'"),
        }.items()
    },
    "proj:transform": (_is_numbers(6, 9), "six or nine numbers"),
    "proj:shape": (_is_shape, "two numbers of pixels"),
    "proj:bbox": (_is_numbers(4, 6), "four or six numbers"),
    "proj:geometry": (_is_object, "an object"),
    # Codes that are none are passed over: the file knows its CRS.
    "proj:wkt2": (_is_text, "a text"),
    "proj:projjson": (_is_object, "an object"),
}
