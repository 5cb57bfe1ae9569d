"""Accessor .rs of xarray: there once both are imported, and the same as the functions it calls."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import odc.geo.xr
import pytest
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox

import rsscale as rs
from rsscale.legend.classes import class_attributes

CLASSES = [rs.LandClass(1, "water", "#2b83ba"), rs.LandClass(4, "forest", "#1b7837")]


def product(crs: str = "EPSG:3035", shape: tuple[int, int] = (60, 90)) -> xr.Dataset:
    """Two years of 10 m pixels: 3 of 9 columns water, the rest forest; nodata in the corner."""
    values = np.full((2, *shape), 4, np.uint8)
    values[:, :, : shape[1] // 3] = 1
    values[1, :, shape[1] // 2 :] = 1
    values[:, :20, :10] = 255
    share = np.where(values == 255, np.uint16(65535), values * np.uint16(10_000))
    geobox = GeoBox(shape, rasterio.Affine(10, 0, 4_000_000, 0, -10, 3_000_000), crs)
    coords = {
        "time": np.array(["2023-01-01", "2024-01-01"], "datetime64[ns]"),
        **xr.Dataset(coords=odc.geo.xr.xr_coords(geobox)).coords,
    }
    where = {"grid_mapping": "spatial_ref"}
    dims = ("time", "y", "x")
    return xr.Dataset(
        {
            "share": (dims, share, {"nodata": 65535, "units": "m", **where}),
            "classification": (dims, values, {**class_attributes(CLASSES), "nodata": 255, **where}),
        },
        coords,
    )


def test_areas_are_those_of_counting_pixels() -> None:
    table = product().rs.area()
    assert table["name"].tolist() == ["water", "forest"] * 2
    assert table["pixels"].tolist() == [60 * 30 - 200, 60 * 60, 60 * 75 - 200, 60 * 15]
    # EPSG:3035 is of equal areas: a pixel of 10 m is 0.01 ha on the ellipsoid.
    assert np.allclose(table["hectares"], table["pixels"] * 0.01, rtol=1e-6)
    assert np.allclose(table.groupby("time")["share"].sum(), 1)
    south_up = product().isel(y=slice(None, None, -1)).chunk({"x": 17})
    assert south_up.rs.area().equals(table)
    assert product()["classification"].isel(time=0).rs.area()["pixels"].tolist() == [1600, 3600]


def test_areas_of_what_has_no_place_or_no_legend_are_refused() -> None:
    ds = product()
    with pytest.raises(rs.ModelError, match="no layer of classes 'shares'; there are class"):
        ds.rs.area("shares")
    with pytest.raises(rs.ModelError, match="no layer has classes"):
        ds[["share"]].rs.area()
    layer = ds["classification"]  # odc keeps the CRS at its coordinates, too
    attrs = {k: v for k, v in layer.attrs.items() if k != "grid_mapping"}
    bare = xr.DataArray(layer.values, {"y": layer.y.values, "x": layer.x.values}, layer.dims,
                        "classification", attrs)  # fmt: skip
    with pytest.raises(rs.AreaError, match="no CRS"):
        bare.rs.area()
    with pytest.raises(rs.AreaError, match="10 wide and 20 high"):
        ds.isel(y=slice(None, None, 2)).rs.area()
    ds["classification"][0, 30, 30] = 9
    with pytest.raises(rs.ModelError, match=r"the value 9 \(1 pixel\), which is none of"):
        ds.rs.area()


def test_classes_are_a_legend() -> None:
    assert product().rs.classes == tuple(CLASSES)
    assert isinstance(product()["classification"].rs.classes, rs.Legend)


@pytest.mark.parametrize("kind", ["dataset", "array"])
def test_nodata_is_masked_lazily(kind: str) -> None:
    ds = product().chunk({"x": 30})
    masked = ds.rs.masked()["share"] if kind == "dataset" else ds["share"].rs.masked()
    assert masked.chunks is not None
    assert masked.name == "share"
    assert masked.attrs["units"] == "m"
    assert np.isnan(masked.values[0, :20, :10]).all()
    assert float(masked.max()) == 40_000
    assert masked.odc.crs == "EPSG:3035"


def test_pictures_are_drawn_of_any_layer(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'pictures' is not installed")
    ds = product()
    pictures = [ds.rs.plot(), ds.rs.plot("share"), ds["share"].isel(time=1).rs.plot()]
    for picture in pictures:
        assert picture._repr_png_().startswith(b"\x89PNG")
    assert len({picture.png for picture in pictures}) == 3
    path = rs.quicklook(ds, tmp_path / "map.png")
    assert pictures[0].save(tmp_path / "same.png").read_bytes() == path.read_bytes()
    with pytest.raises(rs.ModelError, match="did you mean 'share'"):
        ds.rs.plot("shar")


def test_geotiffs_are_those_of_export(tmp_path: Path) -> None:
    ds = product()
    (path,) = ds.rs.to_cog(tmp_path / "a.tif", layers=["classification"], periods=[2024])
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(1), ds["classification"].values[1])
        assert file.colormap(1)[4][:3] == (0x1B, 0x78, 0x37)


def test_a_layer_with_an_axis_is_exported_as_bands(tmp_path: Path) -> None:
    ds = product()
    both = xr.concat(
        [ds["share"], ds["share"] // 2], xr.DataArray([1, 4], dims="class", name="class")
    )
    both = both.transpose("time", "class", "y", "x").assign_attrs(ds["share"].attrs)
    paths = both.to_dataset(name="probability").rs.to_cog(tmp_path)
    assert [path.name for path in paths] == ["probability_2023.tif", "probability_2024.tif"]
    with rasterio.open(paths[1]) as file:
        assert np.array_equal(file.read(), both.values[1])


@pytest.mark.parametrize(
    "imports",
    [
        "import rsscale, xarray",
        *(
            pytest.param(one, marks=pytest.mark.extended)
            for one in ("import xarray, rsscale", "import rsscale, rioxarray")
        ),
    ],
)
def test_the_accessor_is_there_whichever_comes_first(imports: str) -> None:
    program = (
        f"{imports}\n"
        "import sys; xarray = sys.modules['xarray']\n"
        "print(type(xarray.Dataset().rs).__name__, type(xarray.DataArray(1).rs).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("Accessor Accessor\n", "")


def test_importing_rsscale_alone_does_not_import_xarray() -> None:
    program = "import rsscale, sys; print('xarray' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
