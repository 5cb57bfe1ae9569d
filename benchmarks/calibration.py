"""How far the probabilities and the sets of a map can be believed where nothing was labelled.

    python -m benchmarks.calibration FOLDER [--only unet ...] [--level 0.95] [--json FILE]

FOLDER gets the simulated archive of ``rsscale demo`` and labels of its western part: in each block
of 800 m a square of 150 m, drawn at random, in which all is labelled. Five models are tested on
places that they did not see, and what these say calibrates the sixth, which maps the whole area:
`rsscale train` and `rsscale run` as they are. Its map is compared with the truth of all that lies
at least 1 km east of the labelled part. Printed are, of each learner, the overall accuracy, the
expected calibration error of `confidence` before and after, and how many of the sets `class_set`
hold the true class: what training foretold from its places, and what the map then was.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.features
import rioxarray
import shapely
import xarray as xr
from affine import Affine

import rsscale as rs
from benchmarks.learners import demo_archive
from benchmarks.options import parser_of
from rsscale.layers import NODATA
from rsscale.recipe import read_recipe

_YEARS = (2023, 2024)
_BLOCK = 80  # pixels of 10 m
_SQUARE = 15
_METRES = 1000.0
_CLASSICAL = {
    f"train.{key}": value
    for key, value in {"hyperparameters": {}, "steps": None, "crop": None, "batch": None}.items()
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "unet": {},
    "random_forest": _CLASSICAL,
    "gradient_boosting": _CLASSICAL,
}
Flags = npt.NDArray[np.bool_]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(_SETTINGS), default=list(_SETTINGS))
    parser.add_argument("--level", type=float, default=0.95)
    options = parser.parse_args()
    archive = demo_archive(options.folder)
    labels = write_squares(archive, options.folder / "squares.gpkg")
    rows = []
    for learner in options.only:
        row = {"learner": learner, **figures(options.folder, labels, learner, options.level)}
        print(*(f"{name}: {value}" for name, value in row.items()), sep="\n", flush=True)
        rows.append(row)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def write_squares(archive: Path, out: Path) -> Path:
    """Polygons of the true classes in a square of each block of the labelled part."""
    names = {c["value"]: c["name"] for c in json.loads((archive / "classes.json").read_text())}
    polygons: list[dict[str, Any]] = []
    for year in _YEARS:
        with rasterio.open(archive / f"truth/landcover_{year}.tif") as file:
            classes, transform, crs = file.read(1), file.transform, file.crs
        area = gpd.read_file(archive / "training_area.geojson").to_crs(crs).union_all()
        labelled = squares(area_mask_of(area, classes.shape, transform)) & (classes != NODATA)
        pieces = rasterio.features.shapes(classes, labelled, transform=transform)
        polygons += [
            {
                "landcover": names[int(value)],
                "year": year,
                "geometry": shapely.geometry.shape(piece),
            }
            for piece, value in pieces
        ]
    gpd.GeoDataFrame(polygons, crs=crs).to_file(out)
    return out


def area_mask_of(area: shapely.Geometry, size: tuple[int, ...], transform: Affine) -> Flags:
    """Pixels whose centre lies in an area."""
    return rasterio.features.geometry_mask([area], size, transform, invert=True)


def squares(inside: Flags) -> Flags:
    """Pixels of a square of each block, at a random place; none of what is not wholly inside."""
    random = np.random.default_rng(0)
    chosen = np.zeros_like(inside)
    for row in range(0, inside.shape[0] - _BLOCK, _BLOCK):
        for col in range(0, inside.shape[1] - _BLOCK, _BLOCK):
            top = row + int(random.integers(_BLOCK - _SQUARE))
            left = col + int(random.integers(_BLOCK - _SQUARE))
            square = np.s_[top : top + _SQUARE, left : left + _SQUARE]
            chosen[square] = inside[square].all()
    return chosen


def figures(folder: Path, labels: Path, learner: str, level: float) -> dict[str, Any]:
    """What training foretells, and what the map far from its labels shows."""
    path = folder / f"calibration-{learner}.yaml"
    path.write_text(files("rsscale.demo").joinpath("recipe.yaml").read_text("utf-8"))
    settings = {
        "model": str(folder / f"calibrated-{learner}"),
        "train.labels": str(labels),
        "train.architecture": learner,
        "train.conformal": level,
        "train.chip": 32,
        "train.split": {"blocks": _BLOCK * 10, "folds": 5, "validation": 0.2},
        "output.layers": ["classification", "confidence", "class_set"],
        "change": None,
        **_SETTINGS[learner],
    }
    recipe = read_recipe(path, [f"{key}={json.dumps(value)}" for key, value in settings.items()])
    _, report = rs.train(recipe, device="cpu")
    print(report, flush=True)
    run = rs.run(recipe, folder / f"calibration-{learner}", device="cpu")
    return {"training": str(report.calibration), **measured(run, folder / "archive")}


def measured(run: rs.Run, archive: Path) -> dict[str, Any]:
    """Accuracy, calibration error and coverage of a map, east of all labels."""
    layers = run.open()
    labelled = gpd.read_file(archive / "training_area.geojson").to_crs(layers.odc.crs)
    far = layers.sel(x=slice(labelled.total_bounds[2] + _METRES, None)).load()
    truth = true_classes(far, archive)
    known = (far["classification"].values != NODATA) & (truth != NODATA)
    values = far["classification"].attrs["flag_values"]
    true, said = truth[known], far["classification"].values[known]
    sure = far["confidence"].values[known] / 100
    sets = far["class_set"].values[known].astype(np.int64)
    bits = far["class_set"].attrs["flag_masks"]
    held = sets & np.asarray(bits)[np.searchsorted(values, true)] != 0
    size = sum(((sets & bit) != 0).astype(np.int64) for bit in bits)
    return {
        "pixels": int(known.sum()),
        "accuracy": float((said == true).mean()),
        "calibration error": error_of(sure, said == true),
        "coverage": float(held.mean()),
        "classes in a set": float(size.mean()),
    }


def true_classes(layers: xr.Dataset, archive: Path) -> npt.NDArray[np.uint8]:
    """Of the years and pixels of a map."""
    of_years = []
    for year in _YEARS:
        truth = rioxarray.open_rasterio(archive / f"truth/landcover_{year}.tif", masked=False)
        of_years.append(truth.squeeze("band").reindex(x=layers.x, y=layers.y, fill_value=NODATA))
    stack: npt.NDArray[np.uint8] = np.stack([truth.values for truth in of_years])
    return stack


def error_of(confidence: npt.NDArray[np.floating], right: Flags) -> float:
    """Expected calibration error of the most probable class, in 15 bins of equal width."""
    number = np.minimum((confidence * 15).astype(int), 14)
    total = np.bincount(number, minlength=15)
    gap = np.bincount(number, confidence, 15) - np.bincount(number, right, 15)
    return float(np.abs(gap).sum() / total.sum())


if __name__ == "__main__":
    main()
