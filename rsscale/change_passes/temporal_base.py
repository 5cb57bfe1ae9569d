"""The temporal model over a tile: what its steps are given, and the likelihoods that it is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.change.hidden_markov import Chain
from rsscale.change.imagery_evidence import UNSEEN, Codes, Evidence, codes_of
from rsscale.change.transitions import over_years
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass
from rsscale.memory import PROCESS_BYTES
from rsscale.steps.base import Block, Cost, PartPass, Source

# Pixels at once: of seven classes and ten years some 10 MB an array.
_AT_ONCE = 1 << 15
ESTIMATED = "transitions"
"""The source of the estimated matrix."""
EVIDENCE = "evidence-table"
"""The source of the distributions of magnitudes."""
# Of a probability: what rounds to 0 percent is mostly far below a half, and must not be impossible.
_LEAST = 0.0005


@dataclass(frozen=True)
class EvidenceLayer:
    """A layer that says how much each pixel changed between two of the years.

    Attributes
    ----------
    source : str
        What the pass calls it.
    layer : str
        Magnitudes of 0 or more, or percents.
    step : int
        0 between the first two years.
    """

    source: str
    layer: str
    step: int


@dataclass(repr=False, kw_only=True)
class TemporalPass(PartPass):
    """Base of the steps: the probabilities of all years, and the model over them.

    ``evidence`` are the layers of imagery that speak for change or against it, beside the maps.
    """

    kind: ClassVar[str] = "temporal-model"
    version: ClassVar[str] = "1"

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Any, ...]
    years: tuple[int, ...]
    classes: tuple[LandClass, ...]
    matrix: npt.NDArray[np.float64]
    prior: npt.NDArray[np.float64]
    evidence: tuple[EvidenceLayer, ...] = ()

    def parameters(self) -> Mapping[str, Any]:
        """Classes, years and the model."""
        evidence = [[evidence_layer.layer, evidence_layer.step] for evidence_layer in self.evidence]
        return {
            **({"evidence": evidence} if evidence else {}),
            "classes": [[land_class.value, land_class.name] for land_class in self.classes],
            "years": list(self.years),
            "prior": self.prior.tolist(),
            "matrix": self.matrix.tolist(),
        }

    def chain(self, block: Block) -> Chain:
        """The model over the years: with the estimated transitions, or those that were given."""
        matrix = self.matrix
        if ESTIMATED in block.inputs:
            matrix = block.inputs[ESTIMATED]["probability"].to_numpy().reshape(matrix.shape)
        steps = [over_years(matrix, int(gap)) for gap in np.diff(self.years)]
        return Chain(np.full(len(matrix), 1 / len(matrix)), steps)

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side: what is read, results, a part."""
        del profile
        written = tile * tile * sum(layer.pixel_bytes for layer in self.layers)
        arrays = 32 if self.evidence else 24
        working = arrays * len(self.years) * len(self.classes) * _AT_ONCE
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + 3 * written + working))

    def likelihoods(
        self, block: Block
    ) -> Iterator[tuple[slice, npt.NDArray[np.float32], npt.NDArray[np.bool_], Chain]]:
        """Parts of a tile: which pixels, likelihoods ``(T, K, P)``, what is seen ``(T, P)``.

        And the model of these pixels: with evidence it is that of each of them.
        """
        chain, evidence = self.chain(block), self._evidence(block)
        codes = self.codes(block).reshape(len(self.years) - 1, -1) if self.evidence else ()
        flat = [self._stored(block, year).reshape(len(self.classes), -1) for year in self.years]
        for start in range(0, flat[0].shape[1], _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            values = np.stack([of_year[:, part] for of_year in flat])  # (T, K, P)
            staying = [evidence.staying(of_step[part]) for of_step in codes]
            yield part, *likelihood_of(values, self.prior), replace(chain, staying=staying)

    def codes(self, block: Block) -> Codes:
        """Codes of magnitudes ``(T - 1, y, x)`` between each year and the next."""
        code_of_year = np.full((len(self.years) - 1, *block.core.shape), UNSEEN, np.uint8)
        for evidence_layer in self.evidence:
            stored = block.inputs[evidence_layer.source][evidence_layer.layer].values[block.inside]
            code_of_year[evidence_layer.step] = codes_of(stored)
        return code_of_year

    def _evidence(self, block: Block) -> Evidence:
        if EVIDENCE not in block.inputs:
            return Evidence.none(len(self.classes))
        return evidence_of(block.inputs[EVIDENCE], len(self.classes))

    def _stored(self, block: Block, year: int) -> npt.NDArray[np.uint8]:
        """Percents ``(K, y, x)`` of a year over the tile."""
        stored: npt.NDArray[np.uint8] = block.inputs[str(year)]["probability"].values
        return stored[(..., *block.inside)]


def likelihood_of(
    percents: npt.NDArray[np.uint8], prior: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Likelihoods ``(T, K, P)`` of stored probabilities, 1 where not seen; and where seen."""
    seen = percents[:, 0] != NODATA  # (T, P)
    weight = (1 / (prior * len(prior))).astype(np.float32)[:, None]
    likelihood = np.maximum(percents.astype(np.float32) / 100, np.float32(_LEAST)) * weight
    likelihood.transpose(0, 2, 1)[~seen] = 1.0
    return likelihood, seen


def evidence_of(table: xr.Dataset, classes: int) -> Evidence:
    """The evidence of the columns of its table: bins of the first class, then of the next."""
    first, stayed, changed = (table[n].to_numpy() for n in ("code", "unchanged", "changed"))
    bins = len(first) // classes
    return Evidence(first[:bins], stayed.reshape(classes, bins), changed[:bins])
