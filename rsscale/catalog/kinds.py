"""Open a catalogue of any kind that a search can read; its content decides which kind it is.

::

    a STAC API            its landing page has a link to search
    a static catalogue    a Catalog or Collection, whose links are followed
    an item collection    a FeatureCollection, as a file or an address
    stac-geoparquet       starts with the bytes PAR1

Each hands out items as JSON objects with absolute hrefs, at least those that the filters let
through: what a server or a folder cannot filter, `rsscale.catalog.search` filters after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from rsscale.catalog.api import ApiCatalog
from rsscale.catalog.filters import ItemDict, SearchFilter
from rsscale.catalog.http import CONNECTIONS, CatalogIO, parse_json
from rsscale.documents import MAX_BYTES, kind_of
from rsscale.documents.stac_items import check_item, links_of
from rsscale.errors import CatalogError
from rsscale.items.freeze import read_geoparquet
from rsscale.net.hrefs import absolute, find_link, is_url, resolve, shown
from rsscale.progress.bars import Bar, progress

_PARQUET = b"PAR1"
# Items that are filtered together.
_BATCH = 500
# Of a static catalogue: catalogues and collections in one another, and in all.
MOST_LEVELS, MOST_CATALOGS = 64, 1_000_000


class Catalog(Protocol):
    """One kind of catalogue, opened."""

    name: str

    def read(self, filters: SearchFilter) -> Iterator[list[ItemDict]]:
        """At least the items that the filters let through, some at a time."""

    def collections(self) -> list[str]:
        """The ids of its collections, where it can tell."""


def open_catalog(catalog: str | Path, access: str | None = None) -> Catalog:
    """Open a catalogue of any of the four kinds.

    Parameters
    ----------
    catalog : str or Path
        An ``http(s)://`` address, a ``file://`` address or a path.
    access : str, optional
        Of :func:`rsscale.net.signing.access_name`: its headers are sent to the hosts they name.

    Raises
    ------
    CatalogError
        It is not there, cannot be reached, or is none of the four kinds.
    """
    address = _resolve_address(str(catalog))
    fetch = _fetcher(address, access)
    body = fetch(address)
    if body.startswith(_PARQUET):
        return ItemList(shown(address), list(read_geoparquet(body, shown(address))), address)
    document = parse_json(body, address)
    kind = document.get("type")
    root = _api_root(document, address)
    if root is not None:
        is_landing = root == address or find_link(document, "search") is not None
        landing = document if is_landing else parse_json(fetch(root), root)
        return ApiCatalog(shown(root), landing, root, access)
    if kind in ("Catalog", "Collection") or (kind is None and "links" in document):
        return StaticCatalog(shown(address), document, address, access)
    if kind == "FeatureCollection" and is_url(address) and find_link(document, "next"):
        return ItemList(shown(address), _all_pages(address, access), address)
    if kind in ("FeatureCollection", "Feature"):
        return ItemList(shown(address), _features(document, shown(address)), address)
    raise CatalogError(
        f"{shown(address)}: expected a STAC API, a Catalog, a Collection, an item collection or "
        f"stac-geoparquet, found JSON of type {kind!r}"
    )


@dataclass
class ItemList:
    """Items of one file."""

    name: str
    features: list[ItemDict]
    base: str

    def read(self, filters: SearchFilter) -> Iterator[list[ItemDict]]:  # noqa: ARG002 -- all are at hand
        """All items."""
        yield from _batches(
            resolve(check_item(item, self.name), self.base) for item in self.features
        )

    def collections(self) -> list[str]:
        """The collections that the items name."""
        names = (item.get("collection") for item in self.features if isinstance(item, dict))
        return sorted({name for name in names if isinstance(name, str) and name})


@dataclass
class StaticCatalog:
    """A tree of JSON files; ``read`` walks it and leaves out items of other collections."""

    name: str
    document: dict[str, Any]
    base: str
    access: str | None = None
    _collections: set[str] = field(default_factory=set)

    def read(self, filters: SearchFilter) -> Iterator[list[ItemDict]]:
        """The items of the collections asked for, from wherever in the tree they are."""
        fetch = _fetcher(self.base, self.access)
        with progress("search", unit="items") as bar, ThreadPoolExecutor(CONNECTIONS) as pool:
            read_item = partial(_read_item, fetch, bar)
            yield from _batches(pool.map(read_item, self._item_links(fetch, filters.collections)))

    def collections(self) -> list[str]:
        """The collections that ``read`` came across."""
        return sorted(self._collections)

    def _item_links(
        self, fetch: Any, collections: tuple[str, ...]
    ) -> Iterator[tuple[str, str, Any]]:
        """Address of each item, address of the document that links to it, its collection."""
        seen = {self.base}
        pending: list[tuple[dict[str, Any] | None, str, str, int]] = [
            (self.document, self.base, "", 0)
        ]
        walked = 0
        while pending:
            document, address, parent, depth = pending.pop()
            walked += 1
            if depth > MOST_LEVELS or walked > MOST_CATALOGS:
                raise CatalogError(
                    f"{shown(self.base)}: the tree of its catalogues has no end: {walked} of them, "
                    f"the last in level {depth} (at most {MOST_CATALOGS} and {MOST_LEVELS} are "
                    "read); start further down, or tell its operator"
                )
            document = document or parse_json(_fetch_linked(fetch, address, parent), address)
            is_collection = document.get("type") == "Collection" or "extent" in document
            here = document.get("id") if is_collection else None
            here = here if isinstance(here, str) else None
            if here:
                self._collections.add(here)
            for link in links_of(document):
                target = absolute(link["href"], address)
                if link["rel"] not in ("child", "item") or target in seen:
                    continue
                seen.add(target)
                if link["rel"] == "child":
                    pending.append((None, target, address, depth + 1))
                elif not collections or here is None or here in collections:
                    yield target, address, here


def _batches(items: Iterable[ItemDict]) -> Iterator[list[ItemDict]]:
    left = iter(items)
    while batch := list(islice(left, _BATCH)):
        yield batch


def _resolve_address(catalog: str) -> str:
    """An address, or an absolute path."""
    if is_url(catalog):
        return catalog
    if "://" in catalog and not catalog.startswith("file://"):
        scheme = catalog.partition("://")[0]
        raise CatalogError(
            f"{shown(catalog)}: catalogues are read from http(s):// and paths, not from "
            f"{scheme}://; copy it, or give its https address"
        )
    path = Path(absolute(catalog, str(Path.cwd() / "-"))).expanduser()
    if path.is_dir():
        files = [path / name for name in ("catalog.json", "collection.json")]
        path = next((file for file in files if file.is_file()), path)
    return str(path)


def _fetcher(address: str, access: str | None) -> Any:
    """A function from address to bytes, for a catalogue that starts at ``address``."""
    if not is_url(address):
        return partial(_read_path, access=access)
    io = CatalogIO(address, access)

    def fetch(target: str) -> bytes:
        if not is_url(target):  # else a server could have a file of this machine read
            raise CatalogError(f"{shown(target)!r} is a server's link; expected http(s)://")
        return io.fetch(target)

    return fetch


def _read_path(address: str, access: str | None = None) -> bytes:
    if is_url(address):  # a local catalogue may link to one elsewhere
        return CatalogIO(address, access).fetch(address)
    try:
        path = Path(address)
        if path.stat().st_size > MAX_BYTES:
            raise CatalogError(
                f"catalogue {address!r} has {path.stat().st_size} bytes; expected at most "
                f"{MAX_BYTES}: write its items as stac-geoparquet, in several files"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise CatalogError(
            f"catalogue {address!r} is not there; check the path, or give the address of a STAC API"
        ) from None
    except IsADirectoryError:
        raise CatalogError(
            f"catalogue {address!r} is a folder without catalog.json; name the file itself"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CatalogError(f"catalogue {address!r} cannot be read: {reason}") from None


def _fetch_linked(fetch: Any, address: str, parent: str) -> bytes:
    try:
        body: bytes = fetch(address)
    except CatalogError as error:
        raise CatalogError(f"{error} (linked from {shown(parent)})") from None
    return body


def _read_item(fetch: Any, bar: Bar, link: tuple[str, str, str | None]) -> ItemDict:
    address, parent, collection = link
    item = parse_json(_fetch_linked(fetch, address, parent), address)
    if item.get("type") != "Feature":
        raise CatalogError(
            f"{shown(address)}: expected an item (a GeoJSON Feature), found type "
            f"{item.get('type')!r} (linked from {shown(parent)})"
        )
    if collection and not item.get("collection"):
        item["collection"] = collection
    bar.advance()
    return resolve(check_item(item, shown(address)), address)


def _features(document: dict[str, Any], name: str) -> list[Any]:
    """The items of an item collection, or the one that it is."""
    features = document.get("features", [document])
    if not isinstance(features, list):
        raise CatalogError(f"{name}: its features are {kind_of(features)}; expected a list")
    return features


def _api_root(document: dict[str, Any], address: str) -> str | None:
    """The landing page's address when ``document`` belongs to an API, else ``None``."""
    search = find_link(document, "search")
    if search is not None and isinstance(search.get("href"), str):
        # A landing page that was saved to a file says itself where it was.
        own = find_link(document, "self") or {}
        bases = (address, str(own.get("href", "")))
        home = next((base for base in bases if is_url(absolute(search["href"], base))), None)
        if home is not None:
            return home if is_url(home) else address
        if is_url(address):
            raise CatalogError(
                f"{shown(address)}: {shown(search['href'])!r} is a server's link; expected http(s)://"
            )
    root = find_link(document, "root")
    is_api = bool(find_link(document, "items")) and document.get("type") == "Collection"
    return absolute(root["href"], address) if root and is_api and is_url(address) else None


def _all_pages(url: str, access: str | None) -> list[ItemDict]:
    pages = CatalogIO(url, access).get_pages(url)
    return [item for page in pages for item in page["features"]]
