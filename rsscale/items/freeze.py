"""Turn JSON items into pystac items, and write and read them as stac-geoparquet."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac

from rsscale import durable
from rsscale.documents import finite, read_json
from rsscale.errors import CatalogError, ItemError, missing_extra
from rsscale.items import geoparquet
from rsscale.items.features import Feature, Item, is_plain, newest_features, with_usable_assets
from rsscale.items.geoparquet import EXACT
from rsscale.items.interval import item_range
from rsscale.text.redaction import strip_document
from rsscale.text.secret_signs import is_free_of_secrets

__all__ = [
    "EXACT",
    "freeze",
    "read_geoparquet",
    "thaw",
    "to_features",
    "to_items",
    "without_secrets",
]

_ROWS = 1000
_Order = tuple[datetime, str, str]


def to_items(features: Iterable[dict[str, Any]]) -> pystac.ItemCollection:
    """Items from JSON objects: each once, sorted by (datetime, id), in STAC 1.1.

    The objects become part of the items: nobody may go on using them.

    Raises
    ------
    CatalogError
        Naming the item that is not valid STAC.
    """
    items = [_to_item(feature) for feature in newest_features(features)]
    return pystac.ItemCollection(items, clone_items=False)


def to_features(features: Iterable[dict[str, Any]]) -> list[Feature]:
    """Items from JSON objects, in place: each once, sorted by (datetime, id).

    As :func:`to_items`, without a pystac object of an item that needs no migration.

    Parameters
    ----------
    features : iterable of dict
        With absolute hrefs. They become part of the result.

    Raises
    ------
    CatalogError
        Naming the item that is not valid STAC.
    """
    return [
        Feature(feature if is_plain(feature) else _to_item(feature).to_dict(transform_hrefs=False))
        for feature in newest_features(features)
    ]


def freeze(items: Iterable[Item], path: str | Path) -> None:
    """Write items to a stac-geoparquet file, without tokens, in one step.

    The same items give the same bytes, whatever their order. The file is complete or not
    there at all, also after a crash.

    Parameters
    ----------
    items : iterable of pystac.Item or Feature
        At least one.
    path : str or Path
        The file to write; its folder exists.

    Raises
    ------
    ItemError
        When there are none, or one cannot be written as JSON; the message names it.

    Notes
    -----
    JSON has no NaN and no infinities, though some catalogues write them. They are kept as the
    texts ``nan``, ``inf`` and ``-inf``, as STAC writes a nodata that is none.
    """
    ordered = sorted(items, key=_order_of)
    if not ordered:
        raise ItemError(f"no items to write to {str(path)!r}; a file of items holds at least one")
    try:
        durable.replace(Path(path), lambda file: geoparquet.write(file, ordered, _written))
    except (TypeError, ValueError, OverflowError) as error:
        raise ItemError(f"{_unwritable(ordered)} cannot be written as JSON: {error}") from None


def _unwritable(items: Iterable[Item]) -> str:
    """Name of the first item that is no JSON, for a message."""
    for item in items:
        try:
            json.dumps(finite(without_secrets(item)), allow_nan=False)
        except (TypeError, ValueError, OverflowError):
            return f"item {item.id!r}"
    return "the items"


def thaw(path: str | Path) -> pystac.ItemCollection:
    """Read items that `freeze` wrote, exactly; or any stac-geoparquet, as far as it goes.

    Raises
    ------
    CatalogError
        When the file is not there, or is not stac-geoparquet.
    """
    path = Path(path)
    try:
        body = path.read_bytes()
    except OSError as error:
        raise CatalogError(f"items {str(path)!r} cannot be read: {error.strerror}") from None
    return to_items(read_geoparquet(body, str(path)))


def read_geoparquet(body: bytes, name: str) -> Iterator[dict[str, Any]]:
    """Items of a stac-geoparquet file, as JSON objects, one after another.

    Without the column of exact items, times are exact to the millisecond.

    Parameters
    ----------
    body : bytes
        The file's content.
    name : str
        What to call it in a message.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(body))
        columns = set(file.schema_arrow.names)
        if EXACT in columns and not _nulls(file):
            for batch in file.iter_batches(columns=[EXACT], batch_size=_ROWS):
                for text in batch.column(0).to_pylist():
                    yield read_json(text.encode())
            return
        missing = {"id", "geometry", "assets"} - columns
        if missing:
            raise CatalogError(
                f"{name}: Parquet, but not stac-geoparquet: it lacks the columns "
                f"{', '.join(sorted(missing))}"
            )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CatalogError(
            f"{name}: damaged Parquet ({str(error).partition(chr(10))[0]}); write it again"
        ) from None
    yield from _read_with_rustac(body, name)


def _nulls(file: Any) -> int:
    """Number of rows without their exact item: other tools may have joined files."""
    batches = file.iter_batches(columns=[EXACT], batch_size=_ROWS)
    return sum(batch.column(0).null_count for batch in batches)


def _read_with_rustac(body: bytes, name: str) -> list[dict[str, Any]]:
    try:
        import rustac
    except ImportError:
        raise missing_extra(f"{name}, written by another tool,", "stac-geoparquet") from None

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "items.parquet"
        copy.write_bytes(body)
        try:
            collection = rustac.read_sync(str(copy), format="parquet", set_self_link=False)
        except (rustac.RustacError, ValueError, OSError) as error:
            raise CatalogError(f"{name}: not readable as stac-geoparquet ({error})") from None
    features: list[dict[str, Any]] = collection["features"]
    for feature in features:
        properties = feature.get("properties")
        if isinstance(properties, dict):
            properties.pop(EXACT, None)
    return features


def without_secrets(item: Item) -> dict[str, Any]:
    """An item as JSON, without what is not needed to address its files, credentials and headers."""
    return dict(strip_document(item.to_dict(transform_hrefs=False)))


def _written(item: Item) -> tuple[dict[str, Any], str]:
    """An item without secrets: its JSON object, and the same as text."""
    feature, text = geoparquet.with_text(item.to_dict(transform_hrefs=False))
    if is_free_of_secrets(text):
        return feature, text
    return geoparquet.with_text(dict(strip_document(feature)))


class _Owned(dict[str, Any]):
    """A JSON object that nobody else holds: pystac's migration copies it first, deeply.

    That copy took half the time of a search.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> _Owned:
        return self


def _to_item(feature: dict[str, Any]) -> pystac.Item:
    name = feature.get("id")
    try:
        with warnings.catch_warnings():
            # An item that calls itself deprecated is the catalogue's choice, not a fault.
            warnings.simplefilter("ignore", category=pystac.errors.DeprecatedWarning)
            return pystac.Item.from_dict(_Owned(with_usable_assets(feature)), preserve_dict=False)
    except Exception as error:  # noqa: BLE001 -- pystac raises whatever the broken field leads to
        raise CatalogError(f"item {name!r} is not valid STAC: {error}") from None


def _order_of(item: Item) -> _Order:
    """The order of `to_items`; an item without a date comes last."""
    if item.datetime is None:
        start, _ = item_range(item.properties)
        return start or datetime.max.replace(tzinfo=UTC), item.id, str(item.collection_id)
    return _utc(item.datetime), item.id, str(item.collection_id)


def _utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
