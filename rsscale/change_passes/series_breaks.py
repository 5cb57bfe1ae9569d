"""Breaks in the series of an input as a pass: alerts with date, size and confidence.

The state of an alert is no memory of earlier runs: it is told by the series alone, so that an
update with new scenes computes the tiles that they touch, and a run from nothing gives the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.breaks.alerts import CONFIRMED, PROVISIONAL, REJECTED, Monitoring, find_breaks
from rsscale.breaks.layers import break_layers, break_values
from rsscale.change_passes.breaks_options import (
    BreaksOptions,
    monitoring_of,
    series_input,
    spectral_index,
    wanted_values,
)
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.composites.strips import STRIPS, composite_strips, strip_bytes, strips
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.geo.pixel_area import pixel_areas, units_per_hectare
from rsscale.layers import NODATA, Layer
from rsscale.memory import PROCESS_BYTES
from rsscale.read.file_pool import CACHE_BYTES
from rsscale.recipe import StepRecipe
from rsscale.steps.base import ALL, Block, Cost, Fold, Pass, Result, Setup, Source
from rsscale.steps.options import Options

# Pixels at once: of 240 dates some 16 MB an array.
_AT_ONCE = 1 << 13
# Arrays of float64 that such a part takes beside the series, about.
_ARRAYS = 12
# Rows of a strip are a multiple of these; values are of single pixels, so that any would do.
_ROWS = 64
# What a thread holds of the scenes that it reads.
_READING = 450 * 2**20
_STATES = {"provisional": PROVISIONAL, "confirmed": CONFIRMED, "rejected": REJECTED}


@dataclass(repr=False, kw_only=True)
class BreaksPass(Pass):
    """Alerts of an input's series over all periods; see :mod:`rsscale.breaks.alerts`.

    Attributes
    ----------
    bands : tuple of str
        Of the input.
    wanted : str
        The band, or the index.
    is_index : bool
    limits : (float, float) or None
        Values outside are no observations.
    rule : Monitoring
    """

    kind: ClassVar[str] = "series-breaks"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = BreaksOptions
    facts: ClassVar[Mapping[str, Fold]] = {
        "monitored": "sum",
        "too_few": "sum",
        **dict.fromkeys(_STATES, "sum"),
        **{f"{name}_area": "sum" for name in _STATES},
        "per_hectare": "max",
    }

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Layer, ...]
    bands: tuple[str, ...]
    wanted: str
    is_index: bool
    limits: tuple[float, float] | None
    rule: Monitoring

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Pass]:
        """Open the series of all periods."""
        name, imagery = series_input(recipe, setup.recipe)
        wanted, is_index = wanted_values(options, imagery)
        return [
            cls(
                step=step,
                sources={"series": setup.source(name, at=ALL)},
                layers=break_layers(wanted),
                bands=imagery.bands,
                wanted=wanted,
                is_index=is_index,
                limits=options.range,
                rule=monitoring_of(options, setup.recipe.periods),
            )
        ]

    def spans(self) -> Sequence[str]:
        """All periods together."""
        return (ALL,)

    def parameters(self) -> Mapping[str, Any]:
        """What is monitored, and how."""
        return {
            "of": self.wanted,
            "index": self.is_index,
            "range": None if self.limits is None else list(self.limits),
            "rule": asdict(self.rule),
        }

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of strips of the series, of what threads read and compute, and of the layers."""
        dates = max(cost.observations, 1)
        room = strip_bytes(PixelBox(0, 0, tile, tile), _lattice(), dates * len(self.bands))
        layers = TILES_AT_ONCE * tile * tile * sum(3 * layer.pixel_bytes for layer in self.layers)
        part = 8 * dates * _AT_ONCE * (_ARRAYS + len(self.bands))
        beside = TILES_AT_ONCE * profile.threads * part
        reading = min(profile.threads * _READING, cost.bytes * TILES_AT_ONCE)
        held = min(TILES_AT_ONCE, STRIPS.at_once(room)) * room
        return PROCESS_BYTES + CACHE_BYTES + int(held + layers + beside + reading)

    def run(self, block: Block) -> Result:
        """Find the breaks of one tile, strip by strip."""
        lazy: xr.DataArray = block.inputs["series"]["composite"]
        lazy = lazy.drop_vars("observations", errors="ignore")
        layers = {
            layer.name: np.full(block.core.shape, layer.nodata, layer.numpy_dtype)
            for layer in self.layers
        }
        seconds = 0.0
        days = lazy["time"].to_numpy().astype("datetime64[D]").astype(np.int64)
        for part, series in self._strips(lazy, block):
            started = time.perf_counter()
            where = part.slices(block.core)
            rows, cols = np.nonzero(block.where[where])
            find = partial(self._values, series, days)
            parts = [
                (rows[start : start + _AT_ONCE], cols[start : start + _AT_ONCE])
                for start in range(0, len(rows), _AT_ONCE)
            ]
            with ThreadPoolExecutor(block.resources.profile.threads or None) as pool:
                for (row, col), values in zip(parts, pool.map(find, parts), strict=True):
                    for name, of_layer in values.items():
                        layers[name][where][row, col] = of_layer
            seconds += time.perf_counter() - started
        return Result(
            layers=block.dataset(self.layers, layers),
            facts=_facts(layers["alert"], block),
            seconds={"compute": seconds},
        )

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """Hectares of each state, and what could not be monitored."""
        seen = facts.get("monitored", 0) + facts.get("too_few", 0)
        if not seen:
            return []
        hectares = ", ".join(
            f"{facts.get(f'{name}_area', 0) / facts['per_hectare']:,.1f} ha {name}"
            for name in _STATES
        )
        lines = [f"alerts    {hectares}"]
        if facts.get("too_few"):
            share = facts["too_few"] / seen
            lines.append(f"too few   {share:.2%} of the pixels have too few observations")
        return lines

    def _strips(
        self, lazy: xr.DataArray, block: Block
    ) -> Iterator[tuple[PixelBox, npt.NDArray[np.float32]]]:
        """Parts of the tile with their series ``(time, band, y, x)`` in memory."""
        if not lazy.sizes["time"]:
            height, width = block.core.shape
            yield block.core, np.empty((0, len(self.bands), height, width), np.float32)
            return
        channels = lazy.sizes["time"] * lazy.sizes["band"]
        parts = strips(block.core, _lattice(), channels)
        resources = block.resources
        loaded = composite_strips(
            {"series": lazy}, block.around, parts, resources.profile.threads or None,
            resources.meter,
        )  # fmt: skip
        with STRIPS.lend(strip_bytes(block.core, _lattice(), channels)), closing(loaded):
            for part in parts:
                yield part, next(loaded)["series"].to_numpy()

    def _values(
        self,
        series: npt.NDArray[np.float32],
        days: npt.NDArray[np.int64],
        where: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    ) -> dict[str, npt.NDArray[Any]]:
        """Layers of some pixels of a strip ``(time, band, y, x)``."""
        pixels = series[:, :, where[0], where[1]]  # (T, B, P)
        if self.is_index:
            channels = np.moveaxis(pixels, 1, -1).reshape(-1, len(self.bands))
            index = spectral_index(self.wanted, self.bands).compute(channels)
            values = index.reshape(len(pixels), -1).astype(np.float64)
        else:
            values = pixels[:, self.bands.index(self.wanted)].astype(np.float64)
        if self.limits is not None:
            values[(values < self.limits[0]) | (values > self.limits[1])] = np.nan
        return break_values(find_breaks(values, days, self.rule))


def _facts(alert: npt.NDArray[np.uint8], block: Block) -> dict[str, int]:
    """Pixels of each state, and their areas in whole units, whose sums are exact."""
    inside = alert[block.where]
    units = units_per_hectare(block.grid)
    areas = np.broadcast_to(pixel_areas(block.grid, block.core), alert.shape)
    whole = np.rint(np.nan_to_num(areas) * (units / 10_000)).astype(np.int64)
    facts = {
        "monitored": int((inside != NODATA).sum()),
        "too_few": int((inside == NODATA).sum()),
        "per_hectare": units,
    }
    for name, value in _STATES.items():
        of_state = block.where & (alert == value)
        facts[name] = int(of_state.sum())
        facts[f"{name}_area"] = int(whole[of_state].sum())
    return facts


def _lattice() -> Lattice:
    return Lattice(_ROWS, 0)
