"""Minimum and holes of whole polygons, with areas on the ellipsoid."""

import math

import numpy as np
import pytest
import shapely
from class_images import NODATA, box_of, cut_and_joined

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas
from rsscale.polygons.finish import finished, in_crs
from rsscale.polygons.parts import Parts
from rsscale.polygons.rules import PolygonRules

GRID = Grid("EPSG:6933", 10)  # of equal areas: a pixel is 100 m²


def ring(connectivity: int = 4, **rules: float) -> tuple[Parts, np.ndarray]:
    """A square of class 2 with a hole of class 1, in which an island lies, and one of nodata."""
    classes = np.ones((100, 100), np.uint8)
    classes[10:90, 10:90] = 2
    classes[20:50, 20:50] = 1
    classes[30:35, 30:35] = 2
    classes[60:64, 60:64] = NODATA
    if connectivity == 8:
        classes[25:30, 25:30] = 2
        classes[20:25, 20:25] = 2
    parts = cut_and_joined(classes, 37, PolygonRules(cell=32))
    assert box_of(classes).shape == (100, 100)
    own = parts.take(parts.value == 2)
    whole = own.merged(np.zeros(len(own), int)) if connectivity == 8 else own
    return finished(whole, PolygonRules(**rules), GRID, 1.0)


def test_holes_are_kept() -> None:
    parts, area = ring()
    assert area.tolist() == [100 * (6400 - 900 - 16), 2500]
    assert shapely.get_num_interior_rings(parts.geometry[0]) == 2


def test_holes_are_filled_with_what_lies_in_them() -> None:
    parts, area = ring(fill_below=math.inf)
    assert area[0] == pytest.approx(640_000, rel=1e-6)
    assert shapely.get_num_interior_rings(parts.geometry).tolist() == [0, 0]
    assert len(parts) == 2  # the island stays an object of its own


def test_holes_are_filled_below_an_area() -> None:
    parts, area = ring(fill_below=2000)
    assert area[0] == pytest.approx(100 * (6400 - 900), rel=1e-6)
    assert shapely.get_num_interior_rings(parts.geometry[0]) == 1


def test_holes_that_are_all_too_large_to_be_filled() -> None:
    parts, area = ring(fill_below=50)
    assert area.tolist() == [100 * (6400 - 900 - 16), 2500]
    assert shapely.get_num_interior_rings(parts.geometry[0]) == 2


def test_parts_in_a_hole_of_another_part_are_not_counted_twice() -> None:
    parts, area = ring(connectivity=8, fill_below=math.inf)
    assert parts.geometry[0].equals(shapely.box(87, -323, 167, -243))
    assert area[0] == pytest.approx(640_000, rel=1e-6)


def test_small_ones_are_dropped_by_their_pixels() -> None:
    parts, area = ring(minimum=3000, fill_below=math.inf)
    assert len(parts) == len(area) == 1
    parts, area = ring(minimum=2500)
    assert len(parts) == 2


def test_areas_of_filled_holes_are_those_on_the_ground() -> None:
    grid = Grid("EPSG:3857", 20)
    box = PixelBox(-310_000, 0, -309_900, 80)  # about 48 degrees north: 2.2 m² are 1
    outer = shapely.box(0, -310_000, 80, -309_900)
    hole = shapely.box(10, -309_990, 70, -309_910)
    pixels = pixel_areas(grid, box)
    inside = pixels[10:90, 10:70].sum()
    parts = Parts(
        np.zeros(1, int), np.ones(1, np.int32), np.array([round(pixels.sum() - inside)]),
        np.zeros(1, bool), np.ones(1, np.int32), np.array([outer.difference(hole)], object),
        np.empty(0, np.uint64), np.empty(0, int),
    )  # fmt: skip
    _, area = finished(parts, PolygonRules(fill_below=math.inf), grid, 1.0)
    assert area[0] == pytest.approx(pixels.sum(), rel=1e-4)


def test_shapes_lie_where_their_pixels_do() -> None:
    grid = Grid("EPSG:32631", 30, origin=(15, 15))
    (shape,) = in_crs(np.array([shapely.box(3, -8, 5, -7)], object), grid)
    assert shape.bounds == grid.geobox_of(PixelBox(-8, 3, -7, 5)).extent.geom.bounds
