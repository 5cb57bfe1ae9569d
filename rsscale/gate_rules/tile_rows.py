"""The rows of a tile, read back: what the gates look at."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rsscale.gate_rules.rows import COUNT, FACT, READABLE, SEGMENT, TILE, Condition
from rsscale.gate_rules.seam_counts import SUMS
from rsscale.geo.lattice import PixelBox

if TYPE_CHECKING:
    import pyarrow as pa

_SEGMENT_COLUMNS = ("key", "row", "col", "owned", *SUMS)


@dataclass
class TileOfSpan:
    """A tile in one span.

    Attributes
    ----------
    tile : str
        Its name.
    box : PixelBox
    span : str
    condition : Condition
    pixels : int
        In the area.
    counts : mapping of layer to mapping of value to int
        Pixels of the area.
    facts : mapping of str to int
        What was counted when the imagery of the tile was read, as far as gates look at it.
    segments : mapping of family to mapping of column to array
    """

    tile: str
    box: PixelBox
    span: str
    condition: Condition
    pixels: int
    counts: dict[str, dict[int, int]] = field(default_factory=dict)
    facts: dict[str, int] = field(default_factory=dict)
    segments: dict[str, dict[str, npt.NDArray[np.int64]]] = field(default_factory=dict)

    @property
    def is_read(self) -> bool:
        """Whether there is anything to look at."""
        return self.condition in READABLE

    def valid(self, layer: str, nodata: float) -> dict[int, int]:
        """Pixels by value, of those with one."""
        return {v: n for v, n in self.counts.get(layer, {}).items() if v != nodata}


def tile_of_spans(tile: str, box: PixelBox, table: pa.Table) -> list[TileOfSpan]:
    """The rows of a tile, by span, in the order of the spans."""
    columns = {name: np.array(table[name].to_pylist()) for name in ("what", "span", "name")}
    numbers = {name: table[name].to_numpy() for name in ("pixels", *_SEGMENT_COLUMNS)}
    tiles: dict[str, TileOfSpan] = {}
    for row in np.flatnonzero(columns["what"] == TILE):
        span = str(columns["span"][row])
        condition = Condition(int(numbers["key"][row]))
        tiles[span] = TileOfSpan(tile, box, span, condition, int(numbers["pixels"][row]))
    counts: defaultdict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for row in np.flatnonzero(columns["what"] == COUNT):
        place = str(columns["span"][row]), str(columns["name"][row])
        counts[place][int(numbers["key"][row])] = int(numbers["pixels"][row])
    for (span, name), values in counts.items():
        tiles[span].counts[name] = values
    for row in np.flatnonzero(columns["what"] == FACT):
        facts = tiles[str(columns["span"][row])].facts
        facts[str(columns["name"][row])] = int(numbers["pixels"][row])
    is_segment = columns["what"] == SEGMENT
    for span, tile_of_span in tiles.items():
        of_span = is_segment & (columns["span"] == span)
        for family in np.unique(columns["name"][of_span]) if of_span.any() else ():
            chosen = of_span & (columns["name"] == family)
            tile_of_span.segments[str(family)] = {
                name: numbers[name][chosen] for name in _SEGMENT_COLUMNS
            }
    return list(tiles.values())
