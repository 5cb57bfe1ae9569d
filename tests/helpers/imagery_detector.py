"""A detector of imagery without training: pieces of bright pixels, in a folder that runs open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from scipy import ndimage
from torch import nn

import rsscale as rs
from rsscale.model.model_input import ModelInput
from rsscale.runtimes.factory import ALLOWED

CLASSES = (rs.LandClass(1, "bright", "#e31a1c"), rs.LandClass(5, "dark", "#1f78b4"))


class Bright(nn.Module):
    """Finds pieces of pixels above a threshold of the first channel, and those below another."""

    def __init__(self, threshold: float, *, outlined: bool, broken: bool, smooth: int = 1) -> None:
        super().__init__()
        self.smooth = smooth
        self.threshold = nn.Parameter(torch.tensor([threshold]))
        self.outlined, self.broken = outlined, broken

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        return [self._found(image[0]) for image in images]

    def _found(self, band: torch.Tensor) -> dict[str, torch.Tensor]:
        boxes, labels, scores, masks = [], [], [], []
        threshold = float(self.threshold)
        band = torch.from_numpy(ndimage.uniform_filter(band.numpy(), self.smooth))
        for label, inside in ((1, band > threshold), (2, band < -threshold)):
            pieces, _ = ndimage.label(inside.numpy())
            for number, (rows, cols) in enumerate(ndimage.find_objects(pieces), 1):
                mask = torch.from_numpy(pieces == number)
                boxes.append([cols.start, rows.start, cols.stop, rows.stop])
                labels.append(label)
                scores.append(float(band[mask].abs().max().clamp(0, 4)) / 4)
                masks.append(mask)
        found = {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "scores": torch.tensor(scores, dtype=torch.float32),
        }
        if self.outlined:
            none = torch.zeros((0, *band.shape), dtype=torch.bool)
            found["masks"] = torch.stack(masks) if masks else none
        if self.broken and boxes:
            found["boxes"][0, 0] = torch.nan
        return found


def make(
    channels: int,
    classes: int,
    threshold: float = 1.0,
    outlined: bool = False,
    broken: bool = False,
    smooth: int = 1,
) -> nn.Module:
    """A factory as a contract names it."""
    del channels, classes
    return Bright(threshold, outlined=outlined, broken=broken, smooth=smooth)


def save_detector(
    folder: Path,
    *,
    kind: Any = "boxes",
    stride: int = 96,
    halo: int = 16,
    bands: tuple[str, ...] = ("red", "nir"),
    times: tuple[str, ...] = ("spring", "summer"),
    mean: float = 0.35,
    std: float = 0.1,
    **hyperparameters: Any,
) -> None:
    """A folder with the detector; bands and values are those of :mod:`landscape` if left out."""
    hyperparameters |= {"outlined": True} if kind == "outlines" else {}
    with allowed_detector():
        model = rs.Model.of(
            make(1, 2, **hyperparameters),
            inputs=[ModelInput("s2", bands, times, (mean,) * len(bands), (std,) * len(bands))],
            classes=CLASSES,
            output=rs.ObjectOutput(kind, score_threshold=0.3, iou=0.4),
            name="bright",
            stride=stride,
            halo=halo,
            architecture="imagery_detector:make",
            hyperparameters=hyperparameters,
            resolution=10.0,
        )
        rs.save_model(model, folder)


@contextmanager
def allowed_detector() -> Iterator[None]:
    """Let model folders name this factory, here and in workers that are started meanwhile."""
    with mock.patch.dict(os.environ, {ALLOWED: "imagery_detector"}):
        yield
