"""Schedule of the simulated scenes: dates, processing baselines and weather."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from rsscale.simulation.tiles import TileGrid

# Passes are rarer in winter, when nothing grows and the sun is low.
_GROWING_SEASON = (59, 304)
_WINTER_DENSITY = 0.25


@dataclass(frozen=True)
class Weather:
    """The sky of one pass.

    Attributes
    ----------
    salt : int
        Of the cloud field.
    cover : float
        Share of the sky that is cloud, 0 to 1.
    cumulus : float
        From 0, sheets, to 1, heaps.
    cirrus : float
        Opacity of thin high cloud where it is thickest.
    shadow : tuple of int
        (rows, columns) from a shadow to its cloud.
    haze : float
        Reflectance added in the blue band.
    gain : tuple of float
        What each band is multiplied with.
    """

    salt: int
    cover: float
    cumulus: float
    cirrus: float
    shadow: tuple[int, int]
    haze: float
    gain: tuple[float, ...]


@dataclass(frozen=True)
class Processing:
    """How one product was processed, and what its metadata states.

    Attributes
    ----------
    baseline : str
        Processing baseline; from 04.00 on, ESA adds 1000 to the numbers.
    added : int
        What the stored numbers hold on top of ``10000 * reflectance``.
    offset : float or None
        ``offset`` in the assets' metadata, beside a scale of 0.0001; none of both if ``None``.
    applied : bool or None
        ``earthsearch:boa_offset_applied``; not there if ``None``.
    """

    baseline: str
    added: int
    offset: float | None
    applied: bool | None


_EARLY = (Processing("03.01", 0, None, None), Processing("02.14", 0, 0.0, False))
_TOLD = Processing("05.09", 1000, -0.1, False)
_UNTOLD = Processing("05.10", 1000, None, None)
_APPLIED = (Processing("05.09", 0, None, True), Processing("05.11", 0, 0.0, True))


@dataclass(frozen=True)
class Swath:
    """The edge of a swath: pixels on one side of a line are nodata.

    Attributes
    ----------
    x : float
        Where the line crosses the tile's top, as a share of its width from the left.
    slope : float
        How far it goes left on its way down, as a share of the width.
    keep_left : bool
        Which side was seen.
    """

    x: float
    slope: float
    keep_left: bool


@dataclass(frozen=True)
class Scene:
    """One product: a tile on a day."""

    tile: TileGrid
    when: datetime
    platform: str
    orbit: int
    processing: Processing
    weather: Weather
    swath: Swath | None
    number: int

    @property
    def id(self) -> str:
        """As in Earth Search, e.g. ``S2A_31TGN_20230715_0_L2A``."""
        return f"{self.platform}_{self.tile.name}_{self.when:%Y%m%d}_0_L2A"

    @property
    def year(self) -> int:
        """Year of the acquisition."""
        return self.when.year

    @property
    def doy(self) -> int:
        """Day of the year, 1 on 1 January."""
        return self.when.timetuple().tm_yday


def schedule(
    tiles: tuple[TileGrid, ...], years: Sequence[int], dates: int, seed: int
) -> list[Scene]:
    """All scenes of an archive, ordered by tile and time; the same for the same arguments."""
    scenes: list[Scene] = []
    for year in years:
        rng = np.random.default_rng([seed, year, 0])
        days = _days(year, dates, rng)
        covers = _covers(dates, rng)
        apart = _shuffled([0, 0, 0, 2], dates, rng)
        edges = _edges(covers, rng)
        processing = _processings(dates, rng)
        for number, (day, cover) in enumerate(zip(days, covers, strict=True)):
            weather = _weather(seed, day, cover, rng)
            for which, tile in enumerate(tiles):
                other = which == 1 and apart[number] > 0
                passed = day + timedelta(days=apart[number] if other else 0)
                scenes.append(
                    Scene(
                        tile,
                        _time(passed, which),
                        "S2A" if (passed.toordinal() // 5) % 2 else "S2B",
                        8 if not other else 108,
                        processing[which][number],
                        _weather(seed, passed, cover, rng) if other else weather,
                        _swath(rng) if edges[number] == which + 1 else None,
                        len(scenes),
                    )
                )
    return sorted(scenes, key=lambda scene: (scene.tile.name, scene.when))


def _days(year: int, dates: int, rng: np.random.Generator) -> list[date]:
    """One day in each of ``dates`` equal shares of the season's weight."""
    start, end = _GROWING_SEASON
    day = np.arange(365)
    weight = np.where((day < start) | (day > end), _WINTER_DENSITY, 1.0)
    passed = np.cumsum(weight) / weight.sum()
    targets = (np.arange(dates) + 0.3 + rng.uniform(-0.15, 0.15, dates)) / dates
    chosen = np.searchsorted(passed, targets)
    # Two passes on one day cannot be: the ids would be the same.
    for n in range(1, dates):
        chosen[n] = max(chosen[n], chosen[n - 1] + 3)
    overflow = max(int(chosen[-1]) - 361, 0)
    return [date(year, 1, 1) + timedelta(days=int(day) - overflow) for day in chosen]


