"""A small model of each kind that rsscale runs, and what its own library says of pixels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import rsscale as rs
from rsscale.runtimes.factory import ALLOWED

CLASSES = (
    rs.LandClass(3, "one", "#000000"),
    rs.LandClass(9, "two", "#ffffff"),
    rs.LandClass(11, "six", "#ff0000"),
)
FEATURES = 4


class Block(nn.Module):
    """A network that rsscale does not know: two convolutions and statistics of its training."""

    def __init__(self, channels: int, outputs: int, width: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 8 * self.last(self.drop(torch.relu(self.norm(self.first(x - 0.5)))))


def make_block(channels: int, outputs: int, width: int = 6) -> nn.Module:
    """A factory as a contract names it."""
    return Block(channels, outputs, width)


@contextmanager
def allowed(module: str = "model_kinds") -> Iterator[None]:
    before = os.environ.get(ALLOWED)
    os.environ[ALLOWED] = module
    try:
        yield
    finally:
        os.environ.pop(ALLOWED) if before is None else os.environ.update({ALLOWED: before})


def table(count: int = 400, features: int = FEATURES) -> tuple[np.ndarray, np.ndarray]:
    """Rows of features ``(n, 4)`` float32 and the values of their classes."""
    random = np.random.default_rng(0)
    rows = random.random((count, features), dtype=np.float32)
    labels = np.array([3, 9, 11])[np.digitize(rows[:, 0] + rows[:, -1], [0.8, 1.2])]
    return rows, labels


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    ``make(inputs, times, folder)`` makes one; ``own(model, rows)`` are probabilities ``(n, K)`` by
    its library of pixels, None for networks, which look around.
    """

    make: Callable[..., rs.Model]
    suffix: str
    own: Callable[[rs.Model, np.ndarray], np.ndarray] | None = None
    trust: bool = False


def of(model: Any, inputs: Any, times: Sequence[str], **more: Any) -> rs.Model:
    return rs.Model.of(model, inputs=inputs, times=times, classes=CLASSES, stride=32, **more)


def network(inputs: Any, times: Sequence[str], folder: Path) -> rs.Model:
    del folder
    return of(Block(FEATURES, 3).eval(), inputs, times, halo=4)


def factory(inputs: Any, times: Sequence[str], folder: Path) -> rs.Model:
    del folder
    return of(Block(FEATURES, 3, 5).eval(), inputs, times, halo=4,
              architecture="model_kinds:make_block", hyperparameters={"width": 5})  # fmt: skip


def onnx(inputs: Any, times: Sequence[str], folder: Path) -> rs.Model:
    folder.mkdir(parents=True, exist_ok=True)
    return of(export_onnx(folder / "block.onnx"), inputs, times, halo=4)


def export_onnx(path: Path, network: nn.Module | None = None, size: int = 40, **more: Any) -> Path:
    """A network as a file of ONNX, for any batch unless said otherwise."""
    given = {"dynamic_axes": {"image": {0: "n", 2: "h", 3: "w"}}} | more
    window = torch.zeros(1, FEATURES, size, size)
    return to_onnx(network or Block(FEATURES, 3), (window,), path, input_names=["image"], **given)


def to_onnx(network: nn.Module, given: tuple, path: Path, **more: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no compiler is the older one
        torch.onnx.export(network.eval(), given, path, dynamo=False, **more)
    return path


def forest(inputs: Any, times: Sequence[str], folder: Path) -> rs.Model:
    from sklearn.ensemble import RandomForestClassifier

    del folder
    fitted = RandomForestClassifier(12, random_state=0, n_jobs=2, max_depth=6).fit(*table())
    return of(fitted, inputs, times)


def pipeline(inputs: Any, times: Sequence[str], folder: Path) -> rs.Model:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    del folder
    steps = SimpleImputer(), StandardScaler(), HistGradientBoostingClassifier(max_iter=4)
    return of(make_pipeline(*steps).fit(*table()), inputs, times, missing="nan")


def boosting(inputs: Any, times: Sequence[str], folder: Path) -> rs.Model:
    import lightgbm

    del folder
    fitted = lightgbm.LGBMClassifier(n_estimators=4, num_leaves=5, verbose=-1).fit(*table())
    return of(fitted, inputs, times)


def _estimator(model: rs.Model, rows: np.ndarray) -> np.ndarray:
    filled = rows if model.spec.missing == "nan" else np.nan_to_num(rows)
    return model.module.estimator.predict_proba(filled)


def _booster(model: rs.Model, rows: np.ndarray) -> np.ndarray:
    return model.module.booster.predict(rows)


KINDS = {
    "network": Kind(network, ".pt2", trust=True),
    "factory": Kind(factory, ".safetensors"),
    "onnx": Kind(onnx, ".onnx"),
    "forest": Kind(forest, ".skops", _estimator),
    "pipeline": Kind(pipeline, ".skops", _estimator),
    "boosting": Kind(boosting, ".txt", _booster),
}
