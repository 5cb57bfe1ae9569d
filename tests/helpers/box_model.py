"""A model whose scores are easily had in another way, and composites for it."""

import numpy as np
import torch
import xarray as xr
from odc.geo.xr import xr_coords

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.model.spec import LandClass, ModelInput, ModelSpec

BOX = PixelBox(-37, 1005, 24, 1079)
GRID = Grid("EPSG:32631", 10)
HALO = 3


class BoxModel:
    """Scores are means over 7 by 7 pixels: its reach is its halo, so seams can't be seen."""

    device = torch.device("cpu")

    def __init__(self, stride: int = 16, halo: int = HALO) -> None:
        self.spec = ModelSpec(
            name="box",
            inputs=(ModelInput("s2", ("red", "nir"), ("a", "b"), (0.0, 0.0), (1.0, 1.0)),),
            classes=(LandClass(3, "one", "#000000"), LandClass(9, "two", "#ffffff")),
            lattice=Lattice(stride, halo),
            architecture="box",
        )
        self.batches: list[tuple[int, ...]] = []

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.batches.append(tuple(batch.shape))
        mean = torch.nn.functional.avg_pool2d(batch, 2 * HALO + 1, stride=1, padding=HALO)
        return torch.stack([mean[:, 0] - mean[:, 3], mean[:, 3] - mean[:, 0]], dim=1) * 10


def composite(box: PixelBox, seed: int = 0, gaps: bool = True) -> xr.DataArray:
    random = np.random.default_rng(seed)
    values = random.random((2, 2, *box.shape), dtype=np.float32)
    looks = np.ones((2, *box.shape), np.uint8)
    if gaps:
        gap = random.random((2, *box.shape)) < 0.3
        values[np.broadcast_to(gap[:, None], values.shape)] = np.nan
        looks[gap] = 0
    coords = {str(k): v for k, v in xr_coords(GRID.geobox_of(box)).items()}
    return xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.array(["2023-03-01", "2023-06-01"], "datetime64[ns]"),
            "window": ("time", ["a", "b"]),
            "band": ["red", "nir"],
            "observations": (("time", "y", "x"), looks),
            **coords,
        },
    )