def _covers(dates: int, rng: np.random.Generator) -> list[float]:
    """Cloud cover of each date: any three in a row hold a fair, a mixed and a bad one.

    The order is drawn once a year. So every season has an observation at most places, and without
    a mask every season's median is cloudy somewhere.
    """
    order = rng.permutation(3)
    lowest, highest = np.array((0.0, 0.15, 0.60))[order], np.array((0.08, 0.40, 0.97))[order]
    return [float(rng.uniform(lowest[n % 3], highest[n % 3])) for n in range(dates)]


def _shuffled(pattern: list[int], count: int, rng: np.random.Generator) -> list[int]:
    """The pattern repeated, each repeat in another order."""
    out: list[int] = []
    while len(out) < count:
        out += [int(v) for v in rng.permutation(pattern)]
    return out[:count]


def _edges(covers: list[float], rng: np.random.Generator) -> list[int]:
    """Which tile lies on the edge of the swath on each date, 1 or 2, or 0: none.

    Never on a fair date, so that few places lose their only observation.
    """
    return [int(rng.choice((0, 1, 2))) if cover > 0.1 else 0 for cover in covers]


def _processings(dates: int, rng: np.random.Generator) -> tuple[list[Processing], ...]:
    """How the products of both tiles were made.

    The archive is being reprocessed tile by tile: half of each tile's products are from
    before baseline 04.00, and of a date it is mostly the one tile or the other.
    """
    late = [bool(v) for v in _shuffled([0, 0, 1, 1], dates, rng)]
    other = [was != (rng.random() < 0.85) for was in late]
    return tuple([_dialect(is_late, rng) for is_late in which] for which in (late, other))


def _dialect(late: bool, rng: np.random.Generator) -> Processing:
    if not late:
        return _EARLY[int(rng.integers(2))]
    kind = rng.choice(3, p=(0.4, 0.35, 0.25))
    return (_TOLD, _UNTOLD, _APPLIED[int(rng.integers(2))])[int(kind)]


def _weather(seed: int, day: date, cover: float, rng: np.random.Generator) -> Weather:
    season = 23.4 * np.sin(2 * np.pi * (day.timetuple().tm_yday - 81) / 365)
    height = rng.uniform(60, 120)  # pixels: clouds at 600 to 1200 m
    length = min(height * np.tan(np.radians(min(54 - season, 65))), 90.0)
    azimuth = np.radians(rng.uniform(20, 40))
    gain = rng.uniform(0.95, 1.05) * rng.uniform(0.985, 1.015, 6)
    return Weather(
        salt=int(rng.integers(2**30)) ^ (seed & 0xFFFF),
        cover=cover,
        cumulus=float(rng.choice((0.2, 0.55, 0.85))),
        cirrus=0.25 if cover > 0.3 and rng.random() < 0.5 else 0.0,
        shadow=(round(length * np.cos(azimuth)), round(length * np.sin(azimuth))),
        haze=float(rng.uniform(0.0, 0.022)),
        gain=tuple(float(g) for g in gain),
    )


def _swath(rng: np.random.Generator) -> Swath:
    """A line that leaves 10 to 45 % of the tile unseen."""
    unseen, slope = rng.uniform(0.10, 0.45), rng.uniform(0.18, 0.26)
    keep_left = bool(rng.integers(2))
    middle = 1 - unseen if keep_left else unseen
    return Swath(float(middle + slope / 2), float(slope), keep_left)


def _time(day: date, which: int) -> datetime:
    at = datetime(day.year, day.month, day.day, 10, 36, 22, tzinfo=UTC)
    return at + timedelta(seconds=day.toordinal() * 37 % 240 + 13 * which)
