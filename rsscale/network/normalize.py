"""Normalise physical values to network inputs, the same for training and for mapping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rsscale.model.model_input import DAYS, VALID
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import WindowBatch

_EVERYTHING = (-math.inf, math.inf)

if TYPE_CHECKING:
    import torch

Days = Mapping[str, npt.NDArray[np.float32]]
"""Days of the year by the name of the input: ``(T,)`` of all images, or ``(N, T)`` of each."""


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
    return Normalizer(spec, images.device)(images)


class Normalizer:
    """Normalises tensors of one model on one device, over and over.

    Parameters
    ----------
    spec : ModelSpec
    device : torch.device
    """

    def __init__(self, spec: ModelSpec, device: torch.device) -> None:
        import torch

        mean, std, clip = [], [], []
        for model_input in spec.inputs:
            mean += list(model_input.mean) * model_input.length
            std += list(model_input.std) * model_input.length
            ranges = model_input.clip or (_EVERYTHING,) * len(model_input.bands)
            clip += list(ranges) * model_input.length
        columns = torch.tensor([mean, std, *zip(*clip, strict=True)], dtype=torch.float32)
        columns = columns.to(device).view(4, 1, -1, 1, 1)
        self._center, self._scale, self._low, self._high = columns.unbind()
        self._clips = any(limits != _EVERYTHING for limits in clip)
        self._missing = float("nan") if spec.missing == "nan" else 0.0

    def __call__(self, images: torch.Tensor, *, in_place: bool = False) -> torch.Tensor:
        """As :func:`normalize`; ``in_place`` changes the images that are given."""
        if self._clips:
            images = images.clamp(self._low, self._high)  # NaN stays what it is
        images = images.sub_(self._center) if in_place else images - self._center
        images.div_(self._scale)
        # A sum is cheap on the CPU; it is finite only if all its terms are.
        if images.device.type == "cpu" and bool(images.sum().isfinite()):
            return images
        missing = self._missing
        return images.nan_to_num_(nan=missing, posinf=missing, neginf=missing)


def window_batch(images: torch.Tensor, days: Days, spec: ModelSpec) -> WindowBatch:
    """Images as windows of a model: normalised, with days and validity where it takes them.

    Parameters
    ----------
    images : Tensor
        ``(N, C, H, W)`` float32 in physical units, NaN where nothing was seen.
    days : mapping of input name to array
        Of the inputs that take days; spread over the year where one is not there.
    spec : ModelSpec
    """
    import torch

    batch = WindowBatch(spec, normalize(images, spec))
    extras = {name: batch[name] for name in batch if "." in name}
    first = 0
    for model_input in spec.inputs:
        last = first + model_input.channels
        if DAYS in model_input.takes and model_input.name in days:
            known = torch.from_numpy(np.atleast_2d(days[model_input.name])).to(images.device)
            extras[f"{model_input.name}.{DAYS}"] = known.float().expand(
                len(images), model_input.length
            )
        if VALID in model_input.takes:
            finite = images[:, first:last].isfinite()  # (N, T·B, H, W)
            finite = finite.reshape(len(images), model_input.length, -1, *images.shape[2:])
            extras[f"{model_input.name}.{VALID}"] = finite.all(dim=2)  # (N, T, H, W)
        first = last
    return WindowBatch(spec, batch.channels, extras)
