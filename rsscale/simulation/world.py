"""The simulated landscape: land cover at any point, in any year.

A pure function of map coordinates (metres in the UTM zone of the first tile, counted from an
anchor point): rivers are level sets of a warped coordinate, towns are blobs around jittered
lattice points, forests are thresholds of fractal noise cut by compartments, farmland is blocks of
rectangular parcels with tracks between them, and on open land stand solar parks and greenhouses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.legend.classes import LandClass
from rsscale.simulation.noise import (
    Cells,
    cells,
    fractal_noise,
    hashed,
    intervals,
    lane,
    uniform,
    value_noise,
)  # fmt: skip
from rsscale.simulation.sites import GREENHOUSE, SOLAR, Sites, sites_within

WATER, BROADLEAF, CONIFER, GRASSLAND, WINTER_CROP, SUMMER_CROP, BUILT_UP = range(1, 8)

CLASSES = (
    LandClass(WATER, "water", "#4a90c2"),
    LandClass(BROADLEAF, "broadleaf forest", "#7eaf69"),
    LandClass(CONIFER, "conifer forest", "#2b572f"),
    LandClass(GRASSLAND, "grassland", "#c4db8d"),
    LandClass(WINTER_CROP, "winter crops", "#eacf68"),
    LandClass(SUMMER_CROP, "summer crops", "#d08d3b"),
    LandClass(BUILT_UP, "built-up", "#b84e57"),
)

# How many kinds of parcel there are; each kind has its own soil, vigour and calendar.
KINDS = 4096
SITE_KINDS = {SOLAR: KINDS - 2, GREENHOUSE: KINDS - 1}  # of buildings the last two

# What happens from one year to the next: shares of crop parcels, of forest compartments,
# and the growth of a town's radius.
_ROTATED, _CUT, _GROWTH = 0.05, 0.03, 0.06
_AWAY_FROM_TOWNS = 1.6  # radii of a town; sites keep farther away

Floats = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ground:
    """What a window of the world looks like; all arrays have the window's shape.

    Attributes
    ----------
    landcover : dict of int to array of uint8
        Class values of each year.
    kind : dict of int to array of uint16
        Which of the ``KINDS`` kinds of parcel, stand or building a pixel belongs to, each year.
    texture : array of float32
        Brightness relative to the parcel's mean, around 1.
    track : array of float32
        Share of the pixel covered by a track or a road.
    hedge : array of float32
        Share of the pixel covered by a hedge.
    """

    landcover: dict[int, npt.NDArray[np.uint8]]
    kind: dict[int, npt.NDArray[np.uint16]]
    texture: npt.NDArray[np.float32]
    track: npt.NDArray[np.float32]
    hedge: npt.NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """A landscape.

    Attributes
    ----------
    seed : int
        Another seed, another landscape.
    years : tuple of int
        Increasing; changes are counted from the first one.
    """

    seed: int
    years: tuple[int, ...]

    def evaluate(self, x: Floats, y: Floats) -> Ground:
        """The ground at points ``x``, ``y`` (metres from the anchor), of any 2-D shape."""
        salt = self._salt
        plan = _Plan.at(x, y, salt)
        sites = {year: self._sites(x, y, year) for year in self.years}
        landcover = {year: self._cover(year, plan, sites[year]) for year in self.years}
        water, wood, stand, farm, town = (
            plan.water, plan.wood, plan.stand, plan.farm, plan.town,
        )  # fmt: skip
        urban = {year: cover == BUILT_UP for year, cover in landcover.items()}
        wooded = wood > 0
        plain = np.where(wooded, _stand_kind(stand, salt), farm.kind)
        plain = np.where(water, _water_kind(x, y, salt), plain)
        latest = urban[self.years[-1]]
        built = sites[self.years[-1]] > 0
        open_land = ~latest & ~wooded & ~water
        road = np.maximum(_roads(x, y, salt), np.where(open_land, farm.track, 0))
        return Ground(
            landcover,
            {year: _kinds(plain, town.kind, urban[year], sites[year]) for year in urban},
            _texture(x, y, salt, latest & ~built, wooded & ~built, water),
            np.where(water | built, np.float32(0), road).astype(np.float32),
            np.where(open_land, farm.hedge, np.float32(0)).astype(np.float32),
        )

    def landcover(self, x: Floats, y: Floats) -> dict[int, npt.NDArray[np.uint8]]:
        """Class values alone, of each year."""
        plan = _Plan.at(x, y, self._salt)
        return {year: self._cover(year, plan, self._sites(x, y, year)) for year in self.years}

    def sites(self, bounds: tuple[float, float, float, float], year: int) -> Sites:
        """Solar parks and greenhouses that touch a box (metres from the anchor) in a year."""
        sites = sites_within(bounds, self._salt + 97)
        is_built = ~sites.is_new | (year > self.years[0])
        return sites.take(is_built & self._is_open(sites))

    def _is_open(self, sites: Sites) -> npt.NDArray[np.bool_]:
        """Whether farmland lies under the middle of each site, and no water under it."""
        places = zip(sites.west, sites.south, sites.east, sites.north, strict=True)
        return np.array([_is_open_ground(self._salt, *map(float, p)) for p in places], bool)

    def _sites(self, x: Floats, y: Floats, year: int) -> npt.NDArray[np.uint8]:
        """The kind of site at points, 0 where there is none."""
        kind = np.zeros(np.shape(x), np.uint8)
        sites = self.sites((x.min(), y.min(), x.max(), y.max()), year)
        for west, south, east, north, value in zip(
            sites.west, sites.south, sites.east, sites.north, sites.kind, strict=True
        ):
            kind[(x > west) & (x < east) & (y > south) & (y < north)] = value
        return kind

    @property
    def _salt(self) -> int:
        return int(hashed(self.seed, salt=0x5EED)[0]) & 0x3FFFFFFF

    def _cover(self, year: int, plan: _Plan, sites: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        past = range(self.years[0] + 1, year + 1)
        cut = _any_year(plan.stand, past, _CUT, self._salt + 61)
        forest = np.where(cut, np.uint8(GRASSLAND), plan.wood)
        cover = np.where(plan.wood > 0, forest, plan.farm.crop(past, self._salt))
        grown = 1.0 + _GROWTH * (year - self.years[0])
        town, open_land = plan.town, (plan.wood == 0)
        built = (town.reach < 1.0) | ((town.reach < grown) & open_land)
        cover = np.where(built, np.where(town.park, GRASSLAND, BUILT_UP), cover)
        cover = np.where(sites > 0, BUILT_UP, cover)
        return np.where(plan.water, WATER, cover).astype(np.uint8)


@lru_cache(maxsize=10_000)
def _is_open_ground(salt: int, west: float, south: float, east: float, north: float) -> bool:
    """Whether farmland lies under the middle of a box, and no water under any of it."""
    along, up = (each.ravel() for each in np.meshgrid(*[np.linspace(0.0, 1.0, 5)] * 2))
    plan = _Plan.at(west + along * (east - west), south + up * (north - south), salt)
    middle = len(along) // 2
    is_farmland = plan.wood[middle] == 0 and plan.town.reach[middle] > _AWAY_FROM_TOWNS
    return bool(is_farmland and not plan.water.any())


def _kinds(
    plain: Floats, urban: Floats, is_urban: Flags, sites: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint16]:
    """Kinds of parcels, stands and waters, of buildings where those stand, and of sites."""
    kinds = np.where(is_urban, np.minimum(urban, min(SITE_KINDS.values()) - 1), plain)
    for site, kind in SITE_KINDS.items():
        kinds = np.where(is_urban & (sites == site), kind, kinds)
    return kinds.astype(np.uint16)


@dataclass(frozen=True)
class _Plan:
    """What decides the land cover of a window."""

    water: Flags
    wood: npt.NDArray[np.uint8]
    stand: Cells
    farm: _Farm
    town: _Towns

    @classmethod
    def at(cls, x: Floats, y: Floats, salt: int) -> _Plan:
        water, bank = _water(x, y, salt)
        wood, stand = _forest(x, y, salt, bank)
        return cls(water, wood, stand, _Farm.at(x, y, salt), _Towns.at(x, y, salt))


def _any_year(who: Cells, years: Sequence[int], share: float, salt: int) -> Flags:
    happened = np.zeros(who.column.shape, bool)
    for year in years:
        happened |= uniform(who.column, who.row, year, salt=salt) < share
    return happened


# --- water ------------------------------------------------------------------------------


def _water(x: Floats, y: Floats, salt: int) -> tuple[Flags, Floats]:
    """Where water is, and the distance to a river's bank (negative inside), metres."""
    across = _valley(x, y, salt)
    slope_x = _valley(x + 10.0, y, salt) - across
    slope_y = _valley(x, y + 10.0, salt) - across
    steep = np.maximum(np.hypot(slope_x, slope_y) / 10.0, 0.3)
    spacing = 9000.0
    side = np.floor(across / spacing + 0.5)
    width = 50 + 60 * value_noise(x, y, 2500, salt + 3)
    bank = np.abs(across - side * spacing) / steep - width

    # Streams differ on the two sides of a river, and so end in it.
    shore = np.floor(across / spacing).astype(np.int64)
    offset = 6000.0 * uniform(shore, salt=salt + 4)
    along = _stream(x, y, salt) + offset
    slope_x = _stream(x + 10.0, y, salt) + offset - along
    slope_y = _stream(x, y + 10.0, salt) + offset - along
    steep = np.maximum(np.hypot(slope_x, slope_y) / 10.0, 0.3)
    stream = np.abs((along / 6000.0) % 1.0 - 0.5) * 6000.0 / steep - 22.0
    bank = np.minimum(bank, stream)
    return (bank < 0) | _lakes(x, y, salt), bank


