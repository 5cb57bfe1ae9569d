"""Servers that cannot be reached: one thread asks again, the others wait for what it finds.

An archive's host that does not exist would else be asked six times for every asset. Where nobody
was ever reached, nothing asks for a minute; a server that answered before may be restarting, and
is asked again after a few seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from rsscale.net import retry

T = TypeVar("T")

NEVER_REACHED_S = 60.0
REACHED_BEFORE_S = 5.0
# Who is not known is hardly known a second later; a server that refuses may be restarting.
_TRIES = {"connection refused": retry.RETRIES, "silence": 2}
_KEPT = 4096


class UnreachableError(Exception):
    """No connection to a server, and why."""


class KnownUnreachableError(UnreachableError):
    """Likewise, after all that was tried; the message is for people."""


@dataclass
class _Host:
    """What is known of one server."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    answered: float | None = None
    closed_until: float = 0.0
    problem: str = ""


class Hosts:
    """The servers that this process has asked; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Host] = {}

    def ask(self, url: str, request: Callable[[], T]) -> T:
        """Send a request, and again where there is no connection; fail at once where it is known.

        Parameters
        ----------
        url : str
        request : callable
            Raises :class:`UnreachableError` where there is no connection.

        Raises
        ------
        KnownUnreachableError
        """
        host = self._of(url)
        _refuse(host)
        before = host.answered
        try:
            answer = request()
        except UnreachableError as problem:
            answer = _ask_again(host, before, request, str(problem))
        host.answered = time.monotonic()
        return answer

    def _of(self, url: str) -> _Host:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"
        with self._lock:
            if origin not in self._known and len(self._known) >= _KEPT:
                self._known.clear()
            return self._known.setdefault(origin, _Host())

    def forget(self) -> None:
        """Forget all: after a fork a lock may be held by a thread that is gone."""
        self.__init__()  # type: ignore[misc]


HOSTS = Hosts()


def _refuse(host: _Host) -> None:
    left = host.closed_until - time.monotonic()
    if left > 0:
        raise KnownUnreachableError(
            f"{host.problem}; its host is asked again in {max(round(left), 1)} s"
        )


def _ask_again(host: _Host, before: float | None, request: Callable[[], T], problem: str) -> T:
    with host.lock:  # whoever comes second waits here, and then knows
        _refuse(host)
        # Somebody reached it since then: it is there, and worth some patience.
        tries = _TRIES.get(problem, 2) if host.answered == before else retry.RETRIES
        for tried in range(1, tries + 1):
            retry.pause(tried)
            try:
                return request()
            except UnreachableError as again:
                problem = str(again)
        wait = NEVER_REACHED_S if host.answered is None else REACHED_BEFORE_S
        host.problem = f"{problem}, {tries + 1} times"
        host.closed_until = time.monotonic() + wait
        raise KnownUnreachableError(f"{host.problem}; try again later")
