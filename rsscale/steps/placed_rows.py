"""Rows of a gather that have places: a tile reads those of its box, and depends on no others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.once import once
from rsscale.steps.base import ALL
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
