"""Make addresses absolute, and find links in documents."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

from rsscale.text.redaction import shown, strip_secrets

__all__ = [
    "absolute", "find_link", "is_url", "map_hrefs", "resolve", "shown", "strip_secrets",
]  # fmt: skip

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


def map_hrefs(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of JSON ``value`` with ``change`` applied to every ``href`` in it, at any depth."""
    if isinstance(value, dict):
        return {
            key: change(inner)
            if key == "href" and isinstance(inner, str)
            else map_hrefs(inner, change)
            if isinstance(inner, (dict, list))
            else inner
            for key, inner in value.items()
        }
    if isinstance(value, list) and any(isinstance(inner, (dict, list)) for inner in value):
        return [map_hrefs(inner, change) for inner in value]
    return list(value) if isinstance(value, list) else value


def resolve(item: dict[str, Any], base: str) -> dict[str, Any]:
    """The item with absolute hrefs, and without links that only lead around its catalogue.

    pystac follows ``root``, ``parent`` and ``collection`` of its own accord, over the network.
    """
    links = item.get("links") or []
    lean = [link for link in links if link.get("rel") not in ("root", "parent", "collection")]
    resolved: dict[str, Any] = map_hrefs({**item, "links": lean}, lambda href: absolute(href, base))
    return resolved


def find_link(document: dict[str, Any], rel: str) -> dict[str, Any] | None:
    """The first link of a STAC object with this relation."""
    links = document.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == rel and isinstance(link.get("href"), str):
            return link
    return None
