"""Rules of STAC 1.1 and its extensions, to check documents by without a network.

The core by its own JSON schemas, which pystac brings. Those of the extensions are in no package;
what they ask of these fields is written down here.
"""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft7Validator
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from rsscale.publishing import stac

_CORE = "https://schemas.stacspec.org/v1.1.0/{0}-spec/json-schema/{0}.json"
_DATA_TYPES = ["int8", "int16", "uint8", "uint16", "float32"]
_FIELDS: dict[str, dict[str, Any]] = {
    "proj:code": {"type": ["string", "null"], "pattern": r"^EPSG:\d+$"},
    "proj:wkt2": {"type": "string"},
    "proj:shape": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
    "proj:transform": {"type": "array", "items": {"type": "number"}, "minItems": 6, "maxItems": 6},
    "proj:bbox": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
    "raster:sampling": {"enum": ["area", "point"]},
    "raster:spatial_resolution": {"type": "number"},
    "raster:scale": {"type": "number"},
    "raster:offset": {"type": "number"},
    "classification:classes": {
        "type": "array",
        "uniqueItems": True,
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["value", "name", "description"],
            "additionalProperties": False,
            "properties": {
                "value": {"type": "integer"},
                "name": {"type": "string", "minLength": 1},
                "description": {"type": "string"},
                "color_hint": {"type": "string", "pattern": "^[0-9A-F]{6}$"},
            },
        },
    },
    "file:size": {"type": "integer", "minimum": 0},
    "file:checksum": {"type": "string", "pattern": "^1220[0-9a-f]{64}$"},
    "processing:lineage": {"type": "string", "minLength": 1},
    "processing:software": {"type": "object", "additionalProperties": {"type": "string"}},
    "version": {"type": "string"},
    "sci:citation": {"type": "string", "minLength": 1},
    "table:primary_geometry": {"type": "string"},
    "table:row_count": {"type": "integer", "minimum": 0},
    "table:columns": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {name: {"type": "string"} for name in ("name", "type", "description")},
        },
    },
    "sci:doi": {"type": "string", "pattern": r"^10\.[0-9a-zA-Z]{4,}/\S+$"},
}
_PREFIXES = {
    "proj": stac.PROJECTION, "raster": stac.RASTER, "classification": stac.CLASSIFICATION,
    "table": stac.TABLE, "file": stac.FILE, "processing": stac.PROCESSING, "sci": stac.SCIENTIFIC,
}  # fmt: skip


def core_errors(document: dict[str, Any], kind: str) -> list[str]:
    """What the specification's own schema has to say."""
    known = get_local_schema_cache()
    registry: Any = Registry().with_resources(
        (uri, Resource.from_contents(schema, default_specification=DRAFT7))
        for uri, schema in known.items()
    )
    validator = Draft7Validator(known[_CORE.format(kind)], registry=registry)
    return [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(document)]


def fields(value: Any) -> Iterator[tuple[str, Any]]:
    """All fields of a document, however deep, but for those of summaries, which are lists."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            if key != "summaries":
                yield from fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner)


def extension_errors(document: dict[str, Any]) -> list[str]:
    """Fields that break the rules of their extension, or whose extension is not declared."""
    declared, found, used = document["stac_extensions"], [], set()
    for name, value in fields(document):
        prefix = name.partition(":")[0]
        if ":" in name and prefix in _PREFIXES:
            used.add(_PREFIXES[prefix])
            if name not in _FIELDS:
                found.append(f"{name} is no field of {prefix}")
        if name in _FIELDS and not Draft7Validator(_FIELDS[name]).is_valid(value):
            found.append(f"{name}: {value!r}")
    found += [f"{uri} is not declared" for uri in used - set(declared)]
    return found + [
        f"{uri} is declared and not used" for uri in set(declared) - used - {stac.VERSION}
    ]
