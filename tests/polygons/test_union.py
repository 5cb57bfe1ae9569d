"""The union of pieces is GEOS's, with holes set aside or not, to the bit."""

import numpy as np
import pytest
import shapely
from class_images import NODATA, smooth_classes
from rasterio import features

from rsscale.polygons.union import _untouched_holes, union_of_pieces


def box_with_holes(x0: float, *holes: tuple[float, float]) -> shapely.Polygon:
    """A box of ten by ten with square holes of one by one, a vertex at each whole number."""
    rings = [shapely.box(x, y, x + 1, y + 1).exterior for x, y in holes]
    outline = shapely.segmentize(shapely.box(x0, 0, x0 + 10, 10).exterior, 1)
    return shapely.Polygon(outline, rings)


def assert_union(polygons: list[shapely.Geometry]) -> shapely.Geometry:
    pieces = np.array(polygons, object)
    union = shapely.normalize(union_of_pieces(pieces))
    assert union.wkb == shapely.normalize(shapely.coverage_union_all(pieces)).wkb
    return union


def set_aside(polygons: list[shapely.Polygon]) -> list[bool]:
    """Which rings need not be looked at; where too many are, GEOS is asked for all of them."""
    _, points, (ring_ends, polygon_ends) = shapely.to_ragged_array(polygons)
    return _untouched_holes(points, ring_ends, polygon_ends).tolist()


def test_untouched_holes_stay() -> None:
    """In both boxes, in one alone, and in none."""
    left, right = box_with_holes(0, (2, 2), (5, 7)), box_with_holes(10, (15, 3))
    assert len(assert_union([left, right]).interiors) == 3
    assert len(assert_union([left, box_with_holes(10)]).interiors) == 2
    assert not assert_union([box_with_holes(0), box_with_holes(10)]).interiors


def test_hole_that_another_piece_fills_is_gone() -> None:
    """The piece in the hole shares its vertices; the other hole goes through untouched."""
    pieces = [box_with_holes(0, (2, 2), (5, 7)), shapely.box(2, 2, 3, 3)]
    assert set_aside(pieces) == [False, False, True, False]
    union = assert_union(pieces)
    assert len(union.interiors) == 1


def test_island_that_touches_a_hole_at_a_corner() -> None:
    """As pixels do that are connected by corners."""
    around = box_with_holes(0, (7, 7)) - shapely.box(2, 2, 6, 6)
    island = [shapely.box(2, 2, 3, 3), shapely.box(3, 3, 4, 4)]
    polygons = [shapely.segmentize(polygon, 1) for polygon in (around, *island)]
    holes = [shapely.Polygon(ring).area for ring in polygons[0].interiors]
    assert sorted(holes) == [1, 16]
    assert set_aside(polygons) == [False, *(area == 1 for area in holes), False, False]
    union = assert_union(polygons)
    assert len(shapely.get_parts(union)) == 2
    assert union.area == 100 - 16 - 1 + 2
    assert_union([polygons[0], shapely.MultiPolygon(polygons[1:])])


def test_hole_that_touches_another_polygons_corner() -> None:
    """A hole with a vertex of a third polygon, whose own polygon has that vertex twice."""
    pinched = shapely.Polygon(
        [(0, 0), (10, 0), (10, 5), (10, 10), (0, 10)], [[(10, 5), (8, 4), (8, 6)]]
    )
    beside = shapely.Polygon([(10, 0), (20, 0), (20, 10), (10, 10), (10, 5)])
    # In either order, as both rings of the pinched one have the vertex.
    assert set_aside([pinched, beside]) == [False, False, False]
    assert set_aside([beside, pinched]) == [False, False, False]
    assert_union([pinched, beside])


@pytest.mark.parametrize("cell", [32, 50, 97])
def test_random_landscape(cell: int) -> None:
    """Every class of a map, cut into cells: vertices where borders meet sides of cells."""
    classes = smooth_classes(200)
    rows, cols = np.indices(classes.shape) // cell
    piece = (rows * 1000 + cols) * 256 + classes
    shapes = [
        (shapely.geometry.shape(geometry), int(value) % 256)
        for geometry, value in features.shapes(piece.astype(np.int32), connectivity=4)
    ]
    for value in np.unique(classes[classes != NODATA]):
        polygons = np.array([shape for shape, of in shapes if of == value], object)
        noded = shapely.segmentize(polygons, 1)
        objects = shapely.get_parts(shapely.coverage_union_all(noded))
        inside, of = shapely.STRtree(objects).query(
            shapely.point_on_surface(noded), predicate="within"
        )
        for number in range(len(objects)):
            assert_union(list(noded[inside[of == number]]))
