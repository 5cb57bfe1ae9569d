"""Rows of an earlier pass as something to read: those of the tiles that a box touches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import shapely
import xarray as xr

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.steps.base import Cost, Gather, NotReadyError, Pass, Resources
from rsscale.steps.block import Unstored
from rsscale.steps.evaluate import evaluate
from rsscale.store.ledger import LedgerReader
from rsscale.store.storage import Storage
from rsscale.store.table_store import TABLE, TableStore

if TYPE_CHECKING:
    import pyarrow as pa

_ROW_BYTES = 1000
# Of a tile whose rows are read: nobody knows before how many there are.
_ROWS_OF_A_TILE = 1000


@dataclass(frozen=True)
class StoredRows:
    """The rows of an earlier pass, of all tiles that a box touches.

    Reads as a Dataset in memory with a variable for each column, along ``row``, and the tile of
    each row as ``ix`` and ``iy``, int32; in order of the tiles, and in each as they are stored.

    Attributes
    ----------
    step : Pass
        Writes rows.
    grid : Grid
    extent : PixelBox
        All tiles of the run.
    shape : shapely geometry
        The area in the grid's CRS: tiles outside are never computed.
    storage : Storage
        The run folder.
    ledger : LedgerReader
    at : str
        A fixed span; the key's own when empty.
    """

    step: Pass
    grid: Grid
    extent: PixelBox
    shape: shapely.Geometry
    storage: Storage
    ledger: LedgerReader
    at: str = ""

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """The rows, in memory."""
        del resources
        store = TableStore(self.storage, self.step.step, _schema(self.step))
        keys = list(self._keys(box, key))
        return rows_dataset([(each, store.read(each)) for each in keys], _schema(self.step))

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Hash of what the ledger says of the rows of each tile that the box touches.

        Raises
        ------
        NotReadyError
            When a tile is not done.
        """
        total = hashlib.sha256()
        for each in self._keys(box, key):
            entry = self.ledger.read(each)
            if entry is None:
                raise NotReadyError(f"it reads the rows of tile {each}, which is not done")
            total.update(f"{each.span} {each.tile} {entry.digests.get(TABLE, '')}\n".encode())
        return total.hexdigest()[:16]

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """The step's name and span."""
        del box
        return [f"{self.step.step}/{self.at or key.span}"]

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """Bytes of the rows, about, and the tables that are read."""
        tables = sum(1 for _ in self._keys(box, key))
        return Cost(tables * _ROWS_OF_A_TILE * _ROW_BYTES, tables)

    def _keys(self, box: PixelBox, key: TileKey) -> Iterator[TileKey]:
        for tile in (box & self.extent).blocks(self.grid.tile):
            if self.grid.overlaps(self.shape, tile):
                index = self.grid.tile_of(tile)
                yield TileKey(self.step.step, self.at or key.span, index.ix, index.iy)


@dataclass(frozen=True)
class ComputedRows(Unstored):
    """The rows of an earlier pass over a box that no run has computed, for a preview.

    Attributes
    ----------
    step : Pass
    grid : Grid
    shape : shapely geometry
        The area in the grid's CRS.
    at : str
        A fixed span; the key's own when empty.
    computed : dict
        Rows by key and box; shared by all that reads rows in one preview.
    """

    step: Pass
    grid: Grid
    shape: shapely.Geometry
    at: str = ""
    computed: dict[tuple[TileKey, PixelBox], pa.Table] = field(default_factory=dict)

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """The rows of the box as if it were one tile, in memory."""
        tile, table = self.table(box, key, resources)
        return rows_dataset([(tile, table)], _schema(self.step))

    def table(self, box: PixelBox, key: TileKey, resources: Resources) -> tuple[TileKey, pa.Table]:
        """The rows of the box, and of what lies beside it, as those of one tile; computed once."""
        own = Resources(resources.profile, resources.meter, resources.unreadable)
        tile = TileKey(self.step.step, self.at or key.span, 0, 0)
        around = box.pad(self.step.beside)
        if (tile, around) not in self.computed:
            results = evaluate(
                self.step, tile, around, grid=self.grid, shape=self.shape, resources=own
            ).result.table
            empty = _schema(self.step).empty_table()
            self.computed[tile, around] = empty if results is None else results
        return tile, self.computed[tile, around]


@dataclass(frozen=True)
class FoldedRows(Unstored):
    """The table of a gather over the rows of a box alone, for a preview.

    Attributes
    ----------
    step : Gather
    rows : callable
        Gives the rows of the pass that is folded, which may not be open yet.
    """

    step: Gather
    rows: Callable[[], ComputedRows]

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """The folded rows of the box, in memory."""
        table = self.step.fold([self.rows().table(box, key, resources)])
        return xr.Dataset({name: ("row", table[name].to_numpy()) for name in table.column_names})


def rows_dataset(tables: Sequence[tuple[TileKey, pa.Table]], schema: pa.Schema) -> xr.Dataset:
    """Tables of tiles as one Dataset along ``row``, with the tile of each row.

    Parameters
    ----------
    tables : sequence of (TileKey, pyarrow.Table)
    schema : pyarrow.Schema
        Of each of them; the columns of no table at all.
    """
    import pyarrow as pa

    whole = pa.concat_tables([schema.empty_table(), *(table for _, table in tables)])
    counts = [table.num_rows for _, table in tables]
    columns = {
        name: ("row", whole[name].to_numpy(zero_copy_only=False)) for name in whole.column_names
    }
    places = {
        name: ("row", np.repeat(np.array([getattr(k, name) for k, _ in tables], np.int32), counts))
        for name in ("ix", "iy")
    }
    return xr.Dataset({**columns, **places})


def _schema(step: Pass) -> pa.Schema:
    schema: pa.Schema = step.schema
    return schema
