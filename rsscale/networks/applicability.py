"""Area of applicability: how unlike the training the imagery is, beside what a network returns.

After Meyer & Pebesma 2021, "Predicting into unknown space? Estimating the area of applicability of
spatial prediction models", https://doi.org/10.1111/2041-210X.13650.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from rsscale.model.spec import ModelSpec
from rsscale.text.wording import counted

_log = logging.getLogger("rsscale")

Features = npt.NDArray[np.floating]

# Rows of pixels whose distances to all training pixels are held at once.
_AT_ONCE = 1 << 14


class WithApplicability(nn.Module):
    """A network whose result is followed by two channels: dissimilarity, and inside or outside.

    Parameters
    ----------
    network : torch.nn.Module
        As its layout says.
    features : int
        Length of what dissimilarity is measured in; see :func:`feature_count`.
    pixels : int
        Training pixels that distances are taken to.
    """

    sample: torch.Tensor
    weight: torch.Tensor
    mean_distance: torch.Tensor
    threshold: torch.Tensor

    def __init__(self, network: nn.Module, features: int, pixels: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("sample", torch.zeros(pixels, features))
        self.register_buffer("weight", torch.ones(features))
        self.register_buffer("mean_distance", torch.ones(()))
        self.register_buffer("threshold", torch.ones(()))

    def set_training(
        self,
        features: Features,
        groups: npt.NDArray[np.integer],
        weight: Features | None = None,
    ) -> None:
        """Take the pixels that distances are counted to, and find the threshold.

        Parameters
        ----------
        features : float array (sample, features)
            From :func:`features_of`, of training pixels.
        groups : int array (sample,)
            Their spatial blocks: the threshold is the upper whisker of distances to pixels of other
            blocks, as a new place has none of its own.
        weight : float array (features,), optional
            Importance of each feature; all alike when omitted.
        """
        from scipy.spatial.distance import cdist

        weight = np.ones(features.shape[1]) if weight is None else np.asarray(weight, np.float64)
        weighted = features * weight
        between = cdist(weighted, weighted)
        pairs = max(len(between) * (len(between) - 1), 1)
        mean = between.sum() / pairs
        if mean == 0:
            # One pixel, or many that are the same: nothing says how far is far. The index is the
            # distance in the features' own units, of which one is as far as it applies.
            _log.warning(
                "the %s that the area of applicability is measured from do not differ: "
                "dissimilarity is in standard deviations of the bands, and up to 1 is applicable; "
                "add labels elsewhere",
                counted(len(weighted), "training pixel"),
            )
            mean, groups = 1.0, np.zeros(len(weighted), np.int64)
        between[groups[:, None] == groups[None, :]] = np.inf
        nearest = between.min(axis=1) / mean
        nearest = nearest[np.isfinite(nearest)]
        low, high = np.percentile(nearest, [25, 75]) if len(nearest) else (1.0, 1.0)
        inside = nearest[nearest <= high + 1.5 * (high - low)]
        self.sample.copy_(torch.from_numpy(weighted.astype(np.float32)))
        self.weight.copy_(torch.from_numpy(weight.astype(np.float32)))
        self.mean_distance.fill_(float(mean))
        self.threshold.fill_(float(inside.max()) if len(inside) else 1.0)

    def forward(self, inputs: torch.Tensor | Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Numbers of the network, then dissimilarity and 0 or 1: ``(N, C + 2, H, W)``."""
        scores: torch.Tensor = self.network(inputs)
        features = features_of(inputs)  # (N, F, H, W)
        # Window by window: the last bit of a distance depends on what is computed beside it.
        nearest = torch.stack([self._nearest(window) for window in features])
        index = nearest[:, None] / self.mean_distance
        inside = (index <= self.threshold).to(scores.dtype)
        return torch.cat([scores, index.to(scores.dtype), inside], dim=1)

    def _nearest(self, features: torch.Tensor) -> torch.Tensor:
        """Distance ``(H, W)`` to the nearest training pixel, of features ``(F, H, W)``."""
        flat = features.permute(1, 2, 0).reshape(-1, len(features)) * self.weight
        parts = [torch.cdist(part, self.sample).amin(dim=1) for part in torch.split(flat, _AT_ONCE)]
        return torch.cat(parts).view(features.shape[1:])


def features_of(inputs: torch.Tensor | Mapping[str, Any]) -> torch.Tensor:
    """What dissimilarity is measured in ``(N, F, H, W)``: channels, or means over time.

    Parameters
    ----------
    inputs : Tensor or mapping
        ``(N, C, H, W)``, ``(N, T, B, H, W)`` or a mapping of the latter, with what is valid beside
        it: of each band the mean over the times at which it is known.
    """
    if isinstance(inputs, torch.Tensor):
        return inputs if inputs.ndim == 4 else inputs.mean(dim=1)
    parts = []
    for name, values in inputs.items():
        if values.ndim != 5:
            continue
        valid = inputs.get(f"{name}.valid")
        if valid is None:
            parts.append(values.mean(dim=1))
            continue
        count = valid.sum(dim=1, keepdim=True).clamp(min=1)  # (N, 1, H, W)
        parts.append((values * valid[:, :, None]).sum(dim=1) / count)
    return torch.cat(parts, dim=1)


def feature_count(spec: ModelSpec) -> int:
    """Length of the features of a model's inputs."""
    if spec.layout == "channels":
        return spec.channels
    return sum(len(model_input.bands) for model_input in spec.inputs)
