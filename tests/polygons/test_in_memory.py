"""Polygons of a DataArray: `rs.polygonize`."""

from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from class_images import smooth_classes

import rsscale as rs
from rsscale.errors import AreaError, ModelError, RecipeError
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas

NAMES = {"flag_values": [1, 2, 3, 4], "flag_meanings": "water wood crops built", "nodata": 255}


def mapped(
    classes: np.ndarray, crs: str = "EPSG:32631", resolution: float = 10.0, **attributes: Any
) -> xr.DataArray:
    from odc.geo.xr import xr_coords

    grid = rs.Grid(crs, resolution)
    row, col = (-500_000, 70_000) if resolution > 1 else (-46_000, 6000)
    height, width = classes.shape
    geobox = grid.geobox_of(PixelBox(row, col, row + height, col + width))
    return xr.DataArray(
        classes, dims=("y", "x"), coords=xr_coords(geobox, always_yx=True),
        attrs=NAMES | attributes, name="classification",
    )  # fmt: skip


@pytest.fixture(scope="module")
def classes() -> np.ndarray:
    return smooth_classes(120)


def test_columns_of_polygons(classes: np.ndarray) -> None:
    found = rs.polygonize(mapped(classes), simplify=12, minimum=0.05)
    assert isinstance(found, gpd.GeoDataFrame)
    assert found.crs == "EPSG:32631"
    assert list(found.columns) == [
        "id", "class", "name", "x", "y", "area_m2", "parts", "cut", "geometry",
    ]  # fmt: skip
    assert found["id"].is_unique
    assert set(found["name"]) == {"water", "wood", "crops", "built"}
    assert found["area_m2"].min() >= 500
    first = found.iloc[0]
    row, col = (int(n) for n in first["id"][1:].split("_"))
    assert (row, col) == (-500_000, 70_000 + int(np.argmax(classes[0] == first["class"])))
    assert shapely.coverage_is_valid(found.geometry.values)


def test_areas_are_those_of_the_pixels_on_the_ellipsoid(classes: np.ndarray) -> None:
    found = rs.polygonize(mapped(classes), simplify=12)
    grid = rs.Grid("EPSG:32631", 10)
    areas = pixel_areas(grid, PixelBox(-500_000, 70_000, -499_880, 70_120))
    for value in (1, 4):
        total = found.loc[found["class"] == value, "area_m2"].sum()
        assert total == pytest.approx(areas[classes == value].sum(), rel=1e-7)


def test_a_lattice_of_the_arrays_own(classes: np.ndarray) -> None:
    """Pixels off the CRS's lattice: the same shapes, moved."""
    on = mapped(classes)
    off = on.assign_coords(x=on.x + 3, y=on.y - 4)
    found = rs.polygonize(off)
    moved = rs.polygonize(on).translate(3, -4)
    assert shapely.area(shapely.symmetric_difference(
        shapely.union_all(found.geometry.values), shapely.union_all(moved.values)
    )) < 1e-3  # fmt: skip
    assert len(found) == len(moved)


def test_degrees_are_simplified_in_metres(classes: np.ndarray) -> None:
    """Pixels of some 110 by 77 m: a corner of them is a triangle of 4200 m², 65² of them."""
    layer = mapped(classes, "EPSG:4326", 0.001)
    vertices = [
        shapely.get_num_coordinates(rs.polygonize(layer, simplify=metres).geometry.values).sum()
        for metres in (0, 60, 70)
    ]
    assert vertices[0] == vertices[1] > 1.2 * vertices[2]
    total = rs.polygonize(layer)["area_m2"].sum()
    assert total == pytest.approx((classes != 255).sum() * 111_180 * 77_450 * 1e-6, rel=0.02)


def test_classes_instances_and_floats(classes: np.ndarray) -> None:
    layer = mapped(classes)
    by_name, by_value = (rs.polygonize(layer, classes=[one]) for one in ("wood", 2))
    assert by_name.equals(by_value)
    assert set(by_name["class"]) == {2}
    fields = rs.polygonize(layer, instances={"interior": "wood", "boundary": "crops", "grow": 2})
    assert len(fields) == len(by_name)
    assert fields["area_m2"].sum() > by_name["area_m2"].sum()
    floats = layer.astype("float32").where(layer != 255)
    assert rs.polygonize(floats).equals(rs.polygonize(layer))


def test_an_empty_map_has_the_columns() -> None:
    empty = rs.polygonize(mapped(np.full((40, 40), 255, np.uint8)))
    assert len(empty) == 0
    assert "area_m2" in empty.columns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["woud"]}, "classes names 'woud', .* wood, crops, built; did you mean 'wood'"),
        ({"classes": []}, "classes names no class; leave it out"),
        ({"connectivity": 6}, "connectivity is 6; expected 4 or 8"),
        ({"simplify": -1}, "simplify is -1; expected 0 or more"),
        ({"minimum": float("nan")}, "minimum is nan; expected 0 or more"),
        ({"holes": "drop"}, "holes is 'drop'; expected 'keep', 'fill', or"),
        ({"holes": {"below": -3}}, "holes is {'below': -3}"),
        ({"cell": 8}, "cell is 8 px; expected 32 to 4096"),
        ({"instances": {"interior": "wood"}}, "instances has interior; expected interior and"),
        ({"instances": {"interior": "wood", "boundary": "wood"}}, "are both 'wood'"),
        (
            {"instances": {"interior": "wood", "boundary": "built", "grow": 99}},
            "instances.grow is 99 px; expected 0 to 64",
        ),
        (
            {"classes": [1], "instances": {"interior": "wood", "boundary": "built"}},
            "has both 'classes' and 'instances'",
        ),
    ],
)
def test_what_can_not_be_is_refused(
    classes: np.ndarray, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        rs.polygonize(mapped(classes), **options)


def test_maps_that_are_none_are_refused(classes: np.ndarray) -> None:
    layer = mapped(classes)
    with pytest.raises(AreaError, match="has no CRS"):
        rs.polygonize(xr.DataArray(classes, dims=("y", "x")))
    with pytest.raises(AreaError, match="choose one time"):
        rs.polygonize(layer.expand_dims("time"))
    with pytest.raises(ModelError, match="whole numbers"):
        rs.polygonize(layer + 0.5)
