"""How many units a sample needs, how they are shared among strata, and what error that gives.

Cochran (1977), Sampling Techniques, sections 4.6, 5.5 and 5.9; Olofsson et al. (2014), Good
practices for estimating area and assessing accuracy of land change, Remote Sensing of Environment
148, section 5.1 and equations 5, 10 and 13.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError, nearest
from rsscale.sample_passes.population import Population
from rsscale.sample_passes.sample_options import Allocation, SampleOptions
from rsscale.sample_passes.strata import Strata

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

DEFAULT_ERROR = 0.01
"""Target standard error of the overall accuracy, where no size and no target is given."""
_LEAST = 2  # units of a stratum, so that its variance can be estimated
_MOST = 10_000_000
_EXACT = 1e-9


@dataclass(frozen=True)
class Expectation:
    """What is expected of a reference, before any unit is interpreted.

    Attributes
    ----------
    pixels : int array (strata,)
    hectares : float
        Of the population.
    right : float array (strata,)
        Expected share of a stratum in which the map is right.
    shares : float array (strata, classes)
        Expected share of each stratum that is each class in truth. What is wrong of a class is of
        the others in proportion to their mapped areas.
    classes : tuple of str
        Names, of the class before and after together for a sample of change.
    effect : float
        Variance against that of a simple random sample: of two stages above 1.
    """

    pixels: _Ints
    hectares: float
    right: _Floats
    shares: _Floats
    classes: tuple[str, ...]
    effect: float = 1.0

    @property
    def weights(self) -> _Floats:
        """Share of the population that each stratum is."""
        weights: _Floats = self.pixels / self.pixels.sum()
        return weights

    @classmethod
    def of(cls, strata: Strata, population: Population, options: SampleOptions) -> Expectation:
        """By the expected user's accuracies of the options, by stratum or by class."""
        by_class: dict[str, int] = {}
        for stratum in strata.all:
            for code, (pixels, _) in stratum.codes.items():
                name = class_of(population, code)
                by_class[name] = by_class.get(name, 0) + pixels
        _check_names(options, by_class, strata)
        names = list(by_class)
        mapped = np.array(list(by_class.values()), np.float64)
        right = np.zeros(len(strata.all))
        shares = np.zeros((len(strata.all), len(names)))
        for number, stratum in enumerate(strata.all):
            for code, (pixels, _) in stratum.codes.items():
                name = class_of(population, code)
                user = options.expected_of(stratum.name, name)
                weight, own = pixels / stratum.pixels, names.index(name)
                others = np.delete(mapped, own).sum()
                shares[number] += weight * (1 - user) * mapped / max(others, 1.0)
                shares[number, own] += weight * (user - (1 - user) * mapped[own] / max(others, 1.0))
                right[number] += weight * user
        effect = 1.0
        if options.design == "two-stage":
            effect = 1 + (options.per_block - 1) * options.correlation
        return cls(
            strata.pixels, strata.hectares, right, np.clip(shares, 0, 1), tuple(names), effect
        )

    def overall_error(self, sizes: _Ints) -> float:
        """Expected standard error of the overall accuracy (equation 5)."""
        return self._error(self.right, sizes)

    def area_error(self, number: int, sizes: _Ints) -> float:
        """Expected standard error of the area of a class, hectares (equation 10)."""
        return self.hectares * self._error(self.shares[:, number], sizes)

    def spread(self, name: str | None = None) -> _Floats:
        """Standard deviation inside strata, of being mapped right or of being a class."""
        share = self.right if name is None else self.shares[:, self.number(name, "optimal_for")]
        return np.sqrt(share * (1 - share))

    def number(self, name: str, subject: str) -> int:
        """Place of a class in :attr:`classes`.

        Raises
        ------
        RecipeError
        """
        if name not in self.classes:
            raise RecipeError(
                f"{subject} names the class {name!r}; the population has "
                f"{', '.join(self.classes)}{nearest(name, self.classes)}"
            )
        return self.classes.index(name)

    def _error(self, share: _Floats, sizes: _Ints) -> float:
        drawn = np.maximum(sizes, 1)
        left = np.clip(1 - sizes / self.pixels, 0, 1)
        variance = self.weights**2 * share * (1 - share) / drawn * left
        if (sizes[(share > 0) & (share < 1)] == 0).any():
            return math.nan
        return float(np.sqrt(self.effect * variance.sum()))


def class_of(population: Population, code: int) -> str:
    """The class that a pixel is counted for: of two periods the transition."""
    return population.part(code, "transition" if population.is_pair else "class")[1]


def needed_size(expected: Expectation, options: SampleOptions) -> int:
    """Units in all: as asked for, or the fewest that meet every target.

    For the overall accuracy that is Cochran's equation 5.25, Olofsson et al.'s 13:
    ``n = (Σ Wᵢ Sᵢ)² / (S² + Σ Wᵢ Sᵢ² / N)``; for areas, the fewest with which the allocation gives
    the standard error.

    Raises
    ------
    RecipeError
        When no sample can meet a target.
    """
    if options.size is not None:
        return options.size
    targets = options.area_standard_errors
    overall = options.standard_error
    if overall is None and not targets:
        overall = DEFAULT_ERROR
    size = 1
    if overall is not None:
        weights, spread = expected.weights, expected.spread()
        total = expected.pixels.sum()
        size = math.ceil(
            round(
                expected.effect
                * (weights @ spread) ** 2
                / (overall**2 + weights @ spread**2 / total),
                6,
            )
        )
    for name, target in targets.items():
        number = expected.number(name, "area_standard_errors")
        size = max(size, _fewest(expected, options, number, target))
    return max(size, _LEAST)


