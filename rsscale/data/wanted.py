"""What a search asks for, and which items of a catalogue answer it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from odc.geo.geom import Geometry

from rsscale.data.area import describe_bounds
from rsscale.data.interval import Interval, item_range
from rsscale.data.query import Query, matches
from rsscale.errors import CatalogError

ItemDict = dict[str, Any]
Stage = tuple[str, Callable[[list[ItemDict]], list[ItemDict]]]


@dataclass(frozen=True)
class Wanted:
    """The filters of a search; each is off when it is ``None`` or empty.

    Attributes
    ----------
    collection : str or None
        Collection id.
    area : Geometry or None
        In EPSG:4326.
    interval : Interval or None
        Closed, in UTC.
    query : mapping
        In the form of the query extension.
    """

    collection: str | None
    area: Geometry | None
    interval: Interval | None
    query: Query

    def __str__(self) -> str:
        asked = [
            self.collection and f"collection {self.collection!r}",
            self.area and f"area {describe_bounds(self.area)}",
            self.interval and f"dates {self.interval}",
            self.query and f"query {json.dumps(self.query, default=str)}",
        ]
        return ", ".join(text for text in asked if text) or "anything"

    def stages(self) -> list[Stage]:
        """The filters in use, in order, each with the words for what it keeps."""
        stages: list[Stage] = []
        if self.collection is not None:
            stages.append(("of the collection", self._in_collection))
        if self.area is not None:
            stages.append(("in the area", self._in_area))
        if self.interval is not None:
            stages.append(("in the dates", self._in_interval))
        if self.query:
            stages.append(("matching the query", self._in_query))
        return stages

    def keep(self, items: list[ItemDict]) -> list[ItemDict]:
        """The items that pass every filter."""
        for _, stage in self.stages():
            items = stage(items)
        return items

    def widened(self) -> Iterator[tuple[str, Wanted]]:
        """The same search with its first filter only, then with one more each time."""
        partial = Wanted(None, None, None, {})
        for name, (words, _) in zip(self._in_use(), self.stages(), strict=True):
            partial = replace(partial, **{name: getattr(self, name)})
            yield words, partial

    def _in_use(self) -> list[str]:
        on = {
            "collection": self.collection is not None,
            "area": self.area is not None,
            "interval": self.interval is not None,
            "query": bool(self.query),
        }
        return [name for name, used in on.items() if used]

    def _in_collection(self, items: list[ItemDict]) -> list[ItemDict]:
        return [item for item in items if item.get("collection") == self.collection]

    def _in_area(self, items: list[ItemDict]) -> list[ItemDict]:
        if self.area is None or not items:
            return items
        shapely.prepare(self.area.geom)
        inside = _intersects(self.area.geom, footprints(items))
        return [item for item, keep in zip(items, inside, strict=True) if keep]

    def _in_interval(self, items: list[ItemDict]) -> list[ItemDict]:
        interval = self.interval
        return [item for item in items if interval is None or interval.overlaps(item["properties"])]

    def _in_query(self, items: list[ItemDict]) -> list[ItemDict]:
        return [item for item in items if matches(self.query, item)]


def footprints(items: Sequence[ItemDict]) -> Any:
    """The items' geometries, an object array; a `CatalogError` for an item without one."""
    without = [item["id"] for item in items if not item.get("geometry")]
    if without:
        raise CatalogError(
            f"{len(without)} of {len(items)} items have no geometry (first {without[0]!r}), so "
            "they may or may not lie in the area; give them one, or search without area"
        )
    texts = [json.dumps(item["geometry"]) for item in items]
    shapes = shapely.from_geojson(texts, on_invalid="ignore")
    broken = [item["id"] for item, shape in zip(items, shapes, strict=True) if shape is None]
    if broken:
        raise CatalogError(
            f"{len(broken)} of {len(items)} items have a geometry that is not GeoJSON "
            f"(first {broken[0]!r}); mend them, or search without area"
        )
    return shapes


def describe_cover(items: Sequence[ItemDict]) -> str:
    """Where the items lie, for a message."""
    west, south, east, north = shapely.total_bounds(footprints(items))
    return f"[{west:.4f}, {south:.4f}, {east:.4f}, {north:.4f}]"


def describe_dates(items: Sequence[ItemDict]) -> str:
    """From when to when the items are, for a message."""
    ranges = [item_range(item["properties"]) for item in items]
    starts = [start for start, _ in ranges if start]
    ends = [end for _, end in ranges if end]
    if not starts or not ends:
        return "without dates"
    return f"{min(starts):%Y-%m-%d} to {max(ends):%Y-%m-%d}"


def _intersects(area: Any, shapes: Any) -> Any:
    try:
        return shapely.intersects(area, shapes)
    except shapely.GEOSException:
        # A footprint that crosses itself can stop the exact test. Its box is a superset.
        boxes = shapely.box(*shapely.bounds(np.asarray(shapes)).T)
        return shapely.intersects(area, boxes)
