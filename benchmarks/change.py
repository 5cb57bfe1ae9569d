"""Methods that tell change, against a simulated truth of places that none of them has seen.

    python -m benchmarks.change FOLDER [--seeds 0 1 2] [--years 2 4] [--only NAME ...] [--json FILE]
                                [--set train.architecture=gradient_boosting train.steps=null]

FOLDER gets, of each seed, an archive of four years, a model that is trained on labels of these in
the west, the maps of each year, and what each method makes of the first two and of all four. What
is there is kept for the next time. Measured are blocks of 1 km at least 1 km from any label: a
pixel has changed where its class is not the same in all of the years. What the columns are says
``Figures`` in benchmarks/change_figures.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import odc.geo.xr  # noqa: F401 -- gives arrays their .odc

import rsscale as rs
from benchmarks.change_figures import Figures, Prediction, Truth, measure
from benchmarks.options import parser_of
from rsscale.accuracy.evaluation_blocks import BlockLattice
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.rasterize import area_mask
from rsscale.layers import NODATA
from rsscale.progress import show_progress
from rsscale.recipe import Recipe, read_recipe
from rsscale.reference.class_raster import RasterOnGrid

SIMULATED = (2021, 2022, 2023, 2024)
_METRES = 1000.0
_BLOCK = 100  # pixels of 10 m


Years = tuple[int, ...]
Steps = dict[str, dict[str, Any]]
Method = Callable[[Any, Years], Steps]
"""From where the maps of each year are and from years to steps, of which ``change`` is measured:
its layers ``change``, and where it has them ``change_probability`` and ``change_year``."""


def _ends(years: Years) -> dict[str, Any]:
    return {"from": years[0], "to": years[-1]}


def differencing(maps: Any, years: Years) -> Steps:
    return {"change": {"kind": "post-classification", "of": maps, **_ends(years)}}


def temporal_model(maps: Any, years: Years) -> Steps:
    return {"change": {"kind": "temporal-model", "of": maps, "years": False, **_ends(years)}}


def of_smoothed_maps(maps: Any, years: Years) -> Steps:
    smooth = {"kind": "smooth", "of": maps, "method": "gaussian-markov"}
    return {"smooth": smooth, **temporal_model("smooth", years)}


def without_small_pieces(maps: Any, years: Years) -> Steps:
    (told,) = temporal_model(maps, years).values()
    sieve = {"kind": "minimum-mapping-unit", "of": "told", "layer": "change", "hectares": 0.2}
    return {"told": told, "change": sieve}


def spectral(method: str) -> Method:
    def steps(maps: Any, years: Years) -> Steps:
        del maps
        return {"change": {"kind": "spectral-change", "of": "s2", "method": method, **_ends(years)}}

    return steps


METHODS: dict[str, Method] = {
    "label differencing": differencing,
    "temporal model": temporal_model,
    "temporal, smoothed maps": of_smoothed_maps,
    "temporal, 0.2 ha": without_small_pieces,
    "change vectors": spectral("change-vector"),
    "IR-MAD": spectral("ir-mad"),
}
"""The first is what all are compared with."""


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
        return self._done(self.recipe(), self.folder / "run")

    def told(self, name: str, count: int) -> rs.Run:
        """What a method makes of the first years."""
        maps = {"run": str(self.folder / "run"), "step": "map"}
        steps = METHODS[name](maps, SIMULATED[:count])
        recipe = self.recipe("model=null", "output.layers=null", f"steps={json.dumps(steps)}")
        return self._done(recipe, self.folder / f"{name.replace(' ', '-')}-{count}")

    def _done(self, recipe: Recipe, folder: Path) -> rs.Run:
        if (folder / "run.json").exists() and rs.Run(folder).state["state"] == "done":
            return rs.Run(folder)
        return rs.run(recipe, folder, trust=True)


def main() -> None:
    options = _options()
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
    """Figures of methods by name, of the first years."""
    grid = case.recipe().grid.build()
    extent = grid.box_of(case.maps().open().odc.geobox).snap(_BLOCK)
    truth = truth_of(case, SIMULATED[:count], grid, extent)
    first, *_ = METHODS
    said = {
        name: prediction(case.told(name, count), grid, extent)
        for name in dict.fromkeys([first, *names])
    }
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


def prediction(run: rs.Run, grid: Grid, extent: PixelBox) -> Prediction:
    """What the step ``change`` of a run says of a box of pixels; nothing beyond its layers."""
    layers = run.open("change").squeeze("time").load()
    box = grid.box_of(layers.odc.geobox)
    shared = box & extent

    def values(name: str, nodata: int) -> Any:
        out = np.full(extent.shape, nodata, layers[name].dtype)
        out[shared.slices(extent)] = layers[name].values[shared.slices(box)]
        return out

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
