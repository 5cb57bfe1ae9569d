"""Objects drawn over an image: each outline where the object is, in the colour of its class."""

import io

import geopandas as gpd
import numpy as np
import odc.geo.xr
import pytest
import shapely
import xarray as xr
from PIL import Image

import rsscale as rs
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox


def scene() -> tuple[gpd.GeoDataFrame, xr.DataArray]:
    geobox = Grid("EPSG:32631", 10, 128).geobox_of(PixelBox(0, 0, 60, 80))
    grey = np.random.default_rng(0).uniform(0, 1, (60, 80)).astype("float32")
    values = np.stack([grey] * 3)
    coords = {"band": ["red", "green", "blue"], **odc.geo.xr.xr_coords(geobox)}
    image = xr.DataArray(values, dims=("band", "y", "x"), coords=coords)
    (west, _, _, north) = geobox.extent.boundingbox.bbox
    shapes = [shapely.box(west + 100 * n, north - 300, west + 100 * n + 60, north - 200)
              for n in (1, 3, 20)]  # fmt: skip
    names = {"name": ["pond", "shed", "pond"]}
    return gpd.GeoDataFrame(names, geometry=shapes, crs="EPSG:32631"), image


def test_outlines_have_the_colours_of_their_classes() -> None:
    objects, image = scene()
    colors = {"pond": "#ff00ff", "shed": "#00ffff"}
    figure = rs.plot_objects(objects.to_crs("EPSG:4326"), image, colors=colors)
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "2 objects"  # the third lies beyond the image
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["pond (1)", "shed (1)"]
    axes.get_legend().remove()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    picture = np.asarray(Image.open(file).convert("RGB")).astype(int)
    for color, shape in (
        ((255, 0, 255), objects.geometry[0]),
        ((0, 255, 255), objects.geometry[1]),
    ):
        rows, cols = np.nonzero((np.abs(picture - color) < 30).all(axis=2))
        west, south, east, north = shape.bounds
        corners = axes.transData.transform([(west, south), (east, north)])
        height = picture.shape[0]
        assert cols.min() == pytest.approx(corners[0, 0], abs=3)
        assert cols.max() == pytest.approx(corners[1, 0], abs=3)
        assert rows.min() == pytest.approx(height - corners[1, 1], abs=3)
        assert rows.max() == pytest.approx(height - corners[0, 1], abs=3)


def test_no_objects_and_no_crs() -> None:
    objects, image = scene()
    assert (
        rs.plot_objects(objects.iloc[2:], image).axes[0].get_title(loc="left") == "no objects here"
    )
    with pytest.raises(rs.AreaError, match="the objects have no CRS"):
        rs.plot_objects(objects.set_crs(None, allow_override=True), image)
    with pytest.raises(rs.BandError, match=r"no column 'nam'; .*did you mean 'name'"):
        rs.plot_objects(objects, image, by="nam")


def test_a_notebook_shows_a_figure_without_pyplot() -> None:
    figure = rs.plot_objects(*scene())
    assert figure._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
