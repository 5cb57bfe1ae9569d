"""The steps that estimate the transitions of the temporal model from a sample of all tiles."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from rsscale.change.imagery_evidence import (
    UNSEEN,
    Codes,
    estimate_with_evidence,
    smallest_of,
)
from rsscale.change.transition_sample import FEWEST, MOST, some_pixels
from rsscale.change_passes.temporal_base import (
    ESTIMATED,
    EVIDENCE,
    EvidenceLayer,
    TemporalPass,
    likelihood_of,
)
from rsscale.errors import RecipeError
from rsscale.layers import NODATA, TileKey
from rsscale.legend.classes import LandClass
from rsscale.recipe import Reference, RunReference
from rsscale.steps.base import Block, Fold, Gather, Result, Setup, Source, Step
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger("rsscale")

EVERY = 8
"""Rows and columns between pixels of the sample that transitions are estimated from."""


_MAGNITUDES = ("magnitude", "chi_square", "change_probability")
"""Layers that are evidence of change, the first that a step has."""


def open_evidence(
    references: Mapping[str, Reference], years: Sequence[int], setup: Setup
) -> list[tuple[EvidenceLayer, Source]]:
    """The layers of imagery that are evidence of change, and where they are read.

    Raises
    ------
    RecipeError
        When a step has no magnitudes, or has them in another step, or is not of one year of the
        maps and the next of them.
    """
    spans = [f"{before}-{after}" for before, after in pairwise(years)]
    by_pair: dict[int, tuple[EvidenceLayer, Source]] = {}
    for name, reference in references.items():
        if isinstance(reference, str) and reference in setup.recipe.inputs:
            raise RecipeError(
                f"of.{name} is the input {reference!r}; evidence is of a step, such as the "
                "magnitudes of 'kind: spectral-change'"
            )
        there = [layer.name for layer in setup.layers(reference)]
        layer = next((name for name in _MAGNITUDES if name in there), None)
        if layer is None:
            raise RecipeError(
                f"of.{name} has the layers {', '.join(there)}; expected {', '.join(_MAGNITUDES)}, "
                "as 'NAME-magnitude' of a step NAME of 'kind: spectral-change' has"
            )
        if layer == "change_probability":
            _check_no_magnitudes_beside(name, reference, setup)
        of = setup.spans(reference)
        if len(of) != 1 or of[0] not in spans:
            raise RecipeError(
                f"of.{name} is of {', '.join(of)}; expected one year of the maps and the next of "
                f"them: {', '.join(spans)}"
            )
        step = spans.index(of[0])
        if step in by_pair:
            raise RecipeError(f"of.{name} is of {of[0]}, as another is; name one of them")
        others = {layer.layer for layer, _ in by_pair.values()} - {layer}
        if others:
            raise RecipeError(
                f"of.{name} has {layer}, and another has {others.pop()}; evidence of all years is "
                "of one kind"
            )
        source = f"evidence-{of[0]}"
        by_pair[step] = (
            EvidenceLayer(source, layer, step), setup.source(reference, (layer,), at=of[0]),
        )  # fmt: skip
    return [by_pair[step] for step in sorted(by_pair)]


def _check_no_magnitudes_beside(name: str, reference: Reference, setup: Setup) -> None:
    """Refuse the change that a threshold told of magnitudes, where these themselves are there."""
    step = reference if isinstance(reference, str) else reference.step
    whole = f"{step}-magnitude"
    beside: Reference = whole
    if isinstance(reference, RunReference):
        beside = RunReference(run=reference.run, step=whole)
    try:
        setup.layers(beside)
    except RecipeError:
        return
    raise RecipeError(
        f"of.{name} is {step!r}, which is what a threshold told of magnitudes; name the magnitudes "
        f"themselves: {whole!r}"
    )


def estimating_steps(
    step: str,
    given: dict[str, Any],
    setup: Setup,
    *,
    transitions: bool = True,
    every: int = EVERY,
) -> Iterator[Step]:
    """The steps that estimate transitions, evidence, or both; later steps are given their result.

    What evidence tells is estimated with the transitions, whatever those of the model are.
    """
    import pyarrow as pa

    width = len(given["years"]) * len(given["classes"])
    place = [("row", pa.int64()), ("col", pa.int64())]
    columns = [*place, ("percents", pa.binary(width))]
    evidence = given.get("evidence", ())
    if evidence:
        columns.append(("evidence", pa.binary(len(given["years"]) - 1)))
    sample = TransitionSample(
        step=f"{step}-sample", layers=(), schema=pa.schema(columns), every=every, **given
    )
    estimated = {
        "of": sample.step,
        "with_evidence": bool(evidence),
        **{key: given[key] for key in ("classes", "years", "matrix", "prior")},
    }
    yield sample
    gathers: dict[str, Gather] = {}
    if transitions:
        gathers[ESTIMATED] = EstimatedTransitions(
            step=f"{step}-transitions", schema=matrix_schema(), **estimated
        )
    if evidence:
        gathers[EVIDENCE] = EstimatedEvidence(
            step=f"{step}-evidence",
            schema=evidence_schema(),
            percents=evidence[0].layer == "change_probability",
            **estimated,
        )
    given["sources"] = {
        **given["sources"], **{name: setup.gathered(gather) for name, gather in gathers.items()},
    }  # fmt: skip
    yield from gathers.values()


@dataclass(repr=False, kw_only=True)
class TransitionSample(TemporalPass):
    """Rows of every eighth pixel of every eighth row: its probabilities of all years.

    A pixel is in it by its place on the grid, so that the sample is that of the whole area.

    Attributes
    ----------
    every : int
        Rows and columns from a pixel to the next.
    """

    kind: ClassVar[str] = "temporal-model-sample"
    facts: ClassVar[Mapping[str, Fold]] = {"sampled": "sum"}
    schema: pa.Schema
    every: int = EVERY

    def parameters(self) -> Mapping[str, Any]:
        """Those of the model, and how dense the sample is."""
        return {**super().parameters(), **({"every": self.every} if self.every != EVERY else {})}

    def spans(self) -> Sequence[str]:
        """The first to the last year."""
        return (f"{self.years[0]}-{self.years[-1]}",)

    def run(self, block: Block) -> Result:
        """Take the sample of one tile."""
        import pyarrow as pa

        core, every = block.core, self.every
        rows = np.arange(core.row0 + -core.row0 % every, core.row1, every)
        cols = np.arange(core.col0 + -core.col0 % every, core.col1, every)
        where = np.ix_(rows - block.core.row0, cols - block.core.col0)
        values = np.stack([[p[where] for p in self._stored(block, y)] for y in self.years])
        seen = ((values[:, 0] != NODATA).sum(axis=0) > 1) & block.where[where]
        row, col = np.nonzero(seen)
        percents = values[..., row, col].transpose(2, 0, 1).reshape(len(row), -1)  # (P, T·K)
        width = len(self.years) * len(self.classes)
        column = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(width), len(row), [None, pa.py_buffer(np.ascontiguousarray(percents))]
        )
        arrays = [pa.array(rows[row], pa.int64()), pa.array(cols[col], pa.int64()), column]
        if self.evidence:
            rows_of, cols_of = rows - block.core.row0, cols - block.core.col0
            codes = np.ascontiguousarray(
                self.codes(block)[:, rows_of[row], cols_of[col]].T
            )  # (P, T - 1)
            buffers = [None, pa.py_buffer(codes)]
            kind = pa.binary(codes.shape[1])
            arrays.append(pa.FixedSizeBinaryArray.from_buffers(kind, len(row), buffers))
        rows_of_tile = pa.Table.from_arrays(arrays, schema=self.schema)
        return Result(table=rows_of_tile, facts={"sampled": len(rows_of_tile)})

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """How many pixels transitions are estimated from, or that they are too few."""
        if "sampled" not in facts:
            return []
        sampled = int(facts["sampled"])
        if sampled < FEWEST:
            finer = "" if self.every == 1 else "; a smaller `sample_every` of the step finds more"
            return [f"sample    {_too_few(sampled)}{finer}"]
        return [f"sample    transitions are estimated from {min(sampled, MOST):,} pixels"]


@dataclass(kw_only=True)
class OfSample(Gather):
    """Base of what is estimated from the sample of all tiles.

    Attributes
    ----------
    classes : tuple of LandClass
    years : tuple of int
    matrix : float array (K, K)
        Where the transitions begin.
    prior : float array (K,)
    with_evidence : bool
        Whether the sample has codes of magnitudes.
    """

    instead: str = "say 'transitions: stay', or give the whole matrix"

    step: str
    of: str
    schema: pa.Schema
    classes: tuple[LandClass, ...]
    years: tuple[int, ...]
    matrix: npt.NDArray[np.float64]
    prior: npt.NDArray[np.float64]
    with_evidence: bool = False

    def parameters(self) -> Mapping[str, Any]:
        """Years, prior and where it begins."""
        return {
            "years": list(self.years),
            "prior": self.prior.tolist(),
            "matrix": self.matrix.tolist(),
            **({"evidence": True} if self.with_evidence else {}),
        }

    def sample(
        self, parts: Iterable[tuple[TileKey, pa.Table]]
    ) -> tuple[npt.NDArray[np.float32], Codes]:
        """Likelihoods ``(T, K, P)``, and codes of magnitudes ``(T - 1, P)``, none without them."""
        # In the order of places: sums are the same to the bit however the area was cut.
        sample = some_pixels(table for _, table in parts)
        values = _bytes(sample, "percents").reshape(len(sample), len(self.years), -1)
        percents = np.ascontiguousarray(values.transpose(1, 2, 0))
        likelihood, _ = likelihood_of(percents, self.prior)
        if not self.with_evidence:
            return likelihood, np.full((len(self.years) - 1, len(sample)), UNSEEN, np.uint8)
        codes = _bytes(sample, "evidence").reshape(len(sample), len(self.years) - 1)
        return likelihood, np.ascontiguousarray(codes.T)


def _bytes(sample: pa.Table, column: str) -> Codes:
    """The bytes of a column of a fixed width, one pixel after the other."""
    width = sample.schema.field(column).type.byte_width
    buffers = sample[column].combine_chunks().buffers()
    flat = np.frombuffer(buffers[1], np.uint8) if len(sample) else np.zeros(0, np.uint8)
    return flat.reshape(len(sample), width)


@dataclass(kw_only=True)
class EstimatedTransitions(OfSample):
    """The transition matrix of a year, by expectation maximisation over the sample of all tiles."""

    kind: ClassVar[str] = "temporal-model-transitions"
    version: ClassVar[str] = "2"

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """A row for each pair of classes: ``from``, ``to``, ``probability``, ``count``.

        ``count`` is how often it happened in the sample, as expected given its probabilities, over
        all pixels and years: what a probability is known from.
        """
        likelihood, codes = self.sample(parts)
        matrix, counts, _ = estimate_with_evidence(likelihood, codes, self.years, self.matrix)
        if likelihood.shape[2] < FEWEST:
            _log.warning("step %r: %s", self.step, _too_few(likelihood.shape[2]))
        return matrix_table(self.classes, matrix, counts, self.schema)


@dataclass(kw_only=True)
class EstimatedEvidence(OfSample):
    """What magnitudes of imagery say of change, estimated from the sample of all tiles.

    Attributes
    ----------
    percents : bool
        Whether they are percents.
    """

    kind: ClassVar[str] = "temporal-model-evidence"
    version: ClassVar[str] = "1"
    instead: str = "leave out the evidence"

    percents: bool = False

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """A row for each class and bin of magnitudes.

        ``class``; ``code`` and ``magnitude``, the smallest of the bin; ``unchanged`` and
        ``changed``, the share of the bin where the class stayed, and where any became another.
        """
        import pyarrow as pa

        likelihood, codes = self.sample(parts)
        _, _, with_imagery = estimate_with_evidence(likelihood, codes, self.years, self.matrix)
        seen = int((codes != UNSEEN).any(axis=0).sum())
        if seen < FEWEST:
            _log.warning("step %r: %s", self.step, _too_few_magnitudes(seen))
        bins, count = len(with_imagery.first), len(self.classes)
        columns = {
            "class": [land_class.name for land_class in self.classes for _ in range(bins)],
            "code": np.tile(with_imagery.first, count),
            "magnitude": np.tile(smallest_of(with_imagery.first, percents=self.percents), count),
            "unchanged": with_imagery.stayed.ravel(),
            "changed": np.tile(with_imagery.changed, count),
        }
        return pa.Table.from_pydict(columns, schema=self.schema)


def evidence_schema() -> pa.Schema:
    """Columns of the table of what magnitudes say of change."""
    import pyarrow as pa

    number = pa.float64()
    shares = [("magnitude", number), ("unchanged", number), ("changed", number)]
    return pa.schema([("class", pa.string()), ("code", pa.int64()), *shares])


def _too_few_magnitudes(sampled: int) -> str:
    return (
        f"the evidence is not used, as the sample has {counted(sampled, 'pixel')} with a "
        f"magnitude, and {FEWEST:,} are needed"
    )


def _too_few(sampled: int) -> str:
    return (
        f"transitions are not estimated, as the sample has {counted(sampled, 'pixel')} that two "
        f"years or more have, and {FEWEST:,} are needed; classes stay with the "
        "probability `stay` of the step"
    )


def matrix_schema() -> pa.Schema:
    """Columns of the table of a transition matrix."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    return pa.schema([("from", text), ("to", text), ("probability", number), ("count", number)])


def matrix_table(
    classes: Sequence[LandClass],
    matrix: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    schema: pa.Schema,
) -> pa.Table:
    """A transition matrix as rows, one for each pair of classes."""
    import pyarrow as pa

    names = [land_class.name for land_class in classes]
    columns = {
        "from": [name for name in names for _ in names],
        "to": names * len(names),
        "probability": matrix.ravel(),
        "count": counts.ravel(),
    }
    return pa.Table.from_pydict(columns, schema=schema)
