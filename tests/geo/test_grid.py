"""The global grid: nothing depends on the area, and boxes share their edges bit by bit."""

import pickle

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry, box
from odc.geo.gridspec import GridSpec
from odc.geo.types import res_, xy_

from rsscale.errors import AreaError, RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import Lattice, PixelBox

UTM = "EPSG:32631"
indices = st.integers(-10_000, 10_000)


@st.composite
def boxes(draw: st.DrawFn) -> PixelBox:
    row, col = draw(indices), draw(indices)
    return PixelBox(row, col, row + draw(st.integers(1, 300)), col + draw(st.integers(1, 300)))


@given(boxes(), st.integers(20, 100))
def test_blocks_cover_a_box_exactly_once(area: PixelBox, size: int) -> None:
    seen = np.zeros(area.shape, int)
    for block in area.blocks(size):
        assert block.row0 % size == block.col0 % size == 0
        part = block & area
        assert not part.empty
        seen[part.slices(area)] += 1
    assert (seen == 1).all()


@given(boxes(), boxes())
def test_intersection_is_what_both_hold(one: PixelBox, other: PixelBox) -> None:
    both = one & other
    for row, col in ((one.row0, one.col0), (other.row1 - 1, other.col1 - 1)):
        inside = all(b.row0 <= row < b.row1 and b.col0 <= col < b.col1 for b in (one, other))
        assert inside == (both.row0 <= row < both.row1 and both.col0 <= col < both.col1)


@given(boxes(), st.integers(16, 64), st.integers(0, 32))
def test_read_box_holds_every_window(area: PixelBox, stride: int, halo: int) -> None:
    lattice = Lattice(stride, halo)
    read = lattice.read_box(area)
    for core in lattice.cores(area):
        assert (core.pad(halo) & read) == core.pad(halo)


@given(boxes(), st.integers(16, 64), st.integers(0, 8))
def test_blended_windows_have_a_say_in_all_that_they_read(
    area: PixelBox, stride: int, halo: int
) -> None:
    lattice = Lattice(stride, halo, "hann")
    around = area.snap(stride).pad(2 * stride)
    want = [core for core in around.blocks(stride) if not (core.pad(halo) & area).empty]
    cores = list(lattice.cores(area))
    assert cores == want
    assert all(lattice.influence(core) == core.pad(halo) for core in cores)
    read = lattice.read_box(area)
    assert read == cores[0].pad(halo) | cores[-1].pad(halo)


def test_no_window_has_a_say_in_nothing() -> None:
    nothing = PixelBox(5, 5, 5, 9)
    assert not list(Lattice(16, 4).cores(nothing))
    assert not list(Lattice(16, 4, "hann").cores(nothing))


@pytest.mark.parametrize("origin", [(0.0, 0.0), (15.0, 15.0), (600_000.0, 5_000_000.0)])
def test_tiles_are_those_of_odc_geo(origin: tuple[float, float]) -> None:
    grid = Grid(UTM, 30, tile=100, origin=origin)
    oracle = GridSpec(UTM, (100, 100), res_(30), origin=xy_(*origin))
    area = box(600_015, 5_000_020, 611_111, 5_009_999, UTM)
    mine = {(t.ix, t.iy): grid.geobox_of(t.box) for t in grid.tiles(area)}
    theirs = dict(oracle.tiles(area.boundingbox))
    assert mine.keys() == theirs.keys()
    for index, geobox in mine.items():
        assert geobox == theirs[index]
        assert grid.tile_at(*index).box == grid.box_of(geobox)


def test_tiles_of_a_shape_leave_out_what_it_does_not_touch() -> None:
    grid = Grid(UTM, 10, tile=100)
    triangle = Geometry(shapely.Polygon([(0, 0), (3000, 0), (0, 3000)]), UTM)
    assert [t.id for t in grid.tiles(triangle)] == [
        "x0_y2", "x0_y1", "x1_y1", "x0_y0", "x1_y0", "x2_y0",
    ]  # fmt: skip


