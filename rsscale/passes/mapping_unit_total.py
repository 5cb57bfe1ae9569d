"""What tiles left undecided of a minimum mapping unit, decided from all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from rsscale.layers import TileKey
from rsscale.patches.elimination import LeastUnits
from rsscale.patches.parts import COLUMNS, decide_rest
from rsscale.patches.pieces import Connectivity, rows_and_columns
from rsscale.steps.base import Gather
from rsscale.steps.placed_rows import ROW_BAND, SPAN

if TYPE_CHECKING:
    import pyarrow as pa


def _schema() -> pa.Schema:
    import pyarrow as pa

    columns = {SPAN: "string", "x": "int32", "y": "int32", "place": "int64", "class": "int32"}
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])


def _columns(
    span: str, places: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """The rows of one span, so that those of neighbours are near."""
    row, col = rows_and_columns(places)
    order = np.lexsort((col, row // ROW_BAND))
    return {
        SPAN: [span] * len(places),
        "x": col[order].astype(np.int32),
        "y": row[order].astype(np.int32),
        "place": places[order],
        "class": classes[order].astype(np.int32),
    }


@dataclass(kw_only=True)
class MappingUnitTotal(Gather):
    """Pieces at the edges of tiles whose class is another one than their tile gave them.

    ``place`` is the first pixel of the piece in its tile, ``x`` and ``y`` its column and row, and
    ``class`` its last class. It grows with the edges of tiles, not with their area, and no tile
    reads more of it than its own pieces.

    Attributes
    ----------
    least : LeastUnits
    connectivity : 4 or 8
    times : tuple of str
        Spans.
    """

    kind: ClassVar[str] = "minimum-mapping-unit"
    version: ClassVar[str] = "2"
    place: ClassVar[tuple[str, str]] = ("x", "y")
    instead: str = "preview the step that it is of"

    step: str
    of: str
    least: LeastUnits
    connectivity: Connectivity
    times: tuple[str, ...]
    schema: pa.Schema = field(default_factory=_schema)

    def parameters(self) -> Mapping[str, Any]:
        """Least areas, connectivity and spans."""
        units = {str(value): area for value, area in self.least.units.items()}
        return {
            "units": units,
            "other": self.least.other,
            "connectivity": self.connectivity,
            "times": self.times,
        }

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """Decide one span after the other, in the order of places."""
        import pyarrow as pa

        tables = [
            pa.table(_columns(span, places, classes), schema=self.schema)
            for span, places, classes in self._by_span(parts)
        ]
        return pa.concat_tables(tables) if tables else self.schema.empty_table()

    def _by_span(
        self, parts: Iterable[tuple[TileKey, pa.Table]]
    ) -> Iterator[tuple[str, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Spans, which follow each other, with places and classes."""
        for span, of_span in groupby(parts, key=lambda part: part[0].span):
            rows = [{name: table[name].to_numpy() for name in COLUMNS} for _, table in of_span]
            places, classes = decide_rest(rows, least=self.least, connectivity=self.connectivity)
            yield span, places, classes
