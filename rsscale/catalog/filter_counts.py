"""Count the items that pass each filter of a search, to explain an empty result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

from rsscale.catalog.filters import Predicate, SearchFilter
from rsscale.catalog.footprints import ItemDict, footprints
from rsscale.items.interval import item_range
from rsscale.text.wording import counted, date_range

_DATES = ("datetime", "start_datetime", "end_datetime")


class FilterCounts:
    """Filters items and counts them, batch by batch.

    Parameters
    ----------
    filters : SearchFilter

    Attributes
    ----------
    total : int
        How many items came.
    """

    def __init__(self, filters: SearchFilter) -> None:
        self.total = 0
        self._predicates: list[Predicate] = filters.predicates()
        self._passed = [0] * len(self._predicates)
        # What came to a filter that let nothing pass yet: only place and time are remembered.
        self._refused: list[list[ItemDict]] = [[] for _ in self._predicates]

    def keep(self, items: list[ItemDict]) -> list[ItemDict]:
        """The items that pass every filter."""
        self.total += len(items)
        for number, (_, predicate) in enumerate(self._predicates):
            kept = predicate(items)
            self._passed[number] += len(kept)
            if self._passed[number]:
                self._refused[number].clear()
            else:
                self._refused[number] += map(_slim, items)
            items = kept
        return items

    def describe(self) -> list[str]:
        """Counts after each filter in words, until one left none; empty when no items came."""
        if not self.total:
            return []
        counts = [f"it has {counted(self.total, 'item')}"]
        for (words, _), passed, refused in zip(
            self._predicates, self._passed, self._refused, strict=True
        ):
            if not passed:
                return [*counts, f"none of them {words}{_instead(words, refused)}"]
            counts.append(f"{passed} of them {words}")
        return counts


def _slim(item: ItemDict) -> ItemDict:
    properties = item["properties"]
    dates = {name: properties[name] for name in _DATES if name in properties}
    return {"geometry": item.get("geometry"), "bbox": item.get("bbox"), "properties": dates}


def _instead(words: str, items: Sequence[ItemDict]) -> str:
    if words == "in the area":
        return f" (they cover {_cover(items)})"
    if words == "in the dates":
        return f" (they are from {_dates(items)})"
    return ""


def _cover(items: Sequence[ItemDict]) -> str:
    """Bounds of the items' footprints, for a message."""
    west, south, east, north = shapely.total_bounds(footprints(items))
    if not np.isfinite([west, south, east, north]).all():
        return "no place that they name"
    return f"[{west:.4f}, {south:.4f}, {east:.4f}, {north:.4f}]"


def _dates(items: Sequence[ItemDict]) -> str:
    """First and last date of the items, for a message."""
    ranges = [item_range(item["properties"]) for item in items]
    starts = [start for start, _ in ranges if start]
    ends = [end for _, end in ranges if end]
    if not starts or not ends:
        return "without dates"
    return date_range(f"{min(starts):%Y-%m-%d}", f"{max(ends):%Y-%m-%d}")
