"""Methods that tell change, against a simulated truth of places that none of them has seen.

    python -m benchmarks.change FOLDER [--seeds 0 1 2] [--years 2 4] [--json FILE]

FOLDER gets, of each seed, an archive of four years, a model that is trained on labels of these in
the west, and a run with the maps of each year, and with what each method makes of the first two and
of all four. What is there is kept for the next time. Measured are blocks of 1 km at least 1 km from
any label: a pixel has changed where its class is not the same in all of the years. What the columns
are says ``Figures`` in benchmarks/change_figures.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

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


@dataclass(frozen=True)
class Method:
    """A method: the steps of a recipe for some years, of which the first one's layers are measured.

    Attributes
    ----------
    steps : callable
        Of a name and years. The step of that name has the layer ``change``, and may have
        ``change_probability`` and ``change_year``.
    inputs : mapping
        Further inputs of the recipe that the steps read, by name.
    """

    steps: Callable[[str, tuple[int, ...]], Mapping[str, Any]]
    inputs: Mapping[str, Any] = field(default_factory=dict)


def _differencing(name: str, years: tuple[int, ...]) -> Mapping[str, Any]:
    ends = {"from": years[0], "to": years[-1]}
    return {name: {"kind": "post-classification", "of": "map", **ends}}


def _temporal(name: str, years: tuple[int, ...]) -> Mapping[str, Any]:
    ends = {"from": years[0], "to": years[-1]}
    return {name: {"kind": "temporal-model", "of": "map", "years": False, **ends}}


METHODS: dict[str, Method] = {
    "label differencing": Method(_differencing),
    "temporal model": Method(_temporal),
}
"""The first is what all are compared with."""


@dataclass(frozen=True)
class Case:
    """An archive, and what is made of it.

    Attributes
    ----------
    folder : Path
    counts : tuple of int
        Of how many years change is told.
    """

    folder: Path
    counts: tuple[int, ...]

    @property
    def archive(self) -> Path:
        """Where it lies."""
        return self.folder / "archive"

    def recipe(self) -> Recipe:
        """That of the demo for all years, with the steps of all methods."""
        base = files("rsscale.demo").joinpath("recipe.yaml").read_text("utf-8")
        path = self.folder / "recipe.yaml"
        path.write_text(base)
        steps: dict[str, Any] = {}
        for name, method in METHODS.items():
            for count in self.counts:
                steps |= method.steps(step_of(name, count), SIMULATED[:count])
        years = f"[{', '.join(map(str, SIMULATED))}]"
        return read_recipe(
            path,
            (
                f"periods={years}", f"train.periods={years}", "change=null",
                f"steps={json.dumps(steps)}",
            ),
        )  # fmt: skip

    def run(self) -> rs.Run:
        """Train where there is no model yet, and compute what is not there yet."""
        recipe = self.recipe()
        if not (self.folder / "model" / "item.json").exists():
            rs.train(recipe)
        return rs.run(recipe, self.folder / "run", trust=True)


def step_of(method: str, years: int) -> str:
    """The name of the step of a method for so many years."""
    return f"{method.replace(' ', '-')}-{years}"


def main() -> None:
    options = _options()
    show_progress(False)
    rows = []
    for seed in options.seeds:
        case = Case(options.folder.absolute() / f"seed-{seed}", tuple(options.years))
        if not (case.archive / "catalog.json").exists():
            rs.simulate(case.archive, size=options.size, years=SIMULATED, seed=seed)
        run = case.run()
        for count in options.years:
            of_case = [
                {"seed": seed, "years": count, "method": name, **figures.to_dict()}
                for name, figures in compare(case, run, count).items()
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
    parser.add_argument("--size", type=int, default=1100, help="width of a scene, px")
    return parser.parse_args()


def compare(case: Case, run: rs.Run, count: int) -> dict[str, Figures]:
    """Figures of all methods by name, of the first years."""
    grid = case.recipe().grid.build()
    extent = grid.box_of(run.open("map").odc.geobox).snap(_BLOCK)
    truth = truth_of(case, SIMULATED[:count], grid, extent)
    said = {name: prediction(run, step_of(name, count), grid, extent) for name in METHODS}
    first = next(iter(said.values()))
    return {name: measure(truth, one, first) for name, one in said.items()}


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
    """What a step says of a box of pixels; nothing beyond its layers."""
    layers = run.open(step).squeeze("time").load()
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
    head = f"{'':<22}" + "".join(f"{title:>8}" for _, title in _COLUMNS)
    lines = [
        f"{row['method']:<22}" + "".join(_cell(row[key]) for key, _ in _COLUMNS) for row in rows
    ]
    return "\n".join([head, *lines])


def _cell(value: float | None) -> str:
    if value is None:
        return f"{'-':>8}"
    return f"{value:>8.0f}" if value >= 100 else f"{value:>8.3f}"


if __name__ == "__main__":
    main()
