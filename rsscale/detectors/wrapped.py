"""A detector of torchvision that takes a batch of windows as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from rsscale.detectors.pyramids import torchvision

_DIVISIBLE = 32

Targets = Sequence[Mapping[str, torch.Tensor]]
Detected = list[dict[str, torch.Tensor]]


class Detector(nn.Module):
    """A detector of torchvision that takes a batch of windows.

    Parameters
    ----------
    inner : torch.nn.Module
        Made for windows as they are.
    label_shift : int
        What is added to its labels, so that the first class has label 1.
    """

    def __init__(self, inner: nn.Module, label_shift: int = 0) -> None:
        super().__init__()
        self.inner = inner
        self._shift = label_shift

    def forward(self, images: torch.Tensor, targets: Targets | None = None) -> Any:
        """What is found in windows ``(N, C, H, W)``, or the losses while it is trained.

        Parameters
        ----------
        images : Tensor
            ``(N, C, H, W)`` float32, scaled.
        targets : sequence of mapping, optional
            Of each window ``boxes (n, 4)`` float32, ``labels (n,)`` int64 from 1, and of
            Mask R-CNN ``masks (n, H, W)`` uint8; for training.

        Returns
        -------
        list of dict, or dict of losses
        """
        given = None
        if targets is not None:
            given = [{**t, "labels": t["labels"] - self._shift} for t in targets]
        answer = self.inner(list(images.unbind(0)), given)
        if self._shift and isinstance(answer, list):
            answer = [{**window, "labels": window["labels"] + self._shift} for window in answer]
        return answer


def as_they_are(detector: Any) -> nn.Module:
    """A detector that takes windows as they are, neither scaled nor resized."""
    detector.transform = WindowTransform()
    network: nn.Module = detector
    return network


class WindowTransform(nn.Module):
    """What is done to windows before and after a detector of torchvision: next to nothing.

    In place of ``GeneralizedRCNNTransform``, which resizes and subtracts means of photographs.
    Windows are padded with zeros to a multiple of 32 px on the right and below.
    """

    def forward(
        self, images: Sequence[torch.Tensor], targets: Targets | None = None
    ) -> tuple[Any, Targets | None]:
        """Windows of one size as torchvision's list of images."""
        height, width = images[0].shape[-2:]
        more = (0, -width % _DIVISIBLE, 0, -height % _DIVISIBLE)
        batch = nn.functional.pad(torch.stack(list(images)), more)
        lists = torchvision().models.detection.image_list
        return lists.ImageList(batch, [(height, width)] * len(images)), targets

    def postprocess(
        self, detected: Detected, shapes: Sequence[tuple[int, int]], originals: Any
    ) -> Detected:
        """Masks of objects as masks of the window ``(n, 1, H, W)``; all else stays."""
        del originals  # of the same size
        paste = torchvision().models.detection.roi_heads.paste_masks_in_image
        for window, shape in zip(detected, shapes, strict=False):  # none while it is trained
            if "masks" in window:
                window["masks"] = paste(window["masks"], window["boxes"], shape)
        return detected
