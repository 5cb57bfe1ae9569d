"""Objects without imagery: windows see a known scene, cut at their edges, each in its own way.

``steps: {ponds: {kind: "scene_objects:SceneDetect"}}``, allowed by ``RSSCALE_PASSES``; see
:func:`scene_recipe` and :func:`allowed_scene`. What a window sees depends on the window alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
from formula_pass import AREA, SMALL, formula_recipe

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.legend.classes import LandClass
from rsscale.object_passes.placing import detection_steps
from rsscale.object_passes.windows import WindowsPass, WindowView
from rsscale.objects.deciding import Rules
from rsscale.objects.detections import Detections
from rsscale.steps.base import Block, PartPass, Result
from rsscale.steps.kinds import ALLOWED
from rsscale.steps.options import Options

CLASSES = (LandClass(3, "pond", "#2b83ba"), LandClass(7, "shed", "#d7191c"))
TILES = (100, 128, 192, 250, 512)
"""Of several runs: some are no multiples of the stride."""
LATTICE = Lattice(64, 16)


class SceneOptions(Options):
    """Noise of positions, px; only objects of a class; a salt of all noise."""

    noise: float = 1.0
    only: int = 0
    outlines: bool = False


@dataclass(repr=False, kw_only=True)
class SceneWindows(WindowsPass):
    """Windows onto :func:`scene`."""

    options: SceneOptions

    def views(self, block: Block, cores: Sequence[PixelBox]) -> tuple[list[WindowView], Result]:
        """What each window sees of the scene."""
        return [look(core, block.key.span, self.options) for core in cores], Result()

    def parameters(self) -> Mapping[str, Any]:
        """The options too."""
        return {**super().parameters(), **self.options.model_dump()}


class SceneDetect(PartPass):
    """Opens the steps of objects of a scene."""

    kind: ClassVar[str] = "scene_objects:SceneDetect"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = SceneOptions

    @classmethod
    def open(cls, step: str, recipe: Any, options: Any, setup: Any) -> list[Any]:
        """Windows, gather, objects."""
        del recipe
        windows = SceneWindows(
            step=f"{step}-windows",
            sources={},
            lattices=dict.fromkeys(setup.periods(), LATTICE),
            rules=Rules(iou=0.3),
            options=options,
        )
        return detection_steps(step, windows, CLASSES, dict.fromkeys(setup.periods(), "abc"), setup)


def look(core: PixelBox, span: str, options: SceneOptions) -> WindowView:
    """A window's view: objects cut at its edge, moved and scored by itself; some are missed."""
    window = core.pad(LATTICE.halo)
    boxes, classes = scene(int(span))
    near = (boxes[:, 0] < window.col1 + 9) & (boxes[:, 2] > window.col0 - 9)
    near &= (boxes[:, 1] < window.row1 + 9) & (boxes[:, 3] > window.row0 - 9)
    if options.only:
        near &= classes == options.only
    boxes, classes = boxes[near], classes[near]
    rng = np.random.default_rng([int(span), core.row0 & 0xFFFFFFFF, core.col0 & 0xFFFFFFFF])
    boxes = boxes + rng.uniform(-options.noise, options.noise, boxes.shape)
    low = np.array([window.col0, window.row0], float)
    high = np.array([window.col1, window.row1], float)
    boxes = np.concatenate([np.maximum(boxes[:, :2], low), np.minimum(boxes[:, 2:], high)], axis=1)
    scores = np.round(rng.uniform(0.5, 1, len(boxes)), 2).astype(np.float32)
    seen = ((boxes[:, 2:] - boxes[:, :2]) > 1).all(axis=1) & (rng.uniform(size=len(boxes)) < 0.97)
    boxes = boxes[seen]
    outlines = tuple(map(_octagon, boxes)) if options.outlines else None
    return WindowView(core, Detections(boxes, scores[seen], classes[seen], outlines))


def _octagon(box: np.ndarray) -> Any:
    import shapely

    x0, y0, x1, y1 = box
    a, b = (x1 - x0) / 4, (y1 - y0) / 4
    return shapely.Polygon(
        [(x0 + a, y0), (x1 - a, y0), (x1, y0 + b), (x1, y1 - b), (x1 - a, y1), (x0 + a, y1),
         (x0, y1 - b), (x0, y0 + b)]
    )  # fmt: skip


@lru_cache(maxsize=4)
def scene(year: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes in global pixels and classes: on tile lines and corners, in chains, of all sizes."""
    rng = np.random.default_rng(year)
    (x, y) = (np.array(axis) for axis in zip(*AREA, strict=True))
    bounds = PixelBox(-int(y.max()) // 10 - 30, int(x.min()) // 10 - 30,
                      -int(y.min()) // 10 + 30, int(x.max()) // 10 + 30)  # fmt: skip
    parts = []
    for tile in TILES:
        rows = np.arange(bounds.row0 // tile, bounds.row1 // tile + 1) * tile
        cols = np.arange(bounds.col0 // tile, bounds.col1 // tile + 1) * tile
        corners = np.stack(np.meshgrid(cols, rows), axis=-1).reshape(-1, 2).astype(float)
        halfway = tile / 2 * np.array([[0, 0], [1, 0], [0, 1]])
        on_lines = (corners[:, None] + halfway).reshape(-1, 2)
        parts.append(_around(on_lines + rng.uniform(-4, 4, on_lines.shape), rng, 4, 12))
    anywhere = rng.uniform([bounds.col0, bounds.row0], [bounds.col1, bounds.row1], (500, 2))
    parts += [_around(anywhere, rng, 3, 14)]
    # wider than the halo, than a window, and than most tiles
    for count, least, most in ((60, 18, 40), (14, 40, 90), (5, 100, 180)):
        middles = rng.uniform([bounds.col0, bounds.row0], [bounds.col1, bounds.row1], (count, 2))
        parts.append(_around(middles, rng, least, most))
    # chains: each overlaps the next one, across tile lines
    for start in rng.uniform([bounds.col0, bounds.row0], [bounds.col1, bounds.row1], (8, 2)):
        steps = np.cumsum(rng.uniform(3, 6, (60, 2)) * rng.choice([-1, 1], 2), axis=0)
        middles = start + steps
        parts.append(np.concatenate([middles - 8, middles + 8], axis=1))
    boxes = np.concatenate(parts)
    return boxes, np.where(rng.uniform(size=len(boxes)) < 0.7, 3, 7).astype(np.int32)


def _around(middles: np.ndarray, rng: np.random.Generator, least: float, most: float) -> np.ndarray:
    sizes = rng.uniform(least, most, middles.shape)
    return np.concatenate([middles - sizes, middles + sizes], axis=1)


def scene_recipe(folder: Path, *, tile: int = 128, whole: bool = False, **options: Any) -> dict:
    """A recipe of objects alone, over the small area or all of it."""
    changes = {name: options.pop(name) for name in ("periods", "shape") if name in options}
    recipe = formula_recipe(
        folder,
        tile=tile,
        steps={"ponds": {"kind": SceneDetect.kind, **options}},
        **{"shape": AREA if whole else SMALL, **changes},
    )
    del recipe["steps"]["map"]
    return recipe


@contextmanager
def allowed_scene() -> Iterator[None]:
    """Let recipes name this kind, here and in workers that are started meanwhile."""
    with mock.patch.dict(os.environ, {ALLOWED: "formula_pass, scene_objects"}):
        yield
