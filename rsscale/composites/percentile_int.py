"""Percentiles of the files' own whole numbers, scaled once they are found.

Where all looks have one scale, a look has the rank of its number. To sort those moves half the
bytes of floats, and only the two ranks beside the percentile are scaled. The values are those of
:mod:`rsscale.composites.percentile`, to the bit: neither a product with a scale above zero, nor a
sum, nor the rounding of either changes an order. All of it is NumPy's, which never starts threads:
torch would, for strips of this size.
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
    """Whether the numbers of some looks have the order of their values."""
    return bool(scale[0] > 0 and (scale == scale[0]).all() and (offset == offset[0]).all())


def number_percentile(
    looks: Numbers, valid: Validity, percent: int, scale: np.float32, offset: np.float32
) -> npt.NDArray[np.float32]:
    """A percentile of the valid numbers, scaled; as :func:`.percentile.percentile`.

    Parameters
    ----------
    looks : sequence of numpy.ndarray
        At least one, ``(pixels,)`` of one band, of one integer type.
    valid : Validity
        Which of them count.
    percent : int
        From 0 to 100.
    scale, offset : float32
        Of all looks.

    Returns
    -------
    numpy.ndarray
        ``(pixels,)`` float32; where no look is valid, any number.
    """
    # As in `ranks.percentile`: high percentiles are low ones from the other end.
    mirrored = percent > 50
    if mirrored:
        looks = [np.invert(look) for look in looks]
    lower = min(percent, 100 - percent)
    if valid.is_complete:
        (below, above), share = _complete(looks, lower)
    else:
        (below, above), share = _gated(looks, valid, lower)
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


def _complete(looks: Numbers, percent: int) -> tuple[_Pair, Any]:
    """The numbers below and above where every pixel has the same ranks, and the share between."""
    below, share, above = rank(percent, len(looks))
    ranked = _sorted(looks, above + 1)
    return (ranked[below], ranked[above]), np.float32(share)


def _gated(looks: Numbers, valid: Validity, percent: int) -> tuple[_Pair, Any]:
    """The same where each pixel has its own number of looks."""
    key = percent, looks[0].dtype
    if key not in valid.shared:
        valid.shared[key] = _terms(valid, percent, looks[0].dtype)
    missing, gates, share = valid.shared[key]
    last = [np.maximum(look, no_data) for look, no_data in zip(looks, missing, strict=True)]
    ranked = _sorted(last, len(gates) + 1)
    below = above = ranked[0]
    # Ranks rise in value, so the highest one that a gate lets through is the maximum.
    for one, (below_gate, above_gate) in zip(ranked[1:], gates, strict=False):
        below = np.maximum(below, np.minimum(one, below_gate))
        above = np.maximum(above, np.minimum(one, above_gate))
    return (below, above), share


def _terms(valid: Validity, percent: int, dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    """What is shared by all bands: see :class:`rsscale.composites.percentile._Gates`."""
    limits = np.iinfo(dtype)
    least, most = dtype.type(limits.min), dtype.type(limits.max)
    gates, share = pixel_gates(valid, percent, least, most)
    missing = [either(look, most, least) for look in valid.invalid]
    return missing, gates, share


def _sorted(looks: Numbers, ranks: int) -> list[npt.NDArray[np.integer[Any]]]:
    """The ``ranks`` smallest in order, and the others after them in any order; looks stay."""
    values = list(looks)
    for low, high in sorting_network(len(values), ranks):
        one, other = values[low], values[high]
        values[low], values[high] = np.minimum(one, other), np.maximum(one, other)
    return values
