"""Targets of torchvision's detectors: what an image holds, as tensors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely
import torch

from rsscale.model.outputs import ObjectKind

Target = dict[str, torch.Tensor]
"""``boxes (n, 4)`` float32, ``labels (n,)`` int64 from 1; of outlines ``masks (n, H, W)`` uint8, of
turned boxes ``rectangles (n, 5)`` float32: centre, width (the longer side), height, degrees."""
BACKGROUND = 1
"""Labels of torchvision that come before the first class: 0 is the background."""


def targets_of(
    boxes: npt.NDArray[np.float64],
    outlines: npt.NDArray[np.object_],
    classes: npt.NDArray[np.int64],
    size: int,
    kind: ObjectKind,
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
    kind : str
        What is learnt of them. Of ``"outlines"`` an object that holds no pixel's centre has no
        mask, and is left out; of ``"oriented"`` ones the smallest turned box around each is learnt.

    Returns
    -------
    dict of Tensor
        As torchvision's detectors take it; of no object arrays of length 0.
    """
    target = {
        "boxes": torch.from_numpy(boxes.astype(np.float32).reshape(-1, 4)),
        "labels": torch.from_numpy(classes.astype(np.int64) + BACKGROUND),
    }
    if kind == "oriented":
        return {**target, "rectangles": torch.from_numpy(rectangles_of(outlines))}
    if kind != "outlines":
        return target
    burnt = _masks(outlines, size)
    has_mask = torch.from_numpy(burnt.any(axis=(1, 2)))
    some = {**target, "masks": torch.from_numpy(burnt)}
    return some if has_mask.all() else {n: value[has_mask] for n, value in some.items()}


def rectangles_of(outlines: npt.NDArray[np.object_]) -> npt.NDArray[np.float32]:
    """The smallest turned box around each outline ``(n, 5)``: centre, width, height, degrees.

    The width is the longer side, degrees are its own, from 0 to 180 counterclockwise in a picture
    whose rows grow downwards.
    """
    rectangles = np.zeros((len(outlines), 5), np.float32)
    for box, around in zip(rectangles, turned_envelopes(outlines), strict=True):
        corners = shapely.get_coordinates(around)[:3]
        sides = corners[1:] - corners[:-1]
        lengths = np.hypot(*sides.T)
        dx, dy = sides[int(lengths[1] > lengths[0])]
        box[:2] = (corners[0] + corners[2]) / 2
        box[2:4] = lengths.max(), lengths.min()
        box[4] = np.rad2deg(np.arctan2(-dy, dx)) % 180
    return rectangles


def turned_envelopes(outlines: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """The same as polygons."""
    return np.asarray(shapely.minimum_rotated_rectangle(outlines), object).reshape(-1)


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
