"""Counts of a tile of a map: pixels without a value, window lines, what is unlike the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.seams import SEAM_FACTS, Seams, count_seams
from rsscale.layers import Layer
from rsscale.model.map_layers import APPLICABLE
from rsscale.model.outputs import OBSERVATIONS

MAP_FACTS: Mapping[str, Literal["sum", "min"]] = {
    "unseen": "sum",
    "non_finite": "sum",
    "applicable": "sum",
    "inapplicable": "sum",
    "sampled_values": "sum",
    "far_values": "sum",
    **dict.fromkeys(SEAM_FACTS, "sum"),
    "batch": "min",
    "agreement": "min",
}
"""Facts of a tile, and how those of many tiles fold."""


def map_facts(
    values: Mapping[str, npt.NDArray[Any]],
    layers: Sequence[Layer],
    non_finite: int,
    *,
    where: npt.NDArray[np.bool_],
    core: PixelBox,
    lattice: Lattice,
) -> dict[str, int]:
    """Count pixels without a value, labels that change across window lines, and applicable pixels.

    Parameters
    ----------
    values : mapping of layer name to array
        Of the whole tile.
    layers : sequence of Layer
        Those that are written; what is applicable is counted where that is among them.
    non_finite : int
        Pixels for which the model returned no number.
    where : bool array (rows, cols)
        Pixels of the area.
    core : PixelBox
        The tile.
    lattice : Lattice
        Of the windows.
    """
    layer = layers[0] if layers[0].name != OBSERVATIONS.name or len(layers) == 1 else layers[1]
    first = values[layer.name][0] if layer.axis else values[layer.name]
    rows = zip(where, first, strict=True)  # masks of the whole tile would be as large
    blank = sum(int(np.count_nonzero(inside & ~layer.is_valid(row))) for inside, row in rows)
    labels = values.get("classification")
    seams = Seams() if labels is None else count_seams(labels, core, lattice)
    facts = {"unseen": blank - non_finite, "non_finite": non_finite, **seams.to_dict()}
    if any(layer.name == APPLICABLE.name for layer in layers):
        pairs = zip(where, values[APPLICABLE.name], strict=True)
        counts = [np.bincount(row[inside], minlength=2)[:2] for inside, row in pairs]
        outside, applicable = np.sum(counts, axis=0).tolist()
        facts |= {"applicable": applicable, "inapplicable": outside}
    return facts


def share_outside(facts: Mapping[str, float]) -> float | None:
    """Share of the mapped pixels outside the area of applicability; None where none is counted."""
    inside, outside = facts.get("applicable", 0), facts.get("inapplicable", 0)
    return outside / (inside + outside) if inside + outside else None
