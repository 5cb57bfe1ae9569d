"""The recipe that a run keeps names its copies of files, wherever the run's folder is moved to."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from rsscale.recipe import Recipe, read_recipe
from rsscale.steps.attachments import Attachment, Kept, kept_recipe
from rsscale.store.run_folder import RunFolder

STEPS: dict[str, dict[str, Any]] = {
    "ponds": {"kind": "detect", "of": "s2", "model": {2023: "nets/old", 2024: "nets/new"}},
    "change": {"kind": "change-network", "of": "s2", "model": "nets/old", "from": 2023, "to": 2024},
    "communes": {"kind": "zones", "of": "map", "zones": "communes.gpkg", "id": "code"},
    "years": {
        "kind": "temporal-model",
        "of": "map",
        "transitions": "labels",
        "labels": {"file": "labels.gpkg|layername=all", "class": "kind", "period_column": "year"},
    },
    "moved": {
        "kind": "spectral-change",
        "of": "s2",
        "from": 2023,
        "to": 2024,
        "threshold": {"stable": "stable.tif", "rate": 0.01},
    },
    "mine": {"kind": "elsewhere:Pass", "of": "map", "table": "table.csv"},
}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    folder = tmp_path / "author"
    folder.mkdir()
    for name in ("nets/map", "nets/old", "nets/new"):
        (folder / name).mkdir(parents=True)
        (folder / name / "item.json").write_text(name)
    for name in ("communes.gpkg", "labels.gpkg", "stable.tif", "table.csv"):
        (folder / name).write_text(name)
    lines = {
        "name": "kept",
        "area": "area.geojson",
        "grid": {"crs": "EPSG:32631", "resolution": 10},
        "periods": [2023, 2024],
        "inputs": {"s2": {"catalog": "catalog.json", "bands": ["red"]}},
        "model": "nets/map",
        "steps": STEPS,
    }
    written = Recipe.model_validate(lines).to_yaml().replace("folder: .\n", "")
    (folder / "recipe.yaml").write_text(written)
    return read_recipe(folder / "recipe.yaml")


def files_of(folder: Path) -> dict[str, dict[str, Attachment]]:
    def model(period: str, name: str) -> Attachment:
        return Attachment(period, (folder / name / "item.json",), "models")

    def file(name: str, path: str) -> Attachment:
        return Attachment(name, (folder / path,))

    named = {
        "map": [model("2023", "nets/map"), model("2024", "nets/map")],
        "ponds": [model("2023", "nets/old"), model("2024", "nets/new")],
        "change": [model("model", "nets/old")],
        "communes": [file("zones", "communes.gpkg")],
        "years": [file("labels", "labels.gpkg")],
        "moved": [file("stable", "stable.tif")],
        "mine": [file("table", "table.csv")],
    }
    return {step: {file.name: file for file in files} for step, files in named.items()}


def paths(recipe: Recipe) -> dict[str, str]:
    """All that steps name, as their passes look it up."""
    step = {name: step.options for name, step in recipe.steps.items()}
    models = {str(period): path for period, path in step["ponds"]["model"].items()}
    named = {
        "map": recipe.model,
        "old": models["2023"],
        "new": models["2024"],
        "change": step["change"]["model"],
        "communes": step["communes"]["zones"],
        "labels": step["years"]["labels"]["file"],
        "stable": step["moved"]["threshold"]["stable"],
        "table": step["mine"]["table"],
    }
    return {name: recipe.path(str(path)) for name, path in named.items()}


def test_the_copies_are_found_when_all_else_is_gone(recipe: Recipe, tmp_path: Path) -> None:
    author, folder = tmp_path / "author", tmp_path / "run"
    files = files_of(author)
    for of_step in files.values():
        for file in of_step.values():
            file.keep(RunFolder.at(folder))
    kept = kept_recipe(recipe, files)
    (folder / "recipe.yaml").write_text(kept.to_yaml())
    elsewhere = Path(shutil.move(folder, tmp_path / "elsewhere/run"))
    shutil.rmtree(author)
    found = paths(read_recipe(elsewhere / "recipe.yaml"))
    contents = {
        name: (Path(path) / "item.json" if "models" in path else Path(path.partition("|")[0]))
        for name, path in found.items()
        if name != "table"
    }
    assert {path.read_text() for path in contents.values()} == {
        "nets/map", "nets/old", "nets/new", "communes.gpkg", "labels.gpkg", "stable.tif",
    }  # fmt: skip
    assert {path.parents[2] for path in contents.values()} == {elsewhere}
    assert found["labels"].endswith("/labels.gpkg|layername=all")
    # What a pass of a user's own names stays as it was, and so do other texts.
    assert found["table"] == str(author / "table.csv")
    assert kept.steps["communes"].options["id"] == "code"
    assert kept.steps["years"].options["transitions"] == "labels"


def test_a_run_writes_its_own_recipe_again_as_it_is(recipe: Recipe, tmp_path: Path) -> None:
    """With the files of the run's folder, in place of those that it was planned with."""
    files, run = files_of(tmp_path / "author"), RunFolder.at(tmp_path / "run")
    once = kept_recipe(recipe, files)
    stored = {
        step: {name: Kept(file.digest, file.room, run) for name, file in of_step.items()}
        for step, of_step in files.items()
    }
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text(once.to_yaml())
    again = kept_recipe(read_recipe(tmp_path / "run/recipe.yaml"), stored)
    assert {n: s.options for n, s in again.steps.items()} == {
        n: s.options for n, s in read_back(once).steps.items()
    }
    assert again.model == once.model


def read_back(recipe: Recipe) -> Recipe:
    """The recipe with lists and keys as YAML has them."""
    import yaml

    return Recipe.model_validate(yaml.safe_load(recipe.to_yaml()))
