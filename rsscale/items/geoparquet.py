"""Items as stac-geoparquet, written some at a time.

https://github.com/radiantearth/stac-geoparquet-spec

The writers at hand are not exact. On real items rustac 0.9 cuts times to milliseconds, drops
fields that are ``null`` or not in the specification, writes the latest ``stac_version`` without
migrating the item, and refuses items whose properties differ in type (``"028"`` and ``28``);
stac-geoparquet 0.8 fills missing fields with ``null`` and refuses the same. Both hold all items
in memory several times. So each row also carries its item as JSON, in the column `EXACT`, and that
is what is read back. The other columns are for people and other tools: identity, place, time,
addresses, and those properties that are of one simple type throughout.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from rsscale.documents import finite
from rsscale.items.features import Item

EXACT = "rsscale:item"

_ROWS = 1000
# Archives whose asset keys differ from item to item would make a column each.
_ASSETS = 256
_TIME = pa.timestamp("us", tz="UTC")
_TEXT = pa.string()
_LINK_TEXTS = ("href", "rel", "type", "title")
_ASSET_TEXTS = ("href", "type", "title")
_LINK = pa.struct([(name, _TEXT) for name in _LINK_TEXTS])
_ASSET = pa.struct([*((name, _TEXT) for name in _ASSET_TEXTS), ("roles", pa.list_(_TEXT))])
_BOX = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
_CORE = {
    "type": _TEXT, "stac_version": _TEXT, "stac_extensions": pa.list_(_TEXT), "id": _TEXT,
    "collection": _TEXT, "geometry": pa.binary(), "bbox": _BOX, "datetime": _TIME,
    "start_datetime": _TIME, "end_datetime": _TIME, "links": pa.list_(_LINK),
}  # fmt: skip
_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {"geometry": {"encoding": "WKB", "geometry_types": []}},
}
_INT64 = 2**63
_Written = tuple[dict[str, Any], str]


def write(
    file: IO[bytes], items: Sequence[Item], to_json: Callable[[Item], tuple[dict[str, Any], str]]
) -> None:
    """Write items; memory grows by a thousand of them at most.

    Parameters
    ----------
    file : binary file
    items : sequence of pystac.Item or Feature
        In the order wanted; the same items give the same bytes.
    to_json : function
        From an item to the JSON object that is kept, and the same as text: :func:`with_text`.

    Raises
    ------
    ValueError
        When an item holds something that is no JSON.
    """
    schema = _schema(items)
    with pq.ParquetWriter(file, schema, compression="zstd", compression_level=3) as writer:
        for batch in _batches(map(to_json, items)):
            writer.write_table(_table(batch, schema))


def _batches(written: Iterable[_Written]) -> Iterator[list[_Written]]:
    left = iter(written)
    while batch := list(islice(left, _ROWS)):
        yield batch


def _schema(items: Sequence[Item]) -> pa.Schema:
    keys = sorted({key for item in items for key in item.assets})[:_ASSETS]
    fields = dict(_CORE)
    if keys:  # Parquet has no structs without fields
        fields["assets"] = pa.struct([(key, _ASSET) for key in keys])
    kinds = _kinds(item.properties for item in items)
    fields |= {name: kind for name, kind in sorted(kinds.items()) if name not in fields}
    fields[EXACT] = _TEXT
    metadata = {"geo": json.dumps(_GEO), "stac-geoparquet": json.dumps({"version": "1.0.0"})}
    return pa.schema(list(fields.items()), metadata=metadata)


def _kinds(all_properties: Iterable[dict[str, Any]]) -> dict[str, pa.DataType]:
    """Arrow types of the properties that are of one simple type throughout."""
    all_kinds: dict[str, set[Any]] = {}
    for properties in all_properties:
        for name, value in properties.items():
            if value is not None:
                all_kinds.setdefault(name, set()).add(_kind(value))
    merged = {name: _merge(kinds) for name, kinds in all_kinds.items()}
    return {name: kind for name, kind in merged.items() if kind is not None}


def _kind(value: Any) -> pa.DataType | None:
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64() if -_INT64 <= value < _INT64 else None
    if isinstance(value, float):
        return pa.float64()
    return _TEXT if isinstance(value, str) else None


def _merge(kinds: set[Any]) -> pa.DataType | None:
    if kinds == {pa.int64(), pa.float64()}:
        return pa.float64()
    return next(iter(kinds)) if len(kinds) == 1 else None


def _table(batch: Sequence[_Written], schema: pa.Schema) -> pa.Table:
    features = [feature for feature, _ in batch]
    columns = [
        [text for _, text in batch] if field.name == EXACT else _column(features, field)
        for field in schema
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _column(features: Sequence[dict[str, Any]], field: pa.Field) -> list[Any]:
    """The values of a column."""
    name = field.name
    if name == "geometry":
        return _wkb([feature.get("geometry") for feature in features])
    if name == "assets":
        return [_assets(feature["assets"], field.type) for feature in features]
    if name in _CONVERTED:
        return [_CONVERTED[name](feature.get(name)) for feature in features]
    if field.type == _TIME:
        return [_time(feature["properties"].get(name)) for feature in features]
    if name in _CORE:
        return [feature.get(name) for feature in features]
    kind = float if field.type == pa.float64() else _as_it_is
    values = (feature["properties"].get(name) for feature in features)
    return [None if value is None else kind(value) for value in values]


def _as_it_is(value: Any) -> Any:
    return value


def _links(links: Any) -> list[dict[str, str | None]]:
    return [_texts(link, _LINK_TEXTS) for link in links or []]


def _assets(assets: dict[str, dict[str, Any]], kind: pa.StructType) -> dict[str, Any]:
    names = [field.name for field in kind]
    return {name: _asset(assets[name]) for name in names if name in assets}


def _asset(asset: dict[str, Any]) -> dict[str, Any]:
    roles = asset.get("roles")
    known = isinstance(roles, list) and all(isinstance(role, str) for role in roles)
    return {**_texts(asset, _ASSET_TEXTS), "roles": roles if known else None}


def _texts(fields: dict[str, Any], names: Iterable[str]) -> dict[str, str | None]:
    values = map(fields.get, names)
    return {
        name: value if isinstance(value, str) else None
        for name, value in zip(names, values, strict=True)
    }


def _wkb(geometries: Sequence[Any]) -> list[bytes | None]:
    texts = [json.dumps(geometry) for geometry in geometries]
    shapes = shapely.from_geojson(texts, on_invalid="ignore")
    return list(shapely.to_wkb(shapes, flavor="iso"))


def _box(bbox: Any) -> dict[str, float] | None:
    if not isinstance(bbox, (list, tuple)) or len(bbox) not in (4, 6):
        return None
    half = len(bbox) // 2
    edges = (bbox[0], bbox[1], bbox[half], bbox[half + 1])
    try:
        return dict(zip(("xmin", "ymin", "xmax", "ymax"), map(float, edges), strict=True))
    except (TypeError, ValueError):
        return None


def _time(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def with_text(feature: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A JSON object, and the same as the text that is kept of it."""
    return feature, exact(feature)


def exact(feature: dict[str, Any]) -> str:
    """The item as JSON; NaN and infinities, which JSON has not, as the texts that STAC has."""
    try:
        return json.dumps(feature, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(finite(feature), separators=(",", ":"), allow_nan=False)


_CONVERTED: dict[str, Callable[[Any], Any]] = {"bbox": _box, "links": _links}
