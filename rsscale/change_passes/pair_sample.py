"""A sample of the pixels of two dates, and what a measure of change estimates of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsscale.change.transition_sample import some_pixels
from rsscale.change_passes.pair import Pair, PairSource
from rsscale.cluster.profile import NumericProfile
from rsscale.geo.lattice import PixelBox, position_hash
from rsscale.layers import TileKey
from rsscale.spectral_change.measures import SAMPLE, IrMad, Measure
from rsscale.steps.base import Block, Cost, Gather, PartPass, Result, Source

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


def sample_schema(bands: int) -> pa.Schema:
    """Of the rows of a sample: place on the grid, and float32 values of both dates."""
    import pyarrow as pa

    place = [("row", pa.int64()), ("col", pa.int64())]
    return pa.schema([*place, ("values", pa.binary(8 * bands))])


@dataclass(repr=False, kw_only=True)
class PairSample(PartPass):
    """Rows of pixels that both dates have: those of the tile whose places have the smallest hash.

    As many of each tile as the whole sample has, so that the sample of the area is the same
    however it was cut into tiles.
    """

    kind: ClassVar[str] = "spectral-change-sample"
    version: ClassVar[str] = "1"

    step: str
    sources: Mapping[str, Source]
    pair: PairSource
    schema: pa.Schema

    def spans(self) -> Sequence[str]:
        """The one pair of periods."""
        return (self.pair.span,)

    def parameters(self) -> Mapping[str, Any]:
        """The bands."""
        return {**self.pair.parameters(), "most": SAMPLE}

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of parts of two tiles side by side, and of their samples."""
        sample = 8 * len(self.pair.names) * 3 * SAMPLE
        return self.pair.memory(tile, cost, profile, working=16, kept=sample)

    def run(self, block: Block) -> Result:
        """Take the sample of one tile."""
        tables = [_some(box, pair, block) for box, pair in self.pair.parts(block)]
        return Result(table=some_pixels(tables, SAMPLE))


def _some(box: PixelBox, pair: Pair, block: Block) -> pa.Table:
    """The sample of a part of a tile."""
    import pyarrow as pa

    row, col = np.nonzero(pair.seen & block.where[box.slices(block.core)])
    if len(row) > SAMPLE:
        hashes = position_hash(row + box.row0, col + box.col0)
        chosen = np.sort(np.argpartition(hashes, SAMPLE)[:SAMPLE])
        row, col = row[chosen], col[chosen]
    values = np.concatenate([pair.before[:, row, col], pair.after[:, row, col]]).T  # (P, 2B)
    column = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(8 * len(pair.names)), len(row),
        [None, pa.py_buffer(np.ascontiguousarray(values, np.float32))],
    )  # fmt: skip
    arrays = [pa.array(row + box.row0, pa.int64()), pa.array(col + box.col0, pa.int64()), column]
    return pa.Table.from_arrays(arrays, schema=sample_schema(len(pair.names)))


@dataclass(kw_only=True)
class EstimatedMeasure(Gather):
    """What a measure of change estimates of the sample of all tiles.

    Attributes
    ----------
    measure : Measure
    names : tuple of str
        Of the bands.
    """

    kind: ClassVar[str] = "spectral-change-estimate"
    version: ClassVar[str] = "1"

    step: str
    of: str
    schema: pa.Schema
    measure: Measure
    names: tuple[str, ...]

    @property
    def instead(self) -> str:  # type: ignore[override] # of the measure, which is of a recipe
        """What a preview can do without it."""
        if isinstance(self.measure, IrMad):
            return "rs.detect_spectral_change does the same in memory"
        return "say 'scale: none', or see rs.detect_spectral_change"

    def parameters(self) -> Mapping[str, Any]:
        """The measure, and what it is of."""
        return {"measure": type(self.measure).__name__, "bands": list(self.names)}

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """The table of the measure."""
        import pyarrow as pa

        # In the order of places: sums are the same to the bit however the area was cut.
        sample = some_pixels((table for _, table in parts), SAMPLE)
        count = len(self.names)
        buffers = sample["values"].combine_chunks().buffers()
        flat = np.frombuffer(buffers[1], np.float32) if len(sample) else np.zeros(0, np.float32)
        values = np.ascontiguousarray(flat[: len(sample) * 2 * count].reshape(-1, 2 * count).T)
        measure = self.measure.estimate(values[:count], values[count:])
        self._warn_of_bands(measure)
        columns = {name: pa.array(values) for name, values in measure.table().items()}
        return pa.Table.from_pydict(columns, schema=self.schema)

    def _warn_of_bands(self, measure: Measure) -> None:
        """Warn of bands that could not be used, and of an iteration without end."""
        if not isinstance(measure, IrMad):
            return
        variates = measure.known
        left = [name for band, name in enumerate(self.names) if band not in variates.bands]
        if left:
            _log.warning(
                "step %r leaves out the bands %s, which are constant or a combination of those "
                "before them at one of the dates", self.step, ", ".join(left),
            )  # fmt: skip
        if not variates.converged:
            _log.warning(
                "step %r: IR-MAD had not converged after %d iterations; the correlations are %s: "
                "most pixels changed, or too few were seen", self.step, variates.iterations,
                ", ".join(f"{correlation:.3f}" for correlation in variates.correlations),
            )  # fmt: skip
