"""One range of bytes from an HTTP server: asked again, signed anew, or refused by name."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from rsscale.data import retry
from rsscale.data.hrefs import shown
from rsscale.data.signing import Signer
from rsscale.errors import ReadError

CONNECT_S = 10.0
SILENCE_S = 30.0  # without a byte
CONNECTIONS = 32

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
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
    session, tried, signed_anew = _session(), 0, False
    while True:
        signed = sign(url) if sign else url
        tried += 1
        TRAFFIC.add(requests=1, retries=int(tried > 1))
        raw = None
        try:
            answer = session.get(
                signed,
                headers={"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"},
                timeout=(CONNECT_S, SILENCE_S),
            )
        except requests.RequestException as error:
            problem = _reason(error)
            if not isinstance(error, requests.ConnectionError | requests.Timeout | _CUT_SHORT):
                raise ReadError(f"{shown(url)}: {problem}") from None
        else:
            TRAFFIC.add(size=len(answer.content))
            if answer.status_code == requests.codes.partial_content:
                if len(answer.content) == min(stop, total_size(answer, start)) - start:
                    return answer
                problem = f"{len(answer.content)} bytes came of {stop - start}"
            elif answer.status_code in (401, 403) and sign is not None and not signed_anew:
                signed_anew = True
                sign.renew(url)
                continue
            elif answer.status_code in retry.RETRY_STATUS:
                problem, raw = f"HTTP {answer.status_code}", answer.raw
            else:
                raise ReadError(f"{shown(url)}: {_status(answer, stop)}")
        if tried > retry.RETRIES:
            raise ReadError(f"{shown(url)}: {problem}, {tried} times; try again later")
        retry.pause(tried, raw)


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


def _status(answer: requests.Response, stop: int) -> str:
    status = answer.status_code
    if status == requests.codes.ok:
        refuse_page(answer.url, answer.content)
        return "the server does not honour Range requests (HTTP 200); copy the file, or ask it to"
    hints = {
        401: "it wants credentials: set sign, or those of the server in ~/.netrc",
        403: "access is refused; does it want a signature (sign), or has one run out?",
        404: "nothing is there; is the catalogue out of date?",
        410: "it is gone; is the catalogue out of date?",
        416: f"the file ends before byte {stop}; it is cut short",
    }
    hint = hints.get(status)
    return f"HTTP {status}" + (f", {hint}" if hint else "")


def _reason(error: requests.RequestException) -> str:
    """Why there was no answer, in words; the exception itself quotes the URL with its token."""
    text = f"{type(error).__name__} {error}".lower()
    if "timed out" in text or isinstance(error, requests.Timeout):
        return f"silence for {SILENCE_S:g} s"
    if "refused" in text:
        return "connection refused"
    if "resol" in text or "name or service" in text:
        return "no such host; check the address and the network"
    if "ssl" in text or "certificate" in text:
        return "its TLS certificate is not accepted"
    if "incomplete" in text:
        return "the answer was cut short"
    return "the connection was dropped"


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
            return {"proxies": proxies, "stream": stream, "verify": verify, "cert": cert}
        return super().merge_environment_settings(url, *settings)


def forget() -> None:
    """After a fork sockets are the parent's."""
    _session.cache_clear()
