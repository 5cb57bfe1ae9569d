"""Reflectance of the ground on a day of the year: mixtures of soil, dry and green cover.

Each class has a calendar, and each of the ``KINDS`` kinds of parcel its own dates, vigour and
soil, so that on any one day several classes look alike, while over a year they do not.
Reflectances are bottom-of-atmosphere, 0 to 1, in the order of :data:`BANDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.simulation.noise import uniform
from rsscale.simulation.sites import GREENHOUSE, SOLAR
from rsscale.simulation.world import (
    BROADLEAF,
    BUILT_UP,
    CONIFER,
    GRASSLAND,
    KINDS,
    SITE_KINDS,
    SUMMER_CROP,
    WATER,
    WINTER_CROP,
    Ground,
)

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
Array = npt.NDArray[Any]


def _spectrum(*values: float) -> npt.NDArray[np.float32]:
    return np.array(values, np.float32)


_SOIL = _spectrum(0.066, 0.092, 0.122, 0.190, 0.265, 0.225)
_STRAW = _spectrum(0.075, 0.108, 0.148, 0.255, 0.330, 0.255)
_HERB = _spectrum(0.028, 0.058, 0.034, 0.410, 0.200, 0.098)
_LEAVES = _spectrum(0.021, 0.046, 0.026, 0.370, 0.160, 0.070)
_TWIGS = _spectrum(0.040, 0.055, 0.066, 0.175, 0.185, 0.125)
_RUST = _spectrum(0.034, 0.062, 0.080, 0.270, 0.190, 0.100)
_NEEDLES = _spectrum(0.018, 0.031, 0.022, 0.225, 0.100, 0.046)
_WATER = _spectrum(0.038, 0.042, 0.026, 0.014, 0.007, 0.005)
_SILT = _spectrum(0.024, 0.044, 0.046, 0.022, 0.003, 0.002)
_TILES = _spectrum(0.078, 0.100, 0.150, 0.220, 0.250, 0.215)
_SLATE = _spectrum(0.105, 0.112, 0.120, 0.150, 0.170, 0.160)
_ASPHALT = _spectrum(0.090, 0.098, 0.106, 0.130, 0.150, 0.145)
_HALL = _spectrum(0.250, 0.265, 0.280, 0.310, 0.300, 0.265)
_GRAVEL = _spectrum(0.120, 0.150, 0.180, 0.235, 0.290, 0.260)
_PANELS = _spectrum(0.072, 0.066, 0.060, 0.085, 0.090, 0.080)
# Not brighter: the scene classification takes brighter roofs for clouds.
_GLASS = _spectrum(0.150, 0.170, 0.180, 0.290, 0.240, 0.180)
_SITES = {SOLAR: _PANELS, GREENHOUSE: _GLASS}


@dataclass(frozen=True)
class Calendar:
    """Random numbers in [0, 1) of each kind of parcel in a year, ``(KINDS,)`` each."""

    seed: int
    year: int

    def draw(self, quality: int) -> npt.NDArray[np.float32]:
        """Another quality of all kinds: the same for the same number."""
        return uniform(np.arange(KINDS), self.year, quality, salt=self.seed)

    def day(self, quality: int, middle: float, spread: float) -> npt.NDArray[np.float32]:
        """A day of the year, ``spread`` days at most from the middle."""
        return np.float32(middle) + np.float32(2 * spread) * (self.draw(quality) - np.float32(0.5))


def signatures(seed: int, year: int, doy: int) -> npt.NDArray[np.float32]:
    """Reflectance of every class and kind on a day, ``(class value, KINDS, band)`` float32."""
    calendar = Calendar(seed, year)
    table = np.zeros((max(_RECIPES) + 1, KINDS, len(BANDS)), np.float32)
    for value, recipe in _RECIPES.items():
        table[value] = recipe(calendar, float(doy))
    for site, kind in SITE_KINDS.items():
        table[BUILT_UP, kind] = _SITES[site]
    return table


def reflect(
    ground: Ground, year: int, table: npt.NDArray[np.float32], doy: int
) -> npt.NDArray[np.float32]:
    """Reflectance of a window without sensor and atmosphere, ``(band, row, col)``.

    The outermost pixels are lost to the point spread of the instrument: the result is two
    rows and two columns smaller than the ground.
    """
    cover = ground.landcover[year]
    pure = table[cover, ground.kind[year]] * ground.texture[..., None]
    hedge, track = ground.hedge[..., None], ground.track[..., None]
    leaf = _leaf_cover(float(doy))
    pure += hedge * (leaf * _LEAVES + (1 - leaf) * _TWIGS - pure)
    surface = np.where((cover == BUILT_UP)[..., None], _ASPHALT, 0.6 * _GRAVEL + 0.4 * _HERB)
    pure += track * (surface - pure)
    return _spread(np.moveaxis(pure, -1, 0))


def _spread(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Point spread: each pixel gets a part of its neighbours' light."""
    side, middle = np.float32(0.14), np.float32(0.72)
    rows: npt.NDArray[np.floating[Any]] = (
        side * (image[:, :-2] + image[:, 2:]) + middle * image[:, 1:-1]
    )
    spread = side * (rows[..., :-2] + rows[..., 2:]) + middle * rows[..., 1:-1]
    return spread.astype(np.float32, copy=False)


