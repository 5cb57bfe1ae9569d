"""Probabilities of classes smoothed by a Gaussian-weighted Markov random field."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LEAST = np.float32(0.0005)
"""Of a probability: what is stored as 0 percent is mostly far below a half, but not impossible."""


def smooth_probabilities(
    probability: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    *,
    radius: int,
    strength: float,
    iterations: int,
) -> npt.NDArray[np.float32]:
    """Probabilities given those around, by a fixed number of mean-field iterations.

    The model is Potts': a pixel is of class ``k`` with a probability in proportion to
    ``p_k · exp(strength · s_k)``, ``s_k`` the share of its neighbours of class ``k``, which count
    by a Gaussian of half the radius. Each iteration takes the shares from the probabilities of the
    one before. See Schindler 2012, "An overview and comparison of smooth labeling methods for
    land-cover classification", IEEE TGRS 50(11), and for mean fields with Gaussian weights
    Krähenbühl & Koltun 2011, "Efficient inference in fully connected CRFs with Gaussian edge
    potentials", NIPS.

    Parameters
    ----------
    probability : float32 array (class, y, x)
        Of each pixel by itself, 0 to 1.
    valid : bool array (y, x)
        Pixels without it are no neighbours.
    radius : int
        Rows and columns around a pixel whose pixels are its neighbours, px.
    strength : float
        0 changes nothing. With 2, a pixel whose neighbours are all of one class takes it unless
        another is more than seven times as probable.
    iterations : int

    Returns
    -------
    float32 array (class, y, x)
        Summing to 1, 0 where not valid. A value depends on the pixels within ``iterations *
        radius``; nearer to the image's edge it lacks some of its neighbours.
    """
    weights = _gaussian(radius)
    centre = np.float32(weights[radius] ** 2)
    mask = valid.astype(np.float32)
    total = _around(mask, weights) - centre * mask
    scale = np.divide(
        np.float32(strength), total, out=np.zeros_like(total), where=valid & (total > _LEAST)
    )
    prior = np.maximum(probability, _LEAST) * mask
    field = _normalized(prior.copy(), mask)
    for _ in range(iterations):
        posterior = np.empty_like(field)
        for k, of_class in enumerate(field):
            share = _around(of_class, weights) - centre * of_class
            np.exp(share * scale, out=posterior[k])
            posterior[k] *= prior[k]
        field = _normalized(posterior, mask)
    return field


def _normalized(
    values: npt.NDArray[np.float32], mask: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Values ``(class, y, x)`` over their sum, in place.

    Added class by class: NumPy orders the terms of a sum over an axis by the array's shape, and so
    by the tile.
    """
    total = 1 - mask
    for of_class in values:
        total += of_class
    values /= total
    return values


def _around(
    values: npt.NDArray[np.float32], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    from scipy.ndimage import correlate1d

    along = correlate1d(values, weights, axis=0, mode="constant")
    across: npt.NDArray[np.float32] = correlate1d(along, weights, axis=1, mode="constant")
    return across


def _gaussian(radius: int) -> npt.NDArray[np.float64]:
    """Weights of ``2 * radius + 1`` pixels of a line, 1 in the middle."""
    return np.exp(-0.5 * (np.arange(-radius, radius + 1) / (radius / 2)) ** 2)
