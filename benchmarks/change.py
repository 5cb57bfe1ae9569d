"""Methods that tell change, against a simulated truth of places that none of them has seen.

    python -m benchmarks.change FOLDER [--seeds 0 1 2] [--years 2 4] [--only NAME ...] [--json FILE]
                                [--set train.architecture=gradient_boosting train.steps=null]

FOLDER gets, of each seed, an archive of four years, a model that is trained on labels of these in
the west, the maps of each year, and what each method makes of the last two and of all four; series
have the years before as their history. What is there is kept for the next time. Measured are blocks
of 1 km at least 1 km from any label: a pixel has changed where its class is not the same in all of
the years. What the columns are says ``Figures`` in benchmarks/change_figures.py.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import odc.geo.xr  # noqa: F401 -- gives arrays their .odc

import rsscale as rs
from benchmarks.change_case import SIMULATED, Case
from benchmarks.change_figures import Figures, Prediction, Truth, measure
from benchmarks.change_methods import METHODS
from benchmarks.options import parser_of
from rsscale.accuracy.evaluation_blocks import BlockLattice
from rsscale.breaks.alerts import CONFIRMED
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.rasterize import area_mask
from rsscale.layers import NODATA
from rsscale.progress.bars import show_progress
from rsscale.reference.class_raster import RasterOnGrid

_METRES = 1000.0
_BLOCK = 100  # pixels of 10 m


def main() -> None:
    options = _options()
    os.environ["RSSCALE_FUNCTIONS"] = "benchmarks"
    show_progress(False)
    rows = []
    for seed in options.seeds:
        case = Case(options.folder.absolute() / f"seed-{seed}", tuple(options.set))
        if not (case.archive / "catalog.json").exists():
            rs.simulate(case.archive, size=options.size, years=SIMULATED, seed=seed)
        case.maps()
        for count in options.years:
            of_case = [
                {"seed": seed, "years": count, "method": name, **figures.to_dict()}
                for name, figures in compare(case, options.only, count).items()
            ]
            print(f"\nseed {seed}, {count} years\n{table(of_case)}", flush=True)
            rows += of_case
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--years", type=int, nargs="+", choices=(2, 3, 4), default=[2, 4])
    parser.add_argument("--only", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--set", nargs="+", default=[], help="keys of the recipe, key=value")
    parser.add_argument("--size", type=int, default=1100, help="width of a scene, px")
    return parser.parse_args()


def compare(case: Case, names: list[str], count: int) -> dict[str, Figures]:
    """Figures of methods by name, of the last years."""
    grid = case.recipe().grid.build()
    extent = grid.box_of(case.maps().open().odc.geobox).snap(_BLOCK)
    years = SIMULATED[-count:]
    truth = truth_of(case, years, grid, extent)
    first, *_ = METHODS
    said = {}
    for name in dict.fromkeys([first, *names]):
        run = case.made_by(f"{name.replace(' ', '-')}-{count}", METHODS[name](case, years))
        said[name] = prediction(run, "change", grid, extent)
    return {name: measure(truth, said[name], said[first]) for name in names}


def truth_of(case: Case, years: tuple[int, ...], grid: Grid, extent: PixelBox) -> Truth:
    """True classes of years over whole blocks, and which pixels are measured."""
    labels = gpd.read_file(case.archive / "labels.gpkg").to_crs(grid.crs)
    lattice = BlockLattice(grid, _BLOCK, tuple(labels.geometry), _METRES)
    far = lattice.keeps_distance(extent).repeat(_BLOCK, 0).repeat(_BLOCK, 1)
    paths = [case.archive / "truth" / f"landcover_{year}.tif" for year in years]
    classes = np.stack([RasterOnGrid(path, grid).read(extent) for path in paths])
    area = grid.project(rs.read_area(case.archive / "area.geojson")).geom
    where = far & area_mask(area, grid, extent) & (classes != NODATA).all(axis=0)
    return Truth(classes, years, where)


def prediction(run: rs.Run, step: str, grid: Grid, extent: PixelBox) -> Prediction:
    """What a step of a run says of a box of pixels; nothing beyond its layers."""
    layers = run.open(step).squeeze("time").load()
    box = grid.box_of(layers.odc.geobox)
    shared = box & extent

    def values(name: str, nodata: int) -> Any:
        out = np.full(extent.shape, nodata, layers[name].dtype)
        out[shared.slices(extent)] = layers[name].values[shared.slices(box)]
        return out

    if "alert" in layers:
        alert, date = values("alert", NODATA), values("change_date", 0)
        days = date if date.dtype.kind == "M" else date.astype("datetime64[D]")
        year = days.astype("datetime64[Y]").astype(np.int64) + 1970
        return Prediction(alert == CONFIRMED, alert != NODATA, None, year)
    change = values("change", NODATA)
    probability = year = None
    if "change_probability" in layers:
        probability = values("change_probability", NODATA).astype(np.float32) / 100
    if "change_year" in layers:
        year = values("change_year", 65535).astype(np.int64)
    return Prediction(change == 1, change != NODATA, probability, year)


_COLUMNS = (
    ("f1", "F1"), ("precision", "prec."), ("recall", "recall"), ("area_ratio", "area"),
    ("false", "false"), ("false_at_border", "border"), ("differencing", "times"),
    ("as_it_is", "as is"),
    ("year_right", "year"), ("calibration", "ECE"), ("calibration_likely", "ECE>5%"),
    ("mapped", "mapped"),
)  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Lines of a table, for people."""
    head = f"{'':<25}" + "".join(f"{title:>8}" for _, title in _COLUMNS)
    lines = [
        f"{row['method']:<25}" + "".join(_cell(row[key]) for key, _ in _COLUMNS) for row in rows
    ]
    return "\n".join([head, *lines])


def _cell(value: float | None) -> str:
    if value is None:
        return f"{'-':>8}"
    return f"{value:>8.0f}" if value >= 100 else f"{value:>8.3f}"


if __name__ == "__main__":
    main()
