"""Catalogues over HTTP: retried with backoff, bounded in time, never silent about a failure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO

from rsscale.catalog.answers import BoundedAdapter
from rsscale.documents import DocumentError, read_json
from rsscale.errors import CatalogError
from rsscale.net.headers import HeaderRules
from rsscale.net.hrefs import absolute, find_link, is_url, shown
from rsscale.net.retry import RETRIES, policy, why_no_answer
from rsscale.net.signing import split_access
from rsscale.text.redaction import redact_logs, scrub_answer
from rsscale.text.wording import counted

CONNECT_S = 10.0
ANSWER_S = 60.0
CONNECTIONS = 8
# Of one search: a server that filters after paging gives some pages without items.
MOST_EMPTY, MOST_PAGES = 1000, 100_000

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EXCERPT = 160
_ANSWER = 4096
_FAULT = 500
_NOT_THERE = (404, 410)


class AnswerError(CatalogError):
    """A catalogue answered with an error.

    Attributes
    ----------
    status : int
    body : str
        Not for people: it may hold anything.
    """

    def __init__(self, message: str, status: int, body: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = body

    def after(self, tried: int) -> AnswerError:
        """The same after several tries."""
        if tried < 2 or self.status < _FAULT or "tried" in str(self):
            return self
        first, _, rest = str(self).partition(f"HTTP {self.status}")
        message = f"{first}HTTP {self.status}, tried {tried} times{rest}"
        return AnswerError(message, self.status, self.body)


class CatalogIO(StacApiIO):
    """pystac-client's requests, with this project's patience and errors.

    Every failure is a `CatalogError` of one line, without user names and query strings.

    Parameters
    ----------
    url : str
        Where the catalogue is.
    access : str, optional
        Of :func:`rsscale.net.signing.access_name`: its headers are sent to the hosts they name.
    at_once : frozenset of int
        Answers that are not asked again for, since the caller does.
    """

    def __init__(
        self, url: str, access: str | None = None, at_once: frozenset[int] = frozenset()
    ) -> None:
        # Nobody there is known at once; a restart takes a second.
        retries = policy(connect=2, but=at_once)
        self._at_once = at_once
        super().__init__(timeout=(CONNECT_S, ANSWER_S))
        self._rules = split_access(access)[1]
        if self._rules is not None:
            self.session = _Session(self._rules)
        for scheme in ("http://", "https://"):
            adapter = BoundedAdapter(max_retries=retries, pool_maxsize=CONNECTIONS)
            self.session.mount(scheme, adapter)
        if urlsplit(url).hostname in _LOOPBACK:
            self.session.trust_env = False  # a proxy cannot reach this machine's loopback
        redact_logs()

    def fetch(self, url: str) -> bytes:
        """The body of ``url``."""
        try:
            answer = self.session.get(url, timeout=self.timeout)
        except requests.RequestException as error:
            raise CatalogError(f"{shown(url)}: {_reason(error)}") from None
        if not answer.ok:
            raise self._answer_error(url, answer.status_code, answer.text, answer.request.headers)
        return answer.content

    def exists(self, url: str) -> bool:
        """Whether something is at an address."""
        try:
            self.fetch(url)
        except AnswerError as error:
            return error.status not in _NOT_THERE
        return True

    def _answer_error(
        self, url: str, status: int, body: str, sent: Mapping[str, Any]
    ) -> AnswerError:
        said = self._rules.redact(body) if self._rules is not None else body
        said = _server_message(said, url, *_credentials(sent))
        words = _status(status, said, is_last=status not in self._at_once)
        return AnswerError(f"{shown(url)}: {words}", status, body)

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Send one request of a search, as pystac-client does."""
        try:
            return str(super().request(href, method, headers, parameters))
        except APIError as error:
            status = getattr(error, "status_code", None)
            if status:
                sent = {**self.session.headers, **(headers or {})}
                raise self._answer_error(href, status, str(error), sent) from None
            if isinstance(error.__context__, CatalogError):
                raise error.__context__ from None
            raise CatalogError(f"{shown(href)}: {_reason(error.__context__ or error)}") from None

    def read_json(self, source: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a JSON object; the error names what came instead."""
        where = str(getattr(source, "href", source))
        if not is_url(where):  # pystac would read a file of this machine
            raise CatalogError(f"{shown(where)!r} is a server's link; expected http(s)://")
        try:
            text = self.read_text(source, *args, **kwargs)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            # Of a link's own method, headers and body, which may be anything.
            raise CatalogError(
                f"{shown(where)}: it can't be asked as its link says ({type(error).__name__})"
            ) from None
        return parse_json(text.encode(), str(getattr(source, "href", source)))

    def get_pages(
        self, url: str, method: str | None = None, parameters: dict[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Pages of a search that have items.

        pystac-client stops at the first page without items, though a server may filter
        after paging and still name a next page; and it follows a ``next`` in circles, and one
        without end.
        """
        from pystac import Link

        page = self.read_json(url, method=method, parameters=parameters)
        requests_seen: set[str] = set()
        items_seen: set[tuple[Any, Any]] = set()
        without_new = 0
        while True:
            features = _features(page, url)
            keys = {(str(item.get("collection")), str(item.get("id"))) for item in features}
            following = _next_link(page, url)
            asked = json.dumps(following, sort_keys=True)
            if asked in requests_seen or (following and keys and keys <= items_seen):
                raise CatalogError(
                    f"{shown(url)}: the server's paging goes in circles after "
                    f"{counted(len(items_seen), 'item')}; narrow the search, or tell its operator"
                )
            requests_seen.add(asked)
            without_new = 0 if keys - items_seen else without_new + 1
            items_seen |= keys
            if following and (without_new >= MOST_EMPTY or len(requests_seen) >= MOST_PAGES):
                raise CatalogError(
                    f"{shown(url)}: the server's paging has no end: {len(requests_seen)} pages, "
                    f"{counted(len(items_seen), 'item')}, the last {without_new} pages without a "
                    "new one; narrow the search, or tell its operator"
                )
            if features:
                yield page
            if following is None:
                return
            page = self.read_json(Link.from_dict(following), parameters=parameters)


class _Session(requests.Session):
    """Sends headers to the hosts that they are meant for, also after a redirect."""

    def __init__(self, rules: HeaderRules) -> None:
        super().__init__()
        self._rules = rules

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request with the headers of its host, which nobody who logs requests sees."""
        own = self._rules.of_url(str(request.url))
        if own:
            request = request.copy()
            request.headers.update(own)
        return super().send(request, **options)

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Take off the secrets of the host before a redirect; requests knows just one of them."""
        for name in self._rules.of_url(str(response.request.url)):
            prepared_request.headers.pop(name, None)
        super().rebuild_auth(prepared_request, response)


def parse_json(body: bytes, name: str) -> dict[str, Any]:
    """``body`` as a JSON object; else a `CatalogError` with the kind of content."""
    try:
        value = read_json(body)
    except DocumentError as error:
        reason = _content_kind(body) if str(error).startswith("not JSON") else str(error)
        raise CatalogError(f"{shown(name)}: expected STAC JSON, {reason}") from None
    if not isinstance(value, dict):
        raise CatalogError(
            f"{shown(name)}: expected a STAC object, found a JSON {type(value).__name__}"
        )
    return value


def _features(page: dict[str, Any], url: str) -> list[dict[str, Any]]:
    features = page.get("features", page.get("collections"))
    if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
        raise CatalogError(
            f"{shown(url)}: expected a page of items, found an object with "
            f"{', '.join(sorted(page)[:6]) or 'nothing'}; is this the API's own address?"
        )
    return features


def _next_link(page: dict[str, Any], url: str) -> dict[str, Any] | None:
    link = find_link(page, "next")
    if link is None:
        return None
    following = absolute(link["href"], url)
    if not is_url(following):
        raise CatalogError(
            f"{shown(url)}: its next page is {shown(following)!r}; expected an http(s) address"
        )
    return {**link, "href": following}


def _status(status: int, said: str, *, is_last: bool = True) -> str:
    hints = {
        401: "it wants credentials (headers, or those of the server in ~/.netrc)",
        403: "access is refused; check the credentials",
        404: "nothing is there; check the address",
        429: f"too many requests, also after {RETRIES} retries; wait, or ask for less",
    }
    hint = hints.get(status, f"tried {RETRIES + 1} times" if status >= _FAULT and is_last else "")
    return (
        f"HTTP {status}" + (f", {hint}" if hint else "") + (f" (it says: {said})" if said else "")
    )


def _credentials(headers: Mapping[str, Any]) -> list[str]:
    """Values of a request's headers, but those that every request has."""
    usual = {name.lower() for name in requests.utils.default_headers()} | {"content-type"}
    return [str(value) for name, value in headers.items() if name.lower() not in usual]


def _server_message(body: str, *sent: str) -> str:
    """The message of an API's error document, in one line, without what was sent to it."""
    try:
        document = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(document, dict):
        return ""
    texts = (document.get(key) for key in ("description", "detail", "message", "error"))
    text = next((text for text in texts if isinstance(text, str)), "")
    return re.sub(r"\?\S*|\s+", " ", scrub_answer(text[:_ANSWER], *sent)).strip()[:_EXCERPT]


def _content_kind(body: bytes) -> str:
    start = body[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "found an HTML page; give the API's own address, not that of its browser"
    if not start:
        return "found nothing (an empty answer)"
    if re.match(rb'[\[{]\s*["\[{]', start) and not body.rstrip().endswith((b"}", b"]")):
        return f"found JSON that ends after {len(body)} bytes, cut short; try again later"
    return f"found something else, starting with {body[:24]!r}"


def _reason(error: BaseException) -> str:
    """Why there was no answer, and what to do."""
    why = why_no_answer(error)
    reasons = {
        "silence": f"no answer within {ANSWER_S:g} s; try again later",
        "connection refused": f"{why}; is the server running, and is the port right?",
        "no such host": f"{why}; check the address and the network",
        "its TLS certificate is not accepted": why,
        "the answer was cut short": f"{why}; try again later",
        "the connection was dropped": f"{why}, {RETRIES + 1} times; try again later",
    }
    return reasons.get(why, f"no answer ({why}); check the address and the network")
