"""Objects of any tiling are those of all windows together: pure arrays, thousands of tilings."""

from collections.abc import Iterator

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.objects.candidates import Candidates, together, window_candidates
from rsscale.objects.deciding import (
    PlaneObjects,
    Rules,
    decide_all,
    decide_rest,
    decide_tile,
    known_windows,
)
from rsscale.objects.detections import Detections

SIZE = 200
LATTICE = Lattice(32, 12)
RULES = Rules(iou=0.3)


def window_view(
    scene: Detections, core: PixelBox, rng: np.random.Generator, noise: float
) -> Detections:
    """What a window sees of a scene: objects cut at its edge, moved and scored by itself."""
    window = core.pad(LATTICE.halo)
    moved = scene.boxes + rng.uniform(-noise, noise, scene.boxes.shape)
    low = np.array([window.col0, window.row0], float)
    high = np.array([window.col1, window.row1], float)
    boxes = np.concatenate([np.maximum(moved[:, :2], low), np.minimum(moved[:, 2:], high)], axis=1)
    seen = ((boxes[:, 2:] - boxes[:, :2]) > 1).all(axis=1) & (rng.uniform(size=len(boxes)) < 0.9)
    scores = np.clip(scene.scores + rng.normal(0, 0.2, len(scene)), 0.01, 1)
    # Rounded, so that some scores are equal.
    scores = np.round(scores, 1).astype(np.float32)
    outlines = None
    if scene.outlines is not None:
        outlines = tuple(shapely.box(*box).buffer(0) for box in boxes[seen])
    return Detections(boxes[seen], scores[seen], scene.classes[seen], outlines)


def scene_of(rng: np.random.Generator, count: int, *, outlined: bool = False) -> Detections:
    """Small, overlapping, and some objects wider than the halo, than a window, than a tile."""
    lower = rng.uniform(-20, SIZE, (count, 2))
    widths = np.where(
        rng.uniform(size=(count, 1)) < 0.2,
        rng.uniform(10, 150, (count, 2)),
        rng.uniform(3, 20, (count, 2)),
    )
    boxes = np.concatenate([lower, lower + widths], axis=1)
    outlines = tuple(shapely.box(*box) for box in boxes) if outlined else None
    return Detections(
        boxes,
        rng.uniform(0.3, 1, count).astype(np.float32),
        rng.integers(1, 3, count).astype(np.int32),
        outlines,
    )


def random_tiles(rng: np.random.Generator) -> Iterator[PixelBox]:
    """A guillotine cut of the plane, not only along a lattice: the proof needs no more."""
    boxes = [PixelBox(0, 0, SIZE, SIZE)]
    for _ in range(rng.integers(0, 7)):
        box = boxes.pop(rng.integers(len(boxes)))
        height, width = box.shape
        if rng.integers(2) and height > 8:
            row = box.row0 + int(rng.integers(1, height))
            boxes += [PixelBox(box.row0, box.col0, row, box.col1),
                      PixelBox(row, box.col0, box.row1, box.col1)]  # fmt: skip
        elif width > 8:
            col = box.col0 + int(rng.integers(1, width))
            boxes += [PixelBox(box.row0, box.col0, box.row1, col),
                      PixelBox(box.row0, col, box.row1, box.col1)]  # fmt: skip
        else:
            boxes.append(box)
    yield from boxes


def area_of(rng: np.random.Generator) -> np.ndarray:
    """A shape whose border goes through tiles, windows and objects."""
    where = np.ones((SIZE, SIZE), bool)
    if rng.integers(2):
        rows, cols = np.mgrid[:SIZE, :SIZE]
        where = (rows * rng.uniform(-1, 1) + cols * rng.uniform(-1, 1)) < rng.uniform(0, 80)
    return where


def views(scene: Detections, where: np.ndarray, seed: int) -> dict[PixelBox, Candidates]:
    plane = PixelBox(0, 0, SIZE, SIZE)
    found = {}
    for core in known_windows(plane, where, LATTICE):
        rng = np.random.default_rng([seed, core.row0 + 1000, core.col0 + 1000])
        found[core] = window_candidates(window_view(scene, core, rng, 1.5), core, LATTICE)
    return found


def as_rows(found: PlaneObjects, where: np.ndarray, box: PixelBox) -> list[tuple]:
    """Objects whose centre lies in a box and the area, with all their bits."""
    rows = []
    for number, shape in enumerate(found.shapes):
        x0, y0, x1, y1 = shape.bounds
        row, col = int((y0 + y1) // 2), int((x0 + x1) // 2)
        inside = box.row0 <= row < box.row1 and box.col0 <= col < box.col1
        if not inside or not where[row, col]:
            continue
        rows.append(
            (tuple(found.keys[number]), shape.wkb, found.classes[number], found.scores[number],
             found.parts[number], found.cut[number])
        )  # fmt: skip
    return rows


def tiled(
    seen: dict[PixelBox, Candidates], where: np.ndarray, boxes: list[PixelBox], rng
) -> list[tuple]:
    shared, rows = [], []
    for box in boxes:
        inside = where[box.slices(PixelBox(0, 0, SIZE, SIZE))]
        cores = known_windows(box, inside, LATTICE)
        order = rng.permutation(len(cores))
        parts = [seen[cores[n]] for n in order]
        said = decide_tile(together(parts), cores, box, LATTICE, RULES)
        rows += as_rows(PlaneObjects.whole(said.own), where, box)
        shared.append(said.shared)
    rest = decide_rest([shared[n] for n in rng.permutation(len(shared))], LATTICE.stride, RULES)
    for box in boxes:
        rows += as_rows(rest, where, box)
    return sorted(rows, key=lambda row: row[0])


def check(seed: int, count: int, *, outlined: bool = False, tilings: int = 4) -> list[tuple]:
    rng = np.random.default_rng(seed)
    scene, where = scene_of(rng, count, outlined=outlined), area_of(rng)
    seen = views(scene, where, seed)
    every = decide_all(together(list(seen.values())), LATTICE.stride, RULES)
    wanted = as_rows(every, where, PixelBox(0, 0, SIZE, SIZE))
    for _ in range(tilings):
        assert tiled(seen, where, list(random_tiles(rng)), rng) == wanted
    return wanted


@given(seed=st.integers(0, 2**31), count=st.integers(0, 120))
@settings(max_examples=40, deadline=None)
@pytest.mark.extended
def test_any_tiling_gives_the_objects_of_the_plane(seed: int, count: int) -> None:
    check(seed, count)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=8, deadline=None)
def test_any_tiling_gives_the_outlines_of_the_plane(seed: int) -> None:
    check(seed, 60, outlined=True, tilings=2)


@pytest.mark.extended
def test_a_thousand_tilings() -> None:
    found = [row for seed in range(120) for row in check(seed, 60 + seed % 90, tilings=8)]
    assert len({row[0] for row in found}) > 100
    assert sum(row[4] > 1 for row in found) > 300, "objects are merged"
    assert sum(bool(row[5]) for row in found) > 100, "some are cut"
