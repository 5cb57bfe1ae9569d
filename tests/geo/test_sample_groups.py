"""Groups of samples know where they lie: whole chips of a grid, or shapes around points."""

import numpy as np
import pytest
import shapely

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.sample_groups import BlockGroups, GroupShapes, some_of, unit_of


@pytest.mark.parametrize("start", [(0, 0), (-498_000, 50_000), (700_000, -90_000)])
@pytest.mark.parametrize("rows_cols", [(256, 256), (500, 997)])
def test_blocks_part_the_plane_and_hold_their_chips(
    start: tuple[int, int], rows_cols: tuple[int, int]
) -> None:
    groups = BlockGroups(Grid("EPSG:32631", 10), *rows_cols, 256)
    around = PixelBox(*start, start[0] + 3000, start[1] + 3000)
    chips = {chip: groups.group_of(chip) for chip in around.blocks(256)}
    for chip, group in chips.items():
        box = groups.box_of(group)
        assert box | chip == box
        assert {groups.group_of(inner) for inner in box.blocks(256)} == {group}
    (x0, y0, x1, y1) = groups.shape_of(chips[chip]).bounds
    box = groups.box_of(chips[chip])
    assert (x0, y1) == (box.col0 * 10, -box.row0 * 10)
    assert (x1, y0) == (box.col1 * 10, -box.row1 * 10)


def test_points_lie_in_their_blocks_or_boxes() -> None:
    points = np.array([[0.3, -0.1], [0.9, -0.4], [1.2, 0.2]])
    groups, labels = np.array([4, 4, 7]), np.array(["a", "b", "a"])
    blocks = GroupShapes.around_points("b", points, groups, labels, crs="EPSG:4326", blocks=1.0)
    assert blocks.shapes[4].equals(shapely.box(0, -1, 1, 0))
    assert blocks.shapes[7].equals(shapely.box(1, 0, 2, 1))
    boxes = GroupShapes.around_points("column", points, groups, labels)
    assert boxes.shapes[4].bounds == (0.3, -0.4, 0.9, -0.1)
    assert (boxes.metres, boxes.unit, boxes.crs_name, boxes.to_lonlat()) == (None, "", "", {})
    assert blocks.unit == "°"
    assert blocks.metres == pytest.approx((111_000, 111_000), rel=0.01)


def test_any_geometry_is_a_place() -> None:
    field = shapely.Point(500_000, 0).buffer(1000)
    shapes = GroupShapes("column 'field'", "EPSG:32631", {3: field})
    assert shapes.to_lonlat()[3].bounds == pytest.approx((2.991, -0.009, 3.009, 0.009), abs=1e-3)
    assert unit_of("EPSG:32631") == "m"


def test_some_are_drawn_alike_each_time() -> None:
    assert some_of(3, 5).tolist() == [0, 1, 2]
    chosen = some_of(1000, 50, (1, 2))
    assert chosen.tolist() == some_of(1000, 50, (1, 2)).tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == 50
