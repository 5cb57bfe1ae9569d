"""Retry policy for HTTP requests, the same for catalogues and for pixels."""

from __future__ import annotations

import http.client
import random
import socket
import ssl
import time
from typing import Any

import requests
from urllib3 import BaseHTTPResponse, Retry
from urllib3.exceptions import (
    ConnectTimeoutError,
    InvalidChunkLength,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

_Classes = tuple[type[BaseException], ...]

# Between two tries: 0, 1, 2, 4, 8 s, each plus up to a second so that the workers of one
# cluster do not come back in step.
RETRIES = 5
BACKOFF_S = 0.5
JITTER_S = 1.0
# A server may ask for hours; longer than this, the request fails instead.
RETRY_AFTER_MAX_S = 120.0
# Answers that another try may change: too many requests, and faults of servers and gateways.
RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class BoundedRetry(Retry):
    """urllib3's policy, but a server's ``Retry-After`` counts only within reason."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Seconds that the server asks for, at most :data:`RETRY_AFTER_MAX_S`."""
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, RETRY_AFTER_MAX_S)


def policy(but: frozenset[int] = frozenset(), **options: Any) -> BoundedRetry:
    """urllib3's settings of retries: for any method, since no request here changes anything.

    ``but`` are answers after which it is not tried again.
    """
    return BoundedRetry(
        total=RETRIES,
        backoff_factor=BACKOFF_S,
        backoff_jitter=JITTER_S,
        status_forcelist=RETRY_STATUS - but,
        allowed_methods=None,
        raise_on_status=False,  # the last response says more than "too many errors"
        **options,
    )


def pause(tried: int, answer: BaseHTTPResponse | None = None) -> None:
    """Wait before another try.

    Parameters
    ----------
    tried : int
        How often it was tried already, from 1.
    answer : urllib3 response, optional
        The refusal; its ``Retry-After`` is honoured.
    """
    asked = None if answer is None else BoundedRetry(0).get_retry_after(answer)
    backoff = BACKOFF_S * 2 ** (tried - 1) if tried > 1 else 0.0
    time.sleep(backoff + random.uniform(0, JITTER_S) if asked is None else asked)


def why_no_answer(error: BaseException) -> str:
    """Why a request of requests or urllib3 failed, in words.

    The exceptions themselves quote the address, token and all.

    Returns
    -------
    str
        ``"silence"``, ``"connection refused"``, ``"no such host"``,
        ``"its TLS certificate is not accepted"``, ``"the answer was cut short"``,
        ``"the connection was dropped"``, or else the exception's name.
    """
    causes = _causes(error)
    for words, classes, others in _REASONS:
        if any(isinstance(e, classes) and not isinstance(e, others) for e in causes):
            return words
    return type(_innermost(error)).__name__


def is_unreachable(error: BaseException) -> bool:
    """Whether a request failed because there was no connection to the server at all."""
    causes = _causes(error)
    timed_out = any(isinstance(e, (requests.ConnectTimeout, ConnectTimeoutError)) for e in causes)
    return timed_out or why_no_answer(error) in (
        "connection refused",
        "no such host",
        "its TLS certificate is not accepted",
    )


# The first that fits, with its classes and subclasses of these that mean something else: a response
# that is cut short is a dropped connection (ProtocolError) too.
_REASONS: tuple[tuple[str, _Classes, _Classes], ...] = (
    (
        "silence",
        (requests.Timeout, ReadTimeoutError, ConnectTimeoutError, TimeoutError),
        (NewConnectionError,),  # a ConnectTimeoutError for the sake of old callers
    ),
    ("connection refused", (ConnectionRefusedError,), ()),
    ("no such host", (NameResolutionError, socket.gaierror), ()),
    (
        "its TLS certificate is not accepted",
        (SSLError, requests.exceptions.SSLError, ssl.SSLError),
        (),
    ),
    ("the answer was cut short", (http.client.IncompleteRead,), (InvalidChunkLength,)),
    ("the connection was dropped", (ProtocolError, ConnectionError), ()),
)


def _causes(error: BaseException) -> list[BaseException]:
    """An error and all that it was made from: its reason, its arguments, its cause."""
    causes = [error]
    for raised in causes:
        for cause in (getattr(raised, "reason", None), *raised.args, raised.__cause__):
            if isinstance(cause, BaseException) and not any(cause is known for known in causes):
                causes.append(cause)
    return causes


def _innermost(error: BaseException) -> BaseException:
    """The error that requests and urllib3 wrapped."""
    while True:
        cause = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(cause, BaseException):
            return error
        error = cause
