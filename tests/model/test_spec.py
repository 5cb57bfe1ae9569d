"""The model's contract: round trip through MLM metadata, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from rsscale.errors import ModelError
from rsscale.geo.lattice import Lattice
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec

SCHEMA = Path(__file__).resolve().parents[2] / "../shared/data/mlm/json-schema/schema.json"


def spec(**changes: object) -> ModelSpec:
    fields: dict = {
        "name": "landcover",
        "inputs": (ModelInput("s2", ("red", "nir"), ("spring", "summer"), (0.1, 0.3), (0.1, 0.1)),),
        "classes": (LandClass(1, "water", "#1f78b4"), LandClass(7, "built up", "#e31a1c")),
        "lattice": Lattice(512, 32),
        "architecture": "unet",
        "hyperparameters": {"width": 16},
        "resolution": 10.0,
    }
    return ModelSpec(**{**fields, **changes})


def test_round_trip_through_json() -> None:
    item = json.loads(json.dumps(spec().to_item()))
    assert ModelSpec.from_item(item) == spec()


def test_blending_is_kept_and_old_models_trim() -> None:
    blended = spec(lattice=Lattice(512, 32, "hann"))
    item = json.loads(json.dumps(blended.to_item()))
    assert item["properties"]["rsscale:blend"] == "hann"
    assert ModelSpec.from_item(item) == blended != spec()
    del item["properties"]["rsscale:blend"]
    assert ModelSpec.from_item(item) == spec()


def test_metadata_is_valid_mlm() -> None:
    if not SCHEMA.exists():
        pytest.skip(f"the MLM schema is not at {SCHEMA}")
    from jsonschema import Draft7Validator
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT7

    schema = json.loads(SCHEMA.read_text())
    # The schema points to others on the web; of the data types only the list of names matters.
    types = {"enum": ["float32", "float64", "uint8", "uint16", "int16"]}
    others = {
        "definitions": {
            "bands": {"items": {"properties": {"data_type": types}}},
            "fields": {"properties": {"classification:classes": {"type": "array"}}},
        }
    }
    registry = Registry(retrieve=lambda _: Resource(others, DRAFT7))
    fields = {"$ref": "#/$defs/fields", "$defs": schema["$defs"]}
    validator = Draft7Validator(fields, registry=registry)
    properties = json.loads(json.dumps(spec().to_item()["properties"]))
    assert [e.message for e in validator.iter_errors(properties)] == []
    properties["mlm:input"][0]["input"]["dim_order"] = "batch"
    assert list(validator.iter_errors(properties))  # the check can fail


def test_a_missing_field_is_named() -> None:
    item = spec().to_item()
    del item["properties"]["rsscale:halo"]
    with pytest.raises(ModelError, match="rsscale:halo"):
        ModelSpec.from_item(item)


def test_bands_are_picked_by_name_and_a_missing_one_is_named() -> None:
    spec().check_input("s2", ["nir", "blue", "red"], ["spring", "summer"])
    with pytest.raises(ModelError, match=r"wants band 'red'.*did you mean 'rad'"):
        spec().check_input("s2", ["rad", "nir"], ["spring", "summer"])


def test_other_time_windows_are_refused() -> None:
    with pytest.raises(ModelError, match="time windows"):
        spec().check_input("s2", ["red", "nir"], ["summer", "spring"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": (LandClass(1, "a", "#000000"), LandClass(1, "b", "#000000"))}, "class values"),
        ({"classes": ()}, "at least one"),
    ],
)
def test_contradictions_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        spec(**changes)


@pytest.mark.parametrize(("value", "color"), [(255, "#000000"), (-1, "#000000"), (1, "red")])
def test_bad_classes_are_refused(value: int, color: str) -> None:
    with pytest.raises(ModelError):
        LandClass(value, "x", color)


def test_normalisation_must_fit_the_bands() -> None:
    with pytest.raises(ModelError, match="one of each per band"):
        ModelInput("s2", ("red", "nir"), ("year",), (0.1,), (0.1, 0.2))
    with pytest.raises(ModelError, match="positive"):
        ModelInput("s2", ("red",), ("year",), (0.1,), (0.0,))


def test_normalisation_of_numpy_is_plain_numbers() -> None:
    mean = np.float32([0.1, 0.3])
    one = ModelInput("s2", ("red", "nir"), ("year",), mean, mean)  # type: ignore[arg-type]
    assert one.mean == (float(mean[0]), float(mean[1]))
    assert {type(value) for value in (*one.mean, *one.std)} == {float}
    json.dumps(spec(inputs=(one,)).to_item())
