"""Colours of classes for which nobody gave any: as many as are asked for, no two alike."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from rsscale.legend.color_vision import least_differences, rgb

# Paul Tol's "muted" scheme (https://personal.sron.nl/~pault/), distinct with any colour vision.
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
)
_STEPS = 12  # of red, green and blue each, to choose from: 1,728 colours for 254 classes
_PAPER, _INK = "#ffffff", "#000000"  # of nodata, and of lines and letters


def palette(count: int) -> tuple[str, ...]:
    """Colours ``"#rrggbb"`` that differ from each other and from white.

    The first nine are distinct with any colour vision. Each further one is that of a regular
    lattice that differs most from all before it, with the colour vision that sees least of it:
    sixteen are still told apart by all. A class keeps its colour when there are more of them.
    """
    if count <= len(_FIRST):
        return _FIRST[:count]
    return _FIRST + _further()[: count - len(_FIRST)]


@lru_cache(maxsize=1)
def _further() -> tuple[str, ...]:
    steps = np.linspace(0, 255, _STEPS).round()
    choice = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    there = np.array([rgb(color) for color in (*_FIRST, _PAPER, _INK)], float)
    near = least_differences(choice, there)
    chosen = []
    for _ in range(255 - len(_FIRST)):
        best = int(near.argmax())
        chosen.append("#{:02x}{:02x}{:02x}".format(*choice[best].astype(int)))
        near = np.minimum(near, least_differences(choice, choice[best : best + 1]))
    return tuple(chosen)
