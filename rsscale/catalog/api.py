"""A STAC API, searched with pystac-client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import Any

import shapely
from pystac_client.conformance import ConformanceClasses
from pystac_client.item_search import ItemSearch

from rsscale.catalog.filters import ItemDict, SearchFilter
from rsscale.catalog.http import CatalogIO
from rsscale.catalog.paging import GATEWAY, pages_of
from rsscale.catalog.query import as_cql2
from rsscale.documents import kind_of
from rsscale.documents.stac_items import check_item, links_of
from rsscale.errors import CatalogError
from rsscale.geo.area import sides, simpler
from rsscale.net.hrefs import absolute, find_link, is_url, resolve, shown
from rsscale.progress.bars import Bar, progress

# Servers refuse long requests; the outline of a country has thousands of vertices.
_MAX_VERTICES = 200


@dataclass
class ApiCatalog:
    """A STAC API; ``read`` lets the server filter by what it conforms to."""

    name: str
    landing: dict[str, Any]
    url: str
    access: str | None = None

    def read(self, filters: SearchFilter) -> Iterator[list[ItemDict]]:
        """The server's results, page by page as they come."""
        for part in self._parts(filters):
            pages = pages_of(self._search_url, partial(self._pages, part))
            first = next(pages, None)
            if first is None:
                continue
            with progress("search", total=_matched(first), unit="items") as bar:
                for page in chain((first,), pages):
                    yield self._take(page, bar)

    def probe(self, filters: SearchFilter) -> tuple[bool, int | None]:
        """Whether the server has any item for this, and how many if it says so."""
        first = [
            next(pages_of(self._search_url, partial(self._pages, part), 1), None)
            for part in self._parts(filters)
        ]
        pages = [page for page in first if page is not None]
        counts = [_matched(page) for page in pages]
        return bool(pages), sum(map(int, filter(None, counts))) if all(counts) else None

    def collections(self) -> list[str]:
        """The ids of all collections."""
        link = find_link(self.landing, "data")
        url = absolute(link["href"], self.url) if link else f"{self.url.rstrip('/')}/collections"
        pages = CatalogIO(url, self.access).get_pages(url)
        ids = (
            collection.get("id") for page in pages for collection in page.get("collections") or []
        )
        return sorted(name for name in ids if isinstance(name, str))

    def extent(self, collection: str) -> dict[str, Any]:
        """The collection's extent, as STAC writes it; empty where it has none."""
        base = self.url.rstrip("/")
        document = CatalogIO(base, self.access).read_json(f"{base}/collections/{collection}")
        extent = document.get("extent")
        return extent if isinstance(extent, dict) else {}

    def _pages(self, filters: SearchFilter, size: int) -> Iterator[dict[str, Any]]:
        url, method = self._search_url, self._method()
        search = ItemSearch(
            url=url,
            method=method,
            stac_io=CatalogIO(url, self.access, at_once=GATEWAY),
            limit=size,
            collections=list(filters.collections) or None,
            datetime=str(filters.interval) if filters.interval else None,
            **self._spatial(filters),
            **self._properties(filters),
        )
        yield from search.pages_as_dicts()

    @cached_property
    def _search_url(self) -> str:
        """The search's address; a relative one counts from the landing page, as file or folder."""
        href = str(self._search_link()["href"])
        url = absolute(href, self.url)
        inside = absolute(href, f"{self.url.rstrip('/')}/")
        if not is_url(url):  # else a server could have a local file read
            raise CatalogError(f"{shown(href)!r} is a server's link; expected http(s)://")
        if url == inside:
            return url
        io = CatalogIO(self.url, self.access)
        return next((address for address in (inside, url) if io.exists(f"{address}?limit=1")), url)

    def _search_link(self) -> dict[str, Any]:
        """The search's POST link when there is one: an area fits into no address."""
        links = [link for link in links_of(self.landing) if link["rel"] == "search"]
        return next((link for link in links if link.get("method") == "POST"), links[0])

    def _method(self) -> str:
        method = self._search_link().get("method") or "GET"
        if method not in ("GET", "POST", "get", "post"):
            raise CatalogError(
                f"{self.name}: its search wants {kind_of(method)} as method; expected GET or POST"
            )
        return str(method).upper()

    def _parts(self, filters: SearchFilter) -> list[SearchFilter]:
        """The search as one, or in two for an area that is sent as a box on both sides of 180.

        A box with west > east is in the specification, but not in all servers.
        """
        if filters.area is None or "bbox" not in self._spatial(filters):
            return [filters]
        return [replace(filters, area=part) for part in sides(filters.area)]

    def _spatial(self, filters: SearchFilter) -> dict[str, Any]:
        """The area or, where it has too many vertices, something simpler around it."""
        if filters.area is None:
            return {}
        shape = None if self._method() == "GET" else simpler(filters.area.geom, _MAX_VERTICES)
        if shape is None:
            return {"bbox": filters.area.geom.bounds}
        return {"intersects": shapely.geometry.mapping(shape)}

    def _properties(self, filters: SearchFilter) -> dict[str, Any]:
        """The query, for a server that says it understands one.

        Sent to any other it may be ignored, refused, or, by the memory backend of
        ``rustac serve``, answered with no items at all.
        """
        if not filters.query:
            return {}
        if self._conforms(ConformanceClasses.QUERY):
            return {"query": {name: dict(tests) for name, tests in filters.query.items()}}
        cql2 = as_cql2(filters.query)
        if cql2 and self._method() == "POST" and self._conforms(ConformanceClasses.FILTER):
            return {"filter": cql2, "filter_lang": "cql2-json"}
        return {}

    def _conforms(self, conformance: ConformanceClasses) -> bool:
        declared = self.landing.get("conformsTo")
        uris = declared if isinstance(declared, list) else []
        return any(conformance.value in str(uri) for uri in uris)

    def _take(self, page: dict[str, Any], bar: Bar) -> list[ItemDict]:
        features = page.get("features", [])
        bar.advance(len(features))
        items = (check_item(item, self.name) for item in features)
        return [resolve(item, self._base(item)) for item in items]

    def _base(self, item: ItemDict) -> str:
        """Base address of relative hrefs of an item."""
        link = find_link(item, "self")
        return str(link["href"]) if link else self.url


def _matched(page: dict[str, Any]) -> int | None:
    context = page.get("context")
    older = context.get("matched") if isinstance(context, dict) else None
    count = page.get("numberMatched", older)
    return count if isinstance(count, int) and 0 <= count < 2**53 else None
