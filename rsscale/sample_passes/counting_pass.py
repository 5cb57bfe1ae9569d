"""Count the population of a sample: pixels and hectares of each stratum's codes, tile by tile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.layers import TileKey
from rsscale.memory import PROCESS_BYTES
from rsscale.sample_passes.population import UNMAPPED, Population, block_of
from rsscale.steps.base import Block, Cost, Gather, PartPass, Result, Source

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# Of a pixel: codes, areas, random numbers, and what they are numbered and sorted with.
_WORKING_BYTES = 120
# Rows of tiles that are summed at once.
_ROWS = 1_000_000
_KEYS = ["code", "block_row", "block_col"]


@dataclass(repr=False, kw_only=True)
class PopulationPass(PartPass):
    """What the passes of a sample have in common: they look at the codes of a population.

    Attributes
    ----------
    population : Population
    span : str
        ``"2024"`` or ``"2023-2024"``.
    files : tuple of str
        Digests of the files of regions and raster.
    lattice : (int, int), optional
        Rows and columns of pixels of a primary unit, where there are two stages.
    """

    step: str
    sources: Mapping[str, Source]
    schema: pa.Schema
    population: Population
    span: str
    files: tuple[str, ...]
    lattice: tuple[int, int] | None

    def spans(self) -> Sequence[str]:
        """The one period, or pair of periods."""
        return (self.span,)

    def parameters(self) -> Mapping[str, Any]:
        """What codes are made of, and primary units; :meth:`digest` has the files."""
        population = self.population
        return {
            "places": population.places,
            "regions": population.regions.ids if population.regions else (),
            "raster": None if population.raster is None else _codes(population),
            "lattice": self.lattice,
        }

    def digest(self, span: str) -> str:
        """Hashes of the files."""
        del span
        return " ".join(self.files)

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side."""
        del profile
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + tile**2 * _WORKING_BYTES))


@dataclass(repr=False, kw_only=True)
class CountingPass(PopulationPass):
    """Rows of a tile: ``code``, ``block_row``, ``block_col``, ``pixels`` and ``units`` of area.

    Pixels of the area without a class count with the code -1, in no primary unit.
    """

    kind: ClassVar[str] = "sample-counts"
    version: ClassVar[str] = "1"

    def run(self, block: Block) -> Result:
        """Count one tile."""
        import pandas as pd
        import pyarrow as pa

        codes = self.population.codes(block)
        areas = self.population.areas(block)
        rows, cols = np.zeros((2, 1), np.int64)
        if self.lattice is not None:
            rows, cols = block_of(block.core, self.lattice)
        inside = block.where
        frame = pd.DataFrame(
            {
                "code": codes[inside],
                "block_row": np.broadcast_to(rows[:, None], codes.shape)[inside],
                "block_col": np.broadcast_to(cols[None, :], codes.shape)[inside],
                "units": areas[inside],
            }
        )
        frame.loc[frame["code"] == UNMAPPED, _KEYS[1:]] = 0
        sums = frame.groupby(_KEYS, as_index=False).agg(
            pixels=("units", "size"), units=("units", "sum")
        )
        return Result(table=pa.Table.from_pandas(sums, schema=self.schema, preserve_index=False))


@dataclass(kw_only=True)
class CodeTotals(Gather):
    """Pixels and hectares of each code, whatever the primary unit; one row each.

    Attributes
    ----------
    units : int
        Of area, in a hectare.
    """

    kind: ClassVar[str] = "sample-strata"
    version: ClassVar[str] = "1"
    step: str
    of: str
    schema: pa.Schema
    units: int

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """Sums by code, in order."""
        import pyarrow as pa

        total = summed(parts, ["code"])
        total["hectares"] = total.pop("units") / self.units
        return pa.Table.from_pandas(total, schema=self.schema, preserve_index=False)


def summed(parts: Iterable[tuple[TileKey, pa.Table]], by: list[str]) -> pd.DataFrame:
    """Pixels and units of all tiles by some of their columns, sorted by these."""
    import pandas as pd

    nothing = dict.fromkeys([*by, "pixels", "units"], pd.Series(dtype=np.int64))
    waiting, rows = [pd.DataFrame(nothing)], 0
    for _, table in parts:
        waiting.append(table.to_pandas())
        rows += table.num_rows
        if rows > _ROWS:
            waiting, rows = [_sums(waiting, by)], 0
    return _sums(waiting, by)


def _sums(frames: list[pd.DataFrame], by: list[str]) -> pd.DataFrame:
    import pandas as pd

    rows = pd.concat([frame[[*by, "pixels", "units"]] for frame in frames])
    return rows.groupby(by, as_index=False).sum()


def _codes(population: Population) -> Any:
    codes = population.raster.codes if population.raster else None
    return sorted(codes.items()) if codes else "as they are"


def count_schema() -> pa.Schema:
    """Columns of a tile's counts."""
    import pyarrow as pa

    return pa.schema([(name, pa.int64()) for name in (*_KEYS, "pixels", "units")])


def total_schema() -> pa.Schema:
    """Columns of the counts of all tiles."""
    import pyarrow as pa

    return pa.schema([("code", pa.int64()), ("pixels", pa.int64()), ("hectares", pa.float64())])
