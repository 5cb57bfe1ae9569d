"""How different colours look, with full colour vision and without one of the three cones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[np.float64]

# Of linear RGB, at full severity: Machado, Oliveira & Fernandes 2009,
# https://doi.org/10.1109/TVCG.2009.113
_MACHADO = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
VISIONS = ("full", *_MACHADO)
"""Full colour vision, and that of people who lack the cones for red, green or blue."""

ALIKE = 10.0
"""A difference in CIELAB (CIE 1976) below which two colours of a map are hard to tell apart: side
by side about 2 is seen, but areas of a map lie far from each other and from the legend."""


class Alike(NamedTuple):
    """Two colours, by their numbers, that look alike with a colour vision."""

    first: int
    second: int
    vision: str
    difference: float


def alike(colors: Sequence[str], least: float = ALIKE) -> list[Alike]:
    """Pairs of colours ``"#rrggbb"`` that differ by less than ``least``, the most alike first.

    A pair is listed once, with the vision in which it is most alike; those that are the same colour
    are of full vision.
    """
    if len(colors) < 2:
        return []
    seen = _seen(np.array([rgb(color) for color in colors], float))
    pairs = []
    for first, second in combinations(range(len(colors)), 2):
        distances = np.linalg.norm(seen[:, first] - seen[:, second], axis=-1)
        vision = int(distances.argmin())
        if distances[vision] < least:
            pairs.append(Alike(first, second, VISIONS[vision], float(distances[vision])))
    return sorted(pairs, key=lambda pair: (pair.difference, pair.first, pair.second))


def least_differences(colors: _Array, others: _Array) -> _Array:
    """Difference of each colour to the nearest of others, with the vision where that is least.

    Parameters
    ----------
    colors, others : array (n, 3) and (m, 3)
        sRGB, 0 to 255.

    Returns
    -------
    float64 array (n,)
        In CIELAB, CIE 1976.
    """
    own, known = _seen(colors), _seen(others)
    near: _Array = np.stack([
        np.linalg.norm(a[:, None] - b[None], axis=-1).min(axis=1)
        for a, b in zip(own, known, strict=True)
    ]).min(axis=0)  # fmt: skip
    return near


def rgb(color: str) -> tuple[int, ...]:
    """``"#rrggbb"`` as three numbers, 0 to 255."""
    return tuple(int(color[k : k + 2], 16) for k in (1, 3, 5))


def _seen(colors: _Array) -> _Array:
    """Colours ``(n, 3)`` in CIELAB with each vision: ``(4, n, 3)``."""
    share = colors / 255  # sRGB, IEC 61966-2-1
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    of_visions = [linear, *(linear @ np.array(matrix).T for matrix in _MACHADO.values())]
    return np.stack([_cielab(np.clip(vision, 0, 1)) for vision in of_visions])


def _cielab(linear: _Array) -> _Array:
    """Of linear RGB under D65, CIE 15."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
