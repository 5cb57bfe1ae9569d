"""What a report says of its maps."""

import numpy as np
import pytest
import xarray as xr
from odc.geo.xr import xr_coords

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import NODATA
from rsscale.reporting.pixels import Product, count_classes
from rsscale.run_report.maps import _not_observed

TIMES = np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "M8[ns]")


def product(values: np.ndarray) -> Product:
    grid = Grid("EPSG:32631", 10)
    box = PixelBox(-500_000, 7, -500_000 + values.shape[1], 7 + values.shape[2])
    coords = dict(xr_coords(grid.geobox_of(box), always_yx=True)) | {"time": TIMES}
    attributes = {"nodata": NODATA}
    ds = xr.Dataset({"classification": (("time", "y", "x"), values, attributes)}, coords)
    return Product(ds, grid, box, 0)


@pytest.mark.parametrize(
    ("time", "expected"),
    [(1, "; 25.0 % not observed then, told by other times"), (0, ""), (2, "")],
)
def test_what_was_not_observed_is_told_by_time(time: int, expected: str) -> None:
    values = np.ones((3, 10, 8), np.uint8)
    filled = product(values)
    values = values.copy()
    values[1, :5, :4] = NODATA
    _, hectares = count_classes(filled, filled.ds["classification"][time])
    assert _not_observed(hectares, product(values), TIMES[time]) == expected
    assert _not_observed(hectares, None, TIMES[time]) == ""
