"""Find the objects of a model's windows, one window at a time, in pixels of the grid.

A detector's heads look at all boxes of a batch together, so that the bits of a window's scores
would depend on its neighbours in the batch. A batch of one makes them the same in every tile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.detection.outlines import window_shapes
from rsscale.errors import ModelError
from rsscale.geo.lattice import PixelBox
from rsscale.inference.infer import out_of_memory
from rsscale.inference.stack import InputStack
from rsscale.inference.staging import Staging, staging_for
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import Predictor
from rsscale.network.window_objects import WindowObjects, window_objects
from rsscale.objects.detections import Detections

if TYPE_CHECKING:
    import shapely

MOST_UNSEEN = 0.5
"""Share of a box's pixels that no sensor saw, above which the detection is dropped."""

COUNTS = ("windows", "candidates", "zero_area", "outside", "unseen", "no_mask", "full")
"""What :func:`detect_windows` counts; see there."""


def detect_windows(
    stack: InputStack,
    model: Predictor,
    cores: Iterable[PixelBox],
    *,
    score_threshold: float | None = None,
    counts: Counter[str] | None = None,
) -> list[Detections]:
    """Find objects in windows, each by itself.

    Parameters
    ----------
    stack : InputStack
        Inputs in memory over all that the windows read, or as much of it as there is.
    model : Predictor
        One that finds objects (:class:`rsscale.ObjectOutput`), such as :func:`rsscale.open_model`
        returns. Several threads of a process take turns by
        :func:`rsscale.inference.device_lock.device_lock`, which the caller holds.
    cores : iterable of PixelBox
        Cores of the windows, of ``model.spec.lattice``.
    score_threshold : float, optional
        In place of the contract's.
    counts : Counter, optional
        Is added to: ``windows`` that were predicted; ``candidates`` that are returned; detections
        that were dropped since they have ``zero_area``, lie ``outside`` of the window, lie on
        pixels that are mostly ``unseen``, or have ``no_mask`` above its threshold; ``full``
        windows, in which there were more than the contract keeps (``most``).

    Returns
    -------
    list of Detections
        Of each core, by falling score, then by position from north west; in global pixels. A
        window without any seen pixel is not predicted and has none. Boxes are clipped to their
        window; the box of an outline is its bounds.

    Raises
    ------
    ModelError
        When the model maps pixels, returns something else than its contract says (no numbers
        among it; the message names the window), or one window does not fit into memory.
    """
    import torch

    spec = model.spec
    threshold = spec.objects.score_threshold if score_threshold is None else score_threshold
    tally = Counter() if counts is None else counts
    staging = staging_for(model, 1)
    detections = []
    with torch.inference_mode():
        for core in cores:
            window = core.pad(spec.lattice.halo)
            seen = stack.seen(window)
            if not seen.any():
                detections.append(Detections.none())
                continue
            tally["windows"] += 1
            objects = _predicted(model, staging, stack, window)
            detections.append(
                _detections(objects, spec, window, seen, threshold=threshold, tally=tally)
            )
    return detections


def _predicted(
    model: Predictor, staging: Staging, stack: InputStack, window: PixelBox
) -> WindowObjects:
    """What the model returns for one window."""
    spec = model.spec
    subject = f"model {spec.name!r}, in the window of rows {window.row0} to {window.row1} and "
    subject += f"columns {window.col0} to {window.col1},"
    try:
        returned: Any = model(staging.load(stack, [window]).given)
        return window_objects(returned, spec, spec.lattice.window, subject)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        reason = str(error).split("\n", 1)[0][:160]
    raise ModelError(
        f"model {spec.name!r} does not fit into the memory of {str(model.device)!r} with one "
        f"window of {spec.channels} channels and {spec.lattice.window} px: {reason}; use a model "
        "with a smaller stride, fewer threads per worker or more memory"
    )


def _detections(
    objects: WindowObjects,
    spec: ModelSpec,
    window: PixelBox,
    seen: npt.NDArray[np.bool_],
    *,
    threshold: float,
    tally: Counter[str],
) -> Detections:
    """Those of a window that count, in global pixels and in order."""
    chosen = np.flatnonzero(objects.scores >= np.float32(threshold))
    shapes = window_shapes(objects, chosen, spec)
    boxes, chosen = shapes.boxes, shapes.chosen
    tally["no_mask"] += shapes.no_mask
    tally["zero_area"] += int(shapes.flat.sum())
    tally["outside"] += int(shapes.outside.sum())
    kept = ~shapes.flat & ~shapes.outside
    unseen = np.zeros(len(boxes), bool)
    unseen[kept] = _unseen_share(boxes[kept], seen) > MOST_UNSEEN
    tally["unseen"] += int(unseen.sum())
    kept &= ~unseen
    index = np.flatnonzero(kept)
    scores, numbers = objects.scores[chosen], objects.numbers[chosen]
    order = index[_canonical(boxes[index], scores[index], numbers[index])]
    if len(order) > spec.objects.most:
        tally["full"] += 1
        order = order[: spec.objects.most]
    tally["candidates"] += len(order)
    corner = np.array([window.col0, window.row0] * 2, np.float64)
    values = np.array([c.value for c in spec.classes], np.int32)
    return Detections(
        boxes[order] + corner,
        np.minimum(scores[order], np.float32(1)),
        values[numbers[order]],
        None if shapes.outlines is None else _moved(shapes.outlines[order], corner[:2]),
    )


def _canonical(
    boxes: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float32],
    numbers: npt.NDArray[np.int64],
) -> npt.NDArray[np.intp]:
    """Order by falling score, then position and class, that no network's order matters to."""
    return np.lexsort((numbers, boxes[:, 3], boxes[:, 2], boxes[:, 0], boxes[:, 1], -scores))


def _unseen_share(
    boxes: npt.NDArray[np.float64], seen: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Share of the pixels that each box touches which no sensor saw."""
    if not len(boxes) or seen.all():  # most windows: sums over all pixels would take longest
        return np.zeros(len(boxes))
    total = np.zeros(np.add(seen.shape, 1), np.int32)
    total[1:, 1:] = (~seen).cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32)
    low = np.floor(boxes[:, :2]).astype(np.int64)
    high = np.ceil(boxes[:, 2:]).astype(np.int64)
    (x0, y0), (x1, y1) = low.T, high.T
    unseen = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    share: npt.NDArray[np.float64] = unseen / ((x1 - x0) * (y1 - y0))
    return share


def _moved(
    outlines: npt.NDArray[np.object_], corner: npt.NDArray[np.float64]
) -> tuple[shapely.Geometry, ...]:
    import shapely

    return tuple(shapely.transform(outline, lambda xy: xy + corner) for outline in outlines)
