"""Pages of a search, as large as the server can give them.

Servers limit their answers in bytes (a gateway's 6 MB), in items (``limit must be <= 50``) or in
time. What they say then is 413, 400 or 502; the same search in smaller pages is answered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from rsscale.catalog.http import AnswerError
from rsscale.net import retry

LARGEST = 100
_SIZES = (50, 25, 10, 5, 1)
_TOO_LARGE = 413
_REFUSED = (400, 422)
# Faults that a gateway answers with where the answer behind it is too large or too slow.
GATEWAY = frozenset({500, 502, 504})
_LIMIT = re.compile(r"limit|page.?size", re.IGNORECASE)
_MOST = re.compile(
    r"(?:<=?|less than or equal to|at most|not exceed|exceeds?|greater than|above|max(?:imum)?\w*)"
    r"[^\d]{0,30}(\d{1,6})",
    re.IGNORECASE,
)

# Page sizes that servers have answered, by address: a run searches period by period.
_known: dict[str, int] = {}


def pages_of(
    url: str, ask: Callable[[int], Iterator[dict[str, Any]]], largest: int | None = None
) -> Iterator[dict[str, Any]]:
    """Pages of a search; from the start in smaller ones where the server can't give them.

    Parameters
    ----------
    url : str
        Of the search.
    ask : callable
        Gives the pages for a size.
    largest : int
        The size to begin with; :data:`LARGEST` when omitted.

    Yields
    ------
    dict
        Pages, after a new start only with items that did not come before it.

    Raises
    ------
    CatalogError
        When it fails with small pages too.
    """
    largest = largest or LARGEST
    size, tried = min(_known.get(url, largest), largest), 0
    seen: set[tuple[Any, Any]] = set()
    while True:
        # Of an item that comes twice in one go, the later version may be the newer one.
        came: set[tuple[Any, Any]] = set()
        try:
            for page in ask(size):
                fresh = [feature for feature in page["features"] if _identity(feature) not in seen]
                came.update(map(_identity, fresh))
                if fresh:
                    tried = 0
                    yield {**page, "features": fresh}
        except AnswerError as error:
            seen |= came
            tried += 1
            smaller = smaller_than(size, error)
            if smaller is None or tried > retry.RETRIES:
                raise error.after(tried) from None
            if error.status in GATEWAY:
                retry.pause(tried)
            size = smaller
        else:
            if size < largest:
                _known[url] = size
            return


def smaller_than(size: int, error: AnswerError) -> int | None:
    """The size of page to try after an error; ``None`` where another size would not help."""
    least = next((page_size for page_size in _SIZES if page_size < size), None)
    if error.status in GATEWAY:
        return least or size
    if error.status == _TOO_LARGE:
        return least
    if error.status in _REFUSED and _LIMIT.search(error.body):
        named = [int(number) for number in _MOST.findall(error.body)]
        return next((limit for limit in named if 0 < limit < size), least)
    return None


def forget() -> None:
    """Forget the page sizes that servers have answered."""
    _known.clear()


def _identity(item: Any) -> tuple[Any, Any]:
    fields = item if isinstance(item, dict) else {}
    return str(fields.get("collection")), str(fields.get("id"))
