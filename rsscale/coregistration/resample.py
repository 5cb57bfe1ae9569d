"""Move images by a fraction of a pixel, and never make up what was not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

REACH = 2
"""Pixels beyond a whole shift that a moved value depends on."""


def whole_pixels(shift: float) -> int:
    """The whole pixels of a shift; what is left is 0 or more and less than 1."""
    return int(np.floor(shift))


def reach_of(dx: float, dy: float) -> int:
    """Pixels around a box that its moved values depend on."""
    return max(abs(whole_pixels(shift)) for shift in (dx, dy)) + REACH


def translate(
    values: npt.NDArray[Any], dx: float, dy: float, margin: int
) -> npt.NDArray[np.float32]:
    """Images read ``(dx, dy)`` pixels away from each pixel: a shift found is taken back.

    Cubic convolution (Keys 1981, "Cubic convolution interpolation for digital image processing",
    IEEE Trans. ASSP 29(6)) where all sixteen pixels around are seen, bilinear where the nearest
    four are; else nodata: the border of a cloud moves with it and never mixes with the ground.
    Whole shifts copy. A value depends on the pixels around it alone, not on the box.

    Parameters
    ----------
    values : float array (..., y, x)
        NaN is nodata. Over the box and ``margin`` pixels around it.
    dx, dy : float
        Pixels along columns and along rows: the result at ``(row, col)`` is what lies at
        ``(row + dy, col + dx)``.
    margin : int
        :func:`reach_of` the shift, or more.

    Returns
    -------
    float32 array (..., y, x)
        Over the box.
    """
    height, width = (size - 2 * margin for size in values.shape[-2:])
    down, right = whole_pixels(dy), whole_pixels(dx)
    part_y, part_x = dy - down, dx - right
    top, left = margin + down - 1, margin + right - 1
    # Four rows and columns of taps around: -1, 0, 1, 2 of the whole shift.
    around = values[..., top : top + height + 3, left : left + width + 3].astype(np.float32)
    if part_y == 0 and part_x == 0:
        return np.ascontiguousarray(around[..., 1 : 1 + height, 1 : 1 + width])
    cubic = _along(_along(around, _keys(part_y), -2), _keys(part_x), -1)
    linear = _along(_along(around, _linear(part_y), -2), _linear(part_x), -1)
    # NaN of a tap makes NaN of a sum, but for taps of no weight, which are left out.
    return np.where(np.isfinite(cubic), cubic, linear)


def nearest(values: npt.NDArray[Any], dx: float, dy: float, margin: int) -> npt.NDArray[Any]:
    """As :func:`translate`, by whole pixels: for counts and classes; of the values' own type."""
    height, width = (size - 2 * margin for size in values.shape[-2:])
    top, left = (margin + int(np.floor(shift + 0.5)) for shift in (dy, dx))
    return values[..., top : top + height, left : left + width]


def _along(
    values: npt.NDArray[np.float32], weights: tuple[float, ...], axis: int
) -> npt.NDArray[np.float32]:
    """The weighted sum of four neighbours along an axis, which is three shorter then."""
    size = values.shape[axis] - 3
    total: npt.NDArray[np.float32] | None = None
    for number, weight in enumerate(weights):
        if weight == 0:
            continue
        index = [slice(None)] * values.ndim
        index[axis] = slice(number, number + size)
        term = values[tuple(index)] * np.float32(weight)
        total = term if total is None else total + term
    if total is None:
        raise ValueError("no weight is left")  # they add up to 1
    return total


def _keys(part: float) -> tuple[float, ...]:
    """Weights of four neighbours by cubic convolution, a = -1/2."""

    def near(t: float) -> float:
        return 1.5 * t**3 - 2.5 * t**2 + 1

    def far(t: float) -> float:
        return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2

    return far(1 + part), near(part), near(1 - part), far(2 - part)


def _linear(part: float) -> tuple[float, ...]:
    return 0.0, 1 - part, part, 0.0
