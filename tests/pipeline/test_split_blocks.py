"""Spatial groups of validation: metres on the ground, whatever the grid counts."""

import numpy as np
import pytest

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.recipe import TrainRecipe
from rsscale.sampling.label_groups import ByBlock, block_groups


@pytest.mark.parametrize(
    ("crs", "resolution", "row", "col", "expected"),
    [
        ("EPSG:32631", 10, -498_000, 50_000, (500, 500)),
        ("EPSG:4326", 0.0001, -600_000, 90_000, (449, 896)),  # 60 degrees north
        ("EPSG:4326", 0.0001, 1_000, 90_000, (452, 449)),
        ("EPSG:3857", 10, -840_000, 100_000, (997, 997)),
        ("EPSG:2263", 30, -7_000, 33_000, (547, 547)),  # US feet
        ("EPSG:3035", 100, -30_000, 40_000, (256, 256)),  # never less than a chip
    ],
)
def test_groups_are_as_wide_as_asked_on_the_ground(
    crs: str, resolution: float, row: int, col: int, expected: tuple[int, int]
) -> None:
    settings = TrainRecipe(labels="l.gpkg", **{"class": "c"})
    blocks = [PixelBox(row, col, row + 256, col + 256), PixelBox(row, col, row, col).pad(128)]
    found = block_groups(settings, Grid(crs, resolution), blocks, {}).blocks
    assert np.abs(np.subtract((found.rows, found.cols), expected)).max() <= 2


def test_places_that_are_wider_than_asked_for_say_so() -> None:
    grid = Grid("EPSG:32631", 10)
    blocks = [PixelBox(-498_000, 50_000, -497_744, 50_256)]

    def places(width: float, chip: int = 256) -> ByBlock:
        settings = {"labels": "l.gpkg", "class": "c", "split": {"blocks": width}, "chip": chip}
        return block_groups(TrainRecipe(**settings), grid, blocks, {})

    narrow = places(500)
    assert narrow.kind == "blocks of 2,560 m: chips of 256 px"
    assert narrow.remark == (
        "places are 2,560 m wide and not 500, as train.split.blocks asks: a chip of 256 px is "
        "never parted; a smaller train.chip allows smaller ones"
    )
    assert (places(3000).kind, places(3000).remark) == (
        "blocks of 3000 m, to whole chips of 256 px", ""
    )  # fmt: skip
    assert places(500, 32).remark == ""
