"""Normalise physical values to network inputs, the same for training and for mapping."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rsscale.model.spec import ModelSpec

_EVERYTHING = (-math.inf, math.inf)

if TYPE_CHECKING:
    import torch


def normalize(images: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Normalise channels by the model's mean and standard deviation; missing becomes 0, or NaN.

    Parameters
    ----------
    images : Tensor
        ``(N, C, H, W)`` float32 in the composite's units, NaN where nothing was seen;
        channels input by input, time by time, band by band.
    spec : ModelSpec
        Whose statistics to use.

    Returns
    -------
    Tensor
        ``(N, C, H, W)`` float32 on the same device; where it was no finite number 0, the mean, or
        NaN for a model that takes it.
    """
    import torch

    mean, std, clip = [], [], []
    for model_input in spec.inputs:
        mean += list(model_input.mean) * model_input.length
        std += list(model_input.std) * model_input.length
        ranges = model_input.clip or (_EVERYTHING,) * len(model_input.bands)
        clip += list(ranges) * model_input.length
    shape = (1, -1, 1, 1)
    center = torch.tensor(mean, dtype=torch.float32, device=images.device).view(shape)
    scale = torch.tensor(std, dtype=torch.float32, device=images.device).view(shape)
    if any(limits_of != _EVERYTHING for limits_of in clip):
        limits = torch.tensor(clip, dtype=torch.float32, device=images.device)  # (C, 2)
        low, high = (side.view(shape) for side in limits.unbind(1))
        images = images.clamp(low, high)  # NaN stays what it is
    missing = float("nan") if spec.missing == "nan" else 0.0
    return (images - center).div_(scale).nan_to_num_(nan=missing, posinf=missing, neginf=missing)
