"""The map's tile function over drawn boxes and areas, trimmed and blended: always the same map.

The engine adds the order of tiles and where they are computed, which change nothing by then; a few
whole runs in a drawn order say so.
"""

import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from landscape import AREA, Landscape
from once import Once

import rsscale as rs
from rsscale.cluster.profile import NumericProfile
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.layers import TileKey
from rsscale.learn.models import open_model, save_model
from rsscale.model.files import read_spec
from rsscale.plans.find_items import find_items, index_items
from rsscale.plans.planning import open_recipe, read_margin
from rsscale.recipe import read_recipe
from rsscale.runs import loop
from rsscale.steps.base import Pass, Resources
from rsscale.steps.evaluate import evaluate
from rsscale.steps.setup import RunSetup
from rsscale.store.run_folder import RunFolder

pytestmark = pytest.mark.slow
LAYERS = ("classification", "confidence", "observations")
# As in the landscape's model, with a halo that Hann's taper shows in.
LATTICES = {"trim": Lattice(224, 4), "hann": Lattice(224, 24, "hann")}
MOST_TILES = 24
OPTIONS: dict[str, Any] = {"threads": 1, "device": "cpu"}

SETTINGS = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
}


def inside_the_landscape(weights: list[tuple[int, ...]]) -> shapely.Geometry:
    """A polygon whose corners are means of the area's corners."""
    points = np.array([np.average(AREA, axis=0, weights=one) for one in weights])
    return shapely.convex_hull(shapely.multipoints(points))


AREAS = st.lists(st.tuples(*[st.integers(0, 8)] * 4).filter(any), min_size=3, max_size=6).map(
    inside_the_landscape
)


