"""Networks beside the traditional way on imagery: the same labels, folds and pixels.

    python -m benchmarks.learners FOLDER [--data DATA] [--only NAME] [--json FILE]

FOLDER gets the simulated archive of ``rsscale demo``, which is kept for the next time; DATA is a
folder with two real data sets, without which these are left out.

- ``demo``: the recipe of ``rsscale demo`` with 2,700 steps, as many as five minutes on two cores
  have room for; five folds of its 15 places;
- ``dates``: series at some labelled pixels of the same archive, at irregular dates with clouds, of
  which another 30 % of the observations are dropped at random; five folds of blocks;
- ``rachel-carson``: one Sentinel-2 scene, 23 polygons of six classes, a group each;
- ``landsat``: one Landsat 7 scene, 30 polygons of five classes, a group each.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

import rsscale as rs
from benchmarks.options import parser_of
from rsscale.pipeline.training import Reading, labelled_pixels, read_recipe_labels
from rsscale.recipe import Recipe, read_recipe
from rsscale.sampling.work_folder import open_work_folder

CLASSICAL = ("nearest_neighbours", "random_forest", "gradient_boosting")
DROPPED = 0.3
RACHEL_CARSON = Path(__file__).parents[1] / "tests/pipeline/rachel_carson.yaml"


@dataclass(frozen=True)
class Folders:
    """Where things lie."""

    work: Path
    data: Path | None


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", choices=list(_CASES))
    options = parser.parse_args()
    folders, results = Folders(options.folder, options.data), []
    for name, compared in _CASES.items():
        if options.only not in (None, name):
            continue
        comparison = compared(folders)
        if comparison is None:
            print(f"{name}: left out, its data is not in --data")
            continue
        print(f"\n{name}\n{comparison}", flush=True)
        results.append({"data": name, **comparison.properties()})
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def demo(folders: Folders) -> rs.Comparison:
    recipe = demo_recipe(folders.work, ("train.split.folds=5", "train.steps=2700"))
    return rs.compare(recipe, ("unet", *CLASSICAL), device="cpu")


def dates(folders: Folders) -> rs.Comparison:
    recipe = demo_recipe(folders.work, overrides=("train.most_pixels=5", "train.chip=32"))
    imagery = recipe.inputs["s2"].model_copy(
        update={"composite": None, "series": True, "merge_days": True}
    )
    train = recipe.train.model_copy(update={"architecture": "tempcnn"}) if recipe.train else None
    recipe = recipe.model_copy(update={"inputs": {"s2": imagery}, "train": train})
    with tempfile.TemporaryDirectory() as folder, open_work_folder(Path(folder) / "work") as work:
        reading = Reading(recipe, read_recipe_labels(recipe), work)
        table = labelled_pixels(reading, ("days",))
    table = thinned(table)
    (part,) = table.inputs
    names = {land_class.value: land_class.name for land_class in reading.labels.classes}
    print(
        f"\n{len(table):,} pixels of {len(np.unique(table.groups))} blocks, at most "
        f"{part.values.shape[1]} observations, {part.valid.sum(axis=1).mean():.1f} of them seen"
    )
    table = replace(table, targets=np.array([names[value] for value in table.targets]))
    learners = ("tempcnn", "ltae", *CLASSICAL)
    return rs.compare_table(table, learners, folds=5, epochs=30, device="cpu")


def thinned(table: rs.SeriesTable) -> rs.SeriesTable:
    """The same with observations dropped at random."""
    (part,) = table.inputs
    random = np.random.default_rng(0)
    values = part.values.copy()
    values[random.random(values.shape[:2]) < DROPPED] = np.nan
    return replace(table, inputs=(replace(part, values=values),)).seen


def rachel_carson(folders: Folders) -> rs.Comparison | None:
    if folders.data is None or not (folders.data / "rachel-carson-sentinel2").is_dir():
        return None
    data = folders.data / "rachel-carson-sentinel2"
    recipe = read_recipe(RACHEL_CARSON, (f"train.labels={data / 'labels.parquet'}",))
    return by_polygon(recipe, data, folders.work)


def landsat(folders: Folders) -> rs.Comparison | None:
    if folders.data is None or not (folders.data / "landsat7-two-dates").is_dir():
        return None
    data = folders.data / "landsat7-two-dates"
    bands = ["blue", "green", "red", "nir08", "swir16", "swir22"]
    content: dict[str, Any] = {
        "name": "landsat",
        "model": "none",
        "bbox": [-93.36, 15.67, -93.27, 15.76],
        "grid": {"crs": "EPSG:32615", "resolution": 30, "origin": [15, 15], "tile": 512},
        "periods": [1999],
        "inputs": {
            "landsat": {
                "catalog": str(data / "catalog.json"),
                "bands": bands,
                "composite": {"by": "year", "reducer": "median"},
            }
        },
        "train": {
            "labels": str(data / "labels.parquet"),
            "class": "class",
            "architecture": "pixel",
            "halo": 0,
        },
    }
    return by_polygon(read_recipe(content), data, folders.work)


def by_polygon(recipe: Recipe, data: Path, work: Path) -> rs.Comparison:
    """Four folds of whole polygons; networks validate on others than those they are tested on."""
    assert recipe.train is not None
    split = recipe.train.split.model_copy(update={"by": "polygon", "folds": 4, "validation": 0.2})
    (name, imagery), *_ = recipe.inputs.items()
    inputs = {name: imagery.model_copy(update={"catalog": str(data / "catalog.json")})}
    train = recipe.train.model_copy(update={"split": split})
    model = str(work / "none")
    recipe = recipe.model_copy(update={"train": train, "inputs": inputs, "model": model})
    return rs.compare(recipe, ("pixel", *CLASSICAL), device="cpu")


def demo_recipe(folder: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """The recipe of ``rsscale demo``, beside its archive."""
    demo_archive(folder)
    path = folder / "recipe.yaml"
    path.write_text(files("rsscale.demo").joinpath("recipe.yaml").read_text("utf-8"))
    return read_recipe(path, overrides)


def demo_archive(folder: Path) -> Path:
    """The archive of ``rsscale demo`` in a folder, simulated where there is none yet."""
    if not (folder / "archive").exists():
        rs.simulate(folder / "archive")
    return folder / "archive"


_CASES: dict[str, Callable[[Folders], rs.Comparison | None]] = {
    "demo": demo,
    "dates": dates,
    "rachel-carson": rachel_carson,
    "landsat": landsat,
}

if __name__ == "__main__":
    main()
