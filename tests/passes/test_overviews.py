"""Overviews against a loop over pixels; the same for every tile size and on workers."""

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401 -- .rio
import shapely
import xarray as xr
from formula_pass import AREA, LAYERS, allowed, formula_recipe, values
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geom import Geometry

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.rasterize import area_mask
from rsscale.layers import Layer
from rsscale.passes.overviews import reduce

LEVELS = 3
STEPS = {"pyramid": {"kind": "overviews", "of": "map", "levels": LEVELS}}
OPTIONS: dict[str, Any] = {"threads": 1, "device": "cpu"}
PLAIN = Layer("codes", overview="nearest")
FLOAT = Layer("height", "float32", -9999, overview="mean")


@pytest.fixture(scope="module", autouse=True)
def formula_allowed() -> Iterator[None]:
    with allowed():
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    folder = tmp_path_factory.mktemp("finished")
    return rs.run(formula_recipe(folder, tile=512, steps=STEPS), folder / "run", **OPTIONS)


def slow(layer: Layer, plane: np.ndarray) -> np.ndarray:
    """One plane at half the resolution, pixel by pixel, in plain Python."""
    height, width = plane.shape
    out = np.full((height // 2, width // 2), layer.nodata, layer.numpy_dtype)
    for row, col in np.ndindex(out.shape):
        four = plane[2 * row : 2 * row + 2, 2 * col : 2 * col + 2].ravel().tolist()
        there = [v for v in four if v == v and v != layer.nodata]
        if not there:
            continue
        if layer.overview == "mode":
            # Counter keeps the order of what it counts, and so does most_common.
            out[row, col] = Counter(there).most_common(1)[0][0]
        elif layer.overview == "mean":
            mean = sum(there) / len(there)
            out[row, col] = mean if layer.is_float else round(mean)
        else:
            out[row, col] = there[0]
    return out


def drawn(layer: Layer, seed: int, shape: tuple[int, ...] = (24, 36)) -> np.ndarray:
    """Few different values, so that ties and missing ones are common; the type's limits too."""
    random = np.random.default_rng(seed)
    if layer.is_float:
        found = random.choice([-1.5, 0.25, 3e30, np.nan, layer.nodata], shape)
    else:
        limits = np.iinfo(layer.numpy_dtype)
        found = random.choice([1, 2, 3, limits.min, limits.max, int(layer.nodata)], shape)
    return found.astype(layer.numpy_dtype)


@pytest.mark.parametrize("layer", [*LAYERS.values(), PLAIN, FLOAT], ids=lambda one: one.name)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16))
def test_a_layer_is_reduced_as_the_loop_does_it(layer: Layer, seed: int) -> None:
    array = drawn(layer, seed, layer.shape(24, 36))
    planes = array if layer.axis else array[None]
    wanted = np.stack([slow(layer, plane) for plane in planes])
    found = reduce(layer, array)
    assert found.dtype == layer.numpy_dtype
    np.testing.assert_array_equal(found, wanted if layer.axis else wanted[0])


@pytest.mark.parametrize(
    ("four", "wanted"),
    [
        ([7, 3, 3, 7], 7),
        ([3, 7, 7, 3], 3),
        ([1, 2, 3, 3], 3),
        ([9, 4, 2, 1], 9),
        ([255, 4, 2, 255], 4),
        ([255, 255, 255, 6], 6),
        ([255, 255, 255, 255], 255),
    ],
)
def test_ties_go_north_west_and_nodata_never_wins(four: list[int], wanted: int) -> None:
    layer = LAYERS["classification"]
    assert reduce(layer, np.array(four, np.uint8).reshape(2, 2)).item() == wanted


def test_means_are_rounded_half_to_even() -> None:
    layer = LAYERS["confidence"]
    pairs = np.array([[2, 3, 3, 4, 255, 7], [2, 3, 3, 4, 255, 8]], np.uint8)
    assert reduce(layer, pairs).tolist() == [[2, 4, 8]]


def over_area(run: rs.Run, level: int) -> xr.Dataset:
    """A level over the pixels that touch the area's box; products differ in their extents."""
    size = 10 * 2**level
    (x0, y0), (x1, y1) = np.min(AREA, axis=0), np.max(AREA, axis=0)
    ds = run.open(level=level)
    return ds.sel(x=slice(x0 - size / 2, x1 + size / 2), y=slice(y1 + size / 2, y0 - size / 2))


def expected(box: PixelBox, level: int, grid: Grid, shape: Any) -> dict[str, np.ndarray]:
    """Levels by the loop's rules from the formula itself, nodata outside the area."""
    factor = 2**level
    fine = PixelBox(*(edge * factor for edge in (box.row0, box.col0, box.row1, box.col1)))
    found = values(fine, "2023")
    outside = ~area_mask(shape, grid, fine)
    for name, layer in LAYERS.items():
        found[name][..., outside] = layer.nodata
        for _ in range(level):
            found[name] = reduce(layer, found[name])
    return found


