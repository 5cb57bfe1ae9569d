"""Run a detector over scenes while it is trained and measured, window by window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
import torch

from rsscale.detection.outlines import mask_outlines, oriented_outlines
from rsscale.geo.lattice import PixelBox
from rsscale.learn.model import Model, call
from rsscale.model.spec import ModelSpec
from rsscale.network.normalize import window_batch
from rsscale.network.window_objects import WindowObjects, window_objects
from rsscale.object_scenes.crops import STEP
from rsscale.object_scenes.scenes import ObjectScenes, Scene
from rsscale.object_training.figures import FoundObjects


def find_in_places(
    model: Model, scenes: ObjectScenes, places: npt.NDArray[np.int64]
) -> FoundObjects:
    """All that a detector finds around some places, however low its score.

    A scene that is no wider than the model's window is one window; of others there are windows as
    the map has them, counted from the scene's corner, and an object is of the window whose core
    holds its centre.

    Parameters
    ----------
    model : Model
    scenes : ObjectScenes
    places : int64 array
        Windows whose cores hold none of them are left out.
    """
    parts = [
        _objects_of_window(model, scene, number, core, window)
        for number, scene in enumerate(scenes.scenes)
        for core, window in _windows(scene, places, model)
    ]
    kinds = (object, np.float64, np.int64, np.int64, np.int64)
    return FoundObjects(
        *(
            np.concatenate([np.zeros(0, kind), *(part[k] for part in parts)])
            for k, kind in enumerate(kinds)
        )
    )


def _windows(
    scene: Scene, places: npt.NDArray[np.int64], model: Model
) -> Iterator[tuple[PixelBox, PixelBox]]:
    """Cores, and the windows around them, that hold pixels of the places."""
    whole, lattice = PixelBox(0, 0, *scene.shape), model.spec.lattice
    fits = max(scene.shape) <= lattice.window
    for core in [whole] if fits else lattice.cores(whole):
        rows, cols = (core & whole).slices(whole)
        if np.isin(scene.places.window(rows, cols), places).any():
            yield core, core.pad(lattice.halo) & whole


def _objects_of_window(
    model: Model, scene: Scene, number: int, core: PixelBox, window: PixelBox
) -> tuple[Any, ...]:
    """Outlines, scores, classes, scenes and places of the objects of a window."""
    image = scene.read(*window.slices(PixelBox(0, 0, *scene.shape)))
    side = -(-max(window.shape) // STEP) * STEP
    more = [(0, side - length) for length in window.shape]
    image = np.pad(image, ((0, 0), *more), constant_values=np.nan)
    given = torch.from_numpy(image[None]).to(model.device)
    with torch.inference_mode():
        returned = call(model.module, window_batch(given, scene.days, model.spec))
    objects = window_objects(returned, model.spec, side, f"model {model.spec.name!r}")
    chosen, outlines = _outlines(objects, model.spec)
    frame = shapely.box(0, 0, window.shape[1], window.shape[0])
    outlines = shapely.intersection(outlines, frame)
    corner = np.array([window.col0, window.row0], np.float64)
    outlines = np.asarray(shapely.transform(outlines, lambda xy: xy + corner), object).reshape(-1)
    bounds = np.asarray(shapely.bounds(outlines), np.float64).reshape(-1, 4)
    centre = np.stack([bounds[:, [1, 3]].mean(axis=1), bounds[:, [0, 2]].mean(axis=1)], axis=1)
    low, high = (core.row0, core.col0), (core.row1, core.col1)
    kept = ((centre >= low) & (centre < high)).all(axis=1) & (shapely.area(outlines) > 0)
    return (
        outlines[kept],
        objects.scores[chosen][kept].astype(np.float64),
        objects.numbers[chosen][kept],
        np.full(int(kept.sum()), number, np.int64),
        scene.place_of(bounds[kept]),
    )


def _outlines(
    objects: WindowObjects, spec: ModelSpec
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.object_]]:
    """Outlines of the objects of a window that have one, in its pixels, and which these are."""
    every = np.arange(len(objects.scores))
    if spec.objects.kind == "oriented":
        return every, oriented_outlines(objects, every, f"model {spec.name!r}")
    if spec.objects.kind != "outlines":
        return every, np.asarray(shapely.box(*objects.boxes.T), object).reshape(-1)
    traced = mask_outlines(objects.masks, every, spec.objects.mask_threshold)
    chosen = np.array([k for k, outline in enumerate(traced) if outline is not None], np.intp)
    outlines = np.empty(len(chosen), object)
    outlines[:] = [traced[k] for k in chosen.tolist()]
    return chosen, outlines
