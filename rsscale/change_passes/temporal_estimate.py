"""The steps that estimate the transitions of the temporal model from a sample of all tiles."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from rsscale.change.transition_sample import FEWEST, MOST, estimate, some_pixels
from rsscale.change_passes.temporal_base import ESTIMATED, TemporalPass, likelihood_of
from rsscale.layers import NODATA, TileKey
from rsscale.legend.classes import LandClass
from rsscale.steps.base import Block, Fold, Gather, Result, Setup, Step
from rsscale.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger("rsscale")

EVERY = 8
"""Rows and columns between pixels of the sample that transitions are estimated from."""


def estimating_steps(step: str, given: dict[str, Any], setup: Setup) -> Iterator[Step]:
    """The steps that estimate transitions; what is given for later steps reads their result."""
    import pyarrow as pa

    width = len(given["years"]) * len(given["classes"])
    place = [("row", pa.int64()), ("col", pa.int64())]
    sample = TransitionSample(
        step=f"{step}-sample",
        layers=(),
        schema=pa.schema([*place, ("percents", pa.binary(width))]),
        **given,
    )
    transitions = EstimatedTransitions(
        step=f"{step}-transitions",
        of=sample.step,
        schema=matrix_schema(),
        **{key: given[key] for key in ("classes", "years", "matrix", "prior")},
    )
    yield sample
    given["sources"] = {**given["sources"], ESTIMATED: setup.gathered(transitions)}
    yield transitions


@dataclass(repr=False, kw_only=True)
class TransitionSample(TemporalPass):
    """Rows of every eighth pixel of every eighth row: its probabilities of all years.

    A pixel is in it by its place on the grid, so that the sample is that of the whole area.
    """

    kind: ClassVar[str] = "temporal-model-sample"
    facts: ClassVar[Mapping[str, Fold]] = {"sampled": "sum"}
    schema: pa.Schema

    def spans(self) -> Sequence[str]:
        """The first to the last year."""
        return (f"{self.years[0]}-{self.years[-1]}",)

    def run(self, block: Block) -> Result:
        """Take the sample of one tile."""
        import pyarrow as pa

        rows = np.arange(block.core.row0 + -block.core.row0 % EVERY, block.core.row1, EVERY)
        cols = np.arange(block.core.col0 + -block.core.col0 % EVERY, block.core.col1, EVERY)
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
        rows_of_tile = pa.Table.from_arrays(arrays, schema=self.schema)
        return Result(table=rows_of_tile, facts={"sampled": len(rows_of_tile)})

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """How many pixels transitions are estimated from, or that they are too few."""
        if "sampled" not in facts:
            return []
        sampled = int(facts["sampled"])
        if sampled < FEWEST:
            return [f"sample    {_too_few(sampled)}"]
        return [f"sample    transitions are estimated from {min(sampled, MOST):,} pixels"]


@dataclass(kw_only=True)
class EstimatedTransitions(Gather):
    """The transition matrix of a year, by expectation maximisation over the sample of all tiles.

    Attributes
    ----------
    classes : tuple of LandClass
    years : tuple of int
    matrix : float array (K, K)
        Where it begins.
    prior : float array (K,)
    """

    kind: ClassVar[str] = "temporal-model-transitions"
    version: ClassVar[str] = "2"
    instead: str = "say 'transitions: stay', or give the whole matrix"

    step: str
    of: str
    schema: pa.Schema
    classes: tuple[LandClass, ...]
    years: tuple[int, ...]
    matrix: npt.NDArray[np.float64]
    prior: npt.NDArray[np.float64]

    def parameters(self) -> Mapping[str, Any]:
        """Years, prior and where it begins."""
        return {
            "years": list(self.years),
            "prior": self.prior.tolist(),
            "matrix": self.matrix.tolist(),
        }

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """A row for each pair of classes: ``from``, ``to``, ``probability``, ``count``.

        ``count`` is how often it happened in the sample, as expected given its probabilities, over
        all pixels and years: what a probability is known from.
        """
        count = len(self.classes)
        # In the order of places: sums are the same to the bit however the area was cut.
        sample = some_pixels(table for _, table in parts)
        buffers = sample["percents"].combine_chunks().buffers()
        flat = np.frombuffer(buffers[1], np.uint8) if len(sample) else np.zeros(0, np.uint8)
        values = flat.reshape(len(sample), len(self.years), count).transpose(1, 2, 0)
        likelihood, _ = likelihood_of(np.ascontiguousarray(values), self.prior)
        matrix, counts = estimate(likelihood, self.years, self.matrix)
        if len(sample) < FEWEST:
            _log.warning("step %r: %s", self.step, _too_few(len(sample)))
        return matrix_table(self.classes, matrix, counts, self.schema)


def _too_few(sampled: int) -> str:
    return (
        f"transitions are not estimated, as the sample has {counted(sampled, 'pixel')} that two "
        f"years or more have, and {FEWEST:,} are needed; they stay as 'stay' says"
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
