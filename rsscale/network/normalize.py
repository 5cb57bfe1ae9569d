"""Normalise physical values to network inputs, the same for training and for mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rsscale.model.spec import ModelSpec

if TYPE_CHECKING:
    import torch


def normalize(images: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Normalise channels by the model's mean and standard deviation; missing becomes 0.

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
        ``(N, C, H, W)`` float32 on the same device; 0, the mean, where it was no finite number.
    """
    import torch

    mean, std = [], []
    for model_input in spec.inputs:
        mean += list(model_input.mean) * model_input.length
        std += list(model_input.std) * model_input.length
    shape = (1, -1, 1, 1)
    center = torch.tensor(mean, dtype=torch.float32, device=images.device).view(shape)
    scale = torch.tensor(std, dtype=torch.float32, device=images.device).view(shape)
    return (images - center).div_(scale).nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
