"""The keys of labels in a recipe: read as rules, and refused where they don't fit."""

from typing import Any

import pytest
import yaml

from rsscale.errors import RecipeError
from rsscale.recipe import Recipe, TrainRecipe, read_recipe
from rsscale.reference.label_rules import LabelRules

BASE = {
    "name": "test",
    "bbox": [5.9, 47.4, 6.1, 47.6],
    "grid": {"crs": "EPSG:32631", "resolution": 10},
    "periods": [2023],
    "inputs": {"s2": {"catalog": "catalog.json", "bands": ["red", "nir"]}},
    "model": "model",
}


def read(**train: Any) -> Recipe:
    return read_recipe(BASE | {"train": {"labels": "labels.gpkg", **train}})


def settings(**train: Any) -> TrainRecipe:
    train_settings = read(**train).train
    assert train_settings is not None
    return train_settings


def test_keys_of_labels_are_rules_and_come_back_from_yaml() -> None:
    keys = {
        "class": "cover",
        "labels_crs": "EPSG:32631",
        "coordinates": ["east", "north"],
        "merge": {"forest": ["broadleaf", 312], "water": ["311"]},
        "ignore": ["cloud", 0],
        "edge": 20,
        "priority": ["water"],
        "overlap": "majority",
        "most_pixels": 500,
    }
    found = settings(**keys)
    assert found.label_options() == {
        "period_column": None,
        "layer": None,
        "coordinates": ("east", "north"),
        "crs": "EPSG:32631",
        "rules": LabelRules(
            merge={"forest": ("broadleaf", 312), "water": ("311",)},
            ignore=("cloud", 0),
            edge=20.0,
            priority=("water",),
            overlap="majority",
            most_pixels=500,
        ),
    }
    again = read_recipe(yaml.safe_load(read(**keys).to_yaml()))
    assert again.train == found


def test_a_raster_needs_no_class() -> None:
    assert settings().class_ is None
    assert settings().rules() == LabelRules()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"edge": -1}, r"train\.edge: .*greater than or equal to 0"),
        ({"edge": 20, "all_touched": True}, "leave out one of them"),
        ({"most_pixels": 0}, r"train\.most_pixels: .*greater than or equal to 1"),
        ({"overlap": "mean"}, r"train\.overlap: .*'drop' or 'majority'"),
        ({"merge": {"forest": []}}, r"train\.merge\.forest: .*at least 1 item"),
        ({"merge": ["forest"]}, r"train\.merge: "),
        ({"coordinates": ["x"]}, r"train\.coordinates"),
        ({"remap": {1: 2}}, r"train\.remap: unknown key; list what is merged in 'merge'"),
        ({"exclude": ["cloud"]}, "that are none in 'ignore'"),
    ],
    ids=str,
)
def test_keys_that_do_not_fit_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        read(**keys)
    assert "\n" not in str(caught.value)


def test_a_key_of_null_counts_as_left_out() -> None:
    settings(crop=None).refuse(("crop",), "is of others")
    with pytest.raises(RecipeError, match=r"train\.crop is of others; leave it out"):
        settings(crop=64).refuse(("crop",), "is of others")