def _rise(doy: float, day: Array | float, width: float) -> Array:
    """From 0 to 1 around a day."""
    return np.asarray(1.0 / (1.0 + np.exp(-(doy - day) / width)), np.float32)


def _mix(*parts: tuple[Array, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    return np.asarray(sum(share[:, None] * spectrum for share, spectrum in parts), np.float32)


def _field(c: Calendar, green: Array, dry: Array) -> npt.NDArray[np.float32]:
    """A field: the green cover hides what is dry, and both hide the soil.

    Leaves of crops and of grass differ more within a class than between classes.
    """
    green = np.clip(green, 0.0, 0.96)
    dry = np.clip(dry, 0.0, 1.0) * (1 - green)
    soil = 1 - green - dry
    visible, infrared, water = (c.draw(stream) for stream in (91, 92, 93))
    leaf = np.stack(
        [0.78 + 0.44 * visible] * 3 + [0.86 + 0.28 * infrared] + [0.80 + 0.40 * water] * 2, axis=1
    )
    bright = (0.66 + 0.64 * c.draw(90))[:, None]
    straw = (0.85 + 0.25 * c.draw(94))[:, None]
    field = green[:, None] * leaf * _HERB + dry[:, None] * straw * _STRAW
    return np.asarray(field + soil[:, None] * bright * _SOIL, np.float32)


def _winter_crop(c: Calendar, doy: float) -> npt.NDArray[np.float32]:
    """Green in spring, ripe between June and July, then stubble, soil or a catch crop."""
    ripe = _rise(doy, c.day(1, 151, 9), 4)
    early = 0.30 + 0.45 * c.draw(2)
    vigour = 0.74 + 0.22 * c.draw(3)
    green = vigour * (early + (1 - early) * _rise(doy, c.day(4, 66, 12), 6)) * (1 - ripe)
    tilled = _rise(doy, c.day(5, 240, 44), 4)
    catch = np.where(c.draw(6) > 0.45, 0.30 + 0.60 * c.draw(9), 0.08)
    catch = catch * _rise(doy, c.day(7, 208, 34), 6) * (1 - _rise(doy, c.day(10, 300, 14), 5))
    sown = 0.45 * _rise(doy, c.day(8, 312, 12), 7)
    return _field(c, green + np.maximum(catch, sown), 0.9 * ripe * (1 - tilled))


def _summer_crop(c: Calendar, doy: float) -> npt.NDArray[np.float32]:
    """Bare or under a catch crop in spring, green from June, harvested in autumn."""
    ripe = _rise(doy, c.day(11, 256, 26), 6)
    catch = np.where(c.draw(12) > 0.45, 0.45 + 0.4 * c.draw(13), 0.10)
    catch = catch * (1 - _rise(doy, c.day(14, 110, 18), 3))
    green = (0.58 + 0.38 * c.draw(15)) * _rise(doy, c.day(16, 148, 11), 5) * (1 - ripe)
    stubble = 0.75 * ripe * (1 - _rise(doy, c.day(17, 272, 24), 4))
    sown = np.where(c.draw(18) > 0.5, 0.4, 0.05) * _rise(doy, c.day(19, 306, 12), 7)
    return _field(c, green + catch + sown, stubble)


def _grassland(c: Calendar, doy: float) -> npt.NDArray[np.float32]:
    """Green all the year but for some weeks after each mowing, and in a dry summer."""
    season = 0.60 + 0.34 * _rise(doy, c.day(21, 84, 14), 10) * (1 - _rise(doy, 316, 12))
    green = season * (0.66 + 0.38 * c.draw(22))
    for stream, middle, spread in ((23, 138, 22), (24, 192, 24), (25, 250, 24)):
        since = doy - c.day(stream, middle, spread)
        mown = (since > 0) & (c.draw(stream + 5) < 0.75)
        green = green * (1 - np.where(mown, 0.66 * np.exp(-np.maximum(since, 0) / 13), 0.0))
    drought = 0.20 * c.draw(26) * np.exp(-(((doy - 214) / 30) ** 2))
    return _field(c, green * (1 - drought), 0.30 + 0.55 * c.draw(27))


def _leaf_cover(doy: float) -> float:
    return float(_rise(doy, 116, 6) * (1 - _rise(doy, 306, 8)))


def _broadleaf(c: Calendar, doy: float) -> npt.NDArray[np.float32]:
    leaf = _rise(doy, c.day(31, 116, 9), 6) * (1 - _rise(doy, c.day(32, 306, 9), 7))
    gold = 0.7 * _rise(doy, c.day(33, 284, 9), 6) * leaf
    light = (0.82 + 0.34 * c.draw(34))[:, None]
    return light * _mix((leaf - gold, _LEAVES), (gold, _RUST), (1 - leaf, _TWIGS))


def _conifer(c: Calendar, doy: float) -> npt.NDArray[np.float32]:
    light = 0.80 + 0.36 * c.draw(41) + 0.08 * np.exp(-(((doy - 165) / 40) ** 2))
    leaf = 0.20 * c.draw(42)
    cover = _leaf_cover(doy)
    mixed = _mix((1 - leaf, _NEEDLES), (leaf * cover, _LEAVES), (leaf * (1 - cover), _TWIGS))
    return np.asarray(light[:, None] * mixed, np.float32)


def _water(c: Calendar, doy: float) -> npt.NDArray[np.float32]:
    # Neighbouring kinds are neighbouring waters, so silt changes smoothly along a river.
    phase = np.arange(KINDS) / KINDS
    silt = 0.55 + 0.45 * np.sin(2 * np.pi * (2 * phase + doy / 90.0 + c.year % 7 / 7))
    return _mix((np.ones(KINDS), _WATER), (np.asarray(silt, np.float32), _SILT))


def _built_up(c: Calendar, doy: float) -> npt.NDArray[np.float32]:
    """Streets, houses with gardens, halls: by the rank of the kind, see ``world.py``."""
    rank = np.arange(KINDS) / KINDS
    fixed = Calendar(c.seed, 0)  # houses are not repainted every year
    garden = np.where(rank < 0.06, 0.08, np.where(rank < 0.875, 0.12 + 0.42 * fixed.draw(51), 0.03))
    red = np.where((rank >= 0.06) & (rank < 0.875), fixed.draw(52), 0.0)
    hall = np.where(rank >= 0.875, 0.35 + 0.75 * fixed.draw(53), 0.0)
    street = np.where(rank < 0.06, 1.0, 0.0)
    green = garden * (0.45 + 0.55 * _leaf_cover(doy))
    hard = np.maximum(1 - garden - hall, 0.0)
    roof = hard * (1 - street)
    return _mix(
        (green, _HERB), (garden - green, _TWIGS), (hall, _HALL),
        (hard * street, _ASPHALT), (roof * red, _TILES), (roof * (1 - red), _SLATE),
    )  # fmt: skip


_RECIPES: dict[int, Callable[[Calendar, float], npt.NDArray[np.float32]]] = {
    WATER: _water,
    BROADLEAF: _broadleaf,
    CONIFER: _conifer,
    GRASSLAND: _grassland,
    WINTER_CROP: _winter_crop,
    SUMMER_CROP: _summer_crop,
    BUILT_UP: _built_up,
}
