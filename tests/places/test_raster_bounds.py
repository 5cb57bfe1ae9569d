"""Where rasters lie: read from every form of metadata, and projected without losing a pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from rsscale.places.raster_bounds import RasterBounds, bounds_in, raster_of

TRANSFORM = [10.0, 0.0, 600000.0, 0.0, -10.0, 5000040.0]
SHAPE = [10980, 10980]
BBOX = [600000.0, 4890240.0, 709800.0, 5000040.0]
UTM31 = {"proj:code": "EPSG:32631"}
WHOLE = {"proj:transform": TRANSFORM, "proj:shape": SHAPE}
EXPECTED = RasterBounds("EPSG:32631", tuple(TRANSFORM), (10980, 10980))


def square(left, bottom, right, top):
    ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.mark.parametrize(
    ("own", "common"),
    [
        ({**UTM31, **WHOLE}, {}),
        ({}, {**UTM31, **WHOLE}),
        (WHOLE, UTM31),
        ({"proj:shape": SHAPE}, {**UTM31, **WHOLE}),
        ({"proj:transform": [*TRANSFORM, 0, 0, 1], "proj:shape": SHAPE}, {"proj:epsg": 32631}),
        ({**WHOLE, "proj:epsg": "32631"}, {"proj:epsg": 4326}),
        ({**WHOLE, "proj:epsg": 32631, "proj:code": None}, {"proj:code": "EPSG:4326"}),
        ({**WHOLE, "proj:bbox": BBOX}, UTM31),
        ({"proj:shape": SHAPE, "proj:bbox": BBOX}, UTM31),
        ({"proj:shape": SHAPE, "proj:geometry": square(*BBOX)}, UTM31),
        # The item's transform belongs to another shape.
        ({"proj:shape": SHAPE}, {**UTM31, "proj:transform": [20, 0, 0, 0, -20, 0],
                                 "proj:shape": [5490, 5490], "proj:bbox": BBOX}),
    ],
)  # fmt: skip
def test_forms(own, common):
    assert raster_of(own, common) == EXPECTED


@pytest.mark.parametrize("form", ["wkt2", "projjson"])
def test_a_crs_without_a_code(form):
    crs = CRS.from_epsg(32631)
    text = crs.to_wkt() if form == "wkt2" else crs.to_json_dict()
    raster = raster_of({f"proj:{form}": text, **WHOLE}, {"proj:epsg": 4326})
    assert CRS(raster.crs) == crs
    assert np.allclose(bounds_in([raster], "EPSG:32631"), bounds_in([EXPECTED], "EPSG:32631"))


@pytest.mark.parametrize(
    ("own", "common"),
    [
        ({}, {}),
        (WHOLE, {}),
        ({}, UTM31),
        ({"proj:shape": [343, 343]}, {**UTM31, **WHOLE}),  # a preview
        ({"proj:transform": TRANSFORM}, UTM31),
        ({**UTM31, "proj:transform": [1, 2], "proj:shape": SHAPE}, {}),
        ({**UTM31, "proj:transform": ["a"] * 6, "proj:shape": SHAPE}, {}),
        ({**UTM31, "proj:transform": [float("nan")] * 6, "proj:shape": SHAPE}, {}),
        ({**UTM31, "proj:transform": TRANSFORM, "proj:shape": [0, 5]}, {}),
        ({**UTM31, "proj:bbox": [None] * 4}, {}),
        ({**UTM31, "proj:geometry": {"type": "Polygon", "coordinates": "?"}}, {}),
        ({"proj:epsg": "none", **WHOLE}, {}),
        ({**UTM31, **WHOLE, "proj:bbox": [100000.0, 100000.0, 209800.0, 209800.0]}, {}),
    ],
)  # fmt: skip
def test_what_does_not_say_where_it_is(own, common):
    assert raster_of(own, common) is None


def test_a_box_alone_gets_more_room():
    left, bottom, right, top = bounds_in([raster_of({"proj:bbox": BBOX}, UTM31)], "EPSG:32631")[0]
    assert 2000 < BBOX[0] - left < 4000
    assert 2000 < right - BBOX[2] < 4000
    assert 2000 < BBOX[1] - bottom < 4000
    assert 2000 < top - BBOX[3] < 4000


def covered(raster, crs, n=60):
    """Points all over a raster in another CRS, projected one by one: the oracle."""
    a, _, c, _, e, f = raster.transform
    height, width = raster.shape
    xs, ys = np.meshgrid(
        c + a * width * np.linspace(0, 1, n), f + e * height * np.linspace(0, 1, n)
    )
    return Transformer.from_crs(raster.crs, crs, always_xy=True).transform(xs, ys)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    zone=st.integers(1, 60), south=st.booleans(), east=st.integers(0, 4),
    north=st.integers(0, 85), target=st.sampled_from(
        ["EPSG:4326", "EPSG:3857", "EPSG:6933", "next", "EPSG:3035", "EPSG:3413", "EPSG:3031"]
    ),
)  # fmt: skip
@pytest.mark.extended
def test_bounds_hold_every_pixel(zone, south, east, north, target):
    code = f"EPSG:{(32700 if south else 32600) + zone}"
    top = (10_000_000 - north * 100_000) if south else north * 100_000 + 109_800
    raster = RasterBounds(
        code, (10.0, 0.0, 199_980.0 + east * 100_000, 0.0, -10.0, top), (10980, 10980)
    )
    if target == "next":
        target = f"EPSG:{(32700 if south else 32600) + zone % 60 + 1}"
    left, bottom, right, upper = bounds_in([raster], target)[0]
    xs, ys = covered(raster, target)
    finite = np.isfinite(xs) & np.isfinite(ys)
    if target == "EPSG:4326":  # the same meridian, another turn
        xs = (xs - left) % 360 + left if np.isfinite(left) else xs
    assert (xs[finite] >= left).all()
    assert (xs[finite] <= right).all()
    assert (ys[finite] >= bottom).all()
    assert (ys[finite] <= upper).all()
    if target == "EPSG:4326" and north < 80 and np.isfinite(left):
        assert right - left < 12  # and no more than it needs


def test_bounds_are_tight():
    tile = RasterBounds("EPSG:32631", tuple(TRANSFORM), (10980, 10980))
    same = bounds_in([tile], "EPSG:32631")[0]
    assert np.allclose(same, [BBOX[0] - 30, BBOX[1] - 30, BBOX[2] + 30, BBOX[3] + 30])
    xs, ys = covered(tile, "EPSG:32632")
    found = bounds_in([tile], "EPSG:32632")[0]
    assert np.abs(found - [xs.min(), ys.min(), xs.max(), ys.max()]).max() < 150  # metres


def test_edges_that_bend_between_samples():
    """Tens of degrees wide and with small pixels, so that the kernel's room hides nothing."""
    wide = RasterBounds("EPSG:4326", (0.001, 0.0, -10.0, 0.0, -0.001, 65.0), (30_000, 50_000))
    left, bottom, right, top = bounds_in([wide], "EPSG:3035")[0]
    xs, ys = covered(wide, "EPSG:3035", n=500)
    assert left <= xs.min()
    assert right >= xs.max()
    assert bottom <= ys.min()
    assert top >= ys.max()
    assert top - ys.max() < 200_000  # metres, of 3,300 km


