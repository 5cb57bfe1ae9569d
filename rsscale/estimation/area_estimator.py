"""Choose between direct and model-assisted estimators of areas, by their precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rsscale.estimation.estimator import Estimator
from rsscale.estimation.units import Floats, Ints

# Units, or clusters, that a mapped class must have before its own mean is taken as known.
_LEAST = 10


@dataclass(frozen=True, eq=False)
class AreaEstimator:
    """The estimator that is used for a map, and its name for people.

    Attributes
    ----------
    estimator : Estimator
        Of accuracies, and of areas unless ``mapped_hectares`` are there.
    name : str
    mapped_hectares : float64 array (G,), optional
        What the map has of each class: areas are by differences from them.
    """

    estimator: Estimator
    name: str
    mapped_hectares: Floats | None = None


def area_estimator(
    direct: Estimator, mapped: Ints, reference: Ints, hectares: Floats | None
) -> AreaEstimator:
    """The estimator whose areas of all classes have the smallest variance together.

    One for all classes, so that their areas add up to the whole. Where the map's hectares are known
    there are two that are assisted by them: post-stratified by the mapped class, which needs ten
    units of each (or ten clusters with it), and differences from the map, which do not.

    Parameters
    ----------
    direct : Estimator
    mapped, reference : int64 arrays (n,)
        Position of each unit's class; a mapped position may also be the last of ``hectares``.
    hectares : float64 array (G,), optional
        What the map has of each class.
    """
    own = AreaEstimator(direct, _name_of_design(direct))
    if hectares is None or _are_strata(direct, mapped) or (hectares[mapped] <= 0).any():
        return own
    candidates = [own, *_assisted(direct, mapped, hectares, own.name)]
    variances = [_variance(one, mapped, reference) for one in candidates]
    return candidates[int(np.argmin(variances))]


def _are_strata(direct: Estimator, mapped: Ints) -> bool:
    """Whether strata are the mapped classes, so that the direct estimator knows their areas."""
    pairs = np.unique(np.stack([direct.units.stratum, mapped]), axis=1).shape[1]
    return bool(pairs == len(np.unique(mapped)) == len(np.unique(direct.units.stratum)))


def _assisted(
    direct: Estimator, mapped: Ints, hectares: Floats, name: str
) -> Iterator[AreaEstimator]:
    yield AreaEstimator(
        direct,
        "model-assisted: the map's hectares plus the sample's difference of reference and map; "
        f"more precise here than {name}",
        hectares,
    )
    there = np.flatnonzero(hectares > 0)
    if (direct.units.independent(mapped, len(hectares))[there] < _LEAST).any():
        return
    position = np.zeros(len(hectares), np.int64)
    position[there] = np.arange(len(there))
    yield AreaEstimator(
        direct.assisted(position[mapped], hectares[there]),
        "model-assisted: post-stratified by the map's classes, whose hectares are counted (GREG); "
        f"more precise here than {name}",
    )


def _variance(one: AreaEstimator, mapped: Ints, reference: Ints) -> float:
    """Sum of the variances of all areas; infinite where one is not known."""
    errors = [
        one.estimator.standard_error(
            (reference == k).astype(float)
            - (0.0 if one.mapped_hectares is None else (mapped == k).astype(float))
        )[0]
        for k in np.unique(np.concatenate([reference, mapped]))
    ]
    total = float(np.square(errors).sum())
    return total if np.isfinite(total) else float("inf")


def _name_of_design(estimator: Estimator) -> str:
    return {
        "simple": "the simple random sample's means",
        "stratified": "the stratified estimator: means of strata weighted by their size",
        "systematic": "the systematic sample's means, with a variance from neighbouring units",
        "two-stage": "the two-stage sample's ratios of weighted totals (Hájek), with the variance "
        "between clusters",
    }[estimator.units.design.kind]
