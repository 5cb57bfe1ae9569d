"""The filters of a search, and which items pass them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from odc.geo.geom import Geometry

from rsscale.catalog.footprints import ItemDict, meets
from rsscale.catalog.query import Query, matches
from rsscale.geo.area import describe_bounds
from rsscale.items.interval import Interval

__all__ = ["ItemDict", "Predicate", "SearchFilter"]

Predicate = tuple[str, Callable[[list[ItemDict]], list[ItemDict]]]


@dataclass(frozen=True)
class SearchFilter:
    """The filters of a search; each is off when it is ``None`` or empty.

    Attributes
    ----------
    collections : tuple of str
        Their ids; all when empty.
    area : Geometry or None
        In EPSG:4326.
    interval : Interval or None
        Closed, in UTC.
    query : mapping
        In the form of the query extension.
    """

    collections: tuple[str, ...]
    area: Geometry | None
    interval: Interval | None
    query: Query

    def __str__(self) -> str:
        asked = [
            self.collections and f"collection {', '.join(map(repr, self.collections))}",
            self.area and f"area {describe_bounds(self.area)}",
            self.interval and f"dates {self.interval}",
            self.query and f"query {json.dumps(self.query, default=str)}",
        ]
        return ", ".join(text for text in asked if text) or "anything"

    def predicates(self) -> list[Predicate]:
        """The filters in use, in order, each with the words for what it keeps."""
        predicates: list[Predicate] = []
        if self.collections:
            words = "of the collections" if self.collections[1:] else "of the collection"
            predicates.append((words, self._in_collection))
        if self.area is not None:
            predicates.append(("in the area", self._in_area))
        if self.interval is not None:
            predicates.append(("in the dates", self._in_interval))
        if self.query:
            predicates.append(("matching the query", self._in_query))
        return predicates

    def cumulative(self) -> Iterator[tuple[str, SearchFilter]]:
        """The same search with its first filter only, then with one more each time."""
        partial = SearchFilter((), None, None, {})
        for name, (words, _) in zip(self._in_use(), self.predicates(), strict=True):
            partial = replace(partial, **{name: getattr(self, name)})
            yield words, partial

    def _in_use(self) -> list[str]:
        on = {
            "collections": bool(self.collections),
            "area": self.area is not None,
            "interval": self.interval is not None,
            "query": bool(self.query),
        }
        return [name for name, used in on.items() if used]

    def _in_collection(self, items: list[ItemDict]) -> list[ItemDict]:
        return [item for item in items if item.get("collection") in self.collections]

    def _in_area(self, items: list[ItemDict]) -> list[ItemDict]:
        if self.area is None or not items:
            return items
        inside = meets(self.area.geom, items)
        return [item for item, keep in zip(items, inside, strict=True) if keep]

    def _in_interval(self, items: list[ItemDict]) -> list[ItemDict]:
        interval = self.interval
        return [item for item in items if interval is None or interval.overlaps(item["properties"])]

    def _in_query(self, items: list[ItemDict]) -> list[ItemDict]:
        return [item for item in items if matches(self.query, item)]
