"""Solar parks and greenhouses: where they are said to be, and nowhere else."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from rasterio.windows import Window

from rsscale.simulation.simulate import simulate
from rsscale.simulation.site_truth import site_boxes
from rsscale.simulation.sites import SITE_CLASSES, SOLAR
from rsscale.simulation.tiles import ANCHOR, WORLD_CRS, make_tiles, truth_grid
from rsscale.simulation.world import BUILT_UP, SITE_KINDS, WATER, World

YEARS = (2023, 2024)
SIZE = 600


@pytest.fixture(scope="module")
def world():
    return World(0, YEARS)


@pytest.fixture(scope="module")
def sites(world):
    grid = truth_grid(make_tiles(SIZE))
    return site_boxes(world, shapely.box(*grid.bounds))


def test_the_ground_of_a_site_is_its_kind_to_the_pixel(world, sites):
    grid = truth_grid(make_tiles(SIZE))
    window = Window(200, 200, 256, 256)
    ground = world.evaluate(*grid.world_xy(window))
    corner = grid.transform * (window.col_off, window.row_off)
    values = {c.name: c.value for c in SITE_CLASSES}
    for year in YEARS:
        expected = np.zeros((256, 256), np.uint8)
        for site in sites[sites.year == year].itertuples():
            west, south, east, north = site.geometry.bounds
            rows = slice(
                max(round((corner[1] - north) / 10), 0), max(round((corner[1] - south) / 10), 0)
            )
            cols = slice(
                max(round((west - corner[0]) / 10), 0), max(round((east - corner[0]) / 10), 0)
            )
            expected[rows, cols] = values[site.kind]
        assert (expected > 0).sum() > 1000
        for value, kind in SITE_KINDS.items():
            is_site = (ground.landcover[year] == BUILT_UP) & (ground.kind[year] == kind)
            np.testing.assert_array_equal(is_site, expected == value)
        assert not (ground.landcover[year] == WATER)[expected > 0].any()


@pytest.mark.extended
def test_some_lie_on_corners_and_lines_of_tiles_and_some_are_wider_than_a_halo(world):
    area = shapely.box(716_000, 5_260_000, 736_000, 5_272_000)
    boxes = site_boxes(world, area)
    boxes = boxes[boxes.year == YEARS[1]].geometry
    middle = boxes.centroid
    on_column = (middle.x / 2560 - np.rint(middle.x / 2560)).abs() * 2560 < 10
    on_row = (middle.y / 2560 - np.rint(middle.y / 2560)).abs() * 2560 < 10
    assert (on_column & on_row).sum() >= 3
    assert (on_column ^ on_row).sum() >= 20
    assert (boxes.bounds.maxx - boxes.bounds.minx > 640).sum() >= 3


def test_sites_never_touch_and_only_grow_in_number(sites):
    for year in YEARS:
        boxes = sites[sites.year == year].geometry.values
        pairs = shapely.STRtree(boxes).query(boxes, predicate="intersects")
        assert (pairs[0] == pairs[1]).all()
    first, last = (set(sites[sites.year == year].site) for year in YEARS)
    assert first < last


def test_sites_do_not_depend_on_the_box_that_is_asked_for(world, sites):
    anchor_x, anchor_y = ANCHOR[WORLD_CRS]
    box = sites.geometry.iloc[len(sites) // 2]
    west, south, east, north = box.buffer(300).bounds
    near = world.sites((west - anchor_x, south - anchor_y, east - anchor_x, north - anchor_y), 2024)
    expected = sites[(sites.year == 2024) & sites.intersects(shapely.box(west, south, east, north))]
    assert {f"{a}/{b}" for a, b in near.node} == set(expected.site)


@pytest.mark.extended
def test_labels_are_all_sites_of_the_training_area(tmp_path):
    archive = simulate(tmp_path / "archive", size=256, dates=4, workers=1)
    truth, labels = (gpd.read_file(p) for p in (archive.sites, archive.site_labels))
    training = gpd.read_file(archive.training_area).to_crs(truth.crs).geometry.iloc[0].buffer(1)
    inside = truth[truth.centroid.within(training)]
    assert len(labels) > 0
    assert set(zip(inside.site, inside.year, strict=True)) == set(
        zip(labels.site, labels.year, strict=True)
    )
    assert set(truth.kind) <= {c.name for c in SITE_CLASSES}
    assert SITE_CLASSES[0].value == SOLAR
