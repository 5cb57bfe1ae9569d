"""Reducers of whole spectra: medoid, geometric median, and picking one observation."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from rsscale.composites.percentile import Observations
from rsscale.composites.validity import Validity

# A pixel is done when a round moves it by less than this share of its mean distance to the
# observations.
TOLERANCE = 1e-5
MOST_ROUNDS = 50
_TINY, _FARTHEST = 1e-30, 1e3


def picked(values: Observations, picks: list[torch.Tensor], valid: Validity) -> torch.Tensor:
    """One band of the observation whose pick is 1; the others, 0, add exactly zero."""
    out = torch.zeros(valid.count.shape, device=valid.device)
    for observation, pick in zip(values, picks, strict=True):
        out += observation.mul_(pick)
    return out


def medoid(bands: Iterable[Observations], valid: Validity) -> list[torch.Tensor]:
    """The observation with the least sum of distances to the others, the earlier one on a tie.

    Flood, N. (2013): Seasonal Composite Landsat TM/ETM+ Images Using the Medoid. Remote
    Sensing 5, 6481-6500.
    """
    spectra = list(bands)
    totals = [penalty.clone() for penalty in valid.penalty]
    for i in range(len(totals)):
        for j in range(i + 1, len(totals)):
            square = torch.zeros(valid.count.shape, device=valid.device)
            for band in spectra:
                difference = band[i] - band[j]
                square += difference.mul_(difference)
            distance = square.sqrt_()
            totals[i] += distance * valid.weight[j]
            totals[j] += distance.mul_(valid.weight[i])
    picks: list[torch.Tensor] = []
    if totals:
        best, chosen = totals[0], torch.zeros(valid.count.shape, device=valid.device)
        for number, total in enumerate(totals[1:], start=1):
            chosen.masked_fill_(total < best, number)
            best = torch.minimum(best, total)
        picks = [(chosen == n).float().mul_(valid.weight[n]) for n in range(len(totals))]
    return [picked(band, picks, valid) for band in spectra]


def geomedian(bands: Iterable[Observations], valid: Validity) -> list[torch.Tensor]:
    """The spectrum with the least sum of distances to all observations: the geometric median.

    Roberts, D., Mueller, N., McIntyre, A. (2017): High-Dimensional Pixel Composites From
    Earth Observation Time Series. IEEE Transactions on Geoscience and Remote Sensing 55(11).
    Found from the mean on by Weiszfeld's steps, as amended by Vardi and Zhang (2000, PNAS
    97(4)) for a step that meets one, and extrapolated two by two (SQUAREM: Varadhan and
    Roland 2008, Scandinavian Journal of Statistics 35) where that brings the sum down. Each
    pixel stops by itself, when neither moves it by 1e-5 of the mean distance of its observations,
    so it does not matter which pixels are reduced together. Two observations have a segment of
    medians: its middle is taken.
    """
    spectra = list(bands)
    if not valid.invalid:
        return [torch.zeros(valid.count.shape, device=valid.device) for _ in spectra]
    middle = []
    for band in spectra:
        total = torch.zeros(valid.count.shape, dtype=torch.float64, device=valid.device)
        for observation, weight in zip(band, valid.weight, strict=True):
            total += observation * weight
        middle.append(total.div_(valid.number).float())
    many = torch.from_numpy((valid.count > 2).nonzero()[0]).to(valid.device)
    weights = torch.stack([weight[many] for weight in valid.weight])  # (T, pixels)
    # Around the mean float32 resolves the observations' differences, however large the values are.
    around = torch.stack(
        [
            torch.stack([observation[many] for observation in band]) - centre[many]
            for band, centre in zip(spectra, middle, strict=True)
        ]
    )  # (B, T, pixels)
    for centre, shift in zip(middle, _descend(around, weights), strict=True):
        centre[many] += shift
    return middle


def _descend(observations: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Iterate from zero to the geometric medians ``(B, pixels)`` until each pixel has converged."""
    here = torch.zeros_like(observations[:, 0])
    out = here.clone()
    cost = _sum(_length(observations) * weight)
    limit = cost / _sum(weight) * TOLERANCE
    surely, place = here, torch.arange(here.shape[1], device=here.device)
    for _ in range(MOST_ROUNDS):
        first, new_cost = _step(observations, weight, here)
        failed = new_cost > cost
        first = torch.where(failed, surely, first)
        surely, cost = _step(observations, weight, first)
        last = surely - first
        beyond = _extrapolated(here, first - here, last)
        here = torch.where(failed, surely, beyond)
        moved = torch.maximum(_length(last), _length(here - surely))
        out[:, place] = surely
        going = moved > limit
        left = int(going.sum())
        if not left:
            break
        if left < len(going):
            observations, weight, here = observations[..., going], weight[:, going], here[:, going]
            surely, cost = surely[:, going], cost[going]
            limit, place = limit[going], place[going]
    return out


def _extrapolated(start: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The limit of two steps that shrink by a constant factor; at least the end of both."""
    bend = second - first
    reach = (_length(first) / _length(bend).clamp(min=_TINY)).clamp_(min=1.0, max=_FARTHEST)
    return start + first * (2 * reach) + bend * (reach * reach)


def _step(
    observations: torch.Tensor, weight: torch.Tensor, here: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The point after one step of Weiszfeld, and the sum of distances at its start."""
    away = observations - here[:, None]  # (B, T, pixels)
    distance = _length(away)
    met = distance == 0
    pull = (weight / distance).masked_fill_(met, 0.0)
    force = torch.stack([_sum(band * pull) for band in away])  # (B, pixels)
    # Observations at this very point hold it back by their number (Vardi and Zhang); a plain step
    # could not leave them.
    held = _sum(met * weight)
    free = (1 - held / _length(force).clamp(min=_TINY)).clamp_(min=0)
    there = here + force * (free / _sum(pull).clamp(min=_TINY))
    return there, _sum(distance.mul_(weight))


def _length(vectors: torch.Tensor) -> torch.Tensor:
    """Length over the first axis, band by band: a fused sum may depend on the pixel's position."""
    square = vectors[0] * vectors[0]
    for band in vectors[1:]:
        square += band * band
    return square.sqrt_()


def _sum(terms: torch.Tensor) -> torch.Tensor:
    """Sum over the first axis, in its order; terms of zero change nothing."""
    total = terms[0].clone()
    for term in terms[1:]:
        total += term
    return total
