"""What a report says of its maps."""

import base64
import io

import numpy as np
import pytest
import xarray as xr
from odc.geo.xr import xr_coords
from PIL import Image

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass
from rsscale.reporting.pixels import Product, count_classes
from rsscale.run_report.maps import _is_inferred, _not_observed, _png

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
    told = expected.replace("25.0 %", "25.0 % (paler)")
    assert _not_observed(hectares, product(values), TIMES[time], is_paler=True) == told


def test_what_was_not_observed_is_drawn_paler() -> None:
    values = np.ones((3, 10, 8), np.uint8)
    values[1, 9] = NODATA
    layer = product(values).ds["classification"][1]
    seen = values.copy()
    seen[1, :5, :4] = NODATA
    everywhere = (slice(None), slice(None))
    is_paler = _is_inferred(layer.values, layer, product(seen), everywhere)
    assert is_paler[:5, :4].all()
    assert is_paler.sum() == 20
    # Of an overview of another level it is not known.
    assert not _is_inferred(layer.values, layer, product(seen[:, ::2]), everywhere).any()
    assert not _is_inferred(layer.values, layer, None, everywhere).any()
    classes = (LandClass(1, "water", "#0000ff"),)
    uri = _png(values[1], classes, is_paler)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
    assert picture.shape == (10, 8, 4)
    assert set(np.unique(picture[:5, :4, 3])) == {115}  # 0.45 of 255
    assert set(np.unique(picture[5:9, :, 3])) == {255}
    assert not picture[9, :, 3].any()
    assert (picture[:9, :, :3] == (0, 0, 255)).all()
