"""Which parts of which tiles are one polygon: by what they touch, without geometry."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.once import once
from rsscale.polygons.contacts import connected
from rsscale.polygons.part_rows import part_schema
from rsscale.polygons.parts import rows_and_columns
from rsscale.steps.base import ALL, Cost, Gather, Resources
from rsscale.steps.rows import rows_dataset
from rsscale.steps.sources import GatheredRows
from rsscale.store.table_store import TableStore

if TYPE_CHECKING:
    import pyarrow as pa


_COLUMNS = ("polygon", "place", "ix", "iy", "hash")
_NONE: dict[str, npt.NDArray[Any]] = {name: np.empty(0, np.int64) for name in _COLUMNS}


@lru_cache(maxsize=1)
def member_schema() -> pa.Schema:
    """The columns of :class:`PolygonTotal`."""
    import pyarrow as pa

    return pa.schema(
        [
            ("span", pa.int32()),
            ("polygon", pa.int64()),
            ("place", pa.int64()),
            ("ix", pa.int32()),
            ("iy", pa.int32()),
            ("hash", pa.int64()),
        ]
    )


@dataclass(kw_only=True)
class PolygonTotal(Gather):
    """For each part that touches another tile's: the first pixel of the polygon that it is of.

    ``span`` is the number of the span, ``polygon`` that first pixel, ``place`` the part's own,
    ``ix`` and ``iy`` the tile that has it. It grows with the edges of tiles, not with their area.

    Attributes
    ----------
    times : tuple of str
        Spans.
    """

    kind: ClassVar[str] = "polygons"
    version: ClassVar[str] = "1"

    step: str
    of: str
    times: tuple[str, ...]
    schema: pa.Schema = field(default_factory=member_schema)

    def parameters(self) -> Mapping[str, Any]:
        """The spans."""
        return {"times": self.times}

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """Join one span after the other."""
        import pyarrow as pa

        tables = [
            members([(key, table) for key, table in of_span], self.times.index(span))
            for span, of_span in groupby(parts, key=lambda part: part[0].span)
        ]
        return pa.concat_tables([self.schema.empty_table(), *tables])


def members(tables: Sequence[tuple[TileKey, pa.Table]], span: int) -> pa.Table:
    """The rows of one span: of all contacts those of the same number join two parts."""
    import pyarrow as pa

    found = rows_dataset(tables, tables[0][1].schema)
    place, first, part = np.unique(found["place"].values, return_index=True, return_inverse=True)
    component, _ = connected(found["contact"].values, part, len(place))
    # Places are in order: the first part of a component has its first pixel.
    polygon = place[np.unique(component, return_index=True)[1]][component]
    order = np.lexsort((place, polygon))
    columns = {
        "span": np.full(len(place), span, np.int32),
        "polygon": polygon[order],
        "place": place[order],
        **{name: found[name].values[first][order] for name in ("ix", "iy", "hash")},
    }
    return pa.table(columns, schema=member_schema())


@dataclass(frozen=True)
class MemberRows:
    """Parts of all tiles that make the polygons whose first pixel a box holds.

    Reads as a Dataset along ``row`` with the columns of the parts and ``polygon``, the first pixel
    of the polygon that each is of. Tiles are read one after the other.

    Attributes
    ----------
    gathered : GatheredRows
        Of :class:`PolygonTotal`.
    parts : str
        The step that wrote the parts.
    times : tuple of str
        Spans.
    """

    gathered: GatheredRows
    parts: str
    times: tuple[str, ...]

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """The rows, in memory."""
        del resources
        mine = self._members(box, key)
        store = TableStore(self.gathered.storage, self.parts, part_schema())
        tiles = np.unique(np.stack([mine["iy"], mine["ix"]], axis=1), axis=0)
        tables = []
        for iy, ix in tiles.tolist():
            tile = TileKey(self.parts, key.span, ix, iy)
            table = store.read(tile)
            wanted = mine["place"][(mine["ix"] == ix) & (mine["iy"] == iy)]
            tables.append((tile, table.filter(np.isin(table["place"].to_numpy(), wanted))))
        rows = rows_dataset(tables, part_schema())
        order = np.argsort(mine["place"])
        at = np.searchsorted(mine["place"], rows["place"].values, sorter=order)
        return rows.assign(polygon=("row", mine["polygon"][order][at]))

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Hash of those rows of the gather, which have one of each part.

        Raises
        ------
        NotReadyError
            When the gather is not done.
        """
        mine = self._members(box, key)
        total = hashlib.sha256()
        for name in _COLUMNS:
            total.update(np.ascontiguousarray(mine[name]).tobytes())
        return total.hexdigest()[:16]

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """The step's name."""
        del box, key
        return [self.parts]

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """Nothing: few polygons leave their tile."""
        del box, key
        return Cost()

    def _members(self, box: PixelBox, key: TileKey) -> dict[str, npt.NDArray[Any]]:
        """Rows of the gather whose polygon begins in the box."""
        url, step = self.gathered.storage.url, self.gathered.step.step
        table = _Table(f"{url}/{step}", self.gathered.digest(box, key), self.gathered)
        of_span = _by_span(table).get(self.times.index(key.span), _NONE)
        # In order of polygons, and so of their rows.
        first, last = np.searchsorted(of_span["polygon"], [box.row0 << 32, box.row1 << 32])
        _, col = rows_and_columns(of_span["polygon"][first:last])
        mine = first + np.flatnonzero((col >= box.col0) & (col < box.col1))
        return {name: column[mine] for name, column in of_span.items()}


@dataclass(frozen=True)
class _Table:
    """The table of a gather as it is by its digest, to be read once in a process."""

    url: str
    digest: str
    gathered: GatheredRows = field(compare=False)


@once(maxsize=2)
def _by_span(table: _Table) -> dict[int, dict[str, npt.NDArray[Any]]]:
    """Columns of the table by span."""
    gathered = table.gathered
    store = TableStore(gathered.storage, gathered.step.step, gathered.step.schema)
    found = store.read(TileKey(gathered.step.step, ALL, 0, 0))
    rows = {name: found[name].to_numpy() for name in found.column_names}
    return {
        int(span): {name: column[rows["span"] == span] for name, column in rows.items()}
        for span in np.unique(rows["span"])
    }
