"""Reducers that take a spectrum as a whole: one of the looks, or the middle of all."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from rsscale.data.ranks import Looks
from rsscale.data.validity import Validity

# A pixel is done when a step is this small against the mean distance of its looks.
TOLERANCE = 1e-6
MOST_STEPS = 200


def picked(values: Looks, picks: list[torch.Tensor], valid: Validity) -> torch.Tensor:
    """One band of the look that ``picks`` holds a 1 for; the others add exactly zero."""
    out = torch.zeros(valid.count.shape, device=valid.device)
    for look, pick in zip(values, picks, strict=True):
        out += look.mul_(pick)
    return out


def medoid(bands: Iterable[Looks], valid: Validity) -> list[torch.Tensor]:
    """The look with the least sum of distances to the others, the earlier one on a tie.

    Flood, N. (2013): Seasonal Composite Landsat TM/ETM+ Images Using the Medoid. Remote
    Sensing 5, 6481-6500.
    """
    spectra = list(bands)
    totals = [missing.clone() for missing in valid.missing]
    for i in range(len(totals)):
        for j in range(i + 1, len(totals)):
            square = torch.zeros(valid.count.shape, device=valid.device)
            for looks in spectra:
                difference = looks[i] - looks[j]
                square += difference.mul_(difference)
            distance = square.sqrt_()
            totals[i] += distance * valid.weight[j]
            totals[j] += distance.mul_(valid.weight[i])
    picks: list[torch.Tensor] = []
    if totals:
        best, chosen = totals[0], torch.zeros(valid.count.shape, device=valid.device)
        for look, total in enumerate(totals[1:], start=1):
            chosen.masked_fill_(total < best, look)
            best = torch.minimum(best, total)
        picks = [(chosen == look).float().mul_(valid.weight[look]) for look in range(len(totals))]
    return [picked(looks, picks, valid) for looks in spectra]


def geomedian(bands: Iterable[Looks], valid: Validity) -> list[torch.Tensor]:
    """The spectrum with the least sum of distances to all looks: the geometric median.

    Roberts, D., Mueller, N., McIntyre, A. (2017): High-Dimensional Pixel Composites From
    Earth Observation Time Series. IEEE Transactions on Geoscience and Remote Sensing 55(11).
    Found from the mean on by Weiszfeld's steps in float64, as amended by Vardi and Zhang
    (2000, PNAS 97(4)) for a step that meets a look. Each pixel stops by itself, after a step
    below 1e-6 of the mean distance of its looks, so it does not matter which pixels are
    reduced together. Two looks have a segment of medians: its middle is taken.
    """
    spectra = list(bands)
    if not valid.invalid:
        return [torch.zeros(valid.count.shape, device=valid.device) for _ in spectra]
    looks = torch.stack([torch.stack(band) for band in spectra]).double()  # (B, T, pixels)
    weight = torch.stack(valid.weight).double()  # (T, pixels)
    middle = torch.stack([_sum(band * weight) / valid.number for band in looks])  # (B, pixels)
    many = torch.from_numpy((valid.count > 2).nonzero()[0]).to(valid.device)
    middle[:, many] = _descend(looks[..., many], weight[:, many], middle[:, many])
    return list(middle.float())


def _descend(looks: torch.Tensor, weight: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Weiszfeld's steps from ``start`` ``(B, pixels)`` until each pixel stops."""
    out, here = start.clone(), start
    limit = _sum(_distances(looks - here[:, None]) * weight) / _sum(weight) * TOLERANCE
    place = torch.arange(start.shape[1], device=start.device)
    going = torch.ones_like(place, dtype=torch.bool)
    for _ in range(MOST_STEPS):
        there = _step(looks, weight, here)
        small = _distances((there - here)[:, None])[0] <= limit
        here = there
        done = going & small
        out[:, place[done]] = here[:, done]
        going &= ~small
        left = int(going.sum())
        if left < 0.7 * len(going):  # copying is worth it
            looks, weight, here = looks[..., going], weight[:, going], here[:, going]
            limit, place, going = limit[going], place[going], going[going]
        if not left:
            break
    out[:, place[going]] = here[:, going]
    return out


def _step(looks: torch.Tensor, weight: torch.Tensor, here: torch.Tensor) -> torch.Tensor:
    away = looks - here[:, None]  # (B, T, pixels)
    distance = _distances(away)
    met = distance == 0
    pull = torch.where(met, 0.0, weight / distance)
    force = torch.stack([_sum(band * pull) for band in away])  # (B, pixels)
    total, strength = _sum(pull), _distances(force[:, None])[0]
    # Looks met exactly hold on with their number; a plain step could not leave them.
    held = _sum(met * weight)
    free = (1 - held / strength.clamp(min=1e-300)).clamp(min=0)
    return here + force * (free / total.clamp(min=1e-300))


def _distances(away: torch.Tensor) -> torch.Tensor:
    """Length over the first axis. Band by band: a fused sum may depend on the pixel's place."""
    square = away[0] * away[0]
    for band in away[1:]:
        square += band * band
    return square.sqrt_()


def _sum(terms: torch.Tensor) -> torch.Tensor:
    """Sum over the first axis, in its order; terms of zero change nothing."""
    total = terms[0].clone()
    for term in terms[1:]:
        total += term
    return total
