"""Search: a catalogue and a few filters to a list of items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pystac

from rsscale.catalog.api import ApiCatalog
from rsscale.catalog.filter_counts import FilterCounts
from rsscale.catalog.filters import ItemDict, SearchFilter
from rsscale.catalog.kinds import Catalog, open_catalog
from rsscale.catalog.query import Query, check_query
from rsscale.errors import CatalogError, nearest
from rsscale.geo.area import read_area
from rsscale.items.features import Feature, Item
from rsscale.items.freeze import to_features, to_items
from rsscale.items.interval import DatetimeLike, parse_interval
from rsscale.memory import paused_collector
from rsscale.net.headers import Headers
from rsscale.net.hrefs import shown
from rsscale.net.signing import PROPERTY, access_name, signer, split_access

if TYPE_CHECKING:
    from rsscale.geo.area import AreaLike

_LISTED = 12

AnyItem = TypeVar("AnyItem", bound=Item)


def search(
    catalog: str | Path,
    collection: str | Sequence[str] | None = None,
    *,
    area: AreaLike | None = None,
    datetime: DatetimeLike = None,
    query: Query | None = None,
    sign: str | None = None,
    headers: Headers | None = None,
    exclude: Sequence[str] = (),
) -> pystac.ItemCollection:
    """Find the items of a catalogue in an area and a time.

    The same search gives the same items from each kind of catalogue: all filters are
    applied here too, whatever a server makes of them.

    Parameters
    ----------
    catalog : str or Path
        A STAC API, a static ``catalog.json`` or ``collection.json``, an item collection,
        or a stac-geoparquet file; by address or path.
    collection : str or sequence of str, optional
        Collection ids; all collections when omitted.
    area : optional
        Anything that `rsscale.geo.area.read_area` takes. Items whose footprint, not only
        its bounding box, meets the area are found.
    datetime : optional
        What STAC takes: ``"2023"``, ``"2023-03/2023-10"``, a datetime, or a pair. The
        interval is closed; an item with a range is found when its range overlaps.
    query : mapping, optional
        Filters on properties in the form of the STAC query extension, as in
        ``{"eo:cloud_cover": {"lt": 60}}``.
    sign : str, optional
        How access to the files is gained: a name of :mod:`rsscale.net.signing`, such as
        ``"planetary-computer"``. The items carry the name; URLs are signed right before
        each read, and again when a signature runs out.
    headers : mapping of host to mapping of header to str, optional
        Headers of requests to the catalogue and for the files, by the name of the environment
        variable that holds the value: ``{"data.example.org": {"Authorization": "Bearer
        env:EXAMPLE_TOKEN"}}``. They go to that host alone; see :mod:`rsscale.net.headers`.
    exclude : sequence of str
        Ids of items to leave out, also as ``collection/id``.

    Returns
    -------
    pystac.ItemCollection
        At least one item, each once, sorted by (datetime, id), migrated to STAC 1.1,
        with absolute hrefs (local ones as absolute paths). Hrefs are as the catalogue has
        them: not signed.

    Raises
    ------
    CatalogError
        The catalogue is not there or is not STAC, has no such collection, or has no item
        for this search; the message says which of the filters left nothing.
    AreaError, RecipeError
        The area, or the dates or query, cannot be read.
    """
    filters = search_filter(collection, area, datetime, query)
    access = access_name(sign, headers)
    items = [
        item for item in _search(to_items, catalog, filters, access) if not is_among(item, exclude)
    ]
    if not items:
        raise CatalogError(f"{shown(str(catalog))}: all items for {filters} are excluded")
    return pystac.ItemCollection(items, clone_items=False)


def is_among(item: Item, ids: Sequence[str]) -> bool:
    """Whether an item is named, by its id or as ``collection/id``."""
    return item.id in ids or f"{item.collection_id}/{item.id}" in ids


def find_features(catalog: str | Path, filters: SearchFilter, sign: str | None) -> list[Feature]:
    """As :func:`search`, for planning: the catalogue's own JSON, not migrated to STAC 1.1.

    ``sign`` is what :func:`rsscale.net.signing.access_name` gives of a signer and headers.

    Returns
    -------
    list of Feature
        Sorted by (datetime, id).
    """
    return _search(to_features, catalog, filters, sign)


def search_filter(
    collection: str | Sequence[str] | None,
    area: AreaLike | None,
    datetime: DatetimeLike,
    query: Query | None,
) -> SearchFilter:
    """The filters of :func:`search`, checked.

    Raises
    ------
    AreaError, RecipeError
        The area, or the dates or query, cannot be read.
    """
    return SearchFilter(
        collections=(collection,) if isinstance(collection, str) else tuple(collection or ()),
        area=None if area is None else read_area(area),
        interval=parse_interval(datetime),
        query=check_query(query),
    )


def _search(
    read: Callable[[Iterator[ItemDict]], Iterable[AnyItem]],
    catalog: str | Path,
    filters: SearchFilter,
    sign: str | None,
) -> list[AnyItem]:
    """The items of a catalogue, in the form that ``read`` gives them."""
    signer(sign)  # refuses a name that could not be used here
    _, rules = split_access(sign)
    if rules is not None:
        rules.check()
    with paused_collector():
        source = open_catalog(catalog, sign)
        filter_counts = FilterCounts(filters)
        kept = (item for batch in _read(source, filters) for item in filter_counts.keep(batch))
        items = list(read(kept))
    if not items:
        raise CatalogError(_why_nothing(source, filters, filter_counts))
    _refuse_unknown(source, filters.collections, items)
    for item in items:
        # A catalogue's own word does not count: it could make its readers pay.
        item.properties.pop(PROPERTY, None)
        if sign is not None:
            item.properties[PROPERTY] = sign
    return items


def _refuse_unknown(source: Catalog, collections: Sequence[str], items: Sequence[Item]) -> None:
    """Refuse one of several collections that the catalogue does not have, but for the others."""
    there = {item.collection_id for item in items} if len(collections) > 1 else set(collections)
    unknown = _unknown_collection(source, [name for name in collections if name not in there])
    if unknown:
        raise CatalogError(unknown)


def _read(source: Catalog, filters: SearchFilter) -> Iterator[list[ItemDict]]:
    """The catalogue's answer; some APIs answer a wrong collection with an error of their own."""
    try:
        yield from source.read(filters)
    except CatalogError as error:
        unknown = _unknown_collection(source, filters.collections)
        if unknown:
            raise CatalogError(unknown) from error
        raise


def _why_nothing(source: Catalog, filters: SearchFilter, filter_counts: FilterCounts) -> str:
    """Error message with the search's filters, and the one that left nothing."""
    unknown = _unknown_collection(source, filters.collections)
    if unknown:
        return unknown
    if filter_counts.total or not isinstance(source, ApiCatalog):
        counts = filter_counts.describe()
    else:
        counts = _count_answers(source, filters)
    return f"{source.name}: no items for {filters}: {', '.join(counts) or 'the catalogue is empty'}"


def _count_answers(source: ApiCatalog, filters: SearchFilter) -> list[str]:
    """The same by asking the server with one filter, then two, and so on."""
    counts: list[str] = []
    for words, partial in filters.cumulative():
        there, count = source.probe(partial)
        if not there:
            return [*counts, f"none {words}{_extent(source, filters.collections, words)}"]
        counts.append(f"it has {'some' if count is None else count} {words}")
    return counts


def _extent(source: ApiCatalog, collections: Sequence[str], words: str) -> str:
    """The extent that the collection declares, for a message; empty if it can't be read."""
    if len(collections) != 1 or words not in ("in the area", "in the dates"):
        return ""
    try:
        extent: dict[str, Any] = source.extent(collections[0])
        if words == "in the area":
            return f" (the collection covers {extent['spatial']['bbox'][0]})"
        start, end = extent["temporal"]["interval"][0]
    except (CatalogError, KeyError, IndexError, TypeError, ValueError):
        return ""
    return f" (the collection is from {start or '..'} to {end or '..'})"


def _unknown_collection(source: Catalog, collections: Sequence[str]) -> str | None:
    """A message when the catalogue lists its collections and one of these is not among them."""
    if not collections:
        return None
    try:
        known: Sequence[str] = source.collections()
    except CatalogError:
        return None
    unknown = [name for name in collections if name not in known]
    if not known or not unknown:
        return None
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return (
        f"{shown(source.name)} has no collection {unknown[0]!r}, it has "
        f"{', '.join(known[:_LISTED])}{more}{nearest(unknown[0], known)}"
    )
