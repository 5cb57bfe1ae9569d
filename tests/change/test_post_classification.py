"""Change against a plain loop over pixels, and its probability against enumeration."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr
from odc.geo.xr import xr_coords
from sklearn import metrics

from rsscale.change.post_classification import change_accuracy, detect_change
from rsscale.errors import AreaError, ModelError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass, class_attributes, classes_from_attributes

DATA = Path(__file__).resolve().parents[2] / "../shared/data/taizhou-change"
CLASSES = (
    LandClass(1, "water", "#0000ff"),
    LandClass(4, "dense forest", "#00ff00"),
    LandClass(5, "built up", "#ff0000"),
)
VALUES = np.array([c.value for c in CLASSES], np.uint8)
GRID = Grid("EPSG:32631", 10.0)
BOX = PixelBox(-500, 30, -470, 70)


def land_map(  # one map of a year, as a product at one time
    classification: np.ndarray,
    year: int = 2020,
    *,
    confidence: np.ndarray | None = None,
    probability: np.ndarray | None = None,
    box: PixelBox = BOX,
    grid: Grid = GRID,
    lazy: bool = False,
) -> xr.Dataset:
    def data(values: np.ndarray) -> np.ndarray | da.Array:
        return da.from_array(values, chunks=16) if lazy else values

    dims = ("y", "x")
    attributes = class_attributes(CLASSES) | {"nodata": NODATA, "grid_mapping": "spatial_ref"}
    layers = {"classification": (dims, data(classification), attributes)}
    if confidence is not None:
        layers["confidence"] = (dims, data(confidence), {})
    if probability is not None:
        layers["probability"] = (("class", *dims), data(probability), {})
    coords = dict(xr_coords(grid.geobox_of(box), always_yx=True))
    coords["time"] = np.datetime64(f"{year}-01-01", "ns")
    return xr.Dataset(layers, coords)


def random_map(seed: int, *, lazy: bool = False) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    classes = rng.choice([*VALUES, NODATA], BOX.shape).astype(np.uint8)
    confidence = rng.integers(34, 101, BOX.shape).astype(np.uint8)
    confidence[classes == NODATA] = NODATA
    return land_map(classes, 2020 + seed, confidence=confidence, lazy=lazy)


def same_class_probability(a: int, p: float, b: int, q: float) -> float:
    """Every pair of true classes, with the rest spread over the classes not mapped."""
    total = 0.0
    for k in VALUES:
        before = p if k == a else (1 - p) / (len(VALUES) - 1)
        after = q if k == b else (1 - q) / (len(VALUES) - 1)
        total += before * after
    return total


@pytest.mark.parametrize("lazy", [False, True])
def test_layers_equal_a_loop_over_pixels(lazy: bool) -> None:
    before, after = random_map(0, lazy=lazy), random_map(1, lazy=lazy)
    change = detect_change(before, after)
    assert all(dask.is_dask_collection(layer.data) == lazy for layer in change.values())
    before, after, change = dask.compute(before, after, change)
    assert {layer.dtype for layer in change.values()} == {np.dtype("uint8")}
    for row, col in np.ndindex(*BOX.shape):
        a, b = (int(ds["classification"].values[row, col]) for ds in (before, after))
        found = {str(name): int(layer.values[row, col]) for name, layer in change.items()}
        if NODATA in (a, b):
            assert set(found.values()) == {NODATA}
            continue
        p, q = (ds["confidence"].values[row, col] / 100 for ds in (before, after))
        assert (found["change"], found["from"], found["to"]) == (int(a != b), a, b)
        expected = 100 * (1 - same_class_probability(a, p, b, q))
        assert found["change_probability"] == pytest.approx(expected, abs=0.501)


def test_all_probabilities_are_used_when_they_are_there() -> None:
    rng = np.random.default_rng(2)
    maps, exact = [], []
    for year in (2020, 2021):
        p = rng.dirichlet([1, 1, 1], BOX.shape).transpose(2, 0, 1)
        percent = (p * 100).round().astype(np.uint8)
        classes = VALUES[p.argmax(axis=0)]
        wrong = np.full(BOX.shape, 100, np.uint8)  # would give another answer
        maps.append(land_map(classes, year, confidence=wrong, probability=percent))
        exact.append(p)
    change = detect_change(*maps)
    expected = 100 * (1 - (exact[0] * exact[1]).sum(axis=0))
    np.testing.assert_allclose(change["change_probability"], expected, atol=2)


def probabilities(seed: int) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    percent = (rng.dirichlet([1, 1, 1], BOX.shape).transpose(2, 0, 1) * 100).round()
    classes = VALUES[percent.argmax(axis=0)]
    classes[rng.random(BOX.shape) < 0.1] = NODATA
    return land_map(classes, 2020 + seed, probability=percent.astype(np.uint8))


@pytest.mark.parametrize("make", [random_map, probabilities])
@pytest.mark.parametrize(
    "chunks",
    [({"y": 7, "x": 40}, {"y": 16, "x": 9}), ({"y": 1}, None), (None, {"class": 1})],
)
def test_chunks_of_either_map_change_no_value(
    make: Callable[[int], xr.Dataset], chunks: tuple[dict[str, int] | None, ...]
) -> None:
    maps = [make(0), make(1)]
    cut = [
        ds if sizes is None else ds.chunk({k: n for k, n in sizes.items() if k in ds.dims})
        for ds, sizes in zip(maps, chunks, strict=True)
    ]
    found = detect_change(*cut)
    assert all(dask.is_dask_collection(layer.data) for layer in found.values())
    found, expected = found.compute(scheduler="synchronous"), detect_change(*maps)
    assert found.identical(expected)


def test_nothing_is_computed_at_the_call() -> None:
    def refuse(_block: np.ndarray) -> np.ndarray:
        raise AssertionError("a pixel was computed at the call")

    def untouchable(array: xr.DataArray) -> xr.DataArray:
        meta = np.empty((0,) * array.ndim, array.dtype)
        return array.copy(data=array.chunk(y=10).data.map_blocks(refuse, meta=meta))

    change = detect_change(*(probabilities(seed).map(untouchable) for seed in (0, 1)))
    assert {layer.dtype for layer in change.values()} == {np.dtype("uint8")}
    with pytest.raises(AssertionError, match="was computed at the call"):
        change.compute(scheduler="synchronous")


def test_maps_are_not_kept_once_they_are_compared() -> None:
    """xarray keeps an accessor with its array, which the accessor keeps."""
    maps = [random_map(0), random_map(1)]
    kept = [weakref.ref(ds["classification"].values) for ds in maps]
    gc.collect()
    gc.disable()
    try:
        change = detect_change(*maps)
        del maps
        assert all(ref() is None for ref in kept)
        assert change["change"].shape == BOX.shape
    finally:
        gc.enable()


def test_rounded_probabilities_never_leave_0_to_100() -> None:
    sure = np.zeros((3, *BOX.shape), np.uint8)
    sure[0], sure[1] = 100, 1  # 99.5 and 0.5, both rounded up
    one = land_map(np.full(BOX.shape, 1, np.uint8), probability=sure)
    assert (detect_change(one, one)["change_probability"] == 0).all()


def test_maps_without_confidence_give_no_probability() -> None:
    one = land_map(np.full(BOX.shape, 1, np.uint8))
    assert set(detect_change(one, one).data_vars) == {"change", "from", "to"}


def test_classes_colours_and_place_are_kept() -> None:
    before, after = random_map(0), random_map(1).expand_dims("time")
    change = detect_change(before, after)
    assert change.odc.geobox == GRID.geobox_of(BOX)
    assert classes_from_attributes(change["from"].attrs) == CLASSES
    assert classes_from_attributes(change["to"].attrs) == CLASSES
    names = [(c.value, c.name) for c in classes_from_attributes(change["change"].attrs)]
    assert names == [(0, "unchanged"), (1, "changed")]
    for layer in change.values():
        assert layer.attrs["nodata"] == NODATA
        assert layer.odc.crs == "EPSG:32631"


def test_maps_that_do_not_fit_are_refused() -> None:
    one = random_map(0)
    values = one["classification"].values
    with pytest.raises(AreaError, match="differ in x: 40 pixels from 305"):
        detect_change(one, land_map(values, box=PixelBox(-500, 31, -470, 71)))
    with pytest.raises(AreaError, match=r"CRS \['WGS 84 / UTM zone 31N', .* 32N'\]"):
        detect_change(one, land_map(values, grid=Grid("EPSG:32632", 10.0)))
    two_times = xr.concat([one, random_map(1)], "time")
    with pytest.raises(AreaError, match="2 times; choose one"):
        detect_change(one, two_times)
    other = land_map(values)
    other["classification"].attrs.update(class_attributes(CLASSES[:2]))
    with pytest.raises(ModelError, match="the same names to the same values"):
        detect_change(one, other)
    with pytest.raises(ModelError, match="no layer 'classification'"):
        detect_change(one, one.drop_vars("classification"))


def stored(dtype: str, hole: float, **attributes: object) -> xr.Dataset:
    """The same map of columns of classes, with rows of nodata as other tools store it."""
    values = np.broadcast_to(VALUES[np.arange(40) % 3], BOX.shape).astype(dtype)
    values[20:25] = hole
    ds = land_map(values)
    del ds["classification"].attrs["nodata"]
    ds["classification"].attrs.update(attributes)
    return ds


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("dtype", "hole", "attributes"),
    [
        ("float64", np.nan, {}),
        ("float32", -1.0, {"_FillValue": -1.0}),
        ("int16", -9999, {"nodata": -9999}),
        ("uint8", 0, {"missing_value": 0}),
        ("uint16", 255, {}),
        ("uint8", 17, {"nodata": np.uint8(17)}),
    ],
)
def test_nodata_is_what_the_layer_says(
    dtype: str, hole: float, attributes: dict[str, object], lazy: bool
) -> None:
    one = stored("uint8", 255)
    other = stored(dtype, hole, **attributes)
    other = other.chunk(y=7) if lazy else other
    expected = detect_change(one, one)
    for pair in ((one, other), (other, one)):
        change = detect_change(*pair).compute()
        for name in ("change", "from", "to"):
            np.testing.assert_array_equal(change[name].values, expected[name].values)
            assert change[name].dtype == np.uint8
            assert change[name].attrs["nodata"] == NODATA


def test_nodata_in_the_encoding_counts_too() -> None:
    """Where xarray moves it when a file is opened with its own nodata."""
    one, other = stored("uint8", 255), stored("float32", 9.0)
    other["classification"].encoding["_FillValue"] = 9.0
    assert set(np.unique(detect_change(one, other)["change"])) == {0, NODATA}


@pytest.mark.parametrize(
    ("dtype", "hole", "attributes", "message"),
    [
        (
            "uint8",
            7,
            {},
            r"second map holds the value 7 \(200 pixels\).* none of its classes 1 wat",
        ),
        ("float32", 1.7, {}, r"the value 1.7 \(200 pixels\); class values are whole numbers"),
        ("int16", -9999, {}, r"the value -9999 \(200 pixels\).*declare it as such"),
        ("uint16", 300, {}, r"the value 300 \(200 pixels\)"),
        ("uint8", 4, {"nodata": 4}, "declares 4 to be nodata, which is its class 'dense forest'"),
        ("uint8", 255, {"nodata": "none"}, "has the nodata 'none'; expected a number"),
    ],
)
def test_values_that_are_no_class_are_refused(
    dtype: str, hole: float, attributes: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        detect_change(stored("uint8", 255), stored(dtype, hole, **attributes))


def test_probabilities_meet_by_class_and_not_by_order() -> None:
    one, other = probabilities(0), probabilities(1)
    bare = other.isel({"class": [2, 0, 1]}).copy(deep=True)
    bare["classification"].attrs.update(class_attributes([CLASSES[k] for k in (2, 0, 1)]))
    assert detect_change(one, bare).identical(detect_change(one, other))
    one, other = (ds.assign_coords({"class": VALUES}) for ds in (one, other))
    turned = other.isel({"class": [2, 0, 1]})
    turned["classification"].attrs.update(class_attributes([CLASSES[k] for k in (2, 0, 1)]))
    assert detect_change(one, turned).identical(detect_change(one, other))


def test_change_accuracy_on_a_real_reference() -> None:
    """A plain change vector magnitude on Landsat, thresholded: the figures are scikit-learn's."""
    if not DATA.exists():
        pytest.skip("the Taizhou scenes are not here: ../shared/data/taizhou-change")
    with rasterio.open(DATA / "reference.tif") as file:
        reference, affine, crs = file.read(1), file.transform, file.crs
    images = [
        np.stack([_band(path) for path in sorted(DATA.glob(f"images/{year}TM_*.tif"))])
        for year in (2000, 2003)
    ]
    standard = [(b - b.mean((1, 2), keepdims=True)) / b.std((1, 2), keepdims=True) for b in images]
    magnitude = np.linalg.norm(standard[1] - standard[0], axis=0)
    resolution = affine.a
    grid = Grid(str(crs), resolution, origin=(affine.c % resolution, affine.f % resolution))
    row, col = (
        round((grid.origin[1] - affine.f) / resolution),
        round((affine.c - grid.origin[0]) / resolution),
    )
    box = PixelBox(row, col, row + reference.shape[0], col + reference.shape[1])
    found = (magnitude > np.quantile(magnitude, 0.8)).astype(np.uint8)
    layer = xr.DataArray(
        found, dims=("y", "x"), coords=dict(xr_coords(grid.geobox_of(box), always_yx=True))
    )
    accuracy = change_accuracy(layer, DATA / "reference.tif")
    known = reference != NODATA
    truth, mapped = reference[known], found[known]
    assert accuracy.pixels == 4227 + 17163
    assert accuracy.f1("changed") == pytest.approx(metrics.f1_score(truth, mapped))
    assert accuracy.users("changed") == pytest.approx(metrics.precision_score(truth, mapped))
    assert accuracy.producers("changed") == pytest.approx(metrics.recall_score(truth, mapped))
    assert accuracy.kappa == pytest.approx(metrics.cohen_kappa_score(truth, mapped))
    assert accuracy.f1("changed") > 0.8


def _band(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1).astype(float)
