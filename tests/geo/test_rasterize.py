"""Burning shapes: the pixel-centre rule, and no pixel that depends on the box asked for."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geom import Geometry
from rasterio.errors import NotGeoreferencedWarning

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import WARP_BLOCK, PixelBox
from rsscale.geo.rasterize import area_mask, raster_features, rasterize

GRID = Grid("EPSG:32631", 10.0, tile=1024)
# Around a corner of four blocks far from the origin, where floats have few bits to spare.
ROW, COL = -WARP_BLOCK * 900, WARP_BLOCK * 100
WHOLE = PixelBox(ROW - 40, COL - 40, ROW + 40, COL + 40)
COUNTRIES = Path(__file__).resolve().parents[2] / "../shared/data/countries-50m.parquet"


def point_at(row: float, col: float) -> tuple[float, float]:
    """Coordinates of a place in pixels from the corner of the four blocks."""
    return (COL + col) * GRID.resolution, -(ROW + row) * GRID.resolution


def polygon(*corners: tuple[float, float]) -> shapely.Polygon:
    return shapely.Polygon([point_at(*corner) for corner in corners])


def centers_inside(shape: shapely.Geometry, box: PixelBox) -> np.ndarray:
    rows, cols = np.mgrid[box.row0 : box.row1, box.col0 : box.col1]
    x, y = (cols + 0.5) * GRID.resolution, -(rows + 0.5) * GRID.resolution
    return shapely.contains_xy(shape, x, y)


# Corners on quarters of a pixel: edges through pixel centres, the ties, are common.
quarters = st.tuples(st.integers(-160, 160), st.integers(-160, 160)).map(
    lambda corner: (corner[0] / 4, corner[1] / 4)
)
triangles = st.lists(quarters, min_size=3, max_size=3).map(lambda c: polygon(*c))
boxes = st.tuples(*[st.integers(-40, 40)] * 4).map(
    lambda b: PixelBox(
        ROW + min(b[0], b[2]), COL + min(b[1], b[3]), ROW + max(b[0], b[2]), COL + max(b[1], b[3])
    )
)


@settings(max_examples=60, deadline=None)
@given(st.lists(triangles.filter(lambda t: t.area > 0), min_size=1, max_size=4), boxes)
def test_a_pixel_does_not_depend_on_the_box(shapes: list, box: PixelBox) -> None:
    valued = [(shape, value) for value, shape in enumerate(shapes, start=1)]
    whole = rasterize(valued, GRID, WHOLE, fill=255)
    assert np.array_equal(rasterize(valued, GRID, box, fill=255), whole[box.slices(WHOLE)])
    area = shapely.union_all(shapes)
    assert np.array_equal(
        area_mask(area, GRID, box), area_mask(area, GRID, WHOLE)[box.slices(WHOLE)]
    )


@settings(max_examples=60, deadline=None)
@given(triangles.filter(lambda t: t.area > 0))
def test_a_pixel_is_burnt_when_its_centre_is_inside(shape: shapely.Polygon) -> None:
    burnt = rasterize([(shape, 7)], GRID, WHOLE, fill=0) == 7
    # A centre on the very edge may fall either way; everywhere else shapely decides.
    surely_in = centers_inside(shape.buffer(-1e-3), WHOLE)
    surely_out = ~centers_inside(shape.buffer(1e-3), WHOLE)
    for mask in (burnt, area_mask(shape, GRID, WHOLE)):
        assert mask[surely_in].all()
        assert not mask[surely_out].any()


def test_the_later_shape_wins() -> None:
    low, high = polygon((0, 0), (0, 20), (20, 20), (20, 0)), polygon((9, 0), (9, 20), (30, 9))
    box = PixelBox(ROW, COL, ROW + 40, COL + 40)
    burnt = rasterize([(low, 1), (high, 2)], GRID, box, fill=255)
    inside = centers_inside(high.buffer(-1e-3), box)
    assert (burnt[inside] == 2).all()
    assert set(np.unique(burnt)) == {1, 2, 255}
    assert (rasterize([(high, 2), (low, 1)], GRID, box, fill=255)[:20, :20] == 1).all()


@pytest.mark.parametrize("at", [(0.5, 0.5), (-0.5, -0.5), (0, 0), (-7.25, 12.75)])
def test_a_point_takes_the_pixel_that_it_lies_in(at: tuple[float, float]) -> None:
    burnt = rasterize([(shapely.Point(point_at(*at)), 3)], GRID, WHOLE, fill=0)
    expected = np.floor(at).astype(int) + 40
    assert np.argwhere(burnt == 3).tolist() == [expected.tolist()]


def test_nothing_to_burn() -> None:
    square = polygon((0, 0), (0, 5), (5, 5), (5, 0))
    far = PixelBox(0, 0, 30, 20)
    empty = PixelBox(5, 5, 5, 9)
    assert (rasterize([], GRID, far, fill=9) == 9).all()
    assert (rasterize([(square, 1)], GRID, far, fill=9) == 9).all()
    assert not area_mask(square, GRID, far).any()
    assert (
        area_mask(square, GRID, empty).shape == rasterize([], GRID, empty, fill=0).shape == (0, 4)
    )


def test_an_area_that_only_touches_a_block_burns_nothing_there() -> None:
    beside = polygon((-30, -30), (-30, 0), (30, 0), (30, -30))  # its east edge is a block's edge
    corner = polygon((-30, -60), (-30, -1), (30, -1), (30, -60))  # and one that ends at the cut
    for shape in (beside, corner):
        assert np.array_equal(area_mask(shape, GRID, WHOLE), centers_inside(shape, WHOLE))


def test_holes_and_whole_blocks() -> None:
    ring = shapely.Point(point_at(0, 0)).buffer(20_000) - shapely.Point(point_at(9, 9)).buffer(3000)
    box = WHOLE.pad(800)
    sampled = (slice(None, None, 7), slice(None, None, 7))
    assert np.array_equal(area_mask(ring, GRID, box)[sampled], centers_inside(ring, box)[sampled])


def test_a_real_country() -> None:
    if not COUNTRIES.exists():
        pytest.skip(f"the countries are not at {COUNTRIES}")
    import geopandas as gpd

    names = gpd.read_parquet(COUNTRIES)
    shape = names.geometry[names.geometry.intersects(shapely.Point(6.1, 49.7))].iloc[0]
    grid = Grid("EPSG:32632", 100.0)  # Luxembourg
    projected = grid.project(Geometry(shape, "EPSG:4326"))
    mask = area_mask(projected.geom, grid, grid.box(Geometry(shape, "EPSG:4326")))
    assert mask.sum() * 100.0**2 == pytest.approx(projected.area, rel=2e-3)


def test_images_in_memory_do_not_warn_where_another_thread_undoes_the_filters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = np.ones((2, 2), np.uint8)
    shapes = [(polygon((0, 0), (0, 9), (9, 9)), 1)]
    # As if another thread restored its own filters just after rasterio had added to them.
    monkeypatch.setattr(warnings, "simplefilter", lambda *_, **__: None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        list(rasterio.features.shapes(image))
        assert {warning.category for warning in caught} == {NotGeoreferencedWarning}
        caught.clear()
        with warnings.catch_warnings():
            raster_features()  # its filter ends with this block, as another thread's may
        list(raster_features().shapes(image))
        assert rasterize(shapes, GRID, WHOLE, fill=0).any()
        assert len(warnings.filters) == 1
    assert not caught
