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
from rsscale.patches.pieces import Connectivity
from rsscale.steps.base import Gather

if TYPE_CHECKING:
    import pyarrow as pa


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([("span", pa.int32()), ("place", pa.int64()), ("class", pa.int32())])


@dataclass(kw_only=True)
class MappingUnitTotal(Gather):
    """Pieces at the edges of tiles whose class is another one than their tile gave them.

    ``span`` is the number of the span, ``place`` the first pixel of the piece in its tile, and
    ``class`` its last class. It grows with the edges of tiles, not with their area.

    Attributes
    ----------
    least : LeastUnits
    connectivity : 4 or 8
    times : tuple of str
        Spans.
    """

    kind: ClassVar[str] = "minimum-mapping-unit"
    version: ClassVar[str] = "1"
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
            pa.table(
                {
                    "span": np.full(len(places), self.times.index(span)),
                    "place": places,
                    "class": classes,
                }
            ).cast(self.schema)
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
