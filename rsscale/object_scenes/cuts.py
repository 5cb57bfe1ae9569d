"""What becomes of objects that a crop cuts, and of those that are turned with their image.

An object of which at least a share is seen is kept, cut to what is seen. So is a part of one that
is deeper than the halo wherever it is cut: of an object wider than the halo a map's windows see
such parts alone, and join them. Any other is neither object nor background: its pixels are masked,
as those are where nothing was seen (0 after normalisation, the mean of the training). So no network
needs to know of it: anchors on masked pixels learn what blank ground is, which the map meets at the
edge of its imagery too, and never that a half object is background. Pixels of a kept object are not
masked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

Floats = npt.NDArray[np.float64]
Shapes = npt.NDArray[np.object_]
_LEAST = 1.0  # px along each axis: of what is smaller nothing is learnt


@dataclass(frozen=True, eq=False)
class Cut:
    """Objects of a window.

    Attributes
    ----------
    boxes : float64 array (n, 4)
        ``x0, y0, x1, y1`` in pixels of the window.
    outlines : array of shapely.Geometry (n,)
        Inside the boxes.
    which : int64 array (n,)
        Which of the given objects each is.
    seen : bool array (h, w)
        What the network may see: without the pixels of ignored objects.
    ignored : int64 array (m,)
        Which objects were masked.
    """

    boxes: Floats
    outlines: Shapes
    which: npt.NDArray[np.int64]
    seen: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.int64]


def cut_objects(
    objects: Shapes, seen: npt.NDArray[np.bool_], visible: float, depth: float = math.inf
) -> Cut:
    """Keep objects of which enough is seen in a window, and mask the others.

    Parameters
    ----------
    objects : array of shapely.Geometry (n,)
        Valid polygons in pixels of the window, which they may reach beyond.
    seen : bool array (h, w)
        What of the window may be seen.
    visible : float
        Share of an object's area, from 0 to 1, from which on it is kept.
    depth : float
        A part that reaches so far, px, from each edge that cuts it is kept whatever its share:
        what a window of the map sees of an object across its halo. None is by default.
    """
    height, width = seen.shape
    window = shapely.box(0, 0, width, height)
    near = np.flatnonzero(shapely.intersects(objects, window))
    inside, areas = shapely.intersection(objects[near], window), shapely.area(objects)
    kept: list[tuple[int, Floats, shapely.Geometry]] = []
    ignored: list[int] = []
    for which, part in zip(near.tolist(), inside, strict=True):
        bounds = np.asarray(shapely.bounds(part))
        box = _seen_box(bounds, seen)
        if box is None:  # nothing of it is seen: there is nothing to mask
            continue
        whole_part = bool((box == bounds).all())
        outline = part if whole_part else shapely.intersection(part, shapely.box(*box))
        within, whole = _seen_share(box, seen), np.asarray(shapely.bounds(objects[which]))
        share = shapely.area(outline) / areas[which] * within
        is_large = bool((box[2:] - box[:2] >= _LEAST).all())
        is_enough = share >= visible or (within >= visible and _is_deep(box, whole, depth))
        if is_large and is_enough and shapely.area(outline) > 0:
            kept.append((which, box, outline))
        else:
            ignored.append(which)
    after = seen.copy()
    for which in ignored:
        after[_pixels(np.asarray(shapely.bounds(objects[which])), seen.shape)] = False
    for _, box, _ in kept:
        inside = _pixels(box, seen.shape)
        after[inside] = seen[inside]
    outlines = np.empty(len(kept), object)
    outlines[:] = [outline for *_, outline in kept]
    return Cut(
        np.array([box for _, box, _ in kept], np.float64).reshape(-1, 4),
        outlines,
        np.array([which for which, *_ in kept], np.int64),
        after,
        np.array(ignored, np.int64),
    )


def turned(
    boxes: Floats, outlines: Shapes, size: int, turns: int, *, flip: bool
) -> tuple[Floats, Shapes]:
    """Boxes and outlines of a square window as :func:`turned_image` turns the image.

    Coordinates stay exact: they are swapped and taken from the width, which has no rounding for
    whole and half pixels.
    """

    def moved(points: Floats) -> Floats:
        for _ in range(turns % 4):
            points = np.stack([points[:, 1], size - points[:, 0]], axis=1)
        if flip:
            points = np.stack([size - points[:, 0], points[:, 1]], axis=1)
        return points

    corners = moved(boxes.reshape(-1, 2)).reshape(-1, 2, 2)
    moved_boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return moved_boxes, np.asarray(shapely.transform(outlines, moved), object)


def turned_image(
    image: npt.NDArray[np.float32], turns: int, *, flip: bool
) -> npt.NDArray[np.float32]:
    """An image ``(..., H, W)`` turned by quarters against the clock, then flipped left to right."""
    image = np.rot90(image, turns, (-2, -1))
    return np.ascontiguousarray(image[..., ::-1] if flip else image)


def _pixels(box: Floats, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The pixels of a window that a box touches."""
    x0, y0 = np.maximum(np.floor(box[:2]), 0).astype(int)
    x1, y1 = np.maximum(np.ceil(box[2:]), 0).astype(int)
    return slice(y0, min(y1, shape[0])), slice(x0, min(x1, shape[1]))


def _seen_box(box: Floats, seen: npt.NDArray[np.bool_]) -> Floats | None:
    """What is left of a box beside rows and columns of which nothing is seen; None for nothing."""
    if not np.isfinite(box).all():
        return None
    rows, cols = _pixels(box, seen.shape)
    part = seen[rows, cols]
    if not part.any():
        return None
    own_rows, own_cols = (np.flatnonzero(part.any(axis=axis)) for axis in (1, 0))
    low = np.array([cols.start + own_cols[0], rows.start + own_rows[0]], np.float64)
    high = np.array([cols.start + own_cols[-1] + 1, rows.start + own_rows[-1] + 1], np.float64)
    return np.concatenate([np.maximum(box[:2], low), np.minimum(box[2:], high)])


def has_deep_part(box: Floats, seen: npt.NDArray[np.bool_], depth: float) -> bool:
    """Whether what is seen of a box reaches as far as a depth from each edge that cuts it.

    Parameters
    ----------
    box : float64 array (4,)
        ``x0, y0, x1, y1`` in pixels of the window, which it may reach beyond.
    seen : bool array (h, w)
        What of the window may be seen; of no pixels where the box lies beside it.
    depth : float
    """
    part = _seen_box(box, seen) if seen.size else None
    return part is not None and _is_deep(part, box, depth)


def _is_deep(box: Floats, whole: Floats, depth: float) -> bool:
    """Whether what is seen of an object is as wide as a depth along each axis that cuts it."""
    is_cut = (box[:2] > whole[:2]) | (box[2:] < whole[2:])
    return bool((~is_cut | (box[2:] - box[:2] >= depth)).all())


def _seen_share(box: Floats, seen: npt.NDArray[np.bool_]) -> float:
    return float(seen[_pixels(box, seen.shape)].mean())