def _valley(x: Floats, y: Floats, salt: int) -> Floats:
    """A coordinate across the rivers; they are where it is a multiple of their spacing."""
    wide = 3600.0 * (fractal_noise(x, y, 5200, 2, salt + 1) - 0.5)
    bends = 620.0 * (value_noise(x, y, 900, salt + 2) - 0.5)
    line: Floats = y - 0.25 * x + wide + bends
    return line


def _stream(x: Floats, y: Floats, salt: int) -> Floats:
    wide = 2400.0 * (fractal_noise(x, y, 2600, 3, salt + 5) - 0.5)
    return x + 0.3 * y + wide


def _lakes(x: Floats, y: Floats, salt: int) -> Flags:
    lake = cells(x, y, 4000, 0.3, salt + 6)
    radius = 520 * uniform(lake.column, lake.row, salt=salt + 8) - 120
    ragged = 260 * (fractal_noise(x, y, 600, 3, salt + 9) - 0.5)
    inside: Flags = np.hypot(lake.dx, 1.4 * lake.dy) + ragged < radius
    return inside


def _water_kind(x: Floats, y: Floats, salt: int) -> Floats:
    return (value_noise(x, y, 1500, salt + 7) * (KINDS - 1)).astype(np.uint16)


# --- forest -----------------------------------------------------------------------------


