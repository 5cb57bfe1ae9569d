"""Items as objects, and frozen to stac-geoparquet so that a run can be repeated.

The stac-geoparquet writers at hand are not exact. On real items rustac 0.9 cuts times
to milliseconds, drops fields that are ``null`` or not in the specification, writes the
latest ``stac_version`` without migrating the item, and refuses items whose properties
differ in type (``"028"`` and ``28``); stac-geoparquet 0.8 fills missing fields with
``null`` and refuses the same. So each row also carries its item as JSON, in the column
`EXACT`, and that is what is read back. The other columns are for people and other tools.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac

from rsscale.data.hrefs import map_hrefs, strip_secrets
from rsscale.data.interval import item_range
from rsscale.errors import CatalogError, ItemError

EXACT = "rsscale:item"
_CORE = ("datetime", "start_datetime", "end_datetime")
_FIELDS = (
    "type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "links", "assets",
    "collection",
)  # fmt: skip
# rustac refuses null; an item without a place keeps its null in the column of exact items.
_NOWHERE = {"type": "Polygon", "coordinates": []}


def to_items(features: Iterable[dict[str, Any]]) -> pystac.ItemCollection:
    """Items from JSON objects: each once, sorted by (datetime, id), in STAC 1.1.

    Raises
    ------
    CatalogError
        Naming the item that is not valid STAC.
    """
    unique: dict[tuple[Any, Any], dict[str, Any]] = {}
    for feature in features:
        key = (feature.get("collection"), feature.get("id"))
        # Pages shift while a catalogue grows, so that an item may come twice; of two
        # versions the later one stays.
        if key not in unique or _updated(feature) > _updated(unique[key]):
            unique[key] = feature
    ordered = sorted(unique.values(), key=_order)
    return pystac.ItemCollection([_to_item(feature) for feature in ordered], clone_items=False)


def freeze(items: Iterable[pystac.Item], path: str | Path) -> None:
    """Write items to a stac-geoparquet file, without tokens, in one step.

    The same items give the same bytes, whatever their order. The file is complete or not
    there at all, also after a crash.

    Parameters
    ----------
    items : ItemCollection or iterable of Item
        At least one.
    path : str or Path
        The file to write; its folder exists.

    Raises
    ------
    ItemError
        When there are none, or none has a geometry: the format cannot hold that.
    """
    features = [_without_secrets(item) for item in items]
    if not features:
        raise ItemError(f"no items to write to {str(path)!r}; a file of items holds at least one")
    if not any(feature.get("geometry") for feature in features):
        raise ItemError(f"none of {len(features)} items has a geometry; they cannot be mapped")
    features.sort(key=_order)
    exact = [json.dumps(feature, separators=(",", ":"), allow_nan=False) for feature in features]
    _replace(Path(path), _geoparquet(features, exact))


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


def read_geoparquet(body: bytes, name: str) -> list[dict[str, Any]]:
    """Items of a stac-geoparquet file, as JSON objects.

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
        if EXACT in columns:
            rows = file.read(columns=[EXACT]).column(EXACT).to_pylist()
            if all(rows):
                return [json.loads(row) for row in rows]
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
    return _read_with_rustac(body, name)


def _read_with_rustac(body: bytes, name: str) -> list[dict[str, Any]]:
    import rustac

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "items.parquet"
        copy.write_bytes(body)
        try:
            found = rustac.read_sync(str(copy), format="parquet", set_self_link=False)
        except rustac.RustacError as error:
            raise CatalogError(f"{name}: not readable as stac-geoparquet ({error})") from None
    features: list[dict[str, Any]] = found["features"]
    for feature in features:
        feature.get("properties", {}).pop(EXACT, None)
    return features


def _geoparquet(features: Sequence[dict[str, Any]], exact: Sequence[str]) -> bytes:
    """The file's bytes: the items' own columns as far as one schema holds them, and `EXACT`."""
    import rustac

    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "items.parquet")
        for shape in (dict, _skeleton):
            rows = [_with_exact(shape(f), text) for f, text in zip(features, exact, strict=True)]
            try:
                rustac.write_sync(target, rows, format="parquet", parquet_compression="zstd(3)")
                return Path(target).read_bytes()
            except rustac.RustacError as error:
                reason = str(error)  # for example, properties of several types
    raise ItemError(f"{len(features)} items cannot be written as stac-geoparquet: {reason}")


def _with_exact(feature: dict[str, Any], text: str) -> dict[str, Any]:
    """A row: what the format has columns for (rustac drops the rest, with a warning), and all."""
    fields = {key: feature[key] for key in _FIELDS if feature.get(key) is not None}
    properties = {k: v for k, v in feature["properties"].items() if k not in _FIELDS}
    fields.setdefault("geometry", _NOWHERE)
    return {**fields, "properties": {**properties, EXACT: text}}


def _skeleton(feature: dict[str, Any]) -> dict[str, Any]:
    """What every item has in the same types: identity, place, time and addresses."""
    properties = {key: feature["properties"].get(key) for key in _CORE}
    assets = {key: {"href": str(asset["href"])} for key, asset in feature["assets"].items()}
    return {**feature, "links": [], "properties": properties, "assets": assets}


def _replace(path: Path, body: bytes) -> None:
    """Write ``body`` to ``path`` so that it is there as a whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # or the rename itself may be lost
    finally:
        os.close(folder)


def _without_secrets(item: pystac.Item) -> dict[str, Any]:
    feature = map_hrefs(item.to_dict(transform_hrefs=False), strip_secrets)
    for link in feature["links"]:
        link.pop("headers", None)  # where an API puts an Authorization
    return dict(feature)


def _to_item(feature: dict[str, Any]) -> pystac.Item:
    name = feature.get("id")
    try:
        with warnings.catch_warnings():
            # An item that calls itself deprecated is the catalogue's choice, not a fault.
            warnings.simplefilter("ignore", category=pystac.errors.DeprecatedWarning)
            return pystac.Item.from_dict(feature, preserve_dict=False)  # migration copies it
    except Exception as error:  # noqa: BLE001 -- pystac raises whatever the broken field leads to
        raise CatalogError(f"item {name!r} is not valid STAC: {error}") from None


def _order(feature: dict[str, Any]) -> tuple[datetime, str, str]:
    start, _ = item_range(
        {"datetime": feature["properties"].get("datetime")}
        if feature["properties"].get("datetime")
        else feature["properties"]
    )
    latest = datetime.max.replace(tzinfo=UTC)
    return start or latest, str(feature.get("id")), str(feature.get("collection"))


def _updated(feature: dict[str, Any]) -> str:
    return str((feature.get("properties") or {}).get("updated") or "")
