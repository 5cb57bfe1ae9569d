"""Parts of measured images with their true and detected objects, for a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.items.bands import natural_colours
from rsscale.learn.model import Model
from rsscale.model.spec import ModelSpec
from rsscale.object_scenes.scenes import ObjectScenes, Scene
from rsscale.object_training.figures import IOU, FoundObjects, true_shapes
from rsscale.pictures.object_charts import Example

_MOST = 6
_LEAST, _MOST_WIDE = 160, 320  # px of an example
_AROUND = 32  # px beside a place


def examples_of(
    model: Model,
    scenes: ObjectScenes,
    places: npt.NDArray[np.int64],
    objects: FoundObjects,
    threshold: float,
) -> tuple[Example, ...]:
    """Those of the measured places that hold most objects, as pictures to look at.

    Parameters
    ----------
    model : Model
    scenes : ObjectScenes
    places : int64 array
    objects : FoundObjects
    threshold : float
        Detections that score less are not drawn.
    """
    groups = scenes.groups[np.isin(scenes.groups, places)]
    ids, counts = np.unique(groups, return_counts=True)
    chosen = ids[np.lexsort((ids, -counts))][:_MOST]
    kept = objects.scores >= threshold
    return tuple(
        _example(model.spec, scenes, place, objects, kept)
        for place in sorted(int(place) for place in chosen)
    )


def _example(
    spec: ModelSpec,
    scenes: ObjectScenes,
    place: int,
    objects: FoundObjects,
    kept: npt.NDArray[np.bool_],
) -> Example:
    number = int(scenes.of_scene[scenes.groups == place][0])
    scene = scenes.scenes[number]
    (rows, cols), box = _extent(scene, place)
    frame = shapely.box(cols.start, rows.start, cols.stop, rows.stop)

    def inside(shapes: npt.NDArray[np.object_]) -> list[shapely.Geometry]:
        near = shapes[shapely.intersects(shapes, frame)]
        moved = shapely.transform(near, lambda xy: xy - (cols.start, rows.start))
        return list(np.asarray(moved, object).reshape(-1))

    truth = true_shapes(scene, spec.objects.kind)
    own = kept & (objects.of_scene == number)
    shapes, scores = objects.outlines[own], objects.scores[own]
    is_near = shapely.intersects(shapes, frame)
    return Example(
        _title(place, scene, objects, own),
        _picture(scene.read(rows, cols), spec),
        tuple(inside(scene.objects)),  # as they are labelled
        tuple(inside(shapes)),
        tuple(float(s) for s in scores[is_near]),
        _are_right(shapes[is_near], truth),
        box,
    )


def _title(place: int, scene: Scene, objects: FoundObjects, own: npt.NDArray[np.bool_]) -> str:
    true = int((scene.places_of_objects == place).sum())
    detected = int((objects.groups[own] == place).sum())
    return f"place {place}: {true} true, {detected} detected"


def _extent(scene: Scene, place: int) -> tuple[tuple[slice, slice], tuple[int, int, int, int]]:
    """A window around a place, and the box of the place ``x0, y0, x1, y1`` in the window."""
    whole = slice(0, scene.shape[0]), slice(0, scene.shape[1])
    inside = scene.places.window(*whole) == place
    spans, edges = [], []
    for axis, length in zip((1, 0), scene.shape, strict=True):
        at = np.flatnonzero(inside.any(axis=axis))
        first, last = int(at[0]), int(at[-1]) + 1
        width = min(max(last - first + _AROUND, _LEAST), _MOST_WIDE, length)
        start = min(max((first + last - width) // 2, 0), length - width)
        spans.append(slice(start, start + width))
        edges.append((first - start, last - start))
    (y0, y1), (x0, x1) = edges
    return (spans[0], spans[1]), (x0, y0, x1, y1)


def _are_right(shapes: npt.NDArray[np.object_], truth: npt.NDArray[np.object_]) -> tuple[bool, ...]:
    """Whether detections overlap a true object enough; for the colours of a picture alone."""
    first, second = shapely.STRtree(truth).query(shapes)
    both = shapely.area(shapely.intersection(shapes[first], truth[second]))
    either = shapely.area(shapes[first]) + shapely.area(truth[second]) - both
    right = np.isin(np.arange(len(shapes)), first[both >= IOU * either])
    return tuple(map(bool, right))


def _picture(image: npt.NDArray[np.float32], spec: ModelSpec) -> npt.NDArray[np.uint8]:
    """Red, green and blue of the first time window of the first input, or its first band."""
    bands = spec.inputs[0].bands
    shown = image[_bands_to_show(bands)]
    low, high = _stretch(shown)
    scaled = np.clip((shown - low) / np.maximum(high - low, 1e-9), 0, 1)
    scaled = np.where(np.isfinite(scaled), scaled, 1.0)
    return np.asarray(np.moveaxis(scaled * 255, 0, -1).round(), np.uint8)


def _bands_to_show(bands: Sequence[str]) -> list[int]:
    natural = natural_colours(bands)
    if natural:
        return [list(bands).index(name) for name in natural]
    return [0, 1, 2] if len(bands) == 3 else [0, 0, 0]


def _stretch(image: npt.NDArray[np.float32]) -> tuple[Any, Any]:
    """Values of each band that become black and white: 1 and 99 % of the pixels."""
    flat = image.reshape(len(image), -1)
    if not np.isfinite(flat).any(axis=1).all():
        return np.float32(0), np.float32(1)
    low, high = np.nanpercentile(flat, [1, 99], axis=1)
    return low[:, None, None], high[:, None, None]
