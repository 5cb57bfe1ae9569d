"""Colours of classes for which nobody gave any: as many as are asked for, no two alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
# Words of names, and of the colours above those in which such land is usually drawn, best first.
_USUAL = (
    (("water", "river", "lake", "sea", "ocean"), ("#332288", "#88ccee")),
    (("wetland", "marsh", "swamp", "mangrove", "bog"), ("#44aa99",)),
    (("snow", "ice", "glacier"), ("#88ccee",)),
    (("forest", "tree", "wood"), ("#117733", "#999933")),
    (("urban", "built", "settlement", "artificial", "town", "city"), ("#cc6677", "#882255")),
    (("barren", "bare", "sand", "desert", "soil", "rock"), ("#ddcc77",)),
    (("grass", "herb", "pasture", "meadow", "shrub"), ("#44aa99", "#999933")),
    (("crop", "agricultur", "farm", "arable", "field"), ("#999933", "#ddcc77")),
)
_SHORT = 3  # a word of so many letters begins others that mean something else: "sea", "seasonal"
_STEPS = 12  # of red, green and blue each, to choose from: 1,728 colours for 254 classes
_WORD, _NOT = re.compile(r"[^\W\d_]+"), ("no", "non", "not", "other")
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


def class_palette(names: Sequence[str]) -> tuple[str, ...]:
    """Colours of classes: those of :func:`palette`, each where land of its name is drawn so.

    Water is blue and forest green where their names say what they are, in English; each colour goes
    to the first class that it fits, and the others have what is left, in their order.
    """
    left = list(palette(max(len(names), len(_FIRST))))
    usual: dict[int, str] = {}
    for number, name in enumerate(names):
        color = next((color for color in _usual(name) if color in left), None)
        if color is not None:
            usual[number] = color
            left.remove(color)
    if usual:  # the blues last, as they would be read as water
        left.sort(key=lambda color: color in _USUAL[0][1])
    others = iter(left)
    return tuple(usual[n] if n in usual else next(others) for n in range(len(names)))


def _usual(name: str) -> tuple[str, ...]:
    """Colours that land of a name is usually drawn in."""
    words = _WORD.findall(name.lower())
    if words and words[0] in _NOT:
        return ()
    for parts, colors in _USUAL:
        if any(_says(word, part) for word in words for part in parts):
            return colors
    return ()


def _says(word: str, part: str) -> bool:
    """Whether a word is another one, its plural, or a compound that begins with it."""
    return word.removesuffix("s") == part or (len(part) > _SHORT and word.startswith(part))


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