def _forest(x: Floats, y: Floats, salt: int, bank: Floats) -> tuple[npt.NDArray[np.uint8], Cells]:
    """Forest class or 0, as if nothing had been cut, and the forestry compartments."""
    stand = cells(x, y, 520, 0.4, salt + 21)
    hills = fractal_noise(x, y, 5200, 2, salt + 23)
    patches = fractal_noise(x, y, 1500, 4, salt + 24, gain=0.45)
    # Compartments make part of an edge straight, as surveyed forest edges are.
    ragged = 0.07 * (uniform(stand.column, stand.row, salt=salt + 25) - 0.5)
    wooded = 0.5 * hills + 0.5 * patches + ragged > 0.542
    riparian = (bank > 0) & (bank < 130 * (fractal_noise(x, y, 500, 2, salt + 26) - 0.42))
    lean = fractal_noise(x, y, 3000, 2, salt + 27)
    mixed = lean + 0.35 * (uniform(stand.column, stand.row, salt=salt + 28) - 0.5)
    wood = np.where(wooded, np.where(mixed > 0.53, CONIFER, BROADLEAF), 0)
    return np.where(riparian & ~wooded, BROADLEAF, wood).astype(np.uint8), stand


def _stand_kind(stand: Cells, salt: int) -> Floats:
    return (uniform(stand.column, stand.row, salt=salt + 29) * KINDS).astype(np.uint16)


# --- farmland ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Farm:
    """Parcels: their identity, what grows there, and what lies between them."""

    parcel: npt.NDArray[np.uint32]
    grass: Flags
    winter: Flags
    track: npt.NDArray[np.float32]
    hedge: npt.NDArray[np.float32]

    @property
    def kind(self) -> Floats:
        return (self.parcel >> np.uint32(20)).astype(np.uint16)

    @classmethod
    def at(cls, x: Floats, y: Floats, salt: int) -> _Farm:
        block = cells(x, y, 1250, 0.42, salt + 31)
        draw = [uniform(block.column, block.row, salt=salt + 32 + n) for n in range(4)]
        angle = np.pi * draw[0]
        cos, sin = np.cos(angle), np.sin(angle)
        u = cos * block.dx + sin * block.dy
        v = cos * block.dy - sin * block.dx
        strip, strip_edge = intervals(v, 170 + 110 * draw[1], block, 0, salt + 36)
        field, field_edge = intervals(u, 330 + 260 * draw[2], block, strip, salt + 37)
        parcel = hashed(block.column, block.row, strip, field, salt=salt + 38)
        seed_x, seed_y = x - block.dx, y - block.dy
        moist = fractal_noise(seed_x, seed_y, 4200, 2, salt + 39)
        chance = uniform(parcel, salt=salt + 40)
        share = np.clip(0.12 + 1.0 * (moist - 0.30), 0.08, 0.75)
        track = np.maximum(
            lane(block.edge, 5.0),
            0.55 * lane(np.minimum(strip_edge, field_edge), 1.5),
        )
        hedged = draw[3] > 0.6
        hedge = np.where(hedged, lane(field_edge, 5.0), 0) * (1 - track)
        return cls(
            parcel, chance < share, uniform(parcel, salt=salt + 41) < 0.54,
            track.astype(np.float32), hedge.astype(np.float32),
        )  # fmt: skip

    def crop(self, past: Sequence[int], salt: int) -> npt.NDArray[np.uint8]:
        """Grassland, winter or summer crop, after the rotations of some years."""
        winter = self.winter
        for year in past:
            winter = winter ^ (uniform(self.parcel, year, salt=salt + 42) < _ROTATED)
        crop = np.where(winter, WINTER_CROP, SUMMER_CROP)
        return np.where(self.grass, GRASSLAND, crop).astype(np.uint8)


