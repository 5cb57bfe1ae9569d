"""Fill pixels without an observation in a window, from another window or from the whole year."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.composites.time_windows import TimeWindow
from rsscale.cube.slices import Blocks, planes

Scenes = tuple[tuple[int, ...], ...]
"""Slices of the cube along time, for each window of a composite or each year."""


def substitutes(
    windows: Sequence[tuple[int, TimeWindow]], rule: str
) -> tuple[tuple[int, ...], ...]:
    """Windows whose values fill each window's pixels without an observation, the best first.

    Parameters
    ----------
    windows : sequence of (year, TimeWindow)
        Of a composite, in its order.
    rule : str
        One of :data:`rsscale.composites.reducer_names.FALLBACKS`.

    Returns
    -------
    tuple of tuple of int
        Positions in ``windows``; with ``"year"``, the number of windows plus the position of the
        year among all years.
    """
    if rule in ("leave", "linear"):
        return tuple(() for _ in windows)
    if rule == "year":
        years = sorted({year for year, _ in windows})
        return tuple((len(windows) + years.index(year),) for year, _ in windows)
    middles = [window.middle for _, window in windows]
    years_of = [year for year, _ in windows]
    return tuple(
        tuple(
            sorted(
                # Only of the same year: a map must not depend on which others are made.
                (n for n in range(len(windows)) if years_of[n] == year and n != own),
                key=lambda n, own=own: (abs(middles[n] - middles[own]), middles[n], n),  # type: ignore[misc]
            )
        )
        for own, year in enumerate(years_of)
    )


def windows_by_year(
    windows: Sequence[tuple[int, TimeWindow]], rule: str
) -> tuple[tuple[tuple[int, float], ...], ...]:
    """Windows of each year in the order of their middles, for the rule ``"linear"``; else none.

    Returns
    -------
    tuple of tuple of (int, float)
        Position in ``windows``, and its middle in days since 1970.
    """
    if rule != "linear":
        return ()
    middles = [w.middle.astype("datetime64[s]").astype(float) / 86400 for _, w in windows]
    return tuple(
        tuple(
            (number, float(middles[number]))
            for number in sorted(range(len(windows)), key=lambda n: (middles[n], n))
            if windows[number][0] == year
        )
        for year in sorted({year for year, _ in windows})
    )


def composite_block(
    blocks: Blocks,
    *,
    scenes: Scenes,
    of_years: Scenes,
    instead: tuple[tuple[int, ...], ...],
    linear: tuple[tuple[tuple[int, float], ...], ...] = (),
    **how: Any,
) -> npt.NDArray[np.float32]:
    """Reduce the pixels of blocks and fill those without an observation; their count stays 0.

    Parameters
    ----------
    blocks : list of list of numpy.ndarray
        The numbers of the files, see :data:`rsscale.cube.slices.Blocks`.
    scenes : tuple of tuple of int
        Slices in each window.
    of_years : tuple of tuple of int
        Slices in any window of each year; reduced only where a window is filled from the year.
    instead : tuple of tuple of int
        From :func:`substitutes`.
    linear : tuple of tuple of (int, float)
        From :func:`windows_by_year`.
    **how
        For :func:`rsscale.composites.reducers.reduce_observations`.

    Returns
    -------
    numpy.ndarray
        ``(windows, B + 1, h, w)`` float32, the last of the bands the number of valid observations.
    """
    from rsscale.composites.reducers import reduce_observations

    flat = [[plane.reshape(-1) for plane in scene] for scene in planes(blocks)]
    how["shape"] = blocks[0][0].shape[2:]
    out = reduce_observations(flat, scenes=scenes, **how)
    if not (any(instead) or linear) or (out[:, -1] > 0).all():
        return out
    for windows in linear:
        interpolate(out, windows)
    years = reduce_observations(flat, scenes=of_years, **how) if of_years else out[:0]
    fill_empty(out, years, instead)
    return out


def fill_empty(
    reduced: npt.NDArray[np.float32],
    years: npt.NDArray[np.float32],
    instead: Sequence[Sequence[int]],
) -> None:
    """Fill in place, from windows and years with observations: never from what was filled."""
    for window, others in zip(reduced, instead, strict=True):
        wanted = window[-1] == 0
        for other in others:
            if not wanted.any():
                break
            source = reduced[other] if other < len(reduced) else years[other - len(reduced)]
            usable = wanted & (source[-1] > 0)
            window[:-1, usable] = source[:-1, usable]
            wanted &= ~usable


def interpolate(reduced: npt.NDArray[np.float32], windows: Sequence[tuple[int, float]]) -> None:
    """Fill windows of a year in place, linearly in time between their neighbours with a value.

    Before the first and after the last window with an observation its value is taken.

    Parameters
    ----------
    reduced : array (windows, B + 1, h, w)
        The last of the bands is the number of valid observations.
    windows : sequence of (int, float)
        Positions along the first axis, and times in days, in order of time.
    """
    known = np.stack([reduced[number, -1] > 0 for number, _ in windows])
    count = len(windows)
    steps = np.arange(count).reshape(-1, 1, 1)
    before = np.maximum.accumulate(np.where(known, steps, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, steps, count)[::-1], axis=0)[::-1]
    values = reduced[[number for number, _ in windows], :-1]
    times = np.array([time for _, time in windows])
    for step, (number, time) in enumerate(windows):
        wanted = ~known[step] & ((before[step] >= 0) | (after[step] < count))
        if not wanted.any():
            continue
        rows, cols = np.nonzero(wanted)
        first = np.where(before[step] >= 0, before[step], after[step])[wanted]
        last = np.where(after[step] < count, after[step], before[step])[wanted]
        span = times[last] - times[first]
        weight = np.divide(time - times[first], span, out=np.zeros(len(span)), where=span > 0)
        low, high = values[first, :, rows, cols], values[last, :, rows, cols]  # (pixels, B)
        filled = low + weight[:, None] * (high.astype(np.float64) - low)
        reduced[number, :-1, rows, cols] = filled.astype(np.float32)
