"""Gain and offset between two dates of imagery: a sample of all tiles, and the fit over it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from rsscale.change.transition_sample import some_pixels
from rsscale.change_guards.dates import Dates
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.coregistration.radiometry import relative_radiometry
from rsscale.errors import RecipeError
from rsscale.geo.lattice import WARP_BLOCK, PixelBox
from rsscale.layers import TileKey
from rsscale.memory import PROCESS_BYTES
from rsscale.recipe import StepRecipe
from rsscale.steps.base import Block, Cost, Gather, Pass, Result, Setup, Source, Step

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger("rsscale")
EVERY = 8
"""Rows and columns between pixels of the sample."""


@dataclass(repr=False, kw_only=True)
class RadiometrySample(Pass):
    """Rows of every eighth pixel of every eighth row that both dates have: their values.

    A pixel is in it by its place on the grid, so that the sample is that of the whole area.

    Attributes
    ----------
    dates : Dates
        Reads the two dates, the second one where it is registered.
    span : str
    """

    kind: ClassVar[str] = "radiometry-sample"
    version: ClassVar[str] = "1"

    step: str
    sources: Mapping[str, Source]
    schema: pa.Schema
    dates: Dates
    span: str

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> Sequence[Step]:
        """Refused: it is part of steps that compare two dates."""
        del step, recipe, options, setup
        raise RecipeError(f"{cls.kind} is part of other steps; say normalise: true there")

    def spans(self) -> Sequence[str]:
        """The two periods."""
        return (self.span,)

    def parameters(self) -> Mapping[str, Any]:
        """Which pixels, and which bands."""
        return {"every": EVERY, "bands": list(self.dates.bands)}

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of some rows of two dates, tiles side by side."""
        del profile
        rows = min(1.0, WARP_BLOCK / tile)
        return PROCESS_BYTES + int(TILES_AT_ONCE * 3 * cost.bytes * rows)

    def run(self, block: Block) -> Result:
        """Take the sample of one tile."""
        import pyarrow as pa

        parts = [self._sample(block, box & block.core) for box in block.core.blocks(WARP_BLOCK)]
        rows, cols, before, after = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        reference, other = (np.ascontiguousarray(values, "<f4") for values in (before, after))
        width = 4 * reference.shape[1]
        binary = [
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(width), len(values), [None, pa.py_buffer(values)]
            )
            for values in (reference, other)
        ]
        place = [pa.array(values, pa.int64()) for values in (rows, cols)]
        return Result(table=pa.Table.from_arrays([*place, *binary], schema=self.schema))

    def _sample(self, block: Block, box: PixelBox) -> tuple[npt.NDArray[Any], ...]:
        """Rows, columns, and values ``(pixel, channel)`` of both dates, of a part of the tile."""
        rows = np.arange(box.row0 + -box.row0 % EVERY, box.row1, EVERY)
        cols = np.arange(box.col0 + -box.col0 % EVERY, box.col1, EVERY)
        where = np.ix_(rows - box.row0, cols - box.col0)
        before, after = (
            date.reshape(-1, *date.shape[-2:])[(slice(None), *where)]
            for date in self.dates.read(block, box)
        )
        inside = block.where[np.ix_(rows - block.core.row0, cols - block.core.col0)]
        seen = np.isfinite(before).all(axis=0) & np.isfinite(after).all(axis=0) & inside
        row, col = np.nonzero(seen)
        return rows[row], cols[col], before[:, row, col].T, after[:, row, col].T


@dataclass(kw_only=True)
class RadiometryOfDates(Gather):
    """Gain and offset of each band of each time, over pixels that did not change.

    Attributes
    ----------
    bands : tuple of str
    times : int
        Windows of time of each date.
    """

    kind: ClassVar[str] = "radiometry-of-dates"
    version: ClassVar[str] = "1"
    instead = "give them as normalise: {band: [gain, offset], …}, or leave it out"

    step: str
    of: str
    schema: pa.Schema
    bands: tuple[str, ...]
    times: int

    def parameters(self) -> Mapping[str, Any]:
        """The bands."""
        return {"bands": list(self.bands), "times": self.times}

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """A row for each band of each time: ``time``, ``band``, ``gain``, ``offset``, and so on."""
        import pyarrow as pa

        sample = some_pixels(table for _, table in parts)
        channels = self.times * len(self.bands)
        names = [f"{band} of window {t + 1}" for t in range(self.times) for band in self.bands]
        reference, other = (_values(sample, name, channels) for name in ("before", "after"))
        gain, offset, correlation = np.ones(channels), np.zeros(channels), np.full(channels, np.nan)
        invariant = float("nan")
        if len(reference):
            radiometry = relative_radiometry(
                reference, other, tuple(names if self.times > 1 else self.bands)
            )
            gain, offset, correlation = radiometry.gain, radiometry.offset, radiometry.correlation
            invariant = radiometry.invariant
        else:
            _log.warning("%s: no pixel is seen at both dates; nothing is normalised", self.step)
        columns = {
            "time": np.repeat(np.arange(self.times), len(self.bands)),
            "band": list(self.bands) * self.times,
            "gain": gain,
            "offset": offset,
            "correlation": correlation,
            "invariant": np.full(channels, invariant),
        }
        return pa.Table.from_pydict(columns, schema=self.schema)


def sample_schema(channels: int) -> pa.Schema:
    """Schema of the rows of :class:`RadiometrySample`: values are float32, little-endian."""
    import pyarrow as pa

    values = pa.binary(4 * channels)
    place = [("row", pa.int64()), ("col", pa.int64())]
    return pa.schema([*place, ("before", values), ("after", values)])


def radiometry_schema() -> pa.Schema:
    """Schema of the rows of :class:`RadiometryOfDates`."""
    import pyarrow as pa

    numbers = [(n, pa.float64()) for n in ("gain", "offset", "correlation", "invariant")]
    return pa.schema([("time", pa.int64()), ("band", pa.string()), *numbers])


def _values(sample: pa.Table, name: str, channels: int) -> npt.NDArray[np.float32]:
    """``(pixel, channel)`` of a column of the sample."""
    column = sample[name].combine_chunks()
    if not len(column):
        return np.zeros((0, channels), np.float32)
    flat = np.frombuffer(column.buffers()[1], "<f4", offset=0)
    start = column.offset * channels
    return flat[start : start + len(column) * channels].reshape(-1, channels)
