"""Strata: which codes of the map, of regions or of a raster are one, and how large each is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError, nearest
from rsscale.sample_passes.population import UNMAPPED, Population
from rsscale.sample_passes.sample_options import SampleOptions

OTHER = "other"
"""The stratum that small ones are merged into."""
_BETWEEN = " / "


@dataclass(frozen=True)
class Stratum:
    """A part of the population that is sampled by itself.

    Attributes
    ----------
    value : int
        The class, or the code of a transition, where strata are of these alone; else 1, 2, ….
    name : str
    codes : mapping of code to (pixels, hectares)
        Of the population.
    """

    value: int
    name: str
    codes: Mapping[int, tuple[int, float]]

    @property
    def pixels(self) -> int:
        """How many pixels it has."""
        return sum(pixels for pixels, _ in self.codes.values())

    @property
    def hectares(self) -> float:
        """Its area."""
        return sum(hectares for _, hectares in self.codes.values())


@dataclass(frozen=True)
class Strata:
    """All strata, which together are the population.

    Attributes
    ----------
    all : tuple of Stratum
    unmapped, left_out : (int, float)
        Pixels and hectares of the area that are no part of the population: without a class, and
        left out as outside of regions or raster.
    """

    all: tuple[Stratum, ...]
    unmapped: tuple[int, float]
    left_out: tuple[int, float]

    @property
    def pixels(self) -> npt.NDArray[np.int64]:
        """Pixels of each."""
        return np.array([stratum.pixels for stratum in self.all], np.int64)

    @property
    def hectares(self) -> float:
        """Of all of them."""
        return sum(stratum.hectares for stratum in self.all)

    def by_name(self, given: Mapping[str, Any], subject: str) -> dict[int, Any]:
        """Values of some strata by their numbers in :attr:`all`.

        Raises
        ------
        RecipeError
            For a name that no stratum has.
        """
        numbers = {stratum.name: number for number, stratum in enumerate(self.all)}
        for name in given:
            if name not in numbers:
                raise RecipeError(
                    f"{subject} names the stratum {name!r}; there are {_listed(list(numbers))}"
                    f"{nearest(name, numbers)}"
                )
        return {numbers[name]: value for name, value in given.items()}


def strata_of(
    rows: Mapping[str, npt.NDArray[Any]], population: Population, options: SampleOptions
) -> Strata:
    """Group the codes that were counted into strata.

    Parameters
    ----------
    rows : mapping
        ``code``, ``pixels`` and ``hectares``, one for each code.
    population : Population
    options : SampleOptions

    Raises
    ------
    RecipeError
        When nothing is mapped, or strata do not cover the map and ``outside`` does not say what
        becomes of the rest.
    """
    counts = {
        int(code): (int(pixels), float(hectares))
        for code, pixels, hectares in zip(
            rows["code"], rows["pixels"], rows["hectares"], strict=True
        )
    }
    unmapped = counts.pop(UNMAPPED, (0, 0.0))
    outside = {code: count for code, count in counts.items() if population.is_outside(code)}
    if outside and options.outside is None:
        raise RecipeError(_uncovered(counts, outside, options))
    if options.outside == "leave-out":
        counts = {code: count for code, count in counts.items() if code not in outside}
    if not counts:
        raise RecipeError(
            "no pixel of the area has a class and a stratum; there is nothing to sample"
        )
    left_out = _summed(outside) if options.outside == "leave-out" else (0, 0.0)
    groups = _merge_small(_grouped(counts, population, options), options.least_hectares)
    return Strata(_numbered(groups, options), unmapped, left_out)


_Key = tuple[int, ...]
_Group = tuple[str, dict[int, tuple[int, float]]]


def _grouped(
    counts: Mapping[int, tuple[int, float]], population: Population, options: SampleOptions
) -> dict[_Key, _Group]:
    """Codes by stratum, in order."""
    groups: dict[_Key, dict[int, tuple[int, float]]] = defaultdict(dict)
    names: dict[_Key, str] = {}
    for code, count in counts.items():
        parts = [population.part(code, kind) for kind in options.stratified_by]
        key = tuple(number for number, _ in parts)
        names[key] = _BETWEEN.join(name for _, name in parts) or "all"
        groups[key][code] = count
    return {key: (names[key], groups[key]) for key in sorted(groups)}


def _merge_small(groups: dict[_Key, _Group], least: float) -> dict[_Key, _Group]:
    """Strata below an area become one, the last."""
    small = [key for key, (_, codes) in groups.items() if _summed(codes)[1] < least]
    if len(small) < 2:
        return groups
    kept = {key: group for key, group in groups.items() if key not in small}
    merged = {code: count for key in small for code, count in groups[key][1].items()}
    above = max(max(key) for key in groups) + 1
    # Sizes go by name: a class of this name keeps it.
    name = OTHER if OTHER not in {own for own, _ in kept.values()} else f"{OTHER}, merged"
    return kept | {(above,) * len(small[0]): (name, merged)}


def _numbered(groups: Mapping[_Key, _Group], options: SampleOptions) -> tuple[Stratum, ...]:
    # 0 is the value of a unit of no stratum: a class 0 makes way.
    is_own = len(options.stratified_by) == 1 and min(min(key) for key in groups) > 0
    return tuple(
        Stratum(key[0] if is_own else number, name, codes)
        for number, (key, (name, codes)) in enumerate(groups.items(), start=1)
    )


def _summed(counts: Mapping[int, tuple[int, float]]) -> tuple[int, float]:
    return (
        sum(pixels for pixels, _ in counts.values()),
        sum(hectares for _, hectares in counts.values()),
    )


def _uncovered(
    counts: Mapping[int, tuple[int, float]],
    outside: Mapping[int, tuple[int, float]],
    options: SampleOptions,
) -> str:
    pixels, hectares = _summed(outside)
    share = pixels / max(_summed(counts)[0], 1)
    of = " and ".join(name for name in ("regions", "raster") if getattr(options, name))
    return (
        f"strata do not cover the map: {pixels:,} mapped pixels ({hectares:,.0f} hectares, "
        f"{share:.1%}) lie in none of the {of}; say what becomes of them: outside: stratum gives "
        "them one, outside: leave-out makes figures of the rest alone"
    )


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