# --- towns and roads --------------------------------------------------------------------


@dataclass(frozen=True)
class _Towns:
    """``reach``: distance from a town's centre over its radius of the first year."""

    reach: npt.NDArray[np.float32]
    park: Flags
    kind: npt.NDArray[np.uint16]

    @classmethod
    def at(cls, x: Floats, y: Floats, salt: int) -> _Towns:
        ragged = fractal_noise(x, y, 420, 3, salt + 51) - 0.5
        reach = np.full(np.shape(x), np.inf, np.float32)
        for n, (spacing, share, small, large) in enumerate(
            ((4300.0, 0.85, 420.0, 900.0), (2100.0, 0.5, 170.0, 290.0))
        ):
            town = cells(x, y, spacing, 0.3, salt + 52 + 4 * n)
            draw = uniform(town.column, town.row, salt=salt + 54 + 4 * n)
            exists = draw < share
            radius = np.where(exists, small + (large - small) * (draw / share) ** 2, 1e-3)
            distance = np.hypot(town.dx, town.dy)
            here = distance / radius + ragged * np.where(radius > 350, 0.9, 0.6)
            reach = np.minimum(reach, np.where(exists, here, np.inf).astype(np.float32))
        park = fractal_noise(x, y, 420, 2, salt + 60) > 0.74
        return cls(reach, park, _urban_kind(x, y, salt))


def _urban_kind(x: Floats, y: Floats, salt: int) -> npt.NDArray[np.uint16]:
    """Blocks of houses in streets; the top eighth of the kinds are halls and yards."""
    quarter = cells(x, y, 380, 0.4, salt + 71)
    angle = np.pi * uniform(quarter.column, quarter.row, salt=salt + 73)
    cos, sin = np.cos(angle), np.sin(angle)
    u, v = cos * quarter.dx + sin * quarter.dy, cos * quarter.dy - sin * quarter.dx
    plot_u, plot_v = np.floor(u / 34.0).astype(np.int64), np.floor(v / 26.0).astype(np.int64)
    house = uniform(quarter.column, quarter.row, plot_u, plot_v, salt=salt + 74)
    hall = uniform(quarter.column, quarter.row, salt=salt + 75) > 0.82
    hall_kind = 0.875 + 0.125 * uniform(quarter.column, quarter.row, plot_u // 3, salt=salt + 76)
    # Streets every few plots: the lowest kinds, see spectra.py.
    street = (plot_u % 5 == 0) | (plot_v % 5 == 0)
    drawn = np.where(street, 0.06 * house, 0.06 + 0.815 * house)
    return (np.where(hall & ~street, hall_kind, drawn) * KINDS).astype(np.uint16)


def _roads(x: Floats, y: Floats, salt: int) -> npt.NDArray[np.float32]:
    """Share of the pixel that is main road: two families of winding lines."""
    share = np.zeros(np.shape(x), np.float32)
    for n, (a, b, spacing) in enumerate(((1.0, 0.35, 5200.0), (-0.3, 1.0, 6100.0))):
        bend = 1500.0 * (fractal_noise(x, y, 4000, 2, salt + 81 + 3 * n) - 0.5)
        along = a * x + b * y + bend + 0.35 * spacing
        distance = np.abs((along / spacing) % 1.0 - 0.5) * spacing
        share = np.maximum(share, lane(distance, 6.0))
    return share


def _texture(
    x: Floats, y: Floats, salt: int, urban: Flags, wooded: Flags, water: Flags
) -> npt.NDArray[np.float32]:
    """Fine structure: crowns and gaps, roofs, tillage, soil."""
    fine = fractal_noise(x, y, 28, 2, salt + 91) - 0.5
    coarse = fractal_noise(x, y, 260, 2, salt + 94) - 0.5
    strength = np.where(urban, 0.5, np.where(wooded, 0.45, np.where(water, 0.06, 0.14)))
    patches = np.where(urban | wooded | water, 0.15, 0.32)
    texture: npt.NDArray[np.float32] = (1 + strength * fine + patches * coarse).astype(np.float32)
    return texture
