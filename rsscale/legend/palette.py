"""Colours of classes for which nobody gave any: as many as are asked for, no two alike."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

# Paul Tol's "muted" and "bright" schemes (https://personal.sron.nl/~pault/), distinct with
# any colour vision.
_FIRST = (
    "#332288",
    "#117733",
    "#ddcc77",
    "#cc6677",
    "#88ccee",
    "#999933",
    "#aa4499",
    "#44aa99",
    "#882255",
    "#ee7733",
    "#0077bb",
    "#009988",
    "#cc3311",
    "#bbbbbb",
    "#ee3377",
    "#33bbee",
)
_STEPS = 12  # of red, green and blue each, to choose from: 1,728 colours for 254 classes
_PAPER = "#ffffff"  # what nodata is drawn in


def palette(count: int) -> tuple[str, ...]:
    """Colours ``"#rrggbb"`` that differ from each other and from white.

    The first sixteen are distinct with any colour vision. Each further one is that of a regular
    lattice that lies furthest from all before it in CIELAB, so that a class keeps its colour
    when there are more of them.
    """
    if count <= len(_FIRST):
        return _FIRST[:count]
    return _FIRST + _further()[: count - len(_FIRST)]


@lru_cache(maxsize=1)
def _further() -> tuple[str, ...]:
    steps = np.linspace(0, 255, _STEPS).round().astype(int)
    choice = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    there = np.array([_rgb(color) for color in (*_FIRST, _PAPER)])
    lab, known = _cielab(choice), _cielab(there)
    near = np.linalg.norm(lab[:, None] - known[None], axis=-1).min(axis=1)
    chosen = []
    for _ in range(255 - len(_FIRST)):
        best = int(near.argmax())
        chosen.append("#{:02x}{:02x}{:02x}".format(*choice[best]))
        near = np.minimum(near, np.linalg.norm(lab - lab[best], axis=-1))
    return tuple(chosen)


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(int(color[k : k + 2], 16) for k in (1, 3, 5))


def _cielab(rgb: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Of sRGB under D65 (IEC 61966-2-1 and CIE 15)."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
