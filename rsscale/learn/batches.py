"""Batches for training: images as a network takes them when it maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from rsscale.model.model_input import DAYS, VALID
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import WindowBatch
from rsscale.network.normalize import normalize

Days = Mapping[str, npt.NDArray[np.float32]]
"""Days of the year by the name of the input: ``(T,)`` of all images, or ``(N, T)`` of each."""


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
    batch = WindowBatch(spec, normalize(images, spec))
    extras = {name: batch[name] for name in batch if "." in name}
    first = 0
    for one in spec.inputs:
        last = first + one.channels
        if DAYS in one.takes and one.name in days:
            known = torch.from_numpy(np.atleast_2d(days[one.name])).to(images.device)
            extras[f"{one.name}.{DAYS}"] = known.float().expand(len(images), one.length)
        if VALID in one.takes:
            finite = images[:, first:last].isfinite()  # (N, T·B, H, W)
            extras[f"{one.name}.{VALID}"] = finite.unflatten(1, (one.length, -1)).all(dim=2)
        first = last
    return WindowBatch(spec, batch.channels, extras)
