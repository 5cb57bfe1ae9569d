"""Cache the results of a function so that each is computed once, also by several threads.

``functools.lru_cache`` computes a result twice when two threads ask for it first at the same time,
so that a pool of connections or threads made by it is not one pool.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache, update_wrapper
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Once(Generic[P, R]):
    """A function whose results are kept; one thread at a time computes.

    Parameters
    ----------
    function : callable
        Its arguments are hashable. What it raises is not kept.
    maxsize : int
        Results kept, the last ones used.
    """

    def __init__(self, function: Callable[P, R], maxsize: int) -> None:
        self._cached = lru_cache(maxsize)(function)
        self._lock = threading.RLock()
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function's result, computed once."""
        with self._lock:
            return self._cached(*args, **kwargs)  # type: ignore[arg-type]

    def cache_clear(self) -> None:
        """Forget all results; also after a fork, when a thread that is gone may hold the lock."""
        self._lock = threading.RLock()
        self._cached.cache_clear()


def once(maxsize: int = 1) -> Callable[[Callable[P, R]], Once[P, R]]:
    """Decorate a function as a :class:`Once`."""

    def decorate(function: Callable[P, R]) -> Once[P, R]:
        return Once(function, maxsize)

    return decorate
