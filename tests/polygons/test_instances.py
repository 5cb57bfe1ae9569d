"""Fields of a network of interiors and boundaries: grown, cut into tiles, and whole."""

from collections import deque

import numpy as np
import pytest
import shapely
from class_images import NODATA, PLACE, assert_same, box_of, cut_and_joined, parts_in
from scipy import ndimage
from scipy.spatial import cKDTree

from rsscale.polygons.rules import Instances, PolygonRules

FIELD, EDGE, OTHER = 1, 2, 3


def fields(size: int, count: int, seed: int = 3) -> np.ndarray:
    """Fields around drawn points, edges between them with gaps, other land, pixels not seen."""
    random = np.random.default_rng(seed)
    row, col = np.indices((size, size))
    nearest = cKDTree(random.uniform(0, size, (count, 2)))
    of = nearest.query(np.stack([row.ravel(), col.ravel()], 1))[1].reshape(size, size)
    edge = np.zeros((size, size), bool)
    edge[:-1] |= of[:-1] != of[1:]
    edge[:, :-1] |= of[:, :-1] != of[:, 1:]
    edge = ndimage.binary_dilation(edge) & (random.uniform(size=edge.shape) < 0.97)
    classes = np.where(edge, EDGE, FIELD).astype(np.uint8)
    other = ndimage.gaussian_filter(random.normal(size=edge.shape), 20)
    classes[other > np.quantile(other, 0.8)] = OTHER
    classes[random.uniform(size=edge.shape) < 0.002] = NODATA
    return classes


def grown_pixel_by_pixel(classes: np.ndarray, grow: int) -> dict[int, int]:
    """Pixels of each instance by its number, grown one breadth-first step after the other."""
    label = ndimage.label(classes == FIELD)[0]
    origin = {(int(r), int(c)): (int(r), int(c)) for r, c in np.argwhere(label > 0)}
    waiting = deque(sorted(origin))
    for _ in range(grow):
        reached: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for row, col in waiting:
            for down, right in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                at = row + down, col + right
                if min(at) < 0 or max(at) >= len(classes) or at in origin:
                    continue
                if classes[at] == EDGE:
                    reached.setdefault(at, []).append((row, col))
        for at, beside in reached.items():
            origin[at] = min(origin[one] for one in beside)
        waiting = deque(reached)
    pixels: dict[int, int] = {}
    for first in origin.values():
        pixels[int(label[first])] = pixels.get(int(label[first]), 0) + 1
    return pixels


@pytest.mark.parametrize("connectivity", [4, pytest.param(8, marks=pytest.mark.extended)])
@pytest.mark.parametrize("simplify", [0.0, 12.0])
def test_the_same_instances_for_any_tiles(connectivity: int, simplify: float) -> None:
    classes = fields(330, 200)
    rules = PolygonRules(
        connectivity=connectivity, simplify=simplify, cell=64, instances=Instances(FIELD, EDGE, 3)
    )
    wanted = parts_in(classes, box_of(classes), rules)
    assert len(wanted) > 150
    for tile in (67, 128, 200):
        assert_same(cut_and_joined(classes, tile, rules), wanted)
    assert shapely.is_valid(wanted.geometry).all()
    assert shapely.coverage_is_valid(wanted.geometry)


@pytest.mark.parametrize("grow", [0, 1, 4])
def test_they_grow_as_pixel_by_pixel(grow: int) -> None:
    classes = fields(150, 40)
    rules = PolygonRules(cell=32, instances=Instances(FIELD, EDGE, grow))
    parts = cut_and_joined(classes, 50, rules)
    wanted = grown_pixel_by_pixel(classes, grow)
    assert sorted(parts.units // 100) == sorted(wanted.values())
    assert (parts.value == FIELD).all()
    np.testing.assert_array_equal(parts.units, 100 * shapely.area(parts.geometry))


def test_neighbours_meet_in_the_middle_of_their_boundary() -> None:
    classes = np.full((20, 21), FIELD, np.uint8)
    classes[:, 8:12] = EDGE
    parts = cut_and_joined(classes, 33, PolygonRules(instances=Instances(FIELD, EDGE, 5)))
    left, right = parts.geometry
    assert left.bounds[2] == right.bounds[0] == PLACE[1] + 10
    assert (parts.units // 100).tolist() == [200, 220]
    apart = cut_and_joined(classes, 33, PolygonRules(instances=Instances(FIELD, EDGE, 1)))
    assert apart.geometry[0].distance(apart.geometry[1]) == 2
