"""Make addresses absolute, and find links in documents."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

from rsscale.text.redaction import shown, strip_secrets

__all__ = [
    "absolute", "change_hrefs", "find_link", "is_url", "resolve", "shown", "strip_secrets",
]  # fmt: skip

_GROUPS = frozenset({dict, list})  # of JSON, as it is parsed
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def is_url(href: str) -> bool:
    """Whether ``href`` is fetched over HTTP."""
    return href.lower().startswith(("http://", "https://"))


def absolute(href: str, base: str) -> str:
    """``href`` as seen from the document ``base``, a URL or an absolute path.

    A local result is an absolute path without ``file://``. What GDAL opens by its own
    scheme (``/vsis3/…``, ``s3://…``) stays as it is.
    """
    if not href:
        return ""  # of a broken asset: it addresses nothing
    if href.startswith("file://"):
        return unquote(href.removeprefix("file://").removeprefix("localhost"))
    if _SCHEME.match(href) or href.startswith("/vsi"):
        return href
    if is_url(base):
        try:
            return urljoin(base, href)
        except ValueError:  # an address such as //[: whoever reads it says so
            return href
    return str((Path(base).parent / href).absolute().resolve())


def change_hrefs(value: Any, change: Callable[[str], str]) -> None:
    """Apply ``change`` to every ``href`` in a JSON value, in place, at any depth."""
    pending = [value]
    while pending:
        group = pending.pop()
        if isinstance(group, dict):
            href = group.get("href")
            if isinstance(href, str):
                group["href"] = change(href)
            group = group.values()
        pending += [inner for inner in group if type(inner) in _GROUPS]


def resolve(item: dict[str, Any], base: str) -> dict[str, Any]:
    """Make an item's hrefs absolute, and leave out links that only lead around its catalogue.

    In place: of items by the ten thousand, copies take longer than all that is asked of them.

    pystac follows ``root``, ``parent`` and ``collection`` of its own accord, over the network.
    """
    links = item.get("links") or []
    item["links"] = [
        link for link in links if link.get("rel") not in ("root", "parent", "collection")
    ]
    for key, value in item.items():
        if key not in ("geometry", "bbox") and type(value) in _GROUPS:  # all of them numbers
            change_hrefs(value, lambda href: absolute(href, base))
    return item


def find_link(document: dict[str, Any], rel: str) -> dict[str, Any] | None:
    """The first link of a STAC object with this relation."""
    links = document.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == rel and isinstance(link.get("href"), str):
            return link
    return None
