"""One range of bytes from an HTTP server: asked again, signed anew, or refused by name."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse

from rsscale.data import retry
from rsscale.data.hrefs import shown
from rsscale.data.retry import why_no_answer
from rsscale.data.signing import Signer
from rsscale.errors import ReadError

CONNECT_S = 10.0
SILENCE_S = 30.0  # without a byte
CONNECTIONS = 32

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PAGE_BYTES = 512
_CUT_SHORT = requests.exceptions.ChunkedEncodingError


@dataclass
class Traffic:
    """What this process has asked of servers since it started."""

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, requests: int = 0, size: int = 0, retries: int = 0) -> None:
        """Count."""
        with self._lock:
            self.requests += requests
            self.bytes += size
            self.retries += retries


TRAFFIC = Traffic()


def fetch_range(url: str, start: int, stop: int, sign: Signer | None) -> requests.Response:
    """Bytes ``start`` to before ``stop`` of a file on a server.

    Tried again, with growing pauses and as the server's ``Retry-After`` asks, after 408,
    425, 429, 500 and 502-504, a dropped or silent connection, and an answer cut short; and
    once with a new signature when the server calls the first one stale.

    Raises
    ------
    ReadError
        What the server answered at last, without the URL's query.
    """
    tried, may_renew = 0, sign is not None
    while True:
        tried += 1
        TRAFFIC.add(requests=1, retries=int(tried > 1))
        try:
            answer = _ask(sign(url) if sign else url, start, stop)
            if answer.status_code in (401, 403) and sign is not None and may_renew:
                may_renew = False
                sign.renew(url)
                continue
            _check(answer, url, start, stop)
        except _AgainError as problem:
            if tried > retry.RETRIES:
                raise ReadError(
                    f"{shown(url)}: {problem}, {tried} times; try again later"
                ) from None
            retry.pause(tried, problem.answer)
        else:
            return answer


class _AgainError(Exception):
    """What another try may mend: the problem in words, and the answer if there was one."""

    def __init__(self, problem: str, answer: BaseHTTPResponse | None = None) -> None:
        super().__init__(problem)
        self.answer = answer


def _ask(url: str, start: int, stop: int) -> requests.Response:
    """One request; of an answer that is not the range, no more is taken than tells what it is."""
    try:
        answer = _session().get(
            url,
            headers={"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"},
            timeout=(CONNECT_S, SILENCE_S),
            stream=True,
        )
        with answer:
            if answer.status_code == requests.codes.partial_content:
                TRAFFIC.add(size=len(answer.content))
            elif answer.status_code == requests.codes.ok:  # perhaps gigabytes
                refuse_page(url, answer.raw.read(_PAGE_BYTES))
    except requests.RequestException as error:
        problem = why_no_answer(error)
        problem = f"silence for {SILENCE_S:g} s" if problem == "silence" else problem
        if isinstance(error, requests.ConnectionError | requests.Timeout | _CUT_SHORT):
            raise _AgainError(problem) from None
        raise ReadError(f"{shown(url)}: {problem}") from None
    return answer


def _check(answer: requests.Response, url: str, start: int, stop: int) -> None:
    """Refuse what is not the range."""
    status = answer.status_code
    if status == requests.codes.partial_content:
        wanted = min(stop, total_size(answer, start)) - start
        if len(answer.content) != wanted:
            raise _AgainError(f"{len(answer.content)} bytes came of {wanted}")
    elif status in retry.RETRY_STATUS:
        raise _AgainError(f"HTTP {status}", answer.raw)
    else:
        hint = _HINTS.get(status, "")
        if status == requests.codes.requested_range_not_satisfiable:
            hint = f"the file ends before byte {stop}; it is cut short"
        raise ReadError(f"{shown(url)}: HTTP {status}" + (f", {hint}" if hint else ""))


_HINTS = {
    200: "the whole file: the server does not honour Range requests; copy the file",
    401: "it wants credentials: set sign, or those of the server in ~/.netrc",
    403: "access is refused; does it want a signature (sign), or has one run out?",
    404: "nothing is there; is the catalogue out of date?",
    409: "access is refused; does it want a signature (sign)?",
    410: "it is gone; is the catalogue out of date?",
}


def total_size(answer: requests.Response, start: int) -> int:
    """The file's size from ``Content-Range``."""
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else start + len(answer.content)


def refuse_page(url: str, header: bytes) -> None:
    """Raise when a file begins like a page for people, which servers send in place of files."""
    text = header[:512].lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"{")):
        kind = "an HTML page" if b"html" in text else "a text document"
        raise ReadError(
            f"{shown(url)} is {kind}, not a raster; expected a GeoTIFF. Is a log-in needed, or "
            "has the file moved?"
        )


@lru_cache(maxsize=1)
def _session() -> requests.Session:
    """One for the process: it keeps connections open, and reads proxies and ~/.netrc."""
    session = _Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS, max_retries=0))
    retry.redact_logs()
    return session


class _Session(requests.Session):
    def merge_environment_settings(self, url: Any, *settings: Any) -> Any:
        # A proxy cannot reach this machine's loopback.
        if urlsplit(str(url)).hostname in _LOOPBACK:
            proxies, stream, verify, cert = settings
            verify = self.verify if verify is None else verify
            return {"proxies": proxies, "stream": stream, "verify": verify, "cert": cert}
        return super().merge_environment_settings(url, *settings)


def forget() -> None:
    """After a fork sockets are the parent's."""
    _session.cache_clear()
