"""Targets of torchvision's detectors: what an image holds, as tensors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely
import torch

Target = dict[str, torch.Tensor]
"""``boxes (n, 4)`` float32, ``labels (n,)`` int64 from 1, and ``masks (n, H, W)`` uint8."""
BACKGROUND = 1
"""Labels of torchvision that come before the first class: 0 is the background."""


def targets_of(
    boxes: npt.NDArray[np.float64],
    outlines: npt.NDArray[np.object_],
    classes: npt.NDArray[np.int64],
    size: int,
    *,
    masks: bool,
) -> Target:
    """What an image holds.

    Parameters
    ----------
    boxes : float64 array (n, 4)
        ``x0, y0, x1, y1`` in pixels.
    outlines : array of shapely.Geometry (n,)
        Burnt as masks: a pixel is of an object that holds its centre.
    classes : int64 array (n,)
        Numbers of classes, from 0.
    size : int
        Height and width of the image.
    masks : bool
        An object whose outline holds no pixel's centre has no mask, and is left out then.

    Returns
    -------
    dict of Tensor
        As torchvision's detectors take it; of no object arrays of length 0.
    """
    target = {
        "boxes": torch.from_numpy(boxes.astype(np.float32).reshape(-1, 4)),
        "labels": torch.from_numpy(classes.astype(np.int64) + BACKGROUND),
    }
    if not masks:
        return target
    burnt = torch.from_numpy(_masks(outlines, size))
    has_mask = burnt.bool().flatten(1).any(dim=1)
    return {name: value[has_mask] for name, value in {**target, "masks": burnt}.items()}


def _masks(outlines: npt.NDArray[np.object_], size: int) -> npt.NDArray[np.uint8]:
    masks = np.zeros((len(outlines), size, size), np.uint8)
    for mask, outline in zip(masks, outlines, strict=True):
        x0, y0, x1, y1 = np.clip(shapely.bounds(outline), 0, size)
        cols = np.arange(int(np.floor(x0)), int(np.ceil(x1)))
        rows = np.arange(int(np.floor(y0)), int(np.ceil(y1)))
        shapely.prepare(outline)
        inside = shapely.contains_xy(outline, cols + 0.5, rows[:, None] + 0.5)
        mask[rows[:, None], cols] = inside
    return masks
