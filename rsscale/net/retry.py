"""How often and how long to wait for a server; the same for catalogues and for pixels."""

from __future__ import annotations

import logging
import random
import re
import time
from typing import Any

import requests
from urllib3 import BaseHTTPResponse, Retry

# Between two tries: 0, 1, 2, 4, 8 s, each plus up to a second so that the workers of one
# cluster do not come back in step.
RETRIES = 5
BACKOFF_S = 0.5
JITTER_S = 1.0
# A server may ask for hours. Longer than this, a person would rather know.
RETRY_AFTER_MAX_S = 120.0
# Answers that another try may change: too many requests, and faults of servers and gateways.
RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class BoundedRetry(Retry):
    """urllib3's policy, but a server's ``Retry-After`` counts only within reason."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Seconds that the server asks for, at most :data:`RETRY_AFTER_MAX_S`."""
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, RETRY_AFTER_MAX_S)


def policy(**options: Any) -> BoundedRetry:
    """What urllib3 is to retry: any method, since asking twice does no harm here."""
    return BoundedRetry(
        total=RETRIES,
        backoff_factor=BACKOFF_S,
        backoff_jitter=JITTER_S,
        status_forcelist=RETRY_STATUS,
        allowed_methods=None,
        raise_on_status=False,  # the last answer says more than "too many errors"
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
    inner: BaseException = error
    while True:
        cause = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        if not isinstance(cause, BaseException):
            break
        inner = cause
    text = f"{type(inner).__name__} {inner}".lower()
    if isinstance(error, requests.Timeout) or "timed out" in text:
        return "silence"
    for signs, words in _SIGNS.items():
        if any(sign in text for sign in signs):
            return words
    return type(inner).__name__


# In order: a connection that breaks in the middle of an answer is told as both of the last two.
_SIGNS = {
    ("refused",): "connection refused",
    ("resol", "name or service"): "no such host",
    ("certificate", "ssl"): "its TLS certificate is not accepted",
    ("incomplete",): "the answer was cut short",
    ("reset", "aborted", "remotedisconnected", "broken"): "the connection was dropped",
}


class _Redact(logging.Filter):
    """urllib3 logs the address of what it retries, token and all."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                re.sub(r"\?\S*", "?…", arg) if isinstance(arg, str) else arg for arg in record.args
            )
        return True


_REDACT = _Redact()


def redact_logs() -> None:
    """Keep tokens out of what urllib3 logs; again does nothing more."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_REDACT)
