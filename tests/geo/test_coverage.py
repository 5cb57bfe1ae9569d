"""Shares and centres of pixels in polygons, against shapely; on shared edges; in any box."""

import numpy as np
import pytest
import shapely

from rsscale.geo.coverage import centres, coverage, pixel_edges
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox

GRID = Grid("EPSG:32631", 10, 512)


def random_polygon(random: np.random.Generator) -> shapely.Geometry:
    points = random.normal(0, 150, (25, 2))
    star = shapely.polygons(points[np.argsort(np.arctan2(*points.T[::-1]))])
    star = shapely.make_valid(star, method="structure")
    holes = shapely.Point(random.normal(0, 20, 2)).buffer(37.3)
    return star.difference(holes).union(shapely.box(-290, 300, -200.3, 377.7))


@pytest.mark.parametrize("seed", range(8))
def test_shares_and_centres_are_shapelys_and_no_box_changes_them(seed: int) -> None:
    shape = random_polygon(np.random.default_rng(seed))
    edges, box = pixel_edges(shape, GRID), PixelBox(-45, -40, 40, 45)
    x, y = np.meshgrid(np.arange(-40, 45) * 10 + 5, -(np.arange(-45, 40) * 10 + 5))
    cells = shapely.box(x - 5, y - 5, x + 5, y + 5)
    share, inside = coverage(edges, box), centres(edges, box)
    wanted = shapely.area(shapely.intersection(shape, cells)) / 100
    np.testing.assert_allclose(share, wanted, atol=1e-7)
    np.testing.assert_array_equal(inside, shapely.contains_xy(shape, x, y))
    for part in (PixelBox(-13, -7, 20, 11), PixelBox(0, 0, 40, 45), PixelBox(-45, 3, -5, 4)):
        np.testing.assert_array_equal(coverage(edges, part), share[part.slices(box)])
        np.testing.assert_array_equal(centres(edges, part), inside[part.slices(box)])


def test_a_centre_on_a_shared_edge_is_in_just_one_zone() -> None:
    # Corners at pixel centres, so that edges pass through many of them: along rows, along
    # columns and aslant; rings run both ways round.
    corners = np.array([(5.0, -5.0), (105.0, -5.0), (105.0, -105.0), (5.0, -105.0), (55.0, -55.0)])
    triangles = [shapely.Polygon(corners[[k, (k + 1) % 4, 4]]) for k in range(4)]
    triangles[1] = triangles[1].reverse()
    triangles += [shapely.box(5, -205, 105, -105), shapely.box(105, -205, 205, -5).reverse()]
    box = PixelBox(-2, -2, 25, 25)
    edges = [pixel_edges(shape, GRID) for shape in triangles]
    times = sum(centres(one, box).astype(int) for one in edges)
    assert times.max() == 1
    # Half open: of 20 x 20 centres on and in the square of all together, north and west count.
    assert times.sum() == 20 * 20
    assert times[2:22, 2:22].all()
    np.testing.assert_allclose(sum(coverage(one, box) for one in edges).sum(), 400)
