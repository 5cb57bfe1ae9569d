"""The rows that a tile gives for the gates: its condition, counts of values, segments of lines."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from rsscale.gate_rules.seam_counts import SUMS

if TYPE_CHECKING:
    import pyarrow as pa

TILE, COUNT, FACT, SEGMENT = "tile", "count", "fact", "segment"
"""What a row is: see :func:`rows_schema`."""

RING = "ring"
"""Counts of the pixels just outside a tile of one class: key 0 has that class, 1 another."""


CONFIDENCE, OBSERVATIONS, APPLICABLE = "confidence", "observations", "applicable"
"""Names of the layers that are counted beside the classes."""


class Condition(IntEnum):
    """Condition of a stored tile."""

    SOUND = 0
    NOT_DONE = 1
    LOST = 2
    CHANGED = 3
    UNREADABLE = 4


READABLE = (Condition.SOUND, Condition.CHANGED)
"""Conditions of a tile whose pixels are looked at."""


def rows_schema() -> pa.Schema:
    """Columns of the rows of a tile.

    ``tile``: ``key`` is its condition, ``pixels`` those in the area. ``count``: ``pixels`` of the
    layer ``name`` that hold the value ``key``. ``fact``: ``pixels`` is what was counted as ``name``
    when the imagery of the tile was read. ``segment``: of a line of the family ``name``,
    horizontal where ``key`` is 1; ``row``, ``col``, ``owned`` and sums as
    :class:`rsscale.gate_rules.seam_counts.Segments` has them.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("what", pa.string()), ("span", pa.string()), ("name", pa.string()),
            ("key", pa.int64()), ("pixels", pa.int64()), ("row", pa.int64()),
            ("col", pa.int64()), ("owned", pa.bool_()), *((name, pa.int64()) for name in SUMS),
        ]
    )  # fmt: skip
