"""Training and whole runs on the device: of one small simulated archive, files included."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import rsscale as rs
from benchmarks.gpu.rows import Row, compared_maps
from rsscale.pipeline.training import train_recipe

# Two trainings on one device with other sums end as far apart.
_ACCURACY, _LABELS = 0.03, 0.995


def training_rows(device: str, quick: bool) -> Iterator[Row]:
    """A U-Net trained on the device and on the CPU, then its map by a run on each."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rs.simulate(folder / "archive", size=1024 if quick else 2048, years=(2023,), dates=8)
        text = files("rsscale.demo").joinpath("recipe.yaml").read_text("utf-8")
        (folder / "recipe.yaml").write_text(text)
        changes = [
            "periods=[2023]",
            "train.periods=[2023]",
            "change=null",
            f"train.steps={20 if quick else 450}",
            "output.layers=[classification, confidence, probability]",
        ]
        yield _training(folder, device, changes)
        yield _run(folder, device, changes)


def _training(folder: Path, device: str, changes: list[str]) -> Row:
    """Accuracy away from the training's labels, and the seconds of the whole command."""
    accuracy, seconds = {}, {}
    for name in ("cpu", device):
        started = time.perf_counter()
        _, report = train_recipe(
            folder / "recipe.yaml",
            out=folder / f"model-{name}",
            device=name,
            overrides=changes,
            fresh=True,
        )
        seconds[name] = time.perf_counter() - started
        accuracy[name] = report.accuracy  # of pixels that it did not learn of
    far = abs(accuracy["cpu"] - accuracy[device])
    note = f"accuracy {accuracy[device]:.3f}, on the CPU {accuracy['cpu']:.3f}"
    allowed = (1.0, _ACCURACY)
    return Row("training, U-Net", 1.0, far, "", allowed, seconds["cpu"], seconds[device], note)


def _run(folder: Path, device: str, changes: list[str]) -> Row:
    """The run of one model on each; seconds, speed and how busy the network was on the device."""
    runs: dict[str, rs.Run] = {}
    seconds = {}
    for name in ("cpu", device):
        started = time.perf_counter()
        runs[name] = rs.run(
            folder / "recipe.yaml",
            folder / f"run-{name}",
            device=name,
            overrides=[*changes, f"model={folder / f'model-{device}'}"],
        )
        seconds[name] = time.perf_counter() - started
    agreement, largest = compared_maps(runs[device].open().load(), runs["cpu"].open().load())
    state = json.loads((folder / f"run-{device}" / "run.json").read_text())
    note = f"{_pixels(state) / seconds[device] / 1e6:.2f} million px/s; {_shares(state)}"
    return Row(
        "run, files included", agreement, largest, "percent", (_LABELS, 100.0),
        seconds["cpu"], seconds[device], note,
    )  # fmt: skip


def _pixels(state: Mapping[str, Any]) -> float:
    return float(state["steps"]["map"]["facts"]["pixels"])


def _shares(state: Mapping[str, Any]) -> str:
    stages: Mapping[str, float] = state["stages"]
    whole = sum(stages.values()) or 1.0
    return ", ".join(f"{stage} {value / whole:.0%}" for stage, value in stages.items())
