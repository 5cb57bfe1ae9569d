"""Draw a sample: a gather plans cells, a pass finds pixels tile by tile, a gather ranks them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from rsscale.errors import RsscaleError
from rsscale.layers import TileKey
from rsscale.sample_passes.cells import (
    Cell,
    cells_of_lattice,
    cells_of_strata,
    cells_of_units,
    choose_units,
    systematic_starts,
)
from rsscale.sample_passes.counting_pass import PopulationPass, summed
from rsscale.sample_passes.population import UNMAPPED, Codes, Population, block_of
from rsscale.sample_passes.random_numbers import pixel_numbers
from rsscale.sample_passes.sample_options import SampleOptions
from rsscale.sample_passes.sample_size import Expectation, needed_size, sizes_of
from rsscale.sample_passes.strata import Strata, strata_of
from rsscale.steps.base import Block, Gather, Result

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

CELLS = "cells"
"""The source of what the gather planned."""
_KEYS = ["code", "block_row", "block_col"]


@dataclass(kw_only=True)
class CellPlan(Gather):
    """What is drawn from each cell: the sizes of strata, or primary units and pixels in them.

    Attributes
    ----------
    population : Population
    options : SampleOptions
    units : int
        Of area, in a hectare.
    """

    kind: ClassVar[str] = "sample-cells"
    version: ClassVar[str] = "1"
    instead: str = "a sample has no preview"
    step: str
    of: str
    schema: pa.Schema
    population: Population
    options: SampleOptions
    units: int

    def parameters(self) -> Mapping[str, Any]:
        """All options; files by their content, in what is folded."""
        names = {str(value): name for value, name in self.population.names.items()}
        left_out = {"regions", "raster"}
        return {"names": names} | self.options.model_dump(mode="json", exclude=left_out)

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """Plan, once all tiles are counted."""
        import pyarrow as pa

        counts = summed(parts, _KEYS)
        by_code = counts.groupby("code", as_index=False)[["pixels", "units"]].sum()
        by_code["hectares"] = by_code.pop("units") / self.units
        strata = strata_of(columns_of(by_code), self.population, self.options)
        expected = Expectation.of(strata, self.population, self.options)
        if self.options.design == "systematic":
            cells = cells_of_lattice(strata, self.options)
        elif self.options.design == "two-stage":
            cells = self._two_stage(strata, counts, needed_size(expected, self.options))
        else:
            cells = cells_of_strata(strata, sizes_of(expected, strata, self.options))
        return pa.Table.from_pylist([asdict(cell) for cell in cells], schema=self.schema)

    def _two_stage(self, strata: Strata, counts: pd.DataFrame, size: int) -> list[Cell]:
        kept = [code for stratum in strata.all for code in stratum.codes]
        counts = counts[counts["code"].isin(kept)]
        units = counts.groupby(_KEYS[1:], as_index=False)[["pixels"]].sum()
        draws = self.options.blocks or max(
            math.ceil(size / self._units_of_block(strata, counts)), 2
        )
        chosen = choose_units(columns_of(units), self.options, draws)
        return cells_of_units(strata, chosen, columns_of(counts), self.options)

    def _units_of_block(self, strata: Strata, counts: pd.DataFrame) -> float:
        """How many a primary unit gives on average: some of each stratum in it."""
        stratum_of = {
            code: number for number, stratum in enumerate(strata.all) for code in stratum.codes
        }
        places = [counts["block_row"], counts["block_col"]]
        pixels = counts.groupby([*places, counts["code"].map(stratum_of)])["pixels"].sum()
        units = pixels.clip(upper=self.options.per_block).groupby(level=[0, 1]).sum()
        if self.options.chosen == "size":  # large ones are chosen more often
            weights = pixels.groupby(level=[0, 1]).sum()
            return float((units * weights).sum() / weights.sum())
        return float(units.mean())


@dataclass(repr=False, kw_only=True)
class DrawingPass(PopulationPass):
    """Rows of a tile: pixels that may be drawn, each with its cell and its random number.

    Attributes
    ----------
    options : SampleOptions
    """

    kind: ClassVar[str] = "sample-pixels"
    version: ClassVar[str] = "1"
    options: SampleOptions

    def parameters(self) -> Mapping[str, Any]:
        """Besides what codes are made of, the seed; the rest is in what the gather planned."""
        given = {name: getattr(self.options, name) for name in ("seed", "design", "starts")}
        return {**super().parameters(), **given}

    def run(self, block: Block) -> Result:
        """Find the pixels of one tile."""
        import pyarrow as pa

        cells = block.inputs[CELLS].to_dataframe().reset_index(drop=True)
        find = self._on_lattice if self.options.design == "systematic" else self._below
        drawn = find(cells, block) if len(cells) else None
        if drawn is None:
            return Result(table=self.schema.empty_table())
        drawn = drawn.assign(row=drawn["row"] + block.core.row0, col=drawn["col"] + block.core.col0)
        return Result(table=pa.Table.from_pandas(drawn, schema=self.schema, preserve_index=False))

    def _below(self, cells: pd.DataFrame, block: Block) -> pd.DataFrame | None:
        """Pixels whose numbers lie below the threshold of their cell."""
        if self.lattice is not None and not _touches(cells, block, self.lattice):
            return None
        numbers = pixel_numbers(self.options.seed, block.core)
        places = np.nonzero((numbers <= cells["threshold"].max()) & block.where)
        positions = self._in_cells(cells, block, places)
        positions = positions.assign(number=numbers[positions["row"], positions["col"]])
        return positions[positions["number"] <= positions["threshold"]]

    def _on_lattice(self, cells: pd.DataFrame, block: Block) -> pd.DataFrame:
        """Pixels of the lattices of all starts; a start's number is that of its pixels."""
        import pandas as pd

        spacing = int(cells["take"].iloc[0]), int(cells["threshold"].iloc[0])
        starts = systematic_starts(self.options.seed, self.options.starts, spacing)
        units = []
        for number, (row, col) in enumerate(starts):
            rows = np.arange((row - block.core.row0) % spacing[0], block.core.shape[0], spacing[0])
            cols = np.arange((col - block.core.col0) % spacing[1], block.core.shape[1], spacing[1])
            places = np.meshgrid(rows, cols, indexing="ij")
            of_start = self._in_cells(cells, block, (places[0].ravel(), places[1].ravel()))
            units.append(of_start.assign(number=np.uint64(number)))
        return pd.concat(units)

    def _in_cells(
        self, cells: pd.DataFrame, block: Block, places: tuple[npt.NDArray[np.intp], ...]
    ) -> pd.DataFrame:
        """Some pixels of a tile with the cell of each; those of none are left out."""
        import pandas as pd

        rows, cols = places
        codes: Codes = self.population.codes(block)[rows, cols]
        block_rows, block_cols = np.zeros((2, len(rows)), np.int64)
        if self.lattice is not None:
            of_rows, of_cols = block_of(block.core, self.lattice)
            block_rows, block_cols = of_rows[rows], of_cols[cols]
        columns = (codes, block_rows, block_cols, rows, cols)
        names = (*_KEYS, "row", "col")
        pixels = pd.DataFrame(dict(zip(names, columns, strict=True)))
        return pixels[pixels["code"] != UNMAPPED].merge(cells, on=_KEYS)


