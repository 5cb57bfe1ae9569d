"""Headers with secrets, such as bearer tokens and API keys: by name, to one host, never kept.

A recipe or a call names the host, the header, and the environment variable that holds the value::

    headers:
      data.example.org: {Authorization: "Bearer env:EXAMPLE_TOKEN"}
      api.example.org: {X-Api-Key: env:EXAMPLE_KEY}

The value is read right before each request. It goes to that host alone, over https (or to
loopback, or where the host is written with ``http://``), and is not taken along when the server
redirects elsewhere. A recipe alone cannot send what is in a machine's environment: the variables
must be named in ``RSSCALE_TOKENS`` (comma-separated) of every process that reads.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from rsscale.errors import RecipeError
from rsscale.text.redaction import HEADER_VARIABLES

ALLOWED = HEADER_VARIABLES

Headers = Mapping[str, Mapping[str, str]]
"""Host to header to ``env:NAME``, with a scheme such as ``Bearer`` before it or not."""

_HOST = re.compile(r"(?:(https?)://)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?/?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_VALUE = re.compile(r"(?:([A-Za-z][A-Za-z0-9-]*) )?env:([A-Za-z_][A-Za-z0-9_]*)")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# They belong to the request itself.
_RESERVED = ("range", "host", "content-length", "accept-encoding", "transfer-encoding")


@dataclass(frozen=True)
class HeaderRules:
    """Which headers go to which host.

    Attributes
    ----------
    rules : tuple of (host, header, value)
        The value as it is written, with the variable's name.
    """

    rules: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, headers: Any) -> Self:
        """Check headers as a recipe has them.

        Raises
        ------
        RecipeError
            Without what was found, which may be a secret.
        """
        if not isinstance(headers, Mapping):
            raise _WRONG_FORM
        rules = []
        for host, by_name in headers.items():
            if not isinstance(host, str) or not _HOST.fullmatch(host):
                raise _WRONG_FORM
            if not isinstance(by_name, Mapping) or not by_name:
                raise _WRONG_FORM
            for name, value in by_name.items():
                if not isinstance(name, str) or not _NAME.fullmatch(name):
                    raise _WRONG_FORM
                if name.lower() in _RESERVED:
                    raise RecipeError(f"headers of {host}: {name} belongs to the request itself")
                if not isinstance(value, str) or not _VALUE.fullmatch(value):
                    raise RecipeError(
                        f"headers of {host}: {name} is not the name of an environment variable; "
                        f"keep secrets out of recipes: put it into a variable and write "
                        f'{name}: "env:VARIABLE", or "Bearer env:VARIABLE"'
                    )
                rules.append((host.rstrip("/").lower(), name, value))
        return cls(tuple(sorted(rules)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Inverse of :meth:`dump`."""
        try:
            return cls.of(json.loads(text))
        except ValueError:
            raise _WRONG_FORM from None

    def dump(self) -> str:
        """The rules as text, which holds no secret."""
        nested: dict[str, dict[str, str]] = {}
        for host, name, value in self.rules:
            nested.setdefault(host, {})[name] = value
        return json.dumps(nested, separators=(",", ":"), sort_keys=True)

    def of_url(self, url: str) -> dict[str, str]:
        """Headers for a request, with their values from the environment.

        Raises
        ------
        RecipeError
            When a variable is not allowed, not set, or holds what no header can.
        """
        return {name: _value(host, value) for host, name, value in self.rules if _is_of(host, url)}

    def check(self) -> None:
        """Refuse variables that could not be used here.

        Raises
        ------
        RecipeError
            Likewise.
        """
        for host, _, value in self.rules:
            _value(host, value)

    def redact(self, text: str) -> str:
        """A text without the secrets, for what a server says."""
        for _, _, value in self.rules:
            secret = os.environ.get(_variable(value), "").strip()
            text = text.replace(secret, "…") if secret else text
        return text


_WRONG_FORM = RecipeError(
    "headers are not what was expected: a host, in it the header, in it the environment variable "
    'that holds the value, as in {data.example.org: {Authorization: "Bearer env:EXAMPLE_TOKEN"}}'
)


def _is_of(host: str, url: str) -> bool:
    """Whether a request goes to the host of a rule, on a way that others can't read."""
    match, parts = _HOST.fullmatch(host), urlsplit(url)
    if match is None or parts.scheme not in ("http", "https"):
        return False
    scheme, name, port = match.groups()
    there = (parts.hostname or "").lower()
    if there != name.strip("[]"):
        return False
    default = 443 if parts.scheme == "https" else 80
    try:
        if port is not None and int(port) != (parts.port or default):
            return False
    except ValueError:
        return False
    wanted = (scheme,) if scheme else ("https", "http") if there in _LOOPBACK else ("https",)
    return parts.scheme in wanted


def _variable(value: str) -> str:
    return value.rpartition("env:")[2]


def _value(host: str, value: str) -> str:
    prefix, _, variable = value.rpartition("env:")
    allowed = [name.strip() for name in os.environ.get(ALLOWED, "").split(",")]
    if variable not in allowed:
        raise RecipeError(
            f"headers of {host} want {variable} of the environment, and this machine does not "
            f"allow it; if you trust that host with it, set {ALLOWED}={variable} in the "
            "environment of all workers"
        )
    secret = os.environ.get(variable, "").strip()
    if not secret:
        raise RecipeError(
            f"headers of {host} want {variable} of the environment, which is not set here; set "
            "it on every machine that reads"
        )
    if not secret.isprintable() or not secret.isascii():
        raise RecipeError(
            f"headers of {host}: {variable} of the environment holds signs that no header can; "
            "is it the whole file, or in quotes?"
        )
    return prefix + secret
