"""A loop that was killed goes on from its checkpoint, to the same bits."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import run_forked
from safetensors import safe_open
from torch import nn

from rsscale.learners import checkpoint as module
from rsscale.learners.base import Design, Fitted, Loop, Task
from rsscale.learners.checkpoint import Checkpoint, Checkpoints, LoopState
from rsscale.learners.chips import Chips, InputBands
from rsscale.learners.fit import Schedule, fit
from rsscale.learners.image_network import ImageNetwork
from rsscale.learners.point_network import PointNetwork
from rsscale.learners.point_samples import point_samples
from rsscale.legend.classes import LandClass
from rsscale.points.series_table import SeriesTable

CLASSES = (LandClass(1, "crop", "#112233"), LandClass(2, "wood", "#445566"))
TASK = Task(classes=CLASSES)


def chips(count: int = 6) -> Chips:
    random = np.random.default_rng(0)
    labels = random.integers(1, 3, (count, 32, 32)).astype(np.uint8)
    images = random.normal(size=(count, 4, 32, 32)).astype(np.float32) + labels[:, None]
    return Chips(images, labels, np.arange(count))


def image_network(checkpoints: Checkpoints | None, device: str = "cpu", **loop: Any) -> Fitted:
    """Of images, on all but two chips."""
    inputs = (InputBands("s2", ("red", "nir"), ("spring", "summer")),)
    design = Design("small", "unet", {"width": 4, "depth": 2}, device=device)
    options = {"steps": 12, "batch": 2, "validations": 4, **loop}
    samples = chips()
    learner = ImageNetwork(design, TASK, inputs, Loop(**options), checkpoints)
    return learner.fit(samples.subset(samples.groups < 4), samples.subset(samples.groups >= 4))


def point_network(checkpoints: Checkpoints | None, device: str = "cpu", **loop: Any) -> Fitted:
    """Of series, with dropout."""
    random = np.random.default_rng(0)
    targets = random.integers(1, 3, 70)
    values = random.normal(size=(70, 5, 2)) + targets[:, None, None]
    dates = np.array([20, 90, 150, 210, 300])
    table = SeriesTable.of_arrays(values, dates, targets, bands=["red", "nir"], groups=targets)
    _, samples = point_samples(table, CLASSES)
    keep = np.arange(70) < 50
    design = Design("small", "ltae", {"dropout": 0.3}, device=device)
    options = {"steps": 12, "batch": 16, "validations": 4, "balance": "weights", **loop}
    learner = PointNetwork(design, TASK, Loop(**options), checkpoints=checkpoints)
    return learner.fit(samples.subset(keep), samples.subset(~keep))


NETWORKS = {"images": image_network, "points": point_network}


def weights(fitted: Fitted) -> list[torch.Tensor]:
    return [value.cpu() for value in fitted.model.module.state_dict().values()]


def same(one: Fitted, other: Fitted) -> bool:
    pairs = zip(weights(one), weights(other), strict=True)
    return one.fit == other.fit and all(torch.equal(a, b) for a, b in pairs)


def main(kind: str, folder: str, last: str) -> None:
    """Train in a process that dies after some steps."""
    module.EVERY_S = 0.0
    save, saved = Checkpoint.save, [0]

    def save_and_die(self: Checkpoint, state: LoopState) -> None:
        save(self, state)
        saved[0] += 1
        if saved[0] == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoint.save = save_and_die
    NETWORKS[kind](Checkpoints(Path(folder)))


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        pytest.param("images", 7, marks=pytest.mark.extended),
        pytest.param("points", 5, marks=pytest.mark.extended),
        pytest.param("points", 9, marks=pytest.mark.extended),
    ],
)
def test_a_killed_training_goes_on_to_the_same_bits(
    kind: str, last: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"import test_checkpoint as t; t.main({kind!r}, {str(tmp_path)!r}, '{last}')"
    child = run_forked(f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); {command}")
    assert child.returncode == -signal.SIGKILL
    resumed = NETWORKS[kind](Checkpoints(tmp_path))
    assert f"goes on after step {last}:" in capsys.readouterr().err
    assert same(resumed, NETWORKS[kind](None))
    assert not same(resumed, NETWORKS[kind](None, seed=1))


def test_a_training_that_is_done_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = image_network(Checkpoints(tmp_path))

    def refuse(*_: Any) -> None:
        raise AssertionError("a step was made")

    monkeypatch.setattr("rsscale.learners.fit._Step.__call__", refuse)
    assert same(first, image_network(Checkpoints(tmp_path)))
    with pytest.raises(AssertionError, match="a step was made"):
        image_network(Checkpoints(tmp_path), seed=1)  # another loop
    assert len(list(tmp_path.iterdir())) == 1


def test_one_that_ended_by_patience_is_over(tmp_path: Path) -> None:
    first = point_network(Checkpoints(tmp_path), steps=200, validations=100, patience=2)
    assert len(first.fit.losses) < 200
    again = point_network(Checkpoints(tmp_path), steps=200, validations=100, patience=2)
    assert same(first, again)


class Batches:
    """Endless; asks for the end at the third."""

    def __init__(self) -> None:
        self.made = 0

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.made += 1
        if self.made == 3:
            os.kill(os.getpid(), signal.SIGINT)
        random = torch.Generator().manual_seed(self.made)
        return torch.randn(4, 2, generator=random), torch.randn(4, 1, generator=random)

    def state(self) -> dict[str, Any]:
        return {"made": self.made}

    def restore(self, state: dict[str, Any]) -> None:
        self.made = state["made"]


def line() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def loop(network: nn.Module, folder: Path) -> None:
    kept = Checkpoint(folder / "loop.safetensors")
    fit(network, Batches(), nn.functional.mse_loss, Schedule(10, 0.1), checkpoint=kept)


def test_ctrl_c_ends_a_step_and_keeps_it(tmp_path: Path) -> None:
    network = line()
    with pytest.raises(KeyboardInterrupt, match="after step 3 of 10, which is kept; the same comm"):
        loop(network, tmp_path)
    loop(network, tmp_path)
    with safe_open(tmp_path / "loop.safetensors", "pt") as file:
        assert len(file.get_tensor("losses")) == 10


def test_a_damaged_checkpoint_is_told_and_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loop.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(KeyboardInterrupt, match="after step 3 of 10"):
        loop(line(), tmp_path)
    assert "can't be read" in capsys.readouterr().err


def test_a_disk_without_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("rsscale.durable.replace", full)
    with pytest.raises(Exception, match="can't be written: No space left on device; free some"):
        image_network(Checkpoints(tmp_path))