@dataclass(kw_only=True)
class Drawn(Gather):
    """The sample: one row a unit, by cell and rank of its random number.

    Attributes
    ----------
    is_systematic : bool
        Whether all that was found is drawn.
    """

    kind: ClassVar[str] = "sample"
    version: ClassVar[str] = "1"
    step: str
    of: str
    schema: pa.Schema
    is_systematic: bool

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """The smallest numbers of each cell, as many as are to be drawn."""
        import pyarrow as pa

        rows = pa.concat_tables([table for _, table in parts]).to_pandas()
        rows = rows.sort_values(["cell", "number", "row", "col"], ignore_index=True)
        if self.is_systematic:
            rows["rank"] = rows["number"].astype(np.int64)
        else:
            rows["rank"] = rows.groupby("cell").cumcount()
            rows = rows[rows["rank"] < rows["take"]]
            counts = rows.groupby("cell").size()
            short = counts < rows.groupby("cell")["take"].first()
            if short.any():
                raise RsscaleError(
                    f"cell {short.idxmax()} of the sample has too few pixels below its threshold; "
                    "draw with another seed"
                )
        return pa.Table.from_pandas(rows, schema=self.schema, preserve_index=False)


def columns_of(frame: pd.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """A table as arrays by name."""
    return {str(name): frame[name].to_numpy() for name in frame.columns}


def _touches(cells: pd.DataFrame, block: Block, lattice: tuple[int, int]) -> bool:
    """Whether a tile holds a part of a primary unit that is drawn."""
    rows, cols = block_of(block.core, lattice)
    in_rows = cells["block_row"].between(rows[0], rows[-1])
    return bool((in_rows & cells["block_col"].between(cols[0], cols[-1])).any())


def cell_schema() -> pa.Schema:
    """Columns of cells: one row for each code of a cell."""
    import pyarrow as pa

    whole = (*_KEYS, "cell", "pixels", "take")
    return pa.schema(
        [
            *((name, pa.int64()) for name in whole),
            ("threshold", pa.uint64()), ("probability", pa.float64()), ("hits", pa.string()),
            ("of_units", pa.int64()),
        ]
    )  # fmt: skip


def pixel_schema() -> pa.Schema:
    """Columns of pixels that may be drawn."""
    import pyarrow as pa

    whole = ("row", "col", *_KEYS, "cell", "pixels", "take")
    return pa.schema(
        [
            *((name, pa.int64()) for name in whole),
            ("number", pa.uint64()), ("probability", pa.float64()), ("hits", pa.string()),
        ]
    )  # fmt: skip


def drawn_schema() -> pa.Schema:
    """Columns of the sample."""
    import pyarrow as pa

    whole = ("row", "col", *_KEYS, "cell", "pixels", "take", "rank")
    return pa.schema(
        [
            *((name, pa.int64()) for name in whole),
            ("probability", pa.float64()), ("hits", pa.string()),
        ]
    )  # fmt: skip
