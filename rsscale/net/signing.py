"""Sign URLs of files that are not public, right before each read.

How an input is signed is given by a name, which is kept with the frozen items; a signature is
never kept. Credentials come from the usual environment of each service, never from a recipe.

====================== =============================================================
``planetary-computer`` short-lived tokens of the Planetary Computer, by its own package
                      (``pip install 'rsscale[planetary-computer]'``)
``aws-anonymous``     public buckets on S3, without credentials
``aws-requester-pays`` buckets on S3 where the reader pays for the transfer
``module:function``   your own: takes a URL and returns it signed, or ``(URL, expiry)`` with
                      the expiry as an aware datetime, or ``(URL, headers)`` with headers that
                      go to the host of that URL. The module must be named in the
                      environment variable ``RSSCALE_SIGNERS`` (comma-separated) of every
                      process that reads: a recipe alone cannot make a machine run code.
====================== =============================================================

Beside a signer, or without one, requests may carry headers with tokens: see
:mod:`rsscale.net.headers`.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from rsscale.decorators.once import once
from rsscale.errors import ReadError, RecipeError, nearest
from rsscale.net.headers import HeaderRules, Headers
from rsscale.net.hrefs import shown

PROPERTY = "rsscale:sign"
"""Property of an item that holds the name of its signer."""

ALLOWED = "RSSCALE_SIGNERS"

# GDAL reads S3 itself; the keys are its own.
_GDAL = {
    "aws-anonymous": {"AWS_NO_SIGN_REQUEST": "YES"},
    "aws-requester-pays": {"AWS_REQUEST_PAYER": "requester"},
}
_HEADERS = "+headers:"
_NAMES = ("planetary-computer", *_GDAL)
# A signature that runs out on the way to the server is no good.
_BEFORE_EXPIRY = timedelta(seconds=60)
_KEPT = 4096


class Signer(Protocol):
    """Signs URLs; safe to use from several threads."""

    def __call__(self, url: str) -> str:
        """The URL with a signature that holds for at least a minute."""

    def renew(self, url: str) -> None:
        """Forget the signature: a server called it stale."""

    def headers(self, url: str) -> Mapping[str, str]:
        """Headers with secrets for a request to a URL, which go to no other host."""


def check_name(name: str) -> str:
    """Return a signer's name: one of those above, or ``module:function``.

    Whether the module is allowed is checked where URLs are signed: a recipe is also read on
    machines that only show its map.

    Raises
    ------
    RecipeError
        When it is neither.
    """
    module, colon, function = name.partition(":")
    if name in _NAMES or (colon and module and function.isidentifier()):
        return name
    raise RecipeError(
        f"sign is {name!r}; expected {', '.join(_NAMES)} or 'module:function'"
        f"{nearest(name, _NAMES)}"
    )


def _function(name: str) -> Callable[[str], Any]:
    """Import the function of a name, if its module is allowed on this machine."""
    module, _, function = name.partition(":")
    allowed = [part.strip() for part in os.environ.get(ALLOWED, "").split(",")]
    if module not in allowed:
        raise RecipeError(
            f"sign is {name!r}, and this machine does not allow the module {module!r}; if you "
            f"trust it, set {ALLOWED}={module} in the environment of all workers"
        )
    try:
        sign_function: Callable[[str], Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"sign is {name!r}, which cannot be imported: {error}") from None
    return sign_function


def access_name(sign: str | None, headers: Headers | None = None) -> str | None:
    """The name of a signer and of headers together; it holds no secret.

    It travels with the items wherever a signer's name does.

    Raises
    ------
    RecipeError
        When headers are not in the form of :mod:`rsscale.net.headers`.
    """
    if not headers:
        return sign
    return f"{sign or ''}{_HEADERS}{HeaderRules.of(headers).dump()}"


def split_access(name: str | None) -> tuple[str | None, HeaderRules | None]:
    """Inverse of :func:`access_name`."""
    sign, mark, rules = (name or "").partition(_HEADERS)
    return sign or None, HeaderRules.parse(rules) if mark else None


def gdal_options(name: str | None) -> dict[str, str]:
    """GDAL's options of a signer's name; none for most."""
    return _GDAL.get((name or "").partition(_HEADERS)[0], {})


@once(maxsize=16)
def signer(name: str | None) -> Signer | None:
    """The process's signer of a name; ``None`` where URLs need no signature and no headers.

    Parameters
    ----------
    name : str or None
        From :func:`access_name`.

    Raises
    ------
    RecipeError
        When the name is unknown, not allowed, or its module, function or variable is not there.
    """
    name, rules = split_access(name)
    if rules is not None:
        rules.check()
        return _WithHeaders(signer(name), rules)
    if name is None or check_name(name) in _GDAL:
        return None
    if name == "planetary-computer":
        return _PlanetaryComputer()
    return _Cached(_function(name), name)


class _WithHeaders:
    """Sends headers, and signs as another signer does."""

    def __init__(self, inner: Signer | None, rules: HeaderRules) -> None:
        self._inner, self._rules = inner, rules

    def __call__(self, url: str) -> str:
        return self._inner(url) if self._inner else url

    def renew(self, url: str) -> None:
        if self._inner:
            self._inner.renew(url)

    def headers(self, url: str) -> Mapping[str, str]:
        return {**(self._inner.headers(url) if self._inner else {}), **self._rules.of_url(url)}


class _Cached:
    """Keeps what a function signed until a minute before it runs out."""

    def __init__(self, sign: Callable[[str], Any], name: str) -> None:
        self._sign = sign
        self._name = name
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[str, datetime]] = {}
        self._headers: dict[str, Mapping[str, str]] = {}

    def __call__(self, url: str) -> str:
        with self._lock:
            signed, expiry = self._kept.get(url, ("", datetime.min.replace(tzinfo=UTC)))
        if datetime.now(UTC) + _BEFORE_EXPIRY < expiry:
            return signed
        try:
            answer = self._sign(url)
        except Exception as error:  # noqa: BLE001 -- anybody's function
            # A signer's own message may quote its secret.
            raise ReadError(
                f"{shown(url)} could not be signed: {self._name} raised {type(error).__name__}"
            ) from None
        signed, *more = answer if isinstance(answer, tuple) else (answer,)
        with self._lock:
            for given in more:
                if isinstance(given, Mapping):
                    self._headers[_origin(str(signed))] = dict(given)
        until = next((moment for moment in more if isinstance(moment, datetime)), None)
        until = until if more else expiry_of(str(signed))
        if until is not None:
            with self._lock:
                if len(self._kept) >= _KEPT:
                    self._kept.clear()
                self._kept[url] = signed, until
        return str(signed)

    def renew(self, url: str) -> None:
        with self._lock:
            self._kept.pop(url, None)

    def headers(self, url: str) -> Mapping[str, str]:
        with self._lock:
            return self._headers.get(_origin(url), {})


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


class _PlanetaryComputer:
    """Tokens by account and container, kept and renewed by the service's own package."""

    def __init__(self) -> None:
        try:
            from planetary_computer import sas
        except ImportError:
            raise RecipeError(
                "sign is 'planetary-computer', whose package is not installed; "
                "pip install 'rsscale[planetary-computer]'"
            ) from None
        self._sas = sas

    def __call__(self, url: str) -> str:
        try:
            return str(self._sas.sign_url(url))
        except Exception as error:  # noqa: BLE001 -- requests, pydantic, KeyError: the package's
            raise ReadError(
                f"{shown(url)} could not be signed: the Planetary Computer gave no token "
                f"({type(error).__name__})"
            ) from None

    def renew(self, url: str) -> None:  # noqa: ARG002 -- tokens belong to containers
        self._sas.TOKEN_CACHE.clear()

    def headers(self, url: str) -> Mapping[str, str]:  # noqa: ARG002 -- its tokens are in the URL
        return {}


def expiry_of(url: str) -> datetime | None:
    """When a signed URL runs out, as Azure, AWS, Google or CloudFront write it; else ``None``."""
    query = {key.lower(): values[0] for key, values in parse_qs(urlsplit(url).query).items()}
    if "se" in query:
        try:
            expiry = datetime.fromisoformat(query["se"])
        except ValueError:
            return None
        return expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)
    for cloud in ("x-amz", "x-goog"):
        start, seconds = query.get(f"{cloud}-date", ""), query.get(f"{cloud}-expires", "")
        if re.fullmatch(r"\d{8}T\d{6}Z", start) and seconds.isdigit():
            begun = datetime.strptime(start, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return begun + timedelta(seconds=int(seconds))
    if query.get("expires", "").isdigit():
        return datetime.fromtimestamp(int(query["expires"]), UTC)
    return None
