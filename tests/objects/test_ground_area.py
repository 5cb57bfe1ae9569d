"""Areas on the ellipsoid, against those of pixels."""

import numpy as np
import pytest
import shapely
import shapely.affinity

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas
from rsscale.objects.ground_area import ground_areas


@pytest.mark.parametrize(
    ("crs", "resolution", "row", "col"),
    [("EPSG:32631", 10.0, -498_000, 73_000), ("EPSG:3035", 20.0, -150_000, 200_000),
     ("EPSG:3857", 10.0, -600_000, 80_000), ("EPSG:4326", 0.0001, -450_000, 60_000)],
)  # fmt: skip
def test_a_rectangle_has_the_area_of_its_pixels(
    crs: str, resolution: float, row: int, col: int
) -> None:
    box = PixelBox(row, col, row + 40, col + 60)
    areas = pixel_areas(Grid(crs, resolution), box)
    wanted = np.broadcast_to(areas, box.shape).sum()
    shape = shapely.box(
        col * resolution, -(row + 40) * resolution, (col + 60) * resolution, -row * resolution
    )
    hole = shape.difference(shapely.affinity.scale(shape, 0.5, 0.5))
    found = ground_areas(np.array([shape, hole], object), crs)
    np.testing.assert_allclose(found[0], wanted, rtol=2e-6)
    np.testing.assert_allclose(found[1] / found[0], hole.area / shape.area, rtol=1e-3)


def test_no_ground_and_no_shapes() -> None:
    beyond = shapely.box(1.7e7, 8e6, 1.71e7, 8.1e6)
    assert np.isnan(ground_areas(np.array([beyond], object), "ESRI:54009")).all()
    assert ground_areas(np.array([], object), "EPSG:32631").shape == (0,)