@pytest.mark.parametrize("level", range(1, LEVELS + 1))
def test_a_level_is_the_one_below_at_half_the_resolution(finished: rs.Run, level: int) -> None:
    grid = Grid("EPSG:32631", 10, 512)
    area = shapely.Polygon(AREA)
    store = finished.folder.store("map").zarr(read_only=True)
    with xr.open_zarr(store, group=str(level), mask_and_scale=False) as stored:
        whole = grid.at_level(level).box_of(stored.odc.geobox)
        box = grid.at_level(level).box(Geometry(area, grid.crs))
        wanted = expected(box, level, grid, area)
        inside = box.slices(whole)
        for name, layer in LAYERS.items():
            found = stored[name].values[0]
            assert layer.is_valid(found).sum() > 400_000 / 4**level
            np.testing.assert_array_equal(found[(..., *inside)], wanted[name], err_msg=name)
            found[(..., *inside)] = layer.nodata
            assert not layer.is_valid(found).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tile", "cluster"),
    [(384, ""), pytest.param(1024, "two_workers", marks=pytest.mark.extended)],
)
def test_every_tile_size_and_worker_count_gives_the_same_overviews(
    finished: rs.Run, tmp_path: Path, request: pytest.FixtureRequest, tile: int, cluster: str
) -> None:
    client = request.getfixturevalue(cluster) if cluster else None
    other = rs.run(
        formula_recipe(tmp_path, tile=tile, steps=STEPS), tmp_path / "run", client, **OPTIONS
    )
    for level in range(LEVELS + 1):
        one, two = over_area(finished, level), over_area(other, level)
        xr.testing.assert_allclose(one.x, two.x)
        xr.testing.assert_allclose(one.y, two.y)
        for name in LAYERS:
            np.testing.assert_array_equal(one[name].values, two[name].values, err_msg=name)


def test_a_product_still_opens_at_full_resolution(finished: rs.Run) -> None:
    path = Path(finished.path) / "product.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xr.open_zarr(path) as ds, xr.open_zarr(path, group="1") as half:
            assert set(ds.data_vars) == set(half.data_vars) == set(LAYERS)
            assert ds.classification.dtype == half.classification.dtype == np.uint8
            assert float(ds.x[1] - ds.x[0]) == 10
            assert float(half.x[1] - half.x[0]) == 20
            assert half.classification.rio.crs.to_epsg() == 32631
            # Corners of pixels of both levels lie on the grid's origin.
            assert (float(half.x[0]) - 10) % 20 == (float(half.y[0]) + 10) % 20 == 0
            assert half.classification.attrs["flag_values"] == ds.classification.flag_values


def test_the_root_says_which_levels_there_are(finished: rs.Run) -> None:
    root = json.loads(finished.folder.store("map").read("zarr.json"))
    attributes = root["attributes"]
    assert {one["name"] for one in attributes["zarr_conventions"]} == {
        "spatial", "proj:", "multiscales",
    }  # fmt: skip
    layout = attributes["multiscales"]["layout"]
    assert [one["asset"] for one in layout] == [".", "1", "2", "3"]
    assert [one.get("derived_from") for one in layout] == [None, ".", "1", "2"]
    assert all(one["transform"]["scale"] == [2, 2] for one in layout[1:])
    for before, level in pairwise(layout):
        xs, ys = before["spatial:transform"], level["spatial:transform"]
        down, right = level["transform"]["translation"]
        assert xs[2] + right * xs[0] == ys[2]
        assert xs[5] + down * xs[4] == ys[5]
        own = finished.folder.store("map").read(f"{level['asset']}/zarr.json")
        own_attributes = json.loads(own)["attributes"]
        assert own_attributes["spatial:transform"] == ys
        assert own_attributes["spatial:shape"] == level["spatial:shape"]


@pytest.mark.extended
def test_one_way_for_all_layers_is_named_as_the_convention_does(tmp_path: Path) -> None:
    recipe = formula_recipe(
        tmp_path, tile=2048, steps={"pyramid": {"kind": "overviews", "of": "map"}},
        options={"layers": ["confidence"]},
    )  # fmt: skip
    run = rs.run(recipe, tmp_path / "run", **OPTIONS)
    root = json.loads(run.folder.store("map").read("zarr.json"))
    multiscales = root["attributes"]["multiscales"]
    assert multiscales["resampling_method"] == "average"
    assert len(multiscales["layout"]) == 2  # one level where a tile holds all


@pytest.mark.slow
def test_a_damaged_tile_is_computed_again_with_all_above_it(tmp_path: Path) -> None:
    recipe = formula_recipe(tmp_path, tile=512, steps=STEPS, options={"layers": ["classification"]})
    run = rs.run(recipe, tmp_path / "run", **OPTIONS)
    before = [run.open(level=level).load() for level in range(LEVELS + 1)]
    shards = (tmp_path / "run/product.zarr/1/classification/c").rglob("*")
    shard = next(path for path in shards if path.is_file())
    shard.write_bytes(b"damaged")
    rs.resume(tmp_path / "run")
    for level in range(LEVELS + 1):
        xr.testing.assert_identical(run.open(level=level).load(), before[level])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"a": {"kind": "overviews"}}, "needs 'of'"),
        ({"a": {"kind": "overviews", "of": "map", "levels": 0}}, "levels"),
        (
            {"a": {"kind": "overviews", "of": "map"}, "b": {"kind": "overviews", "of": "map"}},
            "step 'a' writes overviews of 'map' already",
        ),
        (
            {"a": {"kind": "overviews", "of": "map"}, "b": {"kind": "overviews", "of": "a"}},
            "writes no layers at full resolution",
        ),
    ],
)
def test_what_can_t_be_is_refused(tmp_path: Path, steps: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        rs.run(formula_recipe(tmp_path, steps=steps), tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()
