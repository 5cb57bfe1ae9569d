"""Call a function for one item after another, some ahead: hides the latency of a bucket."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Called ahead of what is handed out: hides the latency, and holds no more.
AHEAD = 16


def ahead_in_order(
    threads: ThreadPoolExecutor, call: Callable[[T], R], items: Iterable[T]
) -> Iterator[R]:
    """Results of a function, in the order of the items."""
    ahead: deque[Future[R]] = deque()
    for item in items:
        ahead.append(threads.submit(call, item))
        if len(ahead) > AHEAD:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()
