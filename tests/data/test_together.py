"""Looks that lie together: the same cube and composites, no room where nothing lies."""

import numpy as np
import pytest
from affine import Affine
from cube_scenes import EAST, WEST, geobox, item, scene
from hypothesis import given, settings
from hypothesis import strategies as st

from rsscale.data.blocks import is_blank, is_uniform
from rsscale.data.composite import composite
from rsscale.data.load import load
from rsscale.data.masks import mask
from rsscale.data.meter import Meter
from rsscale.data.mosaic import merge_days
from rsscale.data.together import lie_together, most_looks
from rsscale.errors import RecipeError
from rsscale.lattice import PixelBox

BANDS = ["red", "nir", "scl"]
FAR = 1500  # px


def moved(transform, down, across):
    return transform @ Affine.translation(across, down)


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Scenes in two places of one zone, on two days each, one of the next zone, one anywhere."""
    folder = tmp_path_factory.mktemp("together")
    south = moved(WEST, FAR, 200)
    made = [
        scene(folder, "north_1", "2023-05-01", WEST, "EPSG:32631", 10, gap=200),
        scene(folder, "south_1", "2023-05-01", south, "EPSG:32631", 20),
        scene(folder, "north_2", "2023-06-01", WEST, "EPSG:32631", 30),
        scene(folder, "south_2", "2023-07-01", south, "EPSG:32631", 40, gap=90),
        scene(folder, "east", "2023-06-10", EAST, "EPSG:32632", 50),
    ]
    anywhere = scene(folder, "anywhere", "2023-06-20", south, "EPSG:32631", 60)
    for field in ("proj:code", "proj:transform", "proj:shape"):
        del anywhere.properties[field]
    return [*made, anywhere]


boxes = st.tuples(
    st.integers(-200, 2500), st.integers(-200, 1500), st.integers(1, 700), st.integers(1, 700)
)


@settings(max_examples=20, deadline=None)
@given(at=boxes, chunk=st.sampled_from([100, 300, 1024]))
@pytest.mark.parametrize("loader", ["stackstac", "odc-stac"])
def test_the_same_looks_in_another_order(items, loader, at, chunk):
    box = geobox(*at)
    by_time = load(items, box, BANDS, chunk=chunk)
    by_place = load(items, box, BANDS, chunk=chunk, order="place", loader=loader)
    assert sorted(by_place["id"].values) == sorted(by_time["id"].values)
    back = [by_place["id"].values.tolist().index(name) for name in by_time["id"].values]
    again = by_place.isel(time=back)
    np.testing.assert_array_equal(again, by_time)
    for name in ("time", "scale", "offset", "solar_day"):
        np.testing.assert_array_equal(again[name], by_time[name])
    rule = {"band": "scl", "drop": [3, 8, 9]}
    for missing in ("leave", "year"):
        values = [
            composite(
                merge_days(mask(cube, rule, dilate=20)), "season", years=[2023], missing=missing
            ).values.tobytes()
            for cube in (by_time, by_place)
        ]
        assert values[0] == values[1]


@pytest.mark.parametrize("reducer", ["median", "mean", "p90", "best-pixel", "medoid", "geomedian"])
def test_reducers_leave_out_what_lies_elsewhere(items, reducer):
    box = geobox(1100, 0, 700, 600)
    values = []
    for order in ("time", "place"):
        cube = load(items, box, ["red", "nir"], chunk=256, order=order)
        values.append(composite(cube, "season", reducer, years=[2023], missing="neighbour"))
    assert values[0].values.tobytes() == values[1].values.tobytes()
    np.testing.assert_array_equal(values[0].observations, values[1].observations)


def test_blocks_where_none_lies_are_one_number_and_not_read(items):
    box = geobox(0, 0, 3000, 1500)
    meter = Meter()
    known = [one for one in items if one.id != "anywhere"]
    cube = load(known, box, BANDS, order="place", meter=meter)
    ends = np.cumsum(cube.chunks[0])[:-1]
    assert [group.tolist() for group in np.split(cube["id"].values, ends)] == [
        ["north_1", "north_2", "east"],
        ["south_1", "south_2"],
    ]
    blanks = blank_blocks(cube)
    tops = np.cumsum([0, *cube.chunks[2]])[:-1]
    assert blanks.shape == (2, 2, len(tops), len(cube.chunks[3]))
    assert (blanks[0].all(axis=(0, 2)) == (tops >= 1400 + 8)).all()
    assert blanks[1, :, :2].all()
    assert not blanks[1, :, 3].all()
    pixels = len(BANDS) * 5 * box.shape[0] * box.shape[1]
    assert 0 < meter.decoded_bytes < 0.6 * 2 * pixels


def blank_blocks(cube):
    """Which blocks are nodata without a search; Dask would copy the block that it gives."""

    def look(block):
        blank = is_uniform(block) and is_blank(block[0], cube.attrs["nodata"])
        return np.full((1, 1, 1, 1), blank)

    chunks = tuple((1,) * n for n in cube.data.numblocks)
    return cube.data.map_blocks(look, dtype=bool, chunks=chunks).compute()


def test_masked_blocks_stay_one_number(items):
    cube = load(items[:4], geobox(0, 0, 3000, 512), BANDS, order="place")
    blanks = blank_blocks(cube)
    masked = mask(cube, {"band": "scl", "drop": [3, 8, 9]}, dilate=20)
    assert blanks.any()
    np.testing.assert_array_equal(blank_blocks(masked)[:, 0], blanks[:, 0])


def test_what_lies_in_no_two_blocks_alike_is_told_apart_less_finely():
    box = PixelBox(0, 0, 3200, 3200)
    rng = np.random.default_rng(0)
    reach = [PixelBox(*sorted_box(*rng.integers(0, 3200, (2, 2)))) & box for _ in range(100)]
    groups = lie_together(reach, box, [100] * 32, [100] * 32)
    assert 1 < len(groups) <= 16
    assert sorted(number for group in groups for number in group) == list(range(100))
    assert all(group == sorted(group) for group in groups)


def sorted_box(one, other):
    (top, left), (bottom, right) = np.minimum(one, other), np.maximum(one, other)
    return int(top), int(left), int(bottom), int(right)


pixel_boxes = st.builds(
    lambda row, col, height, width: PixelBox(row, col, row + height, col + width),
    st.integers(0, 20), st.integers(0, 20), st.integers(0, 12), st.integers(0, 12),
)  # fmt: skip


@given(reach=st.lists(pixel_boxes, max_size=8))
def test_most_looks(reach):
    looks = np.zeros((40, 40), int)
    for one in reach:
        looks[one.row0 : one.row1, one.col0 : one.col1] += 1
    assert most_looks(reach) == looks.max()


@given(
    reach=st.lists(pixel_boxes, min_size=1, max_size=8),
    rows=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    cols=st.lists(st.integers(1, 20), min_size=1, max_size=4),
)
def test_a_group_reaches_the_same_chunks(reach, rows, cols):
    box = PixelBox(3, 5, 3 + sum(rows), 5 + sum(cols))
    reach = [one & box for one in reach]

    def chunks(one):
        tops = np.cumsum([box.row0, *rows])
        lefts = np.cumsum([box.col0, *cols])
        return {
            (i, j)
            for i in range(len(rows))
            for j in range(len(cols))
            if not (one & PixelBox(tops[i], lefts[j], tops[i + 1], lefts[j + 1])).empty
        }

    groups = lie_together(reach, box, rows, cols)
    for group in groups:
        assert len({frozenset(chunks(reach[number])) for number in group}) == 1
    kinds = [frozenset(chunks(reach[group[0]])) for group in groups]
    assert len(set(kinds)) == len(kinds)


def test_few_looks_in_each_place_do_not_make_blocks_small():
    fields = {"raster:bands": [{"data_type": "uint16", "nodata": 0}]}
    made = [
        item(
            f"i{n}", "2023-05-01", {"red": "gone.tif"}, epsg=32631, fields=fields,
            transform=moved(WEST, 1500 * n, 0), shape=(1400, 1400),
        )
        for n in range(100)
    ]  # fmt: skip
    box = geobox(0, 0, 150_000, 4096)
    by_time, by_place = (load(made, box, ["red"], order=order) for order in ("time", "place"))
    assert max(by_place.chunks[3]) > max(by_time.chunks[3])
    assert 1 < len(by_place.chunks[0]) <= 16


def test_an_unknown_order(items):
    with pytest.raises(RecipeError, match="order is 'date'; expected one of time, place"):
        load(items, geobox(0, 0, 10, 10), BANDS, order="date")
