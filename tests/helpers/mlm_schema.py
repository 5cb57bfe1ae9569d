"""The published schema of the MLM extension, where it lies beside the project."""

import json
from pathlib import Path

import pytest

SCHEMA = Path(__file__).resolve().parents[2] / "../shared/data/mlm/json-schema/schema.json"


def schema_errors(item: Path) -> list[str]:
    """What the schema says of an item's file; what other schemas say is taken as said."""
    if not SCHEMA.exists():
        pytest.skip(f"the MLM schema is not at {SCHEMA}")
    from jsonschema import Draft7Validator
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT7

    schema = json.loads(SCHEMA.read_text())
    anything = {"definitions": {"fields": {"properties": {"classification:classes": {}}}}}
    anything["definitions"]["bands"] = {"items": {"properties": {"data_type": {}}}}
    registry = Registry(retrieve=lambda _: Resource(anything, DRAFT7))
    found = Draft7Validator(schema, registry=registry).iter_errors(json.loads(item.read_text()))
    return [error.message for error in found]
