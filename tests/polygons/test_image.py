"""Polygons of images against rasterio and SciPy over the whole image, however it is cut."""

import numpy as np
import pytest
import shapely
from class_images import (
    NODATA,
    PLACE,
    assert_same,
    box_of,
    cut_and_joined,
    parts_in,
    plain,
    smooth_classes,
    whole_image,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from rsscale.errors import RsscaleError
from rsscale.geo.lattice import PixelBox
from rsscale.polygons import image
from rsscale.polygons.parts import Parts
from rsscale.polygons.rules import PolygonRules

CLASSES = smooth_classes(400)
TILES = (256, 300, 333, 512, 777)


def labelled(classes: np.ndarray, connectivity: int) -> list[tuple[int, int, int]]:
    """Class, pixels and first pixel of each component, by SciPy."""
    structure = ndimage.generate_binary_structure(2, 2 if connectivity == 8 else 1)
    found = []
    for value in np.unique(classes[classes != NODATA]):
        labels, count = ndimage.label(classes == value, structure)
        first = np.unique(labels, return_index=True)[1][-count:]
        pixels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        rows, cols = np.unravel_index(first, classes.shape)
        places = ((rows + PLACE[0]) << 32) + cols + PLACE[1] + (1 << 31)
        found += zip([int(value)] * count, pixels.tolist(), places.tolist(), strict=True)
    return sorted(found)


@pytest.mark.parametrize(
    ("connectivity", "simplify"), [(4, 0.0), pytest.param(8, 15.0, marks=pytest.mark.extended)]
)
def test_the_same_polygons_for_any_tiles(connectivity: int, simplify: float) -> None:
    rules = PolygonRules(connectivity=connectivity, simplify=simplify, minimum=300)
    wanted = parts_in(CLASSES, box_of(CLASSES), rules)
    assert len(wanted) > 1000
    for tile in TILES:
        assert_same(cut_and_joined(CLASSES, tile, rules), wanted)


@pytest.mark.extended
def test_pixel_edges_are_those_of_the_whole_image_in_rasterio() -> None:
    parts = cut_and_joined(CLASSES, 300, PolygonRules())
    found = sorted(zip(plain(parts.geometry), parts.value.tolist(), strict=True))
    wanted = whole_image(CLASSES)
    assert len(wanted) > 4000
    assert found == wanted
    np.testing.assert_array_equal(parts.units, 100 * shapely.area(parts.geometry))


@pytest.mark.parametrize("connectivity", [4, 8])
def test_components_are_those_of_scipy(connectivity: int) -> None:
    parts = cut_and_joined(CLASSES, 333, PolygonRules(connectivity=connectivity, simplify=15))
    columns = parts.value.tolist(), (parts.units // 100).tolist(), parts.place.tolist()
    assert sorted(zip(*columns, strict=True)) == labelled(CLASSES, connectivity)


@pytest.mark.extended
def test_neighbours_share_their_borders_across_cells() -> None:
    """Without slivers: no overlaps, and gaps only where nothing was seen."""
    seen = np.where(CLASSES == NODATA, 9, CLASSES).astype(np.uint8)
    rules = PolygonRules(simplify=20)
    geometry = cut_and_joined(seen, 300, rules).geometry
    assert shapely.is_valid(geometry).all()
    assert shapely.coverage_is_valid(geometry)
    union = shapely.coverage_union_all(geometry)
    assert shapely.area(union) == shapely.area(geometry).sum()
    assert union.geom_type == "Polygon"
    assert not union.interiors
    assert shapely.area(union) == pytest.approx(seen.size, rel=1e-4)
    exact = cut_and_joined(seen, 300, PolygonRules()).geometry
    vertices = [shapely.get_num_coordinates(shapes).sum() for shapes in (geometry, exact)]
    assert vertices[0] < 0.6 * vertices[1]


@settings(max_examples=25)
@given(
    classes=arrays.arrays(np.uint8, (80, 75), elements=st.sampled_from([1, 2, NODATA])),
    tile=st.integers(33, 90),
    connectivity=st.sampled_from([4, 8]),
    simplify=st.sampled_from([0.0, 1.5, 40.0]),
)
@pytest.mark.extended
def test_drawn_images(classes: np.ndarray, tile: int, connectivity: int, simplify: float) -> None:
    rules = PolygonRules(connectivity=connectivity, simplify=simplify, cell=32)
    wanted = parts_in(classes, box_of(classes), rules)
    assert_same(cut_and_joined(classes, tile, rules), wanted)
    columns = wanted.value.tolist(), (wanted.units // 100).tolist(), wanted.place.tolist()
    assert sorted(zip(*columns, strict=True)) == labelled(classes, connectivity)
    assert shapely.is_valid(wanted.geometry).all()
    assert shapely.coverage_is_valid(wanted.geometry)
    if connectivity == 4 and not simplify and len(wanted):
        assert sorted(zip(plain(wanted.geometry), wanted.value, strict=True)) == whole_image(
            classes
        )


@pytest.mark.extended
def test_noise_cut_in_tiles() -> None:
    noise = np.random.default_rng(1).integers(1, 4, (120, 120)).astype(np.uint8)
    for connectivity in (4, 8):
        rules = PolygonRules(connectivity=connectivity, simplify=12, cell=64)
        wanted = parts_in(noise, box_of(noise), rules)
        assert_same(cut_and_joined(noise, 77, rules), wanted)
        assert shapely.coverage_is_valid(wanted.geometry)


def test_corner_contacts_are_one_object_of_several_parts() -> None:
    diagonal = np.where(np.eye(100, dtype=bool), 3, 1).astype(np.uint8)
    by_corner = cut_and_joined(diagonal, 32, PolygonRules(connectivity=8, cell=32))
    line = by_corner.geometry[by_corner.value == 3]
    assert [shape.geom_type for shape in line] == ["MultiPolygon"]
    assert line[0].is_valid
    assert len(line[0].geoms) == 100
    by_edge = cut_and_joined(diagonal, 32, PolygonRules(connectivity=4, cell=32))
    assert (by_edge.value == 3).sum() == 100


def test_one_class_over_all_tiles_with_thousands_of_holes() -> None:
    classes = np.ones((400, 400), np.uint8)
    classes[1:-1:6, 1:-1:5] = 2
    classes[4:-1:6, 3:-1:5] = NODATA
    parts = cut_and_joined(classes, 97, PolygonRules(classes=(1,), cell=64, simplify=10))
    assert len(parts) == 1
    assert shapely.get_num_interior_rings(parts.geometry[0]) == 67 * 80 + 66 * 80
    assert parts.units[0] == 100 * (classes == 1).sum()
    assert parts.cut.all()


def test_cut_objects_touch_what_was_not_seen() -> None:
    classes = np.ones((60, 60), np.uint8)
    classes[10:20, 10:20] = 2  # whole
    classes[30:40, 30:40] = 2
    classes[34:36, 34:36] = NODATA  # a hole that was not seen
    classes[50:60, 50:55] = 2  # at the edge
    parts = cut_and_joined(classes, 33, PolygonRules(classes=(2,), cell=32))
    assert parts.cut.tolist() == [False, True, True]
    assert (parts.units // 100).tolist() == [100, 96, 50]


def test_nothing_at_all() -> None:
    nothing = np.full((70, 70), NODATA, np.uint8)
    assert len(cut_and_joined(nothing, 33, PolygonRules(cell=32))) == 0
    assert len(cut_and_joined(np.ones((70, 70), np.uint8), 33, PolygonRules(classes=(7,)))) == 0
    assert len(Parts.none().joined()) == 0


def test_small_pieces_are_dropped_before_and_after_they_are_joined() -> None:
    """A piece below the minimum in its cell is kept where it goes on in another."""
    classes = np.ones((64, 64), np.uint8)
    place = (0, 0)
    classes[10:13, 30:34] = 2  # 6 pixels on each side of the line between cells of 32
    classes[40:42, 5:8] = 2  # 6 in one cell
    rules = PolygonRules(cell=32, minimum=1000)
    parts = parts_in(classes, PixelBox(0, 0, 64, 64), rules, place)
    assert (parts.units // 100).tolist() == [64 * 64 - 18, 12]


def test_more_pieces_than_memory_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "MOST_PIECES", 900)
    checker = np.indices((64, 64)).sum(axis=0).astype(np.uint8) % 2 + 1
    message = "pieces in their first .* one for .* px; expected at most 900 .*minimum-mapping-unit"
    with pytest.raises(RsscaleError, match=message):
        parts_in(checker, box_of(checker), PolygonRules(cell=32))
