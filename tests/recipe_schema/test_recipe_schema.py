"""The JSON Schema of recipes: it takes what read_recipe takes, and every key says what it is."""

import json
from pathlib import Path

import jsonschema
import pytest
from code_blocks import BASE, ROOT, as_json, merge
from typer.testing import CliRunner

from rsscale.cli.application import app
from rsscale.errors import RsscaleError
from rsscale.recipe import read_recipe
from rsscale.recipe.yaml_text import parse_yaml
from rsscale.recipe_schema import keys
from rsscale.recipe_schema.json_schema import recipe_schema
from rsscale.recipe_schema.keys import recipe_groups, step_groups
from rsscale.recipe_schema.kinds import INTERNAL, kind_summary
from rsscale.steps.kinds import KINDS

RECIPES = [*sorted((ROOT / "recipes").glob("*.yaml")), ROOT / "rsscale/demo/recipe.yaml"]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_recipes_are_valid(validator: jsonschema.Draft202012Validator, path: Path) -> None:
    validator.validate(as_json(parse_yaml(path.read_text("utf-8"), path.name)))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"grid": {"tiel": 512}}, "grid"),
        ({"inputs": {"s2": {"mask": {"dilat": 3}}}}, "mask"),
        ({"inputs": {"s2": {"loader": "gdal"}}}, "loader"),
        ({"steps": {"s": {"kind": "smoth", "of": "map"}}}, "kind"),
        ({"steps": {"s": {"kind": "smooth", "of": "map"}}}, "steps"),
        ({"steps": {"s": {"kind": "smooth", "of": "map", "method": "majority", "r": 2}}}, "steps"),
        ({"periods": []}, "periods"),
    ],
)
def test_mistakes_are_seen_where_they_are(
    validator: jsonschema.Draft202012Validator, change: dict, place: str
) -> None:
    assert validator.is_valid(as_json(BASE))
    errors = list(validator.iter_errors(as_json(merge(BASE, change))))
    assert errors
    assert place in "/".join(map(str, errors[0].absolute_path))


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {"s2": {"mask": "sentinel2-scl"}}},
        {"inputs": {"s2": {"mask": ["fmask", {"band": "clear", "keep": [1]}]}}},
        {"inputs": {"s2": {"bands": ["red", {"nir": "B08"}]}}},
        {"inputs": {"s2": {"alternate": "s3"}}},
        {"inputs": {"s2": {"series": ["-1-09-01", "08-31"]}}},
        {"model": dict.fromkeys(BASE["periods"], "m")},
        {"steps": {"e": {"kind": "function", "of": {"a": "map", "b": {"run": "../x"}},
                         "function": "m:f", "version": 2, "layers": [{"name": "e"}]}}},
        {"steps": {"own": {"kind": "speckle:SpecklePass", "of": "map", "least": 6}}},
    ],
)  # fmt: skip
def test_short_forms_are_valid_in_both(
    validator: jsonschema.Draft202012Validator, change: dict
) -> None:
    whole = merge(BASE, change)
    read_recipe(whole)
    validator.validate(as_json(whole))


def test_every_kind_has_a_schema_of_its_options() -> None:
    definitions = recipe_schema()["$defs"]
    for kind in KINDS:
        assert definitions[f"step-{kind}"]["description"] == kind_summary(kind)
    assert [g.title for g in step_groups() if g.title in KINDS] == [
        kind for kind in KINDS if kind not in INTERNAL
    ]


def test_every_key_says_what_it_is() -> None:
    """A key without a description raises, with its place; see the message."""
    found = {(group.title, key.name): key for group in (*recipe_groups(), *step_groups())
             for key in group.keys}  # fmt: skip
    assert len(found) > 150
    assert found["grid", "tile"].default == "`2048`"
    assert found["grid", "crs"].default == ""
    assert found["inputs.NAME", "resampling"].kind.startswith("mapping of names to `nearest`")
    assert found["train.classes[]", "value"].kind == "whole number, ≥ 0, ≤ 254"
    assert found["zones", "method"].kind == r"`centre` \| `coverage`"


def test_a_key_without_a_description_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = recipe_schema()
    del schema["$defs"]["GridRecipe"]["properties"]["tile"]["description"]
    monkeypatch.setattr(keys, "recipe_schema", lambda: schema)
    with pytest.raises(RsscaleError, match="key 'tile' of grid has no description"):
        recipe_groups()


def test_the_command_prints_it() -> None:
    done = CliRunner().invoke(app, ["recipe", "schema"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == json.loads(json.dumps(recipe_schema()))
