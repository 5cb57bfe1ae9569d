"""Whole runs with drawn tile sizes, areas, blending and order of tiles: always the same map."""

import random
import tempfile
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

import rsscale as rs
from rsscale.geo.lattice import Lattice
from rsscale.learn.models import open_model, save_model
from rsscale.runs import loop as run_module

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


@pytest.fixture(scope="module")
def references(
    landscape: Landscape, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, xr.Dataset]]:
    """For each way of blending a model, and the map of the whole area by it."""
    found = {}
    for name, lattice in LATTICES.items():
        folder = tmp_path_factory.mktemp(name)
        model = open_model(landscape.folder / "model", device="cpu")
        save_model(replace(model, spec=replace(model.spec, lattice=lattice)), folder / "model")
        recipe = landscape.recipe(model=str(folder / "model"))
        found[name] = folder, rs.run(recipe, folder / "run", **OPTIONS).open().load()
    return found


def differing(
    landscape: Landscape,
    folder: Path,
    whole: xr.Dataset,
    area: shapely.Geometry,
    tile: int,
    seed: int,
) -> dict[str, int]:
    """Map an area in one way; its pixels, by layer, that are not those of the map of all."""
    gpd.GeoDataFrame(geometry=[area], crs="EPSG:32631").to_file(folder / "part.gpkg")
    recipe = landscape.recipe(
        area=str(folder / "part.gpkg"),
        model=str(folder / "model"),
        grid={"crs": "EPSG:32631", "resolution": 10, "tile": tile},
    )
    unfinished = run_module.unfinished

    def shuffled(*args: Any, **options: Any) -> Any:
        tasks = list(unfinished(*args, **options))
        random.Random(seed).shuffle(tasks)
        return iter(tasks)

    with (
        tempfile.TemporaryDirectory() as out,
        mock.patch.object(run_module, "unfinished", shuffled),
    ):
        part = rs.run(recipe, out, **OPTIONS).open().load()
    x, y = np.meshgrid(part.x.values, part.y.values)
    inside = shapely.contains_xy(area, x, y)
    same = whole.reindex(x=part.x, y=part.y, method="nearest", tolerance=1e-3, fill_value=255)
    assert inside.any()
    return {
        name: int((part[name].values[0] != np.where(inside, same[name].values[0], 255)).sum())
        for name in LAYERS
    }


@st.composite
def cuts(draw: st.DrawFn) -> tuple[shapely.Geometry, int, int]:
    """An area, a tile size that need not go with anything, and an order."""
    area, tile = draw(AREAS), draw(st.integers(60, 1300))
    left, bottom, right, top = area.bounds
    assume(area.area > 500**2)
    assume(((right - left) / 10 / tile + 1) * ((top - bottom) / 10 / tile + 1) <= MOST_TILES)
    return area, tile, draw(st.integers(0, 2**20))


@pytest.mark.parametrize("blend", LATTICES)
@settings(max_examples=6, **SETTINGS)
@given(cut=cuts())
def test_any_cut_gives_the_same_map(
    landscape: Landscape,
    references: dict[str, tuple[Path, xr.Dataset]],
    blend: str,
    cut: tuple[shapely.Geometry, int, int],
) -> None:
    assert differing(landscape, *references[blend], *cut) == dict.fromkeys(LAYERS, 0)


@pytest.mark.long
@pytest.mark.parametrize("blend", LATTICES)
@settings(max_examples=60, **SETTINGS)
@given(cut=cuts())
def test_any_of_many_cuts_gives_the_same_map(
    landscape: Landscape,
    references: dict[str, tuple[Path, xr.Dataset]],
    blend: str,
    cut: tuple[shapely.Geometry, int, int],
) -> None:
    assert differing(landscape, *references[blend], *cut) == dict.fromkeys(LAYERS, 0)


def test_the_ways_of_blending_differ(references: dict[str, tuple[Path, xr.Dataset]]) -> None:
    trim, hann = (references[name][1].confidence.values for name in LATTICES)
    assert (trim != hann).sum() > 1000
