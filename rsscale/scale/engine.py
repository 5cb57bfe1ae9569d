"""Evaluate a function for many tiles: in this process, or streamed to a Dask cluster.

One task a tile, a bounded number in flight, results as they come. The engine knows nothing
of maps: ``work`` is any importable function of one small task, which has done all that it
has to do when it returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")
R = TypeVar("R")

# Enough to keep every slot busy while results travel; memory and graph stay small.
_IN_FLIGHT_PER_SLOT = 2


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """How one task ended: exactly one of ``result`` and ``error`` is set."""

    task: T
    result: R | None = None
    error: BaseException | None = None


def execute(
    tasks: Iterable[T],
    work: Callable[[T], R],
    *,
    client: Client | None = None,
    stop: threading.Event | None = None,
) -> Iterator[Outcome[T, R]]:
    """Run ``work`` for every task; yield outcomes as they come, in any order.

    Parameters
    ----------
    tasks : iterable
        Consumed lazily: never more than are in flight.
    work : callable
        ``work(task)``; importable on the workers, and safe to run twice for one task.
    client : distributed.Client, optional
        Run on its cluster; in this process, one task after another, when omitted.
    stop : threading.Event, optional
        Once set, no further task is started; those in flight are finished and yielded.

    Yields
    ------
    Outcome
        An exception of a task is an outcome, not an end: the others go on.
    """
    stop = stop or threading.Event()
    if client is None:
        yield from _in_process(tasks, work, stop)
    else:
        yield from _on_cluster(tasks, work, client, stop)


def _in_process(
    tasks: Iterable[T], work: Callable[[T], R], stop: threading.Event
) -> Iterator[Outcome[T, R]]:
    for task in tasks:
        if stop.is_set():
            return
        try:
            yield Outcome(task, result=work(task))
        except Exception as error:  # noqa: BLE001 -- one tile's failure is reported, not raised
            yield Outcome(task, error=error)


def _on_cluster(
    tasks: Iterable[T], work: Callable[[T], R], client: Client, stop: threading.Event
) -> Iterator[Outcome[T, R]]:
    from distributed import as_completed

    queue = iter(tasks)
    running: dict[Future, T] = {}

    def submit(count: int) -> list[Future]:
        fresh = {}
        for task in islice(queue, count):
            # Impure: a task of an earlier run with the same arguments is not an answer.
            fresh[client.submit(work, task, pure=False, retries=1)] = task
        running.update(fresh)
        return list(fresh)

    try:
        completed = as_completed(submit(_slots(client) * _IN_FLIGHT_PER_SLOT))
        for future in completed:
            yield _outcome(future, running.pop(future))
            future.release()
            if not stop.is_set():
                for fresh in submit(1):
                    completed.add(fresh)
    finally:
        # Left early, by an error or Ctrl-C twice: don't leave tasks behind on a shared cluster.
        client.cancel(list(running))


def _slots(client: Client) -> int:
    """Threads of all workers; waits for the first worker."""
    client.wait_for_workers(1)
    threads: dict[str, int] = client.nthreads()
    return max(sum(threads.values()), 1)


def _outcome(future: Future, task: Any) -> Outcome[Any, Any]:
    error = future.exception() if future.status == "error" else None
    if future.status == "cancelled":
        error = RuntimeError("the task was cancelled; the scheduler may have gone")
    if error is not None:
        return Outcome(task, error=error)
    return Outcome(task, result=future.result())
