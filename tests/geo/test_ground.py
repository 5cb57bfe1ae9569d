"""Metres on the ground against geodesics, and cells that do not depend on the window."""

import numpy as np
import pyproj
import pytest

from rsscale.errors import AreaError
from rsscale.geo.grid import Grid
from rsscale.geo.ground import ground_scale, largest_radius, pixel_radii, pixel_width
from rsscale.geo.lattice import PixelBox

PLACES = [
    ("EPSG:3857", 1_000_000.0, 8_399_737.0),  # 60 degrees north
    ("EPSG:3857", 1_000_000.0, -5_000_000.0),
    ("EPSG:4326", 9.0, 60.0),
    ("EPSG:4326", 9.0, -10.0),
    ("EPSG:6933", 1_000_000.0, 6_000_000.0),  # of equal areas: wide and low
    ("EPSG:3995", 5_000_000.0, 0.0),  # polar, true at 71 degrees
]


@pytest.mark.parametrize(("crs", "x", "y"), PLACES)
def test_a_unit_is_as_long_as_the_geodesic(crs: str, x: float, y: float) -> None:
    step = 0.001 if crs == "EPSG:4326" else 100.0
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    geod = pyproj.Geod(ellps="WGS84")

    def length(dx: float, dy: float) -> float:
        ends = [to_degrees.transform(x + s * dx, y + s * dy) for s in (-1, 1)]
        return float(geod.inv(*ends[0], *ends[1])[2]) / (2 * step)

    scale = ground_scale(crs, x, y)
    expected = length(step, 0), length(0, step)
    assert (scale.x, scale.y) == pytest.approx(expected, rel=1e-5)
    assert scale.pixels(5000, step) == tuple(round(5000 / step / e) for e in expected[::-1])


@pytest.mark.parametrize(
    ("crs", "unit"),
    [
        ("EPSG:32631", 1.0),
        ("EPSG:3035", 1.0),
        ("EPSG:2263", 1200 / 3937),
        ("EPSG:2222", 0.3048),  # Arizona, international feet
        ("EPSG:3857", 1.0),  # at the equator
    ],
)
def test_a_true_projection_has_the_unit_that_it_says(crs: str, unit: float) -> None:
    area = pyproj.CRS(crs).area_of_use
    to_crs = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    south = 0.0 if crs == "EPSG:3857" else (area.south + area.north) / 2
    scale = ground_scale(crs, *to_crs.transform((area.west + area.east) / 2, south))
    assert (scale.x, scale.y) == pytest.approx((unit, unit), rel=1e-14)


def test_where_metres_mean_nothing_is_refused() -> None:
    sinusoidal = "+proj=sinu +R=6371007.181 +units=m"
    with pytest.raises(AreaError, match="off the right angle on the ground here"):
        ground_scale(sinusoidal, 5_000_000, 6_000_000)
    assert ground_scale(sinusoidal, 100_000, 1_000_000).x == 1.0
    with pytest.raises(AreaError, match="has no ground here"):
        ground_scale("+proj=ortho +lat_0=0 +lon_0=0", 9e6, 9e6)


@pytest.mark.parametrize(
    ("crs", "resolution", "origin", "row", "col"),
    [
        ("EPSG:3857", 10, (0, 0), -840_000, 100_000),
        ("EPSG:3857", 30, (15, 15), -280_000, 33_000),
        ("EPSG:4326", 0.0001, (0, 0), -600_000, 90_000),
        ("EPSG:6933", 100, (0, 0), -60_000, 5_000),
        ("EPSG:2263", 30, (0, 0), -7_000, 33_000),
    ],
)
def test_radii_do_not_depend_on_the_window(
    crs: str, resolution: float, origin: tuple[float, float], row: int, col: int
) -> None:
    grid, metres = Grid(crs, resolution, origin=origin), 60 * max(resolution, 10)
    whole = PixelBox(row, col, row + 1200, col + 1100)

    def of_pixels(box: PixelBox) -> np.ndarray:
        radii = pixel_radii(grid.geobox_of(box), metres)
        which = np.zeros(box.shape, int) if radii.which is None else radii.which
        assert largest_radius(grid.geobox_of(box), metres) == max(radii.largest)
        return np.array(radii.radii)[which]

    expected = of_pixels(whole)
    for part in (
        PixelBox(row + 3, col + 7, row + 530, col + 521),
        PixelBox(row + 511, col, row + 513, col + 1100),
        PixelBox(row + 1199, col + 1099, row + 1200, col + 1100),
    ):
        np.testing.assert_array_equal(of_pixels(part), expected[part.slices(whole)])
    # At the window's centre the radius is that of the scale there, within a cell's own change.
    geobox = grid.geobox_of(whole)
    x, y = geobox.affine * (550, 600)
    scale = ground_scale(crs, x, y)
    exact = metres / (resolution * np.array([scale.y, scale.x]))
    assert np.abs(expected[600, 550] - np.ceil(exact)).max() <= np.ceil(exact.max() * 0.01)


@pytest.mark.parametrize(("x", "y"), [(1_000_000, 5_500_000), (-1_500_000, 3_000_000)])
def test_on_skewed_axes_a_length_is_reached_in_every_direction(x: float, y: float) -> None:
    """A sinusoidal grid, as that of MODIS."""
    crs = "+proj=sinu +R=6371007.181 +units=m"
    scale = ground_scale(crs, x, y)
    to_degrees = pyproj.Transformer.from_crs(crs, pyproj.CRS(crs).geodetic_crs, always_xy=True)
    geod = pyproj.Geod(a=6371007.181, b=6371007.181)
    turn = np.linspace(0, 2 * np.pi, 73)
    reach = 10_000 / np.array([scale.x, scale.y])
    ends = to_degrees.transform(x + reach[0] * np.cos(turn), y + reach[1] * np.sin(turn))
    start = (np.full(73, v) for v in to_degrees.transform(x, y))
    metres = geod.inv(*start, *ends)[2]
    assert metres.min() == pytest.approx(10_000, rel=0.005)


@pytest.mark.parametrize(
    ("crs", "resolution", "row", "col", "width"),
    [
        ("EPSG:32631", 10, -498_000, 50_000, 10.0),
        ("EPSG:2263", 30, -7_000, 33_000, 9.144),
        ("EPSG:3857", 10, -840_000, 100_000, 5.01),
        ("EPSG:4326", 0.0001, -600_000, 90_000, 0.0001),
        ("+proj=sinu +R=6371007.181 +units=m", 500, -12_000, 10_000, 500),
    ],
)
def test_pixels_are_as_wide_as_on_the_ground(
    crs: str, resolution: float, row: int, col: int, width: float
) -> None:
    geobox = Grid(crs, resolution).geobox_of(PixelBox(row, col, row + 10, col + 10))
    assert pixel_width(geobox) == pytest.approx(width, rel=1e-3)
