"""Which parts of which tiles are one polygon: by what they touch, without geometry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import xarray as xr

from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.patches.pieces import rows_and_columns
from rsscale.polygons.contacts import connected
from rsscale.polygons.part_rows import part_schema
from rsscale.steps.base import Cost, Gather, Resources
from rsscale.steps.placed_rows import ROW_BAND, SPAN, GatheredRows
from rsscale.steps.rows import rows_dataset
from rsscale.store.table_store import TableStore

if TYPE_CHECKING:
    import pyarrow as pa


PLACE = ("x", "y")
"""Columns of the first pixel of a part's polygon, in global pixels."""


@lru_cache(maxsize=1)
def member_schema() -> pa.Schema:
    """The columns of :class:`PolygonTotal`."""
    import pyarrow as pa

    return pa.schema(
        [
            (SPAN, pa.string()),
            *((name, pa.int32()) for name in PLACE),
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

    ``polygon`` is that first pixel, ``x`` and ``y`` its column and row, ``place`` the part's own,
    ``ix`` and ``iy`` the tile that has it. It grows with the edges of tiles, not with their area,
    and no tile reads more of it than its own polygons.
    """

    kind: ClassVar[str] = "polygons"
    version: ClassVar[str] = "2"
    place: ClassVar[tuple[str, str]] = PLACE

    step: str
    of: str
    schema: pa.Schema = field(default_factory=member_schema)

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """Join one span after the other."""
        import pyarrow as pa

        tables = [
            members([(key, table) for key, table in of_span], span)
            for span, of_span in groupby(parts, key=lambda part: part[0].span)
        ]
        return pa.concat_tables([self.schema.empty_table(), *tables]).combine_chunks()


def members(tables: Sequence[tuple[TileKey, pa.Table]], span: str) -> pa.Table:
    """The rows of one span: of all contacts those of the same number join two parts."""
    import pyarrow as pa

    rows = rows_dataset(tables, tables[0][1].schema)
    place, first, part = np.unique(rows["place"].values, return_index=True, return_inverse=True)
    component, _ = connected(rows["contact"].values, part, len(place))
    # Places are in order: the first part of a component has its first pixel.
    polygon = place[np.unique(component, return_index=True)[1]][component]
    row, col = rows_and_columns(polygon)
    order = np.lexsort((place, polygon, col, row // ROW_BAND))
    columns = {
        SPAN: [span] * len(place),
        "x": col[order].astype(np.int32),
        "y": row[order].astype(np.int32),
        "polygon": polygon[order],
        "place": place[order],
        **{name: rows[name].values[first][order] for name in ("ix", "iy", "hash")},
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
    """

    gathered: GatheredRows
    parts: str

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """The rows, in memory."""
        rows = self.gathered.read(box, key, resources)
        mine = {name: rows[name].values for name in ("polygon", "place", "ix", "iy")}
        store = TableStore(self.gathered.storage, self.parts, part_schema())
        tiles = np.unique(np.stack([mine["iy"], mine["ix"]], axis=1), axis=0)
        tables = []
        for iy, ix in tiles.tolist():
            tile = TileKey(self.parts, key.span, ix, iy)
            table = store.read(tile)
            wanted = mine["place"][(mine["ix"] == ix) & (mine["iy"] == iy)]
            tables.append((tile, table.filter(np.isin(table["place"].to_numpy(), wanted))))
        parts = rows_dataset(tables, part_schema())
        order = np.argsort(mine["place"])
        at = np.searchsorted(mine["place"], parts["place"].values, sorter=order)
        return parts.assign(polygon=("row", mine["polygon"][order][at]))

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Hash of those rows of the gather, which have one of each part.

        Raises
        ------
        NotReadyError
            When the gather is not done.
        """
        return self.gathered.digest(box, key)

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """The step's name."""
        del box, key
        return [self.parts]

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """Nothing: few polygons leave their tile."""
        del box, key
        return Cost()
