"""A model whose scores are easily had in another way, and composites for it."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from odc.geo.xr import xr_coords

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.learn.architectures import build
from rsscale.learn.models import Model, save_model
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec

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
    observations = np.ones((2, *box.shape), np.uint8)
    if gaps:
        gap = random.random((2, *box.shape)) < 0.3
        values[np.broadcast_to(gap[:, None], values.shape)] = np.nan
        observations[gap] = 0
    coords = {str(k): v for k, v in xr_coords(GRID.geobox_of(box)).items()}
    return xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.array(["2023-03-01", "2023-06-01"], "datetime64[ns]"),
            "window": ("time", ["a", "b"]),
            "band": ["red", "nir"],
            "observations": (("time", "y", "x"), observations),
            **coords,
        },
    )


class CarriedModel(BoxModel):
    """Lies in no folder, and carries ballast.

    Counts in each process how often it came there, how many ran at once at most, and torch's
    threads.
    """

    arrived = running = most = 0
    threads: set[int] = set()  # noqa: RUF012 -- of the process
    _guard = threading.Lock()

    def __init__(self, stride: int = 16, halo: int = HALO, ballast: int = 0) -> None:
        super().__init__(stride, halo)
        self.ballast = np.random.default_rng(0).bytes(ballast)

    def __setstate__(self, state: dict[str, object]) -> None:
        CarriedModel.arrived += 1
        self.__dict__.update(state)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        with self._guard:
            CarriedModel.running += 1
            CarriedModel.most = max(self.most, self.running)
            self.threads.add(torch.get_num_threads())
        scores = super().__call__(batch)
        time.sleep(0.001)
        with self._guard:
            CarriedModel.running -= 1
        return scores


def untrained_unet(folder: Path, blend: str = "trim", width: int = 16) -> Path:
    """A folder with a small U-Net whose windows see less than it could: where they lie shows."""
    torch.manual_seed(0)
    spec = replace(
        BoxModel().spec,
        name=f"{blend} {width}",
        classes=tuple(LandClass(k, f"class {k}", "#000000") for k in (3, 9, 11)),
        lattice=Lattice(32, 8, blend),  # type: ignore[arg-type]
        architecture="unet",
        hyperparameters={"width": width, "depth": 2},
    )
    module = build("unet", spec.inputs, 3, width=width, depth=2).eval()
    with torch.no_grad():  # random weights alone would always choose the same class
        scores = module(torch.rand(1, spec.channels, 128, 128))
        module.head.weight *= 3 / scores.std(dim=(0, 2, 3)).view(-1, 1, 1, 1)
        scores = module(torch.rand(1, spec.channels, 128, 128))
        module.head.bias -= scores.mean(dim=(0, 2, 3))
    save_model(Model(spec, module, torch.device("cpu")), folder)
    return folder
