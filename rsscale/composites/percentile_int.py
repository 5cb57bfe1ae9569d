"""Percentiles of the files' own integers, scaled after they are selected.

Where all observations have one scale, the ranks of their values are those of the files' integers.
Sorting these moves half the bytes of floats, and only the two ranks beside the percentile are
scaled. The values are those of :mod:`rsscale.composites.percentile`, to the bit: neither a product
with a scale above zero, nor a sum, nor the rounding of either changes an order. All of it is
NumPy's, which never starts threads: torch would, for strips of this size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsscale.composites.percentile import pixel_gates, rank, sorting_network
from rsscale.composites.validity import Validity, either, physical

Numbers = Sequence[npt.NDArray[np.integer[Any]]]
_Pair = tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.integer[Any]]]


def have_one_scale(scale: npt.NDArray[np.float32], offset: npt.NDArray[np.float32]) -> bool:
    """Whether all observations have one scale, above 0, and one offset."""
    return bool(scale[0] > 0 and (scale == scale[0]).all() and (offset == offset[0]).all())


def number_percentile(
    observations: Numbers, valid: Validity, percent: int, scale: np.float32, offset: np.float32
) -> npt.NDArray[np.float32]:
    """A percentile of the valid numbers, scaled; as :func:`.percentile.percentile`.

    Parameters
    ----------
    observations : sequence of numpy.ndarray
        At least one; ``(pixels,)`` of one band, of one integer type.
    valid : Validity
        Which of them count.
    percent : int
        From 0 to 100.
    scale, offset : float32
        Of all observations.

    Returns
    -------
    numpy.ndarray
        ``(pixels,)`` float32; undefined where no observation is valid.
    """
    # As in `percentile.percentile`: high percentiles are low ones from the other end.
    mirrored = percent > 50
    if mirrored:
        observations = [np.invert(observation) for observation in observations]
    lower = min(percent, 100 - percent)
    if valid.is_complete:
        (below, above), share = _complete(observations, lower)
    else:
        (below, above), share = _gated(observations, valid, lower)
    low = _scaled(below, scale, offset, mirrored=mirrored)
    if above is not below:
        high = _scaled(above, scale, offset, mirrored=mirrored)
        if percent == 50:  # the mean is exact where both are the same
            low += high
            low *= np.float32(0.5)
        else:
            high -= low
            high *= share
            low += high
    return low


def _scaled(
    numbers: npt.NDArray[Any], scale: np.float32, offset: np.float32, *, mirrored: bool
) -> npt.NDArray[np.float32]:
    whole = np.invert(numbers) if mirrored else numbers
    scaled: npt.NDArray[np.float32] = physical(whole, scale, offset, torch.device("cpu")).numpy()
    return scaled


def _complete(observations: Numbers, percent: int) -> tuple[_Pair, Any]:
    """Numbers at the lower and upper rank, and the share, where all observations are valid."""
    below, share, above = rank(percent, len(observations))
    ranked = _sorted(observations, above + 1)
    return (ranked[below], ranked[above]), np.float32(share)


def _gated(observations: Numbers, valid: Validity, percent: int) -> tuple[_Pair, Any]:
    """The same where the number of valid observations differs between pixels."""
    key = percent, observations[0].dtype
    if key not in valid.shared:
        valid.shared[key] = _terms(valid, percent, observations[0].dtype)
    penalty, gates, share = valid.shared[key]
    # Invalid observations become the greatest integer, so that they are sorted last.
    last = [np.maximum(o, p) for o, p in zip(observations, penalty, strict=True)]
    ranked = _sorted(last, len(gates) + 1)
    below = above = ranked[0]
    # Ranks rise in value, so the highest one that a gate lets through is the maximum.
    for numbers, (below_gate, above_gate) in zip(ranked[1:], gates, strict=False):
        below = np.maximum(below, np.minimum(numbers, below_gate))
        above = np.maximum(above, np.minimum(numbers, above_gate))
    return (below, above), share


def _terms(valid: Validity, percent: int, dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    """Penalties, gates and share of a strip, for all bands; see :func:`.percentile.pixel_gates`."""
    limits = np.iinfo(dtype)
    least, most = dtype.type(limits.min), dtype.type(limits.max)
    gates, share = pixel_gates(valid, percent, least, most)
    penalty = [either(invalid, most, least) for invalid in valid.invalid]
    return penalty, gates, share


def _sorted(observations: Numbers, ranks: int) -> list[npt.NDArray[np.integer[Any]]]:
    """A new list: the ``ranks`` smallest in order, the others after them in any order."""
    values = list(observations)
    for low, high in sorting_network(len(values), ranks):
        a, b = values[low], values[high]
        values[low], values[high] = np.minimum(a, b), np.maximum(a, b)
    return values
