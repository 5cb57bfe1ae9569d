"""Connections to servers of rasters: kept open, with the environment's proxies and ~/.netrc.

requests decides once for each server how it is reached (proxy, credentials, certificates); the
requests themselves are sent by urllib3, on which it is built. A large response through requests
takes several times the processor time, which all threads of a process have to share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout

from rsscale.decorators.once import once
from rsscale.net.hosts import HOSTS
from rsscale.text.redaction import redact_logs

CONNECT_S = 10.0
SILENCE_S = 30.0  # without a byte
CONNECTIONS = 32

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EXCERPT_BYTES = 512
_REDIRECTS = 10

# Origins that redirect, to a log-in or a mirror: requests follows, and keeps their cookies.
_send_on: set[str] = set()


@dataclass(frozen=True)
class RangeResponse:
    """A server's response to a request for a range.

    Attributes
    ----------
    status : int
    headers : mapping
        Names in any case.
    body : bytes
        The range; of any other response, which may be gigabytes, its first 512 bytes.
    raw : urllib3 response
        For ``Retry-After``.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    raw: BaseHTTPResponse


def get(
    url: str,
    headers: Mapping[str, str],
    secret: Callable[[str], Mapping[str, str]] | None = None,
    most: int | None = None,
) -> RangeResponse:
    """Send one GET request.

    Parameters
    ----------
    url : str
    headers : mapping
    secret : callable, optional
        Further headers for a URL, which go to its host alone: asked anew after a redirect.
    most : int, optional
        Bytes that were asked for. Of a longer answer one more is read, which tells it.

    Raises
    ------
    requests.RequestException, urllib3.exceptions.HTTPError
        When no whole response came.
    """
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    own_secret = dict(secret(url)) if secret else {}
    route = None if origin in _send_on or "@" in parts.netloc else _route(origin)
    if route is not None:
        pool, own = route
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        raw = pool.urlopen(
            "GET",
            path,
            headers=_joined({**own, **headers}, own_secret),
            retries=False,
            redirect=False,
            timeout=Timeout(connect=CONNECT_S, read=SILENCE_S),
            preload_content=False,
        )
        if not raw.get_redirect_location():
            return _taken(raw, raw.status, raw.headers, most)
        raw.close()
        _send_on.add(origin)
    answer = _follow(url, headers, secret) if secret else _send(url, headers)
    return _taken(answer.raw, answer.status_code, answer.headers, most)


def _send(url: str, headers: Mapping[str, str], **options: Any) -> requests.Response:
    return _session().get(
        url, headers=dict(headers), timeout=(CONNECT_S, SILENCE_S), stream=True, **options
    )


def _follow(
    url: str, headers: Mapping[str, str], secret: Callable[[str], Mapping[str, str]]
) -> requests.Response:
    """Send a request and follow redirects; each host is given its own secrets, or none.

    requests itself takes off an Authorization on the way to another host, but no other header.
    """
    for _ in range(_REDIRECTS):
        own = dict(secret(url))
        # Else what ~/.netrc has of the host would stand in place of our own.
        auth = _as_it_is if any(name.lower() == "authorization" for name in own) else None
        answer = _send(url, _joined(headers, own), allow_redirects=False, auth=auth)
        if not answer.is_redirect:
            return answer
        target = urljoin(url, answer.headers["Location"])
        answer.close()
        url = target
    raise requests.TooManyRedirects(f"more than {_REDIRECTS} redirects")


def _joined(headers: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Headers, of which the second ones replace those of the same name in any case."""
    names = {name.lower() for name in own}
    return {name: value for name, value in headers.items() if name.lower() not in names} | dict(own)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _taken(
    raw: BaseHTTPResponse, status: int, headers: Mapping[str, str], most: int | None
) -> RangeResponse:
    """Read the body; then the connection is free for other requests, or closed."""
    try:
        if status == requests.codes.partial_content and _may_be_longer(headers, most):
            body = raw.read((most or 0) + 1, decode_content=False)
        elif status == requests.codes.partial_content:
            body = raw.read(decode_content=False)  # in one piece: requests takes 10 KiB at a time
            raw.release_conn()
        else:
            body = raw.read(_EXCERPT_BYTES, decode_content=False)
    finally:
        raw.close()
    return RangeResponse(status, headers, body, raw)


def _may_be_longer(headers: Mapping[str, str], most: int | None) -> bool:
    """Whether an answer may have more bytes than were asked for."""
    length = str(headers.get("Content-Length", ""))
    return most is not None and not (length.isdigit() and int(length) <= most)


@once(maxsize=256)
def _route(origin: str) -> tuple[HTTPConnectionPool, dict[str, str]] | None:
    """Connection pool of a server and the headers to send; None when a proxy is between."""
    session = _session()
    request = session.prepare_request(requests.Request("GET", f"{origin}/"))
    settings = session.merge_environment_settings(f"{origin}/", {}, True, None, None)
    if requests.utils.select_proxy(f"{origin}/", settings["proxies"]):
        return None
    adapter: Any = session.get_adapter(f"{origin}/")
    pool = adapter.get_connection_with_tls_context(
        request, settings["verify"], cert=settings["cert"]
    )
    # As requests' own send does: the certificates that the environment, or certifi, names.
    adapter.cert_verify(pool, f"{origin}/", settings["verify"], settings["cert"])
    return pool, {name: str(value) for name, value in request.headers.items()}


@once()
def _session() -> requests.Session:
    """The process's session, which keeps connections open and reads proxies and ~/.netrc."""
    session = _Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS, max_retries=0))
    redact_logs()
    return session


class _Session(requests.Session):
    def merge_environment_settings(self, url: Any, *settings: Any) -> Any:
        options = super().merge_environment_settings(url, *settings)
        if urlsplit(str(url)).hostname in _LOOPBACK:  # which a proxy cannot reach
            options["proxies"] = {}
        return options


def forget() -> None:
    """Drop all connections; after a fork, since sockets are the parent's."""
    _session.cache_clear()
    _route.cache_clear()
    _send_on.clear()
    HOSTS.forget()
