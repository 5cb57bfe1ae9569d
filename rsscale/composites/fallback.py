"""What stands in where a window of time has no look: the nearest window, or the whole year."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.composites.time_windows import TimeWindow
from rsscale.cube.slices import Blocks, planes

Looks = tuple[tuple[int, ...], ...]


def stand_ins(windows: Sequence[tuple[int, TimeWindow]], rule: str) -> tuple[tuple[int, ...], ...]:
    """Which windows to ask for each window without a look, the best first.

    Parameters
    ----------
    windows : sequence of (year, TimeWindow)
        Of a composite, in its order.
    rule : str
        One of :data:`rsscale.composites.reducer_names.MISSING`. With ``"year"`` the answers lie
        beyond the windows: one more for each year, in order of years.
    """
    if rule == "leave":
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


def composite_block(
    blocks: Blocks,
    *,
    looks: Looks,
    of_years: Looks,
    instead: tuple[tuple[int, ...], ...],
    **how: Any,
) -> npt.NDArray[np.float32]:
    """Reduce the pixels of blocks and fill their windows without a look; their count stays 0.

    Parameters
    ----------
    blocks : list of list of numpy.ndarray
        The numbers of the files, see :data:`rsscale.cube.slices.Blocks`.
    looks : tuple of tuple of int
        The looks of each window.
    of_years : tuple of tuple of int
        Those of all windows of a year, for each year; reduced only where it matters.
    instead : tuple of tuple of int
        From :func:`stand_ins`.
    **how
        For :func:`rsscale.composites.reducers.reduce_looks`.

    Returns
    -------
    numpy.ndarray
        ``(windows, B + 1, h, w)`` float32, the last of the bands the number of valid looks.
    """
    from rsscale.composites.reducers import reduce_looks

    flat = [[plane.reshape(-1) for plane in look] for look in planes(blocks)]
    how["shape"] = blocks[0][0].shape[2:]
    out = reduce_looks(flat, looks=looks, **how)
    if not any(instead) or (out[:, -1] > 0).all():
        return out
    years = reduce_looks(flat, looks=of_years, **how) if of_years else out[:0]
    fill_missing(out, years, instead)
    return out


def fill_missing(
    reduced: npt.NDArray[np.float32],
    years: npt.NDArray[np.float32],
    instead: Sequence[Sequence[int]],
) -> None:
    """Fill in place; what is looked up has looks of its own, so it is never filled itself."""
    for window, others in zip(reduced, instead, strict=True):
        wanted = window[-1] == 0
        for other in others:
            if not wanted.any():
                break
            source = reduced[other] if other < len(reduced) else years[other - len(reduced)]
            usable = wanted & (source[-1] > 0)
            window[:-1, usable] = source[:-1, usable]
            wanted &= ~usable
