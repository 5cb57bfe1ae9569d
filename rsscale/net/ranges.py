"""Fetch one range of bytes from an HTTP server, with retries and renewed signatures."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial

import requests
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from rsscale.errors import ReadError
from rsscale.net import connections, retry
from rsscale.net.connections import SILENCE_S, RangeResponse
from rsscale.net.hosts import HOSTS, KnownUnreachableError, UnreachableError
from rsscale.net.hrefs import shown
from rsscale.net.retry import is_unreachable, why_no_answer
from rsscale.net.signing import Signer

# Errors that another try may mend; not those that are a ValueError too, such as an invalid URL.
_MAY_PASS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    HTTPError,
)


@dataclass
class Traffic:
    """Counts of this process's requests since it started."""

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, requests: int = 0, size: int = 0, retries: int = 0) -> None:
        """Add to the counts."""
        with self._lock:
            self.requests += requests
            self.bytes += size
            self.retries += retries


TRAFFIC = Traffic()


def fetch_range(url: str, start: int, stop: int, sign: Signer | None) -> RangeResponse:
    """Fetch bytes ``start`` to before ``stop`` of a file on a server.

    Tried again, with growing pauses and as the server's ``Retry-After`` asks, after 408,
    425, 429, 500 and 502-504, a dropped or silent connection, and an answer cut short; and
    once with a new signature when the server calls the first one stale.

    Raises
    ------
    ReadError
        With the server's last response; the URL without its query.
    """
    tried, may_renew = 0, sign is not None
    while True:
        tried += 1
        TRAFFIC.add(retries=int(tried > 1))
        try:
            ask = partial(_ask, sign(url) if sign else url, start, stop, sign)
            answer = HOSTS.ask(url, ask)
            if answer.status in (401, 403) and sign is not None and may_renew:
                may_renew = False
                sign.renew(url)
                continue
            _check(answer, url, start, stop)
        except KnownUnreachableError as problem:
            raise ReadError(f"{shown(url)}: {problem}") from None
        except _AgainError as problem:
            if tried > retry.RETRIES:
                raise ReadError(
                    f"{shown(url)}: {problem}, {tried} times; try again later"
                ) from None
            retry.pause(tried, problem.answer)
        else:
            return answer


class _AgainError(Exception):
    """A problem that another try may mend, with the response if there was one."""

    def __init__(self, problem: str, answer: BaseHTTPResponse | None = None) -> None:
        super().__init__(problem)
        self.answer = answer


def _ask(url: str, start: int, stop: int, sign: Signer | None) -> RangeResponse:
    """Send one request for a range."""
    TRAFFIC.add(requests=1)
    try:
        answer = connections.get(
            url,
            {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"},
            None if sign is None else sign.headers,
            most=stop - start,
        )
    except (requests.RequestException, HTTPError) as error:
        problem = why_no_answer(error)
        if is_unreachable(error):
            raise UnreachableError(problem) from None
        problem = f"silence for {SILENCE_S:g} s" if problem == "silence" else problem
        if isinstance(error, _MAY_PASS) and not isinstance(error, ValueError):
            raise _AgainError(problem) from None
        raise ReadError(f"{shown(url)}: {problem}") from None
    if answer.status == requests.codes.partial_content:
        TRAFFIC.add(size=len(answer.body))
    elif answer.status == requests.codes.ok:
        refuse_page(url, answer.body)
    return answer


def _check(answer: RangeResponse, url: str, start: int, stop: int) -> None:
    """Raise unless the response is the range."""
    status = answer.status
    if status == requests.codes.partial_content:
        wanted = min(stop, total_size(answer, start)) - start
        if len(answer.body) != wanted:
            raise _AgainError(f"{len(answer.body)} bytes came of {wanted}")
    elif status in retry.RETRY_STATUS:
        raise _AgainError(f"HTTP {status}", answer.raw)
    else:
        hint = _HINTS.get(status, "")
        if status == requests.codes.requested_range_not_satisfiable:
            hint = f"the file ends before byte {stop}; it is cut short"
        raise ReadError(f"{shown(url)}: HTTP {status}" + (f", {hint}" if hint else ""))


_HINTS = {
    200: "the whole file: the server does not honour Range requests; copy the file",
    401: "it wants credentials: set sign or headers, or those of the server in ~/.netrc",
    403: "access is refused; does it want a signature (sign), or has one run out?",
    404: "nothing is there; is the catalogue out of date?",
    409: "access is refused; does it want a signature (sign)?",
    410: "it is gone; is the catalogue out of date?",
}


def total_size(answer: RangeResponse, start: int) -> int:
    """The file's size from ``Content-Range``."""
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else start + len(answer.body)


def refuse_page(url: str, header: bytes) -> None:
    """Raise when a file begins like HTML or text, which servers send in place of files."""
    text = header[:512].lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"{")):
        kind = "an HTML page" if b"html" in text else "a text document"
        raise ReadError(
            f"{shown(url)} is {kind}, not a raster; expected a GeoTIFF. Is a log-in needed, or "
            "has the file moved?"
        )