def _fewest(expected: Expectation, options: SampleOptions, number: int, target: float) -> int:
    """The fewest units with which a class's area has a standard error, by halving."""

    def error(size: int) -> float:
        return expected.area_error(number, allocate(expected, size, options.allocation, options))

    low, high = 1, _LEAST * len(expected.pixels)
    most = min(int(expected.pixels.sum()), _MOST)
    while high < most and not error(high) <= target:
        low, high = high, min(2 * high, most)
    if not error(high) <= target:
        raise RecipeError(
            f"area_standard_errors: {target:g} hectares of {expected.classes[number]!r} need more "
            f"than {high:,} units; ask for less"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) <= target else (middle, high)
    return high


def allocate(expected: Expectation, size: int, how: Allocation, options: SampleOptions) -> _Ints:
    """Share a number of units among strata: at least two each, and at most their pixels.

    Parameters
    ----------
    expected : Expectation
    size : int
    how : str
        ``"proportional"`` to area; ``"equal"``; ``"neyman"``, proportional to area times standard
        deviation; ``"olofsson"``, ``minimum`` for each stratum that would have fewer (at most half
        of all units go into minimums), the others proportional.
    options : SampleOptions

    Returns
    -------
    int array (strata,)
        Together ``size``, but for strata that have too few pixels, or more than that of strata.
    """
    weights = expected.weights
    least = np.minimum(_LEAST, expected.pixels)
    if how == "equal":
        weights = np.full(len(weights), 1.0)
    elif how == "neyman":
        weights = weights * expected.spread(options.optimal_for)
        weights = weights if weights.any() else expected.weights
    elif how == "olofsson":
        rare = int((size * weights < options.minimum).sum())
        minimum = min(options.minimum, size // (2 * max(rare, 1)))
        least = np.maximum(least, np.minimum(minimum, expected.pixels))
    return share_out(size, weights, least, expected.pixels)


def share_out(size: int, weights: _Floats, least: _Ints, most: _Ints) -> _Ints:
    """Whole numbers in proportion to weights, within bounds, whose sum is ``size`` where it can be.

    What is below its least gets that, or what is above its most that, whichever are more units
    together, and the rest is shared anew.
    """
    sizes = np.where(weights > 0, 0, least).astype(np.int64)
    free = weights > 0
    while free.any():
        left = max(size - int(sizes[~free].sum()), 0)
        wanted = left * weights[free] / weights[free].sum()
        bounded = np.clip(wanted, least[free], most[free])
        beyond = float((bounded - wanted).sum())
        where = np.flatnonzero(free)
        if np.array_equal(bounded, wanted):
            sizes[free] = _rounded(wanted, left)
            break
        fixed = where[bounded > wanted if beyond > 0 else bounded < wanted]
        if abs(beyond) < _EXACT:
            fixed = where[bounded != wanted]
        sizes[fixed] = bounded[np.isin(where, fixed)].round().astype(np.int64)
        free[fixed] = False
    return sizes


def _rounded(wanted: _Floats, total: int) -> _Ints:
    """Whole numbers of a sum: the largest remainders are rounded up, the first where equal."""
    whole = np.floor(wanted).astype(np.int64)
    order = np.argsort(-np.round(wanted - whole, 9), kind="stable")
    whole[order[: int(total - whole.sum())]] += 1
    return whole


def sizes_of(expected: Expectation, strata: Strata, options: SampleOptions) -> _Ints:
    """Units of each stratum: those that are given, or allocated.

    Raises
    ------
    RecipeError
        For a stratum that there is not, or more units than it has pixels.
    """
    if options.sizes is None:
        return allocate(expected, needed_size(expected, options), options.allocation, options)
    sizes = np.zeros(len(strata.all), np.int64)
    for number, given in strata.by_name(options.sizes, "sizes").items():
        stratum = strata.all[number]
        if given > stratum.pixels:
            raise RecipeError(
                f"sizes: stratum {stratum.name!r} is to have {given:,} units and has "
                f"{stratum.pixels:,} pixels; ask for fewer"
            )
        sizes[number] = given
    none = [stratum.name for stratum, size in zip(strata.all, sizes, strict=True) if not size]
    if none:
        raise RecipeError(
            f"sizes has no unit for {', '.join(map(repr, none[:3]))}: a sample that leaves out a "
            "stratum tells nothing of the map; give each at least 2, or merge small ones with "
            "least_hectares"
        )
    return sizes


def _check_names(options: SampleOptions, classes: Mapping[str, int], strata: Strata) -> None:
    if not isinstance(options.expected, dict):
        return
    known = {*classes, *(stratum.name for stratum in strata.all)}
    for name in options.expected:
        if name not in known:
            raise RecipeError(
                f"expected names {name!r}, which is no class and no stratum here; there are "
                f"{', '.join(sorted(known)[:12])}{nearest(name, known)}"
            )
