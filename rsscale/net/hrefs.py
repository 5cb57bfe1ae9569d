"""Make addresses absolute, and strip secrets before they are written or shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

# Parameters that only ever carry a credential, in lower case.
_SECRET = {
    "sig", "signature", "expires", "policy", "key-pair-id", "awsaccesskeyid", "googleaccessid",
    "token", "access_token", "id_token", "auth", "authorization", "api_key", "apikey",
    "api-key", "subscription-key", "sas", "password", "secret",
}  # fmt: skip
# Azure's shared access signature: short names that mean other things elsewhere, so they
# go only when the signature itself is there.
_AZURE = {
    "sv", "ss", "srt", "sp", "se", "st", "spr", "sr", "sip", "si", "sdd", "ses",
    "skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid",
}  # fmt: skip
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SECRET_PREFIXES = ("x-amz-", "x-goog-")


def is_url(href: str) -> bool:
    """Whether ``href`` is fetched over HTTP."""
    return href.lower().startswith(("http://", "https://"))


def strip_secrets(href: str) -> str:
    """``href`` without signatures, tokens and user names; other parameters stay as written.

    Parameters
    ----------
    href : str
        A URL, a path, or a GDAL path such as ``/vsicurl/https://…``.
    """
    head, mark, query = href.partition("?")
    head = _strip_user(head)
    if not mark:
        return head
    query, hash_mark, fragment = query.partition("#")
    pairs = query.split("&")
    names = [unquote(pair.partition("=")[0]).lower() for pair in pairs]
    secret = _SECRET | _AZURE if "sig" in names else _SECRET
    kept = [
        pair
        for pair, name in zip(pairs, names, strict=True)
        if name not in secret and not name.startswith(_SECRET_PREFIXES)
    ]
    return head + (f"?{'&'.join(kept)}" if kept else "") + hash_mark + fragment


def shown(href: str) -> str:
    """``href`` as it may appear in a message: without user name, query and fragment."""
    return _strip_user(re.split(r"[?#]", href, maxsplit=1)[0])


def absolute(href: str, base: str) -> str:
    """``href`` as seen from the document ``base``, a URL or an absolute path.

    A local result is an absolute path without ``file://``. What GDAL opens by its own
    scheme (``/vsis3/…``, ``s3://…``) stays as it is.
    """
    if href.startswith("file://"):
        return unquote(urlsplit(href).path)
    if _SCHEME.match(href) or href.startswith("/vsi"):
        return href
    if is_url(base):
        return urljoin(base, href)
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
    links = document.get("links") or []
    return next((link for link in links if link.get("rel") == rel), None)


def _strip_user(href: str) -> str:
    start = href.find("://")
    if start < 0 or "@" not in href[start:]:
        return href
    # A GDAL prefix such as /vsicurl/ stands before the scheme and is kept.
    prefix_end = href.rfind("/", 0, start) + 1
    parts = urlsplit(href[prefix_end:])
    host = parts.netloc.rpartition("@")[2]
    return href[:prefix_end] + urlunsplit(parts._replace(netloc=host))
