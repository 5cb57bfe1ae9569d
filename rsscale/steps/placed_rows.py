"""Rows of a gather as something to read: all of them, or those of a box where they have places."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.decorators.once import once
from rsscale.errors import RecipeError
from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.steps.base import ALL, Cost, Gather, NotReadyError, Resources
from rsscale.steps.block import Unstored
from rsscale.store.ledger import LedgerReader
from rsscale.store.storage import Storage
from rsscale.store.table_store import StoredBytes, TableStore

if TYPE_CHECKING:
    import pyarrow as pa

SPAN = "span"
"""A column of this name says which span a row is of: a tile is given those of its own."""
ROW_BAND = 1024
"""Rows are stored in bands of this height, px, from west to east, so that neighbours are near."""
# What a process keeps of such tables, whatever their length: footers, and the row groups of the
# tiles that were read last, which their neighbours read too.
_FOOTERS, _GROUPS = 4, 16

_Corners = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PlacedTable:
    """The table of a gather as it is by its digest; read by boxes, never whole.

    Attributes
    ----------
    url : str
        Of the run folder.
    step : str
        The gather.
    digest : str
        Of its table, as the ledger has it.
    place : (str, str)
        Columns of ``x`` and ``y``, in global pixels.
    schema : pyarrow.Schema
    storage : Storage
        The run folder.
    """

    url: str
    step: str
    digest: str
    place: tuple[str, str]
    schema: pa.Schema = field(compare=False)
    storage: Storage = field(compare=False)

    def read(self, box: PixelBox, span: str) -> pa.Table:
        """The rows of a box, of one span where rows have one, in the order that they are stored."""
        import pyarrow as pa
        import pyarrow.compute as pc

        _, low, high = _footer(self)
        lower, upper = np.array([box.col0, box.row0]), np.array([box.col1, box.row1])
        near = np.flatnonzero(((high >= lower) & (low < upper)).all(axis=1))
        groups = [_group(self, int(number)) for number in near]
        table = pa.concat_tables([self.schema.empty_table(), *groups])
        x, y = map(pc.field, self.place)
        inside = (x >= box.col0) & (x < box.col1) & (y >= box.row0) & (y < box.row1)
        if SPAN in self.schema.names:
            inside &= pc.field(SPAN) == span
        return table.filter(inside)

    def digest_of(self, box: PixelBox, span: str) -> str:
        """Hash of these rows: it changes when one of them does, and when none does it does not."""
        rows = self.read(box, span).combine_chunks()
        total = hashlib.sha256(f"{rows.num_rows}".encode())
        for name in rows.column_names:
            values = rows[name].to_numpy()
            plain = values.dtype != object
            total.update(values.tobytes() if plain else repr(values.tolist()).encode())
        return total.hexdigest()[:16]


@dataclass(frozen=True)
class GatheredRows:
    """The one table of an earlier gather: all of it, or the rows of a box where they have places.

    Reads as a Dataset with a variable for each column, along ``row``. A tile depends on the rows
    that it reads: where these have places, what changes elsewhere leaves it as it is.

    Attributes
    ----------
    step : Gather
    storage : Storage
        The run folder.
    ledger : LedgerReader
    """

    step: Gather
    storage: Storage
    ledger: LedgerReader

    @property
    def _key(self) -> TileKey:
        return TileKey(self.step.step, ALL, 0, 0)

    @property
    def _digest(self) -> str:
        entry = self.ledger.read(self._key)
        if entry is None:
            raise NotReadyError(f"it reads the rows of step {self.step.step!r}, which are not done")
        return " ".join(sorted(entry.digests.values()))

    @property
    def _placed(self) -> PlacedTable:
        step, storage = self.step, self.storage
        place = step.place or ("x", "y")
        return PlacedTable(storage.url, step.step, self._digest, place, step.schema, storage)

    def _whole(self) -> pa.Table:
        return TableStore(self.storage, self.step.step, self.step.schema).read(self._key)

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """The rows, in memory."""
        del resources
        table = self._placed.read(box, key.span) if self.step.place else self._whole()
        columns = {name: ("row", table[name].to_numpy()) for name in table.column_names}
        return xr.Dataset(columns)

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Hash of the table, or of the rows of the box where they have places.

        Raises
        ------
        NotReadyError
            When it is not there yet.
        """
        if self.step.place:
            return self._placed.digest_of(box, key.span)
        return self._digest

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """The step's name."""
        del box, key
        return [self.step.step]

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """Nothing: a gathered table is small."""
        del box, key
        return Cost()


@dataclass(frozen=True)
class UngatheredRows(Unstored):
    """The table of a gather where nothing was gathered, in a preview: whoever reads it is refused.

    Other steps of the recipe, which do not read it, have a preview.
    """

    step: Gather

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """Refuse.

        Raises
        ------
        RecipeError
        """
        del box, key, resources
        raise RecipeError(
            f"step {self.step.step!r} is made of all tiles, and a preview has a box alone; "
            f"{self.step.instead}"
        )


@once(maxsize=_FOOTERS)
def _footer(table: PlacedTable) -> tuple[Any, _Corners, _Corners]:
    """The footer of a table's file, and the lowest and highest place of each of its row groups."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(_opened(table)) as file:
        metadata = file.metadata
    low = np.full((metadata.num_row_groups, 2), -np.inf)
    high = np.full((metadata.num_row_groups, 2), np.inf)
    columns = {metadata.row_group(0).column(n).path_in_schema: n
               for n in range(metadata.num_columns)} if metadata.num_row_groups else {}  # fmt: skip
    for number in range(metadata.num_row_groups):
        for axis, name in enumerate(table.place):
            known = metadata.row_group(number).column(columns[name]).statistics
            if known is not None and known.has_min_max:
                low[number, axis], high[number, axis] = known.min, known.max
    return metadata, low, high


@once(maxsize=_GROUPS)
def _group(table: PlacedTable, number: int) -> pa.Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(_opened(table), metadata=_footer(table)[0], pre_buffer=True) as file:
        return file.read_row_group(number)


def _opened(table: PlacedTable) -> Any:
    import pyarrow as pa

    store = TableStore(table.storage, table.step, table.schema)
    name = store.name(TileKey(table.step, ALL, 0, 0))
    return pa.PythonFile(StoredBytes(table.storage, name), mode="r")
