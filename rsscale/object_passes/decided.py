"""What tiles leave open of the objects near their lines, decided from all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from rsscale.layers import TileKey
from rsscale.object_passes.candidate_rows import (
    PLACE,
    candidates_of,
    columns_of,
    decided_schema,
    decided_table,
)
from rsscale.objects.deciding import Rules, decide_rest
from rsscale.steps.base import Gather

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(kw_only=True)
class DecidedObjects(Gather):
    """Objects that no tile could decide by itself, each once; it grows with the tiles' edges.

    It sees the rows that tiles share, never imagery: see :mod:`rsscale.objects.deciding`.

    Attributes
    ----------
    strides : mapping of span to int
        Of each span's windows.
    rules : Rules
    """

    kind: ClassVar[str] = "detect"
    version: ClassVar[str] = "1"
    previews: ClassVar[bool] = True
    place: ClassVar[tuple[str, str]] = PLACE

    step: str
    of: str
    strides: Mapping[str, int]
    rules: Rules
    schema: pa.Schema = field(default_factory=decided_schema)

    def parameters(self) -> Mapping[str, Any]:
        """Strides by span, and when two are one object."""
        rules = {"iou": self.rules.iou, "agnostic": self.rules.agnostic}
        return {"strides": dict(self.strides), **rules}

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """Decide one span after the other."""
        import pyarrow as pa
        import pyarrow.compute as pc

        tables = [self.schema.empty_table()]
        for span, of_span in groupby(parts, key=lambda part: part[0].span):
            shared = [table.filter(pc.field("shared")) for _, table in of_span]
            rows = [candidates_of(columns_of(table)) for table in shared if table.num_rows]
            objects = decide_rest(rows, self.strides[span], self.rules)
            tables.append(decided_table(objects, span))
        return pa.concat_tables(tables).combine_chunks()
