"""STAC items as the JSON objects that catalogues send, read in place.

A pystac object of each item, copied and migrated, takes longer than all that planning asks of it.
A :class:`Feature` answers to the same names as a ``pystac.Item`` (those of :class:`Item`), so
that whatever reads items takes either.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

from rsscale.documents.stac_items import BROKEN
from rsscale.errors import ItemError, nearest
from rsscale.items.interval import item_range
from rsscale.net.hrefs import absolute

MAIN = "main"
"""Name of an asset's own href among its alternates."""

# Written by these versions, an item needs no migration: the readers of this package know what
# extensions called their fields then. Older items go through pystac's.
_CURRENT = {"1.0.0", "1.1.0"}


class Asset(Protocol):
    """The attributes used of an asset; ``pystac.Asset`` has them."""

    href: str
    media_type: str | None
    extra_fields: dict[str, Any]

    @property
    def owner(self) -> Any:
        """Its item."""

    def get_absolute_href(self) -> str | None:
        """Its address; ``None`` where it is relative to nothing."""


class Item(Protocol):
    """The attributes used of an item; ``pystac.Item`` has them."""

    id: str
    collection_id: str | None
    datetime: datetime | None
    geometry: dict[str, Any] | None
    bbox: list[float] | None
    properties: dict[str, Any]

    @property
    def assets(self) -> Mapping[str, Asset]:
        """Its assets by their keys."""

    def to_dict(self, *, transform_hrefs: bool = True) -> dict[str, Any]:
        """The item as JSON."""


class FeatureAsset:
    """An asset of a feature; its hrefs are absolute, and nobody changes its fields.

    Attributes
    ----------
    described : list of dict or None
        What :func:`rsscale.items.bands.described` found here, kept: it is asked often.
    """

    __slots__ = ("described", "extra_fields", "href", "media_type", "owner")

    def __init__(self, fields: dict[str, Any], owner: Feature) -> None:
        self.href: str = _href(fields)
        self.media_type: str | None = fields.get("type")
        self.extra_fields = fields
        self.owner = owner
        self.described: list[dict[str, Any]] | None = None

    def get_absolute_href(self) -> str:
        """Its address."""
        return self.href


class Feature:
    """An item, as its JSON object.

    Parameters
    ----------
    json : dict
        For which :func:`is_plain` holds, with absolute hrefs. It is kept, not copied.
    """

    __slots__ = (
        "assets", "bbox", "collection_id", "datetime", "geometry", "id", "json", "properties",
    )  # fmt: skip

    def __init__(self, json: dict[str, Any]) -> None:
        self.json = json
        self.id: str = json["id"]
        self.collection_id: str | None = json.get("collection")
        self.geometry: dict[str, Any] | None = json.get("geometry")
        self.bbox: list[float] | None = json.get("bbox")
        self.properties: dict[str, Any] = json["properties"]
        nominal = self.properties.get("datetime")
        self.datetime = None if nominal is None else datetime.fromisoformat(nominal)
        self.assets = {
            key: FeatureAsset(asset, self)
            for key, asset in json["assets"].items()
            if _is_usable(asset)
        }

    def to_dict(self, *, transform_hrefs: bool = True) -> dict[str, Any]:  # noqa: ARG002 -- pystac's
        """The JSON object itself; not to be changed."""
        return self.json