def test_tiles_of_a_large_shape_are_those_that_share_area_with_it() -> None:
    grid = Grid(UTM, 10, tile=10)
    ring = shapely.Point(0, 0).buffer(3000).difference(shapely.Point(900, -300).buffer(1700))
    islands = shapely.union_all([shapely.box(4000 + 7, y, 4100, y + 55) for y in (0, 300, 710)])
    shape = shapely.union(ring, islands)
    tiles = list(grid.tiles(Geometry(shape, UTM)))
    around, count = grid.extent(Geometry(shape, UTM))
    shares = [
        (box.row0, box.col0)
        for box in around.blocks(grid.tile)
        if grid.geobox_of(box).extent.geom.intersection(shape).area > 0
    ]
    assert [(tile.box.row0, tile.box.col0) for tile in tiles] == shares
    assert count == len(shares) < len(list(around.blocks(grid.tile)))


@pytest.mark.parametrize(("start", "step"), [(0, 1), (0, 7), (3, 7), (20, 50), (2, 1000), (99, 3)])
def test_some_tiles_are_a_slice_of_all(start: int, step: int) -> None:
    grid = Grid(UTM, 10, tile=100)
    circle = Geometry(shapely.Point(0, 0).buffer(9000), UTM)
    assert list(grid.tiles(circle, start, step)) == list(grid.tiles(circle))[start::step]


def test_an_area_on_tile_lines_brings_no_neighbour() -> None:
    grid = Grid(UTM, 10, tile=100)
    assert [t.id for t in grid.tiles(box(1000, 1000, 2000, 2000, UTM))] == ["x1_y1"]


def test_geobox_goes_to_whole_pixels_and_back() -> None:
    grid = Grid(UTM, 10)
    geobox = grid.geobox(box(500_003, 5_200_001, 500_057, 5_200_039, UTM))
    assert geobox.boundingbox.bbox == (500_000, 5_200_000, 500_060, 5_200_040)
    assert grid.geobox_of(grid.box_of(geobox)) == geobox


def test_boxes_that_share_an_edge_share_its_bits() -> None:
    grid = Grid("EPSG:4326", 0.1 / 3)
    left, right = PixelBox(0, 0, 7, 7), PixelBox(0, 7, 7, 14)
    edge = grid.geobox_of(right).affine.c
    assert edge == grid.geobox_of(left | right).affine.c + 7 * grid.resolution
    assert grid.box_of(grid.geobox_of(right)) == right


def test_a_box_between_pixels_is_refused() -> None:
    shifted = Grid(UTM, 10, origin=(5, 0)).geobox_of(PixelBox(0, 0, 2, 2))
    with pytest.raises(AreaError, match="does not lie on the pixels"):
        Grid(UTM, 10).box_of(shifted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crs": "EPSG:999999", "resolution": 10}, "EPSG:999999"),
        ({"crs": UTM, "resolution": 0}, "positive"),
        ({"crs": UTM, "resolution": float("nan")}, "positive"),
        ({"crs": UTM, "resolution": 10, "tile": 0}, "at least 1"),
        ({"crs": UTM, "resolution": 10, "tile": 512.5}, "a whole number"),
        ({"crs": "EPSG:4978", "resolution": 10}, "Geocentric CRS, which has no plane"),
    ],
)
def test_bad_grids_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Grid(**arguments)


def test_grid_can_be_pickled_and_compared() -> None:
    grid = Grid(UTM, 30, 512, (15, 15))
    assert pickle.loads(pickle.dumps(grid)) == grid


@pytest.mark.parametrize(
    ("stride", "halo", "tile", "expected"),
    [
        (512, 32, 1024, (576 / 512) ** 2),
        # Tiles of 384 on a stride of 512: of four tiles in a row, two touch two windows.
        (512, 0, 384, (6 * 512 / (4 * 384)) ** 2),
    ],
)
def test_redundancy_counts_windows_of_tiles(
    stride: int, halo: int, tile: int, expected: float
) -> None:
    assert Lattice(stride, halo).redundancy(tile) == pytest.approx(expected)
    many = [PixelBox(0, k * tile, 1, (k + 1) * tile) for k in range(stride)]
    windows = sum(len(list(Lattice(stride, halo).cores(t))) for t in many)
    per_axis = windows * (stride + 2 * halo) / (stride * tile)
    assert Lattice(stride, halo).redundancy(tile) == pytest.approx(per_axis**2)


@pytest.mark.parametrize("area", [(2.0, 41.0, 2.1, 41.1), shapely.box(2.0, 41.0, 2.1, 41.1)])
def test_an_area_without_crs_is_in_degrees(area: object) -> None:
    geobox = Grid("EPSG:25831", 10).geobox(area)
    bounds = geobox.extent.to_crs("EPSG:4326").boundingbox
    assert bounds.left == pytest.approx(2.0, abs=2e-3)
    assert bounds.top == pytest.approx(41.1, abs=2e-3)