def test_across_the_antimeridian_and_around_a_pole():
    across = RasterBounds(
        "EPSG:32601", (10.0, 0.0, 300000.0, 0.0, -10.0, 8000040.0), (10980, 10980)
    )
    west, _, east, _ = bounds_in([across], "EPSG:4326")[0]
    assert 177 < west < 178
    assert 180 < east < 181
    assert across.degrees_box().bounds[0] == -180
    assert 178 < across.centre_longitude() < 180
    pole = RasterBounds("EPSG:3031", (1000.0, 0.0, -500000.0, 0.0, -1000.0, 500000.0), (1000, 1000))
    west, south, east, north = bounds_in([pole], "EPSG:4326")[0]
    assert (west, south, east) == (-np.inf, -np.inf, np.inf)
    assert -84 < north < -82
    assert pole.degrees_box().bounds == (-180, -90, 180, north)


def test_many_at_once_are_as_one_by_one():
    rasters = [
        RasterBounds(
            f"EPSG:{32600 + zone}", (10.0, 0.0, 300000.0, 0.0, -10.0, 5e6), (1000, 2000 + zone)
        )
        for zone in (60, 1, 31, 60, 1)
    ] + [RasterBounds("EPSG:0", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), (5, 5))]
    together = bounds_in(rasters, "EPSG:4326")
    alone = np.concatenate([bounds_in([raster], "EPSG:4326") for raster in rasters])
    assert np.array_equal(together, alone)
    assert np.isinf(together[-1]).all()
    assert bounds_in([], "EPSG:4326").shape == (0, 4)
