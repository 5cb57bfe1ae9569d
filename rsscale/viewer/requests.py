"""What a request asks for: whether its host is ours, its path, its range of bytes."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes, urlsplit

_HOST = re.compile(r"(localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
# A name that stays where it is: no dot in front, so neither `..` nor hidden files, no separator.
_PART = re.compile(r"[^\W_][\w.\- ]*|_[\w.\- ]+")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def is_own_host(host: str | None) -> bool:
    """Whether a ``Host`` header names this machine, at any port.

    A page of a foreign host whose name is made to resolve to 127.0.0.1 ("DNS rebinding") sends its
    own name, and must not read a product. Ports differ where one is forwarded by SSH.
    """
    return host is not None and _HOST.fullmatch(host) is not None


def path_parts(target: str) -> list[str] | None:
    """The names of a request's path; None where it isn't made of plain names.

    Refused are ``..``, also encoded once or twice, names with a dot in front, backslashes, NUL,
    empty names, drive letters, and addresses with a host.
    """
    if not target.startswith("/") or target.startswith("//"):
        return None
    try:
        path = unquote_to_bytes(urlsplit(target).path).decode()
    except (UnicodeDecodeError, ValueError):
        return None
    parts = path[1:].split("/")
    if parts[-1] == "":  # a folder
        parts[-1] = "index.html"
    return parts if all(map(_PART.fullmatch, parts)) else None


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte, and the one after the last, that a ``Range`` header asks for (RFC 9110, 14.2).

    Returns
    -------
    (int, int) or None
        None where the whole is to be sent: without a header, or with one of several ranges or of
        another unit, which a server may ignore.

    Raises
    ------
    ValueError
        When the range begins after the end (status 416).
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = int(match[2])
        if length == 0 or size == 0:
            raise ValueError(f"no bytes of {size}")
        return max(size - length, 0), size
    start, last = int(match[1]), int(match[2]) if match[2] else size - 1
    if last < start and match[2]:
        return None  # malformed: ignored
    if start >= size:
        raise ValueError(f"byte {start} of {size}")
    return start, min(last + 1, size)