def test_something_that_is_no_area_is_refused() -> None:
    with pytest.raises(AreaError, match="the area is 3; expected a vector file"):
        Grid(UTM, 10).geobox(3)


@pytest.mark.parametrize(("wide", "high"), [(10, 20), (0.3, 0.27)])
def test_pixels_that_are_not_square_say_so_and_what_to_do(wide: float, high: float) -> None:
    box = GeoBox((5, 5), Affine(wide, 0, 0, 0, -high, 0), UTM)
    with pytest.raises(AreaError, match=f"{wide:g} wide and {high:g} high.*square.*Grid"):
        Grid(UTM, wide).box_of(box)


def test_rows_that_run_north_are_told() -> None:
    box = GeoBox((5, 5), Affine(10, 0, 0, 0, 10, 0), UTM)
    with pytest.raises(AreaError, match="not north up; turn it"):
        Grid(UTM, 10).box_of(box)


WKT = (
    'PROJCS["Brazil Albers",GEOGCS["SIRGAS 2000",DATUM["SIRGAS2000",SPHEROID["GRS 1980",6378137,'
    '298.257222101]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],'
    'PROJECTION["Albers_Conic_Equal_Area"],PARAMETER["latitude_of_center",-12],'
    'PARAMETER["longitude_of_center",-54],PARAMETER["standard_parallel_1",-2],'
    'PARAMETER["standard_parallel_2",-22],PARAMETER["false_easting",5000000],'
    'PARAMETER["false_northing",10000000],UNIT["metre",1]]'
)


@pytest.mark.parametrize("crs", ["EPSG:32631", WKT])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda c: Grid(c, 30, origin=(15, 15)), r"origin=\(15\.0, 15\.0\), in a recipe grid\.or"),
        (lambda c: Grid(c, 30, origin=(-0.3, 7)), r"origin=\(29\.7, 7\.0\)"),
        (lambda c: Grid(c, 10), "has pixels of 10 x 10; square pixels of 30"),
        (lambda _: Grid("EPSG:3857", 30), "is in EPSG:3857; reproject it"),
    ],
)
def test_a_box_of_another_grid_is_refused_with_what_fits(crs, other, message):
    box = other(crs).geobox_of(PixelBox(0, 0, 10, 10))
    with pytest.raises(AreaError, match=message) as error:
        Grid(crs, 30).box_of(box)
    assert len(str(error.value)) < 330
    assert "PROJC" not in str(error.value)
    assert ("EPSG:32631" if crs != WKT else "Brazil Albers") in str(error.value)


@pytest.mark.parametrize(
    ("crs", "resolution", "message"),
    [
        ("EPSG:4326", 10, "10, and EPSG:4326 counts degrees; .* use about 9e-05, or a CRS in met"),
        ("EPSG:4258", 30, "counts degrees"),
        ("EPSG:4326", 1.5, "counts degrees"),
        ("EPSG:3857", 0.0001, "counts in metre: a pixel of 0.0001 m; .*degrees, use about 11;"),
        ("EPSG:32631", 0.0083, "a pixel of 0.0083 m; .*degrees, use about 9.2e"),
        ("EPSG:2263", 0.00025, "counts in US survey foot"),
        ("EPSG:3035", 1e7, r"a pixel of 1e\+07 m; expected 0.01 to 1e\+06 m"),
    ],
)
def test_a_resolution_in_another_unit_is_refused(crs: str, resolution: float, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Grid(crs, resolution)


@pytest.mark.parametrize(
    ("crs", "resolution"),
    [("EPSG:4326", 1.0), ("EPSG:4326", 8.98e-5), ("EPSG:3857", 0.02), ("EPSG:2263", 0.1),
     ("EPSG:6933", 25_000)],
)  # fmt: skip
def test_fine_and_coarse_pixels_are_taken(crs: str, resolution: float) -> None:
    assert Grid(crs, resolution).resolution == resolution


def test_overviews_are_as_coarse_as_they_are() -> None:
    overview = Grid("EPSG:4326", 0.5).at_level(3)
    assert overview.resolution == 4
    assert pickle.loads(pickle.dumps(overview)) == overview
