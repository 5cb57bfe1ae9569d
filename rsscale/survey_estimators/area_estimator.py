"""Choose between direct and model-assisted estimators of areas, by their precision."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rsscale.survey_estimators.estimator import Estimator
from rsscale.survey_estimators.units import Floats, Ints
from rsscale.survey_estimators.variance import variance_of_total

# Units that a mapped class must have before its own mean is taken as known (Cochran 1977, section
# 5A.9).
_LEAST = 20


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
    """The estimator by which areas are most precise.

    One for all classes, so that their areas add up to the whole. Where the map's hectares are known
    there are two that are assisted by them. Post-stratified by the mapped class is no less precise
    than the sample alone, whatever the map, where each class has twenty units, drawn for
    themselves, and is taken then. Else areas are differences from the map, unless its errors vary
    more than its classes. Which one it is must depend on the sample as little as possible: an
    estimator that is chosen since its variance looks small has a larger one.

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
    if _all_known(direct, mapped, hectares):
        return _post_stratified(direct, mapped, hectares, own.name)
    errors, classes = _variances(direct, mapped, reference)
    return _by_difference(direct, hectares, own.name) if errors <= classes else own


def _are_strata(direct: Estimator, mapped: Ints) -> bool:
    """Whether strata are the mapped classes, so that the direct estimator knows their areas."""
    pairs = np.unique(np.stack([direct.units.stratum, mapped]), axis=1).shape[1]
    return bool(pairs == len(np.unique(mapped)) == len(np.unique(direct.units.stratum)))


def _all_known(direct: Estimator, mapped: Ints, hectares: Floats) -> bool:
    """Whether each class of the map has enough units, none of them of clusters."""
    counts = np.bincount(mapped, minlength=len(hectares))
    return not direct.units.is_clustered and bool((counts[hectares > 0] >= _LEAST).all())


def _by_difference(direct: Estimator, hectares: Floats, name: str) -> AreaEstimator:
    return AreaEstimator(
        direct,
        "model-assisted: the map's hectares plus the sample's difference of reference and map, "
        f"instead of {name}",
        hectares,
    )


def _post_stratified(direct: Estimator, mapped: Ints, hectares: Floats, name: str) -> AreaEstimator:
    there = np.flatnonzero(hectares > 0)
    position = np.zeros(len(hectares), np.int64)
    position[there] = np.arange(len(there))
    return AreaEstimator(
        direct.assisted(position[mapped], hectares[there]),
        "model-assisted: post-stratified by the map's classes, whose hectares are counted (GREG), "
        f"instead of {name}",
    )


def _variances(direct: Estimator, mapped: Ints, reference: Ints) -> tuple[float, float]:
    """Variances of the areas of all classes in sum: of the map's errors, and of what it maps.

    What is mapped stands for what is there, of which a sample that has little of a class would say
    that it is known well. Both are as if units had been drawn for themselves: those of few clusters
    are too vague to choose by.
    """
    units = replace(direct.units, cluster=None, place=None)
    errors = classes = 0.0
    for k in np.unique(np.concatenate([reference, mapped])):
        there, said = (reference == k).astype(float), (mapped == k).astype(float)
        errors += variance_of_total(units, there - said).value
        classes += variance_of_total(units, said).value
    return errors, classes


def _name_of_design(estimator: Estimator) -> str:
    if estimator.units.design.kind == "systematic" and estimator.units.cluster is not None:
        starts = int(estimator.units.cluster.max()) + 1
        return (
            f"the systematic sample's means, with the variance between its {starts} random starts"
        )
    return {
        "simple": "the simple random sample's means",
        "stratified": "the stratified estimator: means of strata weighted by their size",
        "systematic": "the systematic sample's means, with a variance from neighbouring units",
        "two-stage": "the two-stage sample's ratios of weighted totals (Hájek), with the variance "
        "between clusters",
    }[estimator.units.design.kind]
