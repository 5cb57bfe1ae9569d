"""How far one unit more or less moves an estimate: what skews it where few units decide.

A rare class is a handful of units, each of which stands for many hectares. Its estimate is then as
skewed as a count of a few events is, and a symmetric interval misses too often on one side. How
skewed depends on what one event is worth, in hectares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.estimation.units import Floats, Ints, Units


@dataclass(frozen=True)
class UnitInfluence:
    """What a unit moves an estimate by, upwards and downwards, in the estimate's own unit.

    Each is the third moment over the second of the deviations on one side: the ratio that a Poisson
    count of events of that size has. Both sides have their own, so that omissions and commissions,
    which cancel out in the skewness of their sum, are not mistaken for the lack of any.

    Attributes
    ----------
    up, down : float
        With an event on either side that the sample might have had and did not.
    seen_up, seen_down : float
        Of what is in the sample alone; 0 where nothing is.
    """

    up: float
    down: float
    seen_up: float
    seen_down: float


def unit_influence(
    units: Units,
    group: Ints,
    influence: Floats,
    ends: tuple[float, float],
    inside: npt.NDArray[Any] | None = None,
) -> UnitInfluence:
    """Of the units of a sample, each of which is drawn for itself.

    Parameters
    ----------
    units : Units
    group : int64 array (n,)
        Stratum or post-stratum of each, whose mean is known by the estimator.
    influence : float64 array (n,)
        Influence value of each unit; the estimate is the sum of weight times influence.
    ends : tuple of float
        The least and the most that a unit may have: an event that was not seen is one unit with it
        in place of the mean of its group.
    inside : bool array (n,), optional
        Units that may have it; all when omitted.
    """
    weight, (least, most) = units.weight, ends
    means = (np.bincount(group, weight * influence) / np.bincount(group, weight))[group]
    left = units.unsampled[units.stratum]
    deviations = (influence - means) * weight
    used = np.ones(len(units), bool) if inside is None else np.asarray(inside, bool)
    upwards = np.where(used, np.maximum(most - means, 0) * weight, 0.0)
    downwards = np.where(used, np.maximum(means - least, 0) * weight, 0.0)
    count = max(int(used.sum()), 1)
    above, below = np.maximum(deviations, 0), np.maximum(-deviations, 0)
    return UnitInfluence(
        up=_size(left, above, upwards, count),
        down=_size(left, below, downwards, count),
        seen_up=_size(left, above),
        seen_down=_size(left, below),
    )


def largest_unit(units: Units, group: Ints, inside: npt.NDArray[Any]) -> float:
    """Hectares that a unit stands for, of the group where that is most.

    Parameters
    ----------
    units : Units
    group : int64 array (n,)
    inside : bool array (n,)
        Only groups with such a unit.
    """
    sums = np.bincount(group, units.weight)
    counts = np.maximum(np.bincount(group), 1)
    there = np.bincount(group, np.asarray(inside, float)) > 0
    open_ = np.bincount(group, units.unsampled[units.stratum]) > 0
    used = there & open_ if (there & open_).any() else there
    return float((sums / counts)[used].max())


def _size(left: Floats, seen: Floats, unseen: Floats | None = None, count: int = 1) -> float:
    """Third moment over the second; of all that may have been, one event that was not seen."""
    second, third = float((left * seen**2).sum()), float((left * seen**3).sum())
    if unseen is not None:
        second += float((left * unseen**2).sum()) / count
        third += float((left * unseen**3).sum()) / count
    return third / second if second > 0 else 0.0
