"""Whatever rsscale gives can be saved as netCDF, with what is installed, and comes back equal."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from formula_pass import allowed, formula_recipe
from landscape import PART, Landscape

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.legend.classes import LandClass, class_attributes, classes_from_attributes
from rsscale.legend.flags import class_names

WINDOWS = {"windows": {"spring": ["03-01", "05-31"], "summer": ["06-01", "09-30"]}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("netcdf")
    with allowed():
        rs.run(formula_recipe(folder, tile=256, periods=[2023]), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def product(finished: Path) -> xr.Dataset:
    return rs.Run(finished).open()


@pytest.fixture(scope="module")
def given(landscape: Landscape) -> dict[str, Any]:
    """The results of the calls of the API, in memory."""
    items = rs.search(str(landscape.folder / "catalog.json"), area=PART)
    box = rs.Grid("EPSG:32631", 10).geobox(rs.read_area(PART))
    cube = rs.load(items, box, bands=["red", "nir", "scl"])
    composite = rs.composite(rs.mask(cube, "sentinel2-scl"), WINDOWS).compute()
    land = rs.predict(composite, rs.open_model(landscape.folder / "model"), probability=True)
    return {
        "cube": cube.isel(x=slice(0, 60), y=slice(0, 50)),
        "composite": composite,
        "map": land,
        "change": rs.detect_change(land, land),
    }


def check_same(path: Path, ds: xr.Dataset | xr.DataArray) -> xr.Dataset:
    found = xr.open_dataset(path, decode_coords="all")
    if isinstance(ds, xr.DataArray):
        ds = ds.to_dataset(name=ds.name or "values")
    assert set(found.variables) == set(ds.variables)
    for name, variable in ds.variables.items():
        values = found[name].values
        if variable.dtype.kind in "US":
            assert values.astype(str).tolist() == variable.values.tolist()
        elif variable.dtype.kind == "M":
            assert (values.astype("M8[s]") == variable.values.astype("M8[s]")).all()
        else:
            np.testing.assert_array_equal(values, variable.values)
    return found


@pytest.mark.parametrize("name", ["cube", "composite", "map", "change"])
def test_results_come_back_equal(given: dict[str, Any], name: str, tmp_path: Path) -> None:
    before = given[name].copy()
    found = check_same(rs.to_netcdf(given[name], tmp_path / "deep" / "x.nc"), given[name])
    assert given[name].identical(before)
    ours, theirs = given[name].odc.geobox, found.odc.geobox
    assert (theirs.shape, theirs.crs) == (ours.shape, ours.crs)
    assert theirs.affine.almost_equals(ours.affine)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.nc"]


def test_a_product_and_a_part_of_it_come_back_equal(product: xr.Dataset, tmp_path: Path) -> None:
    for ds in (product, product.isel(x=slice(100, 300), time=0)):
        found = check_same(rs.to_netcdf(ds, tmp_path / "x.nc"), ds)
        classes = classes_from_attributes(found.classification.attrs)
        assert [one.name for one in classes] == ["water", "open forest", "crops", "built"]
        found.close()


def test_a_zarr_as_xarray_opens_it_comes_back_equal(finished: Path, tmp_path: Path) -> None:
    """Its attributes hold lists of objects, which no netCDF file holds: they are JSON there."""
    ds = xr.open_zarr(finished / "product.zarr").isel(x=slice(100, 300))
    assert isinstance(ds.attrs["zarr_conventions"], list)
    with pytest.raises(TypeError, match="Invalid value for attr"):
        ds.to_netcdf(tmp_path / "plain.nc")
    with check_same(ds.rs.to_netcdf(tmp_path / "x.nc"), ds) as found:
        for name in ("zarr_conventions", "rsscale"):
            assert json.loads(found.attrs[name]) == ds.attrs[name]
    with check_same(ds.classification.rs.to_netcdf(tmp_path / "y.nc"), ds.classification) as one:
        assert one.classification.attrs["flag_meanings"] == ds.classification.attrs["flag_meanings"]


def attributes_of(ds: xr.Dataset | xr.DataArray) -> list[tuple[str, Any]]:
    variables = ds.variables if isinstance(ds, xr.Dataset) else {**ds.coords, "": ds}
    every = [ds.attrs, *(variable.attrs for variable in variables.values())]
    return [(key, value) for attributes in every for key, value in attributes.items()]


@pytest.mark.parametrize("name", ["product", "composite", "map", "change"])
def test_attributes_are_those_that_netcdf_holds(
    given: dict[str, Any], product: xr.Dataset, name: str
) -> None:
    """So that ``to_netcdf`` of xarray works too, with netCDF4 or h5netcdf."""
    ds = product if name == "product" else given[name]
    for key, value in attributes_of(ds):
        plain = value if isinstance(value, list) else [value]
        assert all(isinstance(one, int | float | np.number) for one in plain) or isinstance(
            value, str
        ), f"{key}: {value!r}"


def test_the_conventions_stay_in_the_zarr(finished: Path, product: xr.Dataset) -> None:
    there = {"zarr_conventions", "spatial:transform", "proj:code"}
    assert not there & set(product.attrs)
    assert there <= set(xr.open_zarr(finished / "product.zarr").attrs)
    assert product.attrs["title"] == "formula"


def test_names_of_classes_are_one_text_and_older_products_had_a_list() -> None:
    classes = (LandClass(1, "a [b], c", "#111111"), LandClass(2, "Wäßer", "#222222"))
    attributes = class_attributes(classes)
    assert isinstance(attributes["class_names"], str)
    assert classes_from_attributes(attributes) == classes
    older = {**attributes, "class_names": [one.name for one in classes]}
    assert classes_from_attributes(older) == classes
    assert class_names({"class_names": "Wald", "flag_meanings": "Wald"}) == ["Wald"]
    assert class_names({"flag_meanings": "a b"}) == ["a", "b"]


def test_numbers_beyond_32_bits_are_refused_by_netcdf3(tmp_path: Path) -> None:
    ds = xr.Dataset({"big": ("x", np.array([1, 2**40]))})
    with pytest.raises(RecipeError, match="'big' holds whole numbers beyond 32 bits"):
        rs.to_netcdf(ds, tmp_path / "x.nc")
    assert list(tmp_path.iterdir()) == []
