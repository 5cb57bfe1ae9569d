"""A small model of each kind as a folder, and the recipe that maps the landscape with it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from landscape import BANDS, Landscape
from model_kinds import CLASSES, Block, to_onnx
from torch import nn

import rsscale as rs
from rsscale.learn.architectures import ARCHITECTURES, build

TIMES = ("spring", "summer")
COMPOSITES = (rs.ModelInput("s2", BANDS, TIMES, (0.35, 0.35), (0.1, 0.1)),)
CHANNELS = len(BANDS) * len(TIMES)
# Some 120 px along each side, over the edge of scenes; tiles and windows do not divide each other.
BBOX = [6.02, 44.975, 6.035, 44.985]
# Windows of 128 px, a multiple of 32: networks halve them five times.
WINDOWS: dict[str, Any] = {"stride": 96, "halo": 16}


@dataclass(frozen=True)
class MappedKind:
    """A kind of model.

    Attributes
    ----------
    make : callable
        ``make(folder)`` returns a model; the folder is for files on the way.
    suffix : str
        Of the file that it is saved as.
    layers : tuple of str
        The layers of its map.
    series : bool
        Whether it takes observations at their own dates, and no composite.
    module, extra : str
        What must be installed, by which extra.
    """

    make: Callable[[Path], rs.Model]
    suffix: str
    layers: tuple[str, ...] = ("classification", "confidence", "observations")
    series: bool = False
    module: str = "torch"
    extra: str = ""

    def skip_if_not_installed(self) -> None:
        """Skip the test where an extra is not installed."""
        if importlib.util.find_spec(self.module) is None:
            pytest.skip(f"{self.module} is not installed: rsscale[{self.extra}]")

    def save(self, folder: Path) -> Path:
        """Save it as a folder; the same files each time."""
        torch.manual_seed(1)
        rs.save_model(self.make(folder), folder / "model")
        return folder / "model"

    def recipe(self, landscape: Landscape, model: Path, tile: int) -> dict[str, Any]:
        """The recipe of a map by it."""
        grid = {"crs": "EPSG:32631", "resolution": 10, "tile": tile}
        recipe = landscape.part(model=str(model), bbox=BBOX, grid=grid)
        if self.series:
            imagery = dict(recipe["inputs"]["s2"])
            del imagery["composite"]
            recipe["inputs"] = {"s2": imagery | {"series": True, "merge_days": True}}
        return recipe


def spread(network: nn.Module) -> nn.Module:
    """Larger random weights: else a network's numbers are about alike everywhere."""
    with torch.no_grad():
        for value in network.parameters():
            if value.ndim > 1:
                value.mul_(2.5)
    return network.eval()


def of_series(architecture: str, **hyperparameters: Any) -> Callable[[Path], rs.Model]:
    """A network by name that takes observations at their dates, with days and validity."""
    known = ARCHITECTURES[architecture]
    inputs = (rs.ModelInput("s2", BANDS, (), (0.35, 0.35), (0.1, 0.1), 4, known.takes),)

    def make(folder: Path) -> rs.Model:
        del folder
        network = spread(build(architecture, inputs, len(CLASSES), **hyperparameters))
        return rs.Model.of(network, inputs=inputs, classes=CLASSES, layout=known.layout,
                           architecture=architecture, hyperparameters=hyperparameters,
                           **WINDOWS)  # fmt: skip

    return make


def unet(outputs: int, **said: Any) -> Callable[[Path], rs.Model]:
    """A small U-Net on composites, with another output than the usual one."""
    small = {"width": 4, "depth": 2}

    def make(folder: Path) -> rs.Model:
        del folder
        network = spread(build("unet", COMPOSITES, outputs, **small))
        return rs.Model.of(network, inputs=COMPOSITES, architecture="unet",
                           hyperparameters=small, **WINDOWS, **said)  # fmt: skip

    return make


def samples() -> tuple[np.ndarray, np.ndarray]:
    """Values ``(n, 4)`` as composites of the landscape hold them, and their classes."""
    random = np.random.default_rng(0)
    rows = random.normal(0.35, 0.1, (400, CHANNELS)).astype(np.float32)
    labels = np.array([c.value for c in CLASSES])
    return rows, labels[np.digitize(rows[:, 0] + rows[:, -1], [0.65, 0.75])]


def forest(folder: Path) -> rs.Model:
    from sklearn.ensemble import RandomForestClassifier

    del folder
    fitted = RandomForestClassifier(12, random_state=0, max_depth=6).fit(*samples())
    return rs.Model.of(fitted, inputs={"s2": BANDS}, times=TIMES, classes=CLASSES, stride=96)


def boosting(folder: Path) -> rs.Model:
    import lightgbm

    del folder
    fitted = lightgbm.LGBMClassifier(n_estimators=4, num_leaves=5, verbose=-1).fit(*samples())
    return rs.Model.of(fitted, inputs={"s2": BANDS}, times=TIMES, classes=CLASSES, stride=96)


def own_network(folder: Path) -> rs.Model:
    del folder
    network = Block(CHANNELS, len(CLASSES)).eval()
    return rs.Model.of(network, inputs=COMPOSITES, classes=CLASSES, **WINDOWS)


def onnx_file(folder: Path) -> rs.Model:
    path = folder / "block.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    to_onnx(Block(CHANNELS, len(CLASSES)), (torch.zeros(1, CHANNELS, 128, 128),), path,
            input_names=["image"], dynamic_axes={"image": {0: "n", 2: "h", 3: "w"}})  # fmt: skip
    return rs.Model.of(path, inputs=COMPOSITES, classes=CLASSES, **WINDOWS)


def smp_unet(folder: Path) -> rs.Model:
    import segmentation_models_pytorch as smp

    del folder
    said = {"encoder_name": "resnet18", "encoder_depth": 3, "decoder_channels": [32, 16, 8]}
    network = smp.Unet(in_channels=CHANNELS, classes=len(CLASSES), encoder_weights=None, **said)
    return rs.Model.of(spread(network), inputs=COMPOSITES, classes=CLASSES,
                       architecture="smp:Unet", hyperparameters=said, **WINDOWS)  # fmt: skip


BIOMASS = rs.Layer("biomass", "uint16", 65535, scale=0.1, overview="mean")

KINDS = {
    "temporal CNN": MappedKind(of_series("tempcnn", width=8), ".safetensors", series=True),
    "L-TAE": MappedKind(of_series("ltae", width=32, heads=4), ".safetensors", series=True),
    "U-TAE": MappedKind(of_series("utae"), ".safetensors", series=True),
    "random forest": MappedKind(forest, ".skops", module="skops", extra="classical"),
    "LightGBM": MappedKind(boosting, ".txt", module="lightgbm", extra="classical"),
    "sigmoid": MappedKind(
        unet(1, classes=CLASSES[:2], output=rs.ClassOutput("sigmoid")), ".safetensors"
    ),
    "uint16 regression": MappedKind(
        unet(1, output=rs.ValueOutput((BIOMASS,))), ".safetensors", ("biomass", "observations")
    ),
    "int8 embedding": MappedKind(
        unet(64, output=rs.EmbeddingOutput(64)), ".safetensors", ("embedding", "observations")
    ),
    "own network": MappedKind(own_network, ".pt2"),
    "ONNX": MappedKind(onnx_file, ".onnx", module="onnxruntime", extra="onnx"),
    "smp U-Net": MappedKind(
        smp_unet, ".safetensors", module="segmentation_models_pytorch", extra="smp"
    ),
}
