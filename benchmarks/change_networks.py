"""Networks of two dates on the simulated archive: trained in the west, measured far from labels.

    python -m benchmarks.change_networks FOLDER [--networks fc-siam-diff] [--steps 450]

FOLDER is of benchmarks/change.py: an archive of several years in ``archive``, simulated where it is
not there. Labels of change are the truth of two years within the squares that an annotator mapped,
and all else is unlabelled. Each network is trained on them, maps the whole area by ``rsscale run``,
and is measured as benchmarks/change.py measures all methods, beside no change at all.
"""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.features

import rsscale as rs
from benchmarks.change import SIMULATED, Case, prediction, table, truth_of
from benchmarks.change_figures import Prediction, measure
from benchmarks.options import parser_of
from rsscale.change.comparison import CHANGE
from rsscale.layers import NODATA
from rsscale.progress import show_progress
from rsscale.recipe import Recipe, read_recipe

NETWORKS = ("fc-ef", "fc-siam-conc", "fc-siam-diff")


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


def recipe_of(
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


def main() -> None:
    options = _options()
    show_progress(False)
    folder = options.folder.absolute()
    case = Case(folder, (2,))
    if not (case.archive / "catalog.json").exists():
        rs.simulate(case.archive, size=options.size, years=SIMULATED, seed=options.seed)
    years = SIMULATED[0], SIMULATED[1]
    rows = []
    for network in options.networks:
        sizes = {"width": options.width, "depth": options.depth}
        recipe = recipe_of(folder, network, years, options.steps, **sizes)
        if not Path(str(recipe.steps[network].options["model"]), "item.json").exists():
            _, report = rs.train(recipe)
            print(f"{network}: {report.verdict}", flush=True)
        run = rs.run(recipe, folder / f"run-{network}")
        grid = recipe.grid.build()
        extent = grid.box_of(run.open(network).odc.geobox).snap(100)
        truth = truth_of(case, years, grid, extent)
        none = np.zeros(extent.shape, bool)
        found = measure(
            truth, prediction(run, network, grid, extent), Prediction(none, ~none, None, None)
        )
        rows.append({"years": 2, "method": network, **found.to_dict()})
        print(table(rows), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=450, help="of the optimiser, 8 crops each")
    parser.add_argument("--width", type=int, default=16, help="of a network's first scale")
    parser.add_argument("--depth", type=int, default=3, help="scales of a network")
    parser.add_argument("--size", type=int, default=1100, help="width of a scene, px")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
