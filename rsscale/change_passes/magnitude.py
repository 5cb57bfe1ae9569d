"""How much each pixel changed between two dates, counted for a threshold of the whole area."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import shapely
import xarray as xr

from rsscale.change_passes.pair import Pair, PairSource
from rsscale.cluster.profile import NumericProfile
from rsscale.geo.rasterize import area_mask
from rsscale.layers import Axis, Layer, TileKey
from rsscale.spectral_change.histogram import Histogram
from rsscale.spectral_change.measures import IrMad, Measure
from rsscale.spectral_change.thresholds import (
    Groups,
    Rule,
    cut_at,
    find_threshold,
    stable_threshold,
)
from rsscale.steps.base import Block, Cost, Gather, PartPass, Result, Source

if TYPE_CHECKING:
    import pyarrow as pa

ESTIMATE = "estimate"
"""The source of what a measure was estimated to be."""
VARIATES = "variates"
_THRESHOLD = ("threshold", "share", "mean", "changed_mean", "deviation", "changed_deviation")

_log = logging.getLogger(__name__)


def histogram_schema() -> pa.Schema:
    """Of the rows of a tile: the number of a bin, and how many pixels are in it."""
    import pyarrow as pa

    return pa.schema([("bin", pa.int64()), ("pixels", pa.int64()), ("stable", pa.int64())])


def threshold_schema() -> pa.Schema:
    """Of the one row of a threshold: it, and the two groups that it tells apart."""
    import pyarrow as pa

    return pa.schema([(name, pa.float64()) for name in _THRESHOLD])


@dataclass(repr=False, kw_only=True)
class MagnitudePass(PartPass):
    """Layers of how much a pixel changed, and rows of how often each magnitude is there.

    Attributes
    ----------
    pair : PairSource
    measure : Measure
        What it needs of a sample is the source :data:`ESTIMATE`, where it needs any.
    schema : pyarrow.Schema, optional
        None where the threshold is given, and nothing needs to be counted.
    stable : shapely geometry, optional
        Where nothing changed, in the grid's CRS: counted by itself.
    stable_digest : str
        Of its file.
    """

    kind: ClassVar[str] = "spectral-change-magnitude"
    version: ClassVar[str] = "1"

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Layer, ...]
    pair: PairSource
    measure: Measure
    schema: pa.Schema | None
    stable: shapely.Geometry | None = None
    stable_digest: str = ""

    def spans(self) -> Sequence[str]:
        """The one pair of periods."""
        return (self.pair.span,)

    def parameters(self) -> Mapping[str, Any]:
        """Bands, measure, and whether magnitudes are counted."""
        return {
            **self.pair.parameters(),
            "measure": type(self.measure).__name__,
            "scaled": bool(self.measure.columns),
            "counted": self.schema is not None,
        }

    def digest(self, span: str) -> str:
        """Hash of the file of what is stable."""
        del span
        return self.stable_digest

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of parts of two tiles side by side, in double precision, and of their layers."""
        written = tile * tile * sum(layer.pixel_bytes for layer in self.layers)
        return self.pair.memory(tile, cost, profile, working=12, kept=2 * written)

    def run(self, block: Block) -> Result:
        """Measure one tile."""
        measure = estimated(self.measure, block)
        layers = {
            layer.name: np.full(layer.shape(*block.core.shape), np.nan, np.float32)
            for layer in self.layers
        }
        for box, pair in self.pair.parts(block):
            part = (..., *box.slices(block.core))
            for name, values in self._measured(measure, pair).items():
                layers[name][part] = np.where(pair.seen, values, np.float32(np.nan))
        written = block.dataset(self.layers, layers)
        if self.schema is None:
            return Result(layers=written)
        heights = measure.heights(layers[measure.layer.name])
        return Result(layers=written, table=self._counted(heights, block))

    def _measured(self, measure: Measure, pair: Pair) -> dict[str, Any]:
        """Values of the layers over a part."""
        if len(self.layers) > 1 and isinstance(measure, IrMad):
            chi_square, variates = measure.split(pair.before, pair.after)
            return {measure.layer.name: chi_square, VARIATES: variates}
        return {measure.layer.name: measure.values(pair.before, pair.after)}

    def _counted(self, heights: Any, block: Block) -> pa.Table:
        """The rows of a tile: inside the area, and where that is stable."""
        import pyarrow as pa

        inside = block.where & np.isfinite(heights)
        every = Histogram.of(heights[inside])
        stable = np.zeros(len(every.bins), np.int64)
        if self.stable is not None:
            there = inside & area_mask(self.stable, block.grid, block.core)
            of_stable = Histogram.of(heights[there])
            stable[np.searchsorted(every.bins, of_stable.bins)] = of_stable.counts
        columns = {"bin": every.bins, "pixels": every.counts, "stable": stable}
        return pa.Table.from_pydict(
            {name: pa.array(values) for name, values in columns.items()}, schema=self.schema
        )


def estimated(measure: Measure, block: Block) -> Measure:
    """A measure with what was estimated of a sample of all tiles, where it needs that."""
    if ESTIMATE not in block.inputs:
        return measure
    table = block.inputs[ESTIMATE]
    return measure.read({str(name): table[name].to_numpy() for name in table})


def variates_layer(bands: int) -> Layer:
    """The MAD variates, over the deviation that each has where nothing changed."""
    return Layer(
        VARIATES, "float32", axis=Axis("variate", tuple(range(1, bands + 1))), overview="mean",
        attributes={"long_name": "MAD variates, the most changed first", "units": "1"},
    )  # fmt: skip


@dataclass(kw_only=True)
class FoundThreshold(Gather):
    """The threshold of the magnitudes of all tiles.

    Attributes
    ----------
    rule : "otsu", "kittler-illingworth", or float
        A number is the rate of false alarms that stable pixels may have.
    """

    kind: ClassVar[str] = "spectral-change-threshold"
    version: ClassVar[str] = "1"
    instead = "give 'threshold' a number, or see rs.detect_spectral_change"

    step: str
    of: str
    schema: pa.Schema
    rule: Rule | float

    def parameters(self) -> Mapping[str, Any]:
        """The rule."""
        return {"rule": self.rule}

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """One row: the threshold of the heights of the measure, and both groups."""
        import pyarrow as pa

        rows = pa.concat_tables(table for _, table in parts)
        bins, pixels, stable = (rows[name].to_numpy() for name in ("bin", "pixels", "stable"))
        histogram = Histogram.added(bins, pixels)
        if isinstance(self.rule, str):
            groups = find_threshold(histogram, self.rule)
        else:
            groups = cut_at(histogram, stable_threshold(Histogram.added(bins, stable), self.rule))
        if groups.cuts_through:
            _log.warning("step %r: %s", self.step, groups.doubt)
        return pa.Table.from_pydict({n: [v] for n, v in as_row(groups).items()}, schema=self.schema)


def as_row(groups: Groups) -> dict[str, float]:
    """Groups as the columns of a table."""
    values = (groups.threshold, groups.share, *groups.means, *groups.deviations)
    return dict(zip(_THRESHOLD, values, strict=True))


def of_row(row: xr.Dataset) -> Groups:
    """Groups from the columns of a table, of one row."""
    threshold, share, mean, changed_mean, deviation, changed_deviation = (
        float(row[name].values[0]) for name in _THRESHOLD
    )
    return Groups(threshold, share, (mean, changed_mean), (deviation, changed_deviation))
