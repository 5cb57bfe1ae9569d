"""How often the ground was seen: a histogram of clear observations, and what was never seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsscale.legend.values import declared_nodata
from rsscale.reporting.pixels import check_has, open_level
from rsscale.runs.run import Run

_SAMPLED = 200_000_000  # pixels
_BARS = 24


@dataclass(frozen=True)
class Observations:
    """Clear observations of the pixels of one span.

    Attributes
    ----------
    title : str
    bars : tuple of (str, float)
        Number of observations, ``"12"`` or ``"12 to 13"``, and the share of pixels.
    median : float
    is_sample : bool
        Whether blocks at even distances were counted, and not all pixels.
    """

    title: str
    bars: tuple[tuple[str, float], ...]
    median: float
    is_sample: bool

    @property
    def top(self) -> float:
        """The largest share."""
        return max((share for _, share in self.bars), default=1.0)


def count_observations(run: Run, state: Mapping[str, Any], step: str) -> list[Observations]:
    """A histogram for each span of the layer ``observations``; none where there is no layer."""
    layers = {layer["name"] for layer in state["steps"][step].get("layers") or ()}
    if "observations" not in layers:
        return []
    product = open_level(run, state, step, most=math.inf)
    layer = check_has(product.ds, "observations", step)
    nodata = declared_nodata(layer)
    counted = []
    for number, span in enumerate(state["steps"][step].get("spans") or []):
        counts = np.zeros(65536, np.int64)
        for rows, cols in product.blocks(most=_SAMPLED):
            values = layer[number, rows, cols].values
            known = np.isfinite(values) & ~np.isin(values, nodata)
            counts += np.bincount(
                values[known].astype(np.int64).clip(0, 65535), minlength=counts.size
            )
        if counts.any():
            is_sample = math.prod(product.box.shape) > _SAMPLED
            counted.append(_histogram(span, counts, is_sample=is_sample))
    return counted


def never_seen(state: Mapping[str, Any], step: str) -> float | None:
    """Share of pixels of a step without any clear observation; None where that is not counted."""
    facts = state["steps"][step].get("facts", {})
    if not facts.get("pixels") or "unseen" not in facts:
        return None
    return float(facts["unseen"] / facts["pixels"])


def _histogram(title: str, counts: Any, *, is_sample: bool) -> Observations:
    total = int(counts.sum())
    most = int(np.flatnonzero(counts)[-1])
    width = math.ceil((most + 1) / _BARS)
    bars = []
    for low in range(0, most + 1, width):
        high = min(low + width - 1, most)
        name = str(low) if high == low else f"{low} to {high}"
        bars.append((name, float(counts[low : high + 1].sum() / total)))
    median = float(np.searchsorted(counts.cumsum(), (total + 1) // 2))
    return Observations(title, tuple(bars), median, is_sample)