def is_plain(feature: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a valid item of a current STAC version, with all that is asked.

    What is not is for pystac: to migrate it, or to say what is wrong.
    """
    properties, assets = feature.get("properties"), feature.get("assets")
    return (
        feature.get("stac_version") in _CURRENT
        and feature.get("type") == "Feature"
        and isinstance(feature.get("id"), str)
        and isinstance(properties, dict)
        and isinstance(assets, dict)
        and isinstance(feature.get("links"), list)
        and _has_date(properties)
    )


def with_usable_assets(feature: dict[str, Any]) -> dict[str, Any]:
    """The item without assets that nobody can read, and that pystac refuses.

    One without an href of its own stays if it has alternates; its own is empty then.
    """
    assets = feature.get("assets")
    if not isinstance(assets, dict) or all(
        isinstance(asset, dict) and isinstance(asset.get("href"), str) for asset in assets.values()
    ):
        return feature
    usable = {key: asset for key, asset in assets.items() if _is_usable(asset)}
    return {
        **feature, "assets": {key: {**asset, "href": _href(asset)} for key, asset in usable.items()}
    }  # fmt: skip


def _is_usable(asset: Any) -> bool:
    return isinstance(asset, dict) and (
        isinstance(asset.get("href"), str) or isinstance(asset.get("alternate"), dict)
    )


def _href(asset: Mapping[str, Any]) -> str:
    """An asset's own address; empty where it has none."""
    href = asset.get("href")
    return href if isinstance(href, str) else ""


def location(item: Item, key: str, alternate: Sequence[str] = ()) -> str:
    """Location of an asset: a URL, or a local path.

    An absolute path is local, whatever the item's own address is: pystac would take it as a
    path on the server that the item came from.

    Parameters
    ----------
    item : Item
    key : str
        Of the asset.
    alternate : sequence of str
        Keys of its alternate locations (the extension ``alternate-assets``) in the order of
        preference; :data:`MAIN` is its own href, as when there are none here.

    Raises
    ------
    ItemError
        When the asset has none of them.
    """
    asset = item.assets[key]
    href = chosen_href(asset, alternate)
    if href:
        return _absolute(asset, href)
    there = ", ".join(map(repr, _alternates(asset))) or "none"
    if href is None:
        known = list(_alternates(asset))
        raise ItemError(
            f"item {item.id!r}, asset {key!r} has no alternate "
            f"{' or '.join(map(repr, alternate))}; there are {there}"
            f"{nearest(alternate[0], known)}; with {MAIN!r} at the end of 'alternate' its own href "
            "is read then"
        )
    kind = asset.extra_fields.get(BROKEN, "nothing")
    raise ItemError(
        f"item {item.id!r}, asset {key!r}: its href is {kind}; expected the address of a file: "
        + (
            f"choose one of its other locations with alternate, there are {there}"
            if _alternates(asset)
            else "leave the item out, or tell the catalogue's operator"
        )
    )


def chosen_href(asset: Asset, alternate: Sequence[str] = ()) -> str | None:
    """The address of an asset as its item writes it, of the first location that it has.

    ``None`` where it has none of the alternates; empty where its own is meant and is none.
    """
    if not alternate:
        return asset.href
    known, own = _alternates(asset), asset.extra_fields.get("alternate:name")
    href = None
    for name in alternate:
        is_main = name == MAIN or (own is not None and name == own)
        href = asset.href if is_main else known.get(name, href)
        if href:
            return href
    return href


def _alternates(asset: Asset) -> dict[str, str]:
    """Addresses of the alternates that have one, by their keys."""
    others = asset.extra_fields.get("alternate")
    if not isinstance(others, Mapping):
        return {}
    hrefs = {
        key: fields.get("href") for key, fields in others.items() if isinstance(fields, Mapping)
    }
    return {key: href for key, href in hrefs.items() if isinstance(href, str) and href}


def _absolute(asset: Asset, href: str) -> str:
    if os.path.isabs(href) or "://" in href:  # noqa: PTH117 -- a Path of each takes longest
        return href
    if href == asset.href:
        return asset.get_absolute_href() or href
    base = asset.owner.get_self_href() if hasattr(asset.owner, "get_self_href") else None
    return absolute(href, base) if base else href


def feature_order(feature: Mapping[str, Any]) -> tuple[datetime, str, str]:
    """Sort key of JSON items: moment, id, collection; those without a date last."""
    properties = feature["properties"]
    nominal = properties.get("datetime")
    start, _ = item_range({"datetime": nominal} if nominal else properties)
    latest = datetime.max.replace(tzinfo=UTC)
    return start or latest, str(feature.get("id")), str(feature.get("collection"))


def newest_features(features: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """JSON objects of items, each item once, sorted by :func:`feature_order`.

    Pages shift while a catalogue grows, so that an item may come twice; of two versions the one
    that was updated later stays.
    """
    unique: dict[tuple[Any, Any], tuple[str, dict[str, Any]]] = {}
    for feature in features:
        key = feature.get("collection"), feature.get("id")
        updated = str((feature.get("properties") or {}).get("updated") or "")
        if key not in unique or updated > unique[key][0]:
            unique[key] = updated, feature
    return sorted((feature for _, feature in unique.values()), key=feature_order)


def _has_date(properties: Mapping[str, Any]) -> bool:
    nominal = properties.get("datetime")
    if nominal is None:
        return all(item_range(properties))
    try:
        datetime.fromisoformat(nominal)
    except (TypeError, ValueError):
        return False
    return True


ItemsLike: TypeAlias = Iterable[Item | Mapping[str, Any]] | Item | Mapping[str, Any]
"""Items, one item, or a FeatureCollection."""


def canonical(items: ItemsLike) -> list[Item]:
    """The items as objects, sorted by (datetime, id, collection).

    Parameters
    ----------
    items : iterable of items, one item, or a FeatureCollection
        pystac items, :class:`Feature` or JSON objects.

    Raises
    ------
    ItemError
        When an item has neither ``datetime`` nor ``start_datetime``, or something is no item.
    """
    made = [_as_item(item) for item in _listed(items)]
    return sorted(made, key=item_order)


def item_order(item: Item) -> tuple[datetime, str, str]:
    """Sort key of items: an id is unique in its collection only."""
    return moment(item), item.id, str(item.collection_id or "")


def _listed(items: Any) -> Iterable[Any]:
    """Items one by one, whatever they came as."""
    if isinstance(items, Mapping):
        features = items.get("features") if items.get("type") == "FeatureCollection" else [items]
        if isinstance(features, (list, tuple)):
            return features
    elif not isinstance(items, (str, bytes)):
        if hasattr(items, "assets") and hasattr(items, "properties"):
            return [items]
        if isinstance(items, Iterable):
            return items
    raise ItemError(
        f"items are given as {type(items).__name__}; expected what search returns: an "
        "ItemCollection, a list of items, one item, or their GeoJSON"
    )


def _as_item(item: Any) -> Item:
    if hasattr(item, "assets") and hasattr(item, "properties") and hasattr(item, "id"):
        stac_item: Item = item
        return stac_item
    if not isinstance(item, Mapping) or item.get("type") != "Feature":
        kind = item.get("type") if isinstance(item, Mapping) else None
        description = f"JSON of type {kind!r}" if isinstance(item, Mapping) else type(item).__name__
        raise ItemError(f"among the items is {description}; expected STAC items (GeoJSON Features)")
    return _from_json(item)


def _from_json(item: Mapping[str, Any]) -> Item:
    import pystac

    plain = with_usable_assets(dict(item))
    try:
        return pystac.Item.from_dict(plain)
    except Exception as error:  # noqa: BLE001 -- pystac raises whatever the broken field leads to
        raise ItemError(f"item {item.get('id')!r} is not valid STAC: {error}") from None


def moment(item: Item) -> datetime:
    """When the item was acquired, in UTC: ``datetime``, else ``start_datetime``."""
    when = item.datetime
    if when is None:
        start = item.properties.get("start_datetime")
        if start is None:
            raise ItemError(
                f"item {item.id!r} has neither datetime nor start_datetime; "
                "leave it out or give it a date"
            )
        when = start if isinstance(start, datetime) else _parsed(start)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _parsed(text: str) -> datetime:
    from pystac.utils import str_to_datetime

    return str_to_datetime(text)
