"""A simulated archive of four years, and what is trained on it: maps, networks of two dates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.features
import xarray as xr

import rsscale as rs
from rsscale.change.comparison import CHANGE
from rsscale.inputs.windows import window_names
from rsscale.layers import NODATA
from rsscale.recipe import Recipe, read_recipe

SIMULATED = (2021, 2022, 2023, 2024)
Years = tuple[int, ...]
SERIES = "series"
"""Name of the input that has observations in place of composites."""


@dataclass(frozen=True)
class Case:
    """An archive, and what is made of it, each in a folder of its own.

    Attributes
    ----------
    folder : Path
    changes : tuple of str
        Keys of the recipe that are other, ``key=value``; what is there already keeps its own.
    """

    folder: Path
    changes: tuple[str, ...] = ()

    @property
    def archive(self) -> Path:
        """Where it lies."""
        return self.folder / "archive"

    @property
    def map_step(self) -> dict[str, str]:
        """How steps of other runs name the maps of each year."""
        return {"run": str(self.folder / "run"), "step": "map"}

    def recipe(self, *changes: str) -> Recipe:
        """That of the demo for all years, without its change."""
        base = files("rsscale.demo").joinpath("recipe.yaml").read_text("utf-8")
        path = self.folder / "recipe.yaml"
        path.write_text(base)
        years = f"[{', '.join(map(str, SIMULATED))}]"
        return read_recipe(
            path,
            (f"periods={years}", f"train.periods={years}", "change=null", *self.changes, *changes),
        )

    def maps(self) -> rs.Run:
        """Those of each year, by a model that is trained where there is none yet."""
        if not (self.folder / "model" / "item.json").exists():
            rs.train(self.recipe())
        return self.done(self.recipe(), self.folder / "run")

    def composites(self) -> dict[str, str]:
        """How steps name the composites of each year, which are made once for all of them."""
        recipe = self.recipe()
        (imagery,) = recipe.inputs.values()
        windows = window_names(imagery, SIMULATED[0])
        bands = list(range(len(windows) * len(imagery.bands)))
        layer = {"name": "composite", "dtype": "float32", "axis": {"name": "band", "values": bands}}
        function = "benchmarks.change_case:stacked"
        self.made_by(
            "composites",
            {"composites": {
                "kind": "function", "of": "s2", "function": function, "layers": [layer],
            }},
        )  # fmt: skip
        return {"run": str(self.folder / "composites"), "step": "composites"}

    def made_by(self, name: str, steps: dict[str, dict[str, Any]]) -> rs.Run:
        """What steps make of the imagery and of the maps."""
        changes = ["model=null", "output.layers=null", f"steps={json.dumps(steps)}"]
        if any(step["of"] == SERIES for step in steps.values()):
            changes += series_input(self.archive)
        return self.done(self.recipe(*changes), self.folder / name)

    def network(
        self, name: str, years: tuple[int, int], steps: int = 450, **hyperparameters: Any
    ) -> Path:
        """The model of a network of two dates, trained where there is none yet."""
        recipe = network_recipe(self.folder, name, years, steps, **hyperparameters)
        model = Path(str(recipe.steps[name].options["model"]))
        if not (model / "item.json").exists():
            _, report = rs.train(recipe)
            print(f"{name}: {report.verdict}", flush=True)
        return model

    def done(self, recipe: Recipe, folder: Path) -> rs.Run:
        """A finished run: the one that is there, or a new one."""
        if (folder / "run.json").exists() and rs.Run(folder).state["state"] == "done":
            return rs.Run(folder)
        return rs.run(recipe, folder, trust=True)


def stacked(inputs: dict[str, xr.Dataset]) -> xr.Dataset:
    """The bands of all windows along one axis, a function of rsscale."""
    (imagery,) = inputs.values()
    values = imagery["composite"].transpose("time", "band", "y", "x").data
    flat = values.reshape(-1, *values.shape[-2:])
    return xr.Dataset({"composite": (("band", "y", "x"), flat)})


def series_input(archive: Path) -> list[str]:
    """Keys of a recipe that make the observations themselves an input."""
    series = {
        "catalog": str(archive / "catalog.json"),
        "collection": "sentinel-2-l2a",
        "bands": ["nir", "swir22"],
        "query": {"eo:cloud_cover": {"lt": 85}},
        "mask": {"preset": "sentinel2-scl", "dilate": 30},
        "series": True,
        "merge_days": True,
    }
    return [f"inputs={json.dumps({SERIES: series})}", "train=null"]


def labels_of_change(archive: Path, years: tuple[int, int], out: Path) -> Path:
    """Write a raster of change between two years: 0 and 1 in the annotated squares, else 255."""
    before, after = (archive / "truth" / f"landcover_{year}.tif" for year in years)
    with rasterio.open(before) as one, rasterio.open(after) as other:
        first, last, profile = one.read(1), other.read(1), one.profile
    squares = gpd.read_file(archive / "labels.gpkg").to_crs(profile["crs"]).geometry
    labelled = rasterio.features.rasterize(
        list(squares), out_shape=first.shape, transform=profile["transform"]
    )
    change = np.where(first != last, 1, 0)
    known = (labelled == 1) & (first != NODATA) & (last != NODATA)
    values = np.where(known, change, NODATA).astype(np.uint8)
    plain = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": NODATA}
    place = {key: profile[key] for key in ("crs", "transform", "width", "height")}
    with rasterio.open(out, "w", **plain, **place, compress="deflate") as file:
        file.write(values, 1)
    return out


def network_recipe(
    folder: Path, network: str, years: tuple[int, int], steps: int = 450, **hyperparameters: Any
) -> Recipe:
    """The recipe that trains a network on such labels, and maps the area with it.

    Its one step is called as the network is; others can be added to those of another recipe.
    """
    base = files("rsscale.demo").joinpath("recipe.yaml").read_text("utf-8")
    path = folder / "recipe-networks.yaml"
    path.write_text(base)
    labels = folder / f"change-{years[0]}-{years[1]}.tif"
    if not labels.exists():
        labels_of_change(folder / "archive", years, labels)
    ends = {"from": years[0], "to": years[1]}
    model = str(folder / f"model-{network}-{years[0]}-{years[1]}")
    train = {
        "labels": str(labels),
        "classes": [{"value": c.value, "name": c.name, "color": c.color} for c in CHANGE],
        "change": {"of": "s2", **ends},
        "architecture": network,
        "hyperparameters": hyperparameters,
        "split": {"blocks": 1500},
        "steps": steps,
    }
    step = {"kind": "change-network", "model": model, "of": "s2", **ends}
    return read_recipe(
        path,
        (
            f"periods=[{years[0]}, {years[1]}]", "change=null", "model=null", "output={}",
            f"train={json.dumps(train)}", f"steps={json.dumps({network: step})}",
        ),
    )  # fmt: skip