class MadeWhenWanted(dict[str, Any]):
    """What ``make(name)`` gives, made once for each name that is asked for."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> Any:
        self[name] = self._make(name)
        return self[name]


@pytest.fixture(scope="module")
def references(
    once: Once, landscape: Landscape, landscape_run: Path
) -> dict[str, tuple[Path, xr.Dataset]]:
    """For each way of blending a model, and the map of the whole area by it."""

    def make(folder: Path) -> Path:
        model = open_model(landscape.folder / "model", device="cpu")
        save_model(
            replace(model, spec=replace(model.spec, lattice=LATTICES["hann"])), folder / "model"
        )
        rs.run(landscape.recipe(model=str(folder / "model")), folder / "run", **OPTIONS)
        return folder

    def reference(name: str) -> tuple[Path, xr.Dataset]:
        if name == "hann":
            hann = once("landscape-hann", make)
            return hann / "model", rs.Run(hann / "run").open().load()
        assert read_spec(landscape.folder / "model").lattice == LATTICES["trim"]
        return landscape.folder / "model", rs.Run(landscape_run).open().load()

    return MadeWhenWanted(reference)


@pytest.fixture(scope="module")
def opened(
    landscape: Landscape,
    references: dict[str, tuple[Path, xr.Dataset]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[RunSetup, Pass]]:
    """The map as a pass, its items in memory, for each way of blending."""

    def open_map(name: str) -> tuple[RunSetup, Pass]:
        recipe = read_recipe(landscape.recipe(model=str(references[name][0])))
        setup, (step,) = open_recipe(recipe, RunFolder.at(tmp_path_factory.mktemp(name) / "never"))
        assert isinstance(step, Pass)
        items = find_items(recipe, setup.area, read_margin([step], setup.extent()))
        setup.indexes.update(index_items(recipe, setup.grid, items))
        return setup, step

    return MadeWhenWanted(open_map)


def drawn_differing(
    setup: RunSetup, step: Pass, whole: xr.Dataset, area: shapely.Geometry, box: PixelBox
) -> dict[str, int]:
    """Evaluate a box; its pixels, by layer, that are not those of the map of all."""
    part = evaluate(
        step,
        TileKey("map", "2023", 0, 0),
        box,
        grid=setup.grid,
        shape=area,
        resources=Resources(NumericProfile("cpu", 1)),
    ).result.layers
    return compared(part, {name: part[name].values for name in LAYERS}, whole, area)


def compared(
    part: xr.Dataset, values: dict[str, np.ndarray], whole: xr.Dataset, area: shapely.Geometry
) -> dict[str, int]:
    x, y = np.meshgrid(part.x.values, part.y.values)
    inside = shapely.contains_xy(area, x, y)
    same = whole.reindex(x=part.x, y=part.y, method="nearest", tolerance=1e-3, fill_value=255)
    return {
        name: int((values[name] != np.where(inside, same[name].values[0], 255)).sum())
        for name in LAYERS
    }


def differing(
    landscape: Landscape,
    model: Path,
    whole: xr.Dataset,
    area: shapely.Geometry,
    tile: int,
    seed: int,
) -> dict[str, int]:
    """Map an area in one way; its pixels, by layer, that are not those of the map of all."""
    unfinished = loop.unfinished

    def shuffled(*args: Any, **options: Any) -> Any:
        tasks = list(unfinished(*args, **options))
        random.Random(seed).shuffle(tasks)
        return iter(tasks)

    with tempfile.TemporaryDirectory() as out, mock.patch.object(loop, "unfinished", shuffled):
        gpd.GeoDataFrame(geometry=[area], crs="EPSG:32631").to_file(f"{out}/part.gpkg")
        recipe = landscape.recipe(
            area=f"{out}/part.gpkg",
            model=str(model),
            grid={"crs": "EPSG:32631", "resolution": 10, "tile": tile},
        )
        part = rs.run(recipe, f"{out}/run", **OPTIONS).open().load()
    return compared(part, {name: part[name].values[0] for name in LAYERS}, whole, area)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[shapely.Geometry, PixelBox]:
    """An area, and a box of the grid that touches it."""
    area = draw(AREAS)
    assume(area.area > 500**2)
    left, bottom, right, top = area.bounds
    row = draw(st.integers(int(-top // 10) - 50, int(-bottom // 10)))
    col = draw(st.integers(int(left // 10) - 50, int(right // 10)))
    height, width = draw(st.integers(1, 700)), draw(st.integers(1, 700))
    box = PixelBox(row, col, row + height, col + width)
    assume(
        area.intersects(shapely.box(col * 10, -(row + height) * 10, (col + width) * 10, -row * 10))
    )
    return area, box


@pytest.mark.parametrize("blend", ["trim", pytest.param("hann", marks=pytest.mark.extended)])
@settings(max_examples=12, **SETTINGS)
@given(cut=boxes())
def test_any_box_gives_the_same_map(
    references: dict[str, tuple[Path, xr.Dataset]],
    opened: dict[str, tuple[RunSetup, Pass]],
    blend: str,
    cut: tuple[shapely.Geometry, PixelBox],
) -> None:
    whole = references[blend][1]
    assert drawn_differing(*opened[blend], whole, *cut) == dict.fromkeys(LAYERS, 0)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[shapely.Geometry, int, int]:
    """An area, a tile size that need not go with anything, and an order."""
    area, tile = draw(AREAS), draw(st.integers(60, 1300))
    left, bottom, right, top = area.bounds
    assume(area.area > 500**2)
    assume(((right - left) / 10 / tile + 1) * ((top - bottom) / 10 / tile + 1) <= MOST_TILES)
    return area, tile, draw(st.integers(0, 2**20))


def drawn_cuts(count: int) -> Callable[..., None]:
    """The test of so many cuts, for each way of blending."""

    @pytest.mark.parametrize("blend", LATTICES)
    @settings(max_examples=count, **SETTINGS)
    @given(cut=cuts())
    def test(
        landscape: Landscape,
        references: dict[str, tuple[Path, xr.Dataset]],
        blend: str,
        cut: tuple[shapely.Geometry, int, int],
    ) -> None:
        assert differing(landscape, *references[blend], *cut) == dict.fromkeys(LAYERS, 0)

    return test


test_any_cut_gives_the_same_map = pytest.mark.extended(drawn_cuts(1))
test_any_of_many_cuts_gives_the_same_map = pytest.mark.long(drawn_cuts(60))


@pytest.mark.extended
def test_the_ways_of_blending_differ(references: dict[str, tuple[Path, xr.Dataset]]) -> None:
    trim, hann = (references[name][1].confidence.values for name in LATTICES)
    assert (trim != hann).sum() > 1000
