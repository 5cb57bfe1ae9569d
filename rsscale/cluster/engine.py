"""Evaluate a function for many tiles: in this process, or streamed to a Dask cluster.

One task a tile, a bounded number in flight, outcomes as they come. The engine knows nothing
of maps: ``work`` is any importable function of one small task, which has done all that it
has to do when it returns, and is safe to run twice.

A task that raises is tried again, on another worker if there is one, after a growing pause;
then its failure is an outcome, and the others go on. A task whose workers die with it is tried
once more with nothing else in flight: what still kills its worker then is poison, and is a
failure too, but what only stood beside it is not blamed. Where workers have died of as many tasks
as they have slots, and none has succeeded meanwhile, one is tried so at once.

When nothing but failures comes for long, the engine pauses, and at last gives up: a bucket that no
longer lets anyone in would else fail a hundred thousand tiles one after another. It gives up soon
where the fault is in no task: the run can't be written, or workers die of whatever they are given.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from rsscale.cluster.pools import (
    ClusterLostError,
    Pool,
    TaskReply,
    WorkerDiedError,
    Workers,
    is_about_storage,
    open_pool,
)
from rsscale.text.redaction import scrub

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
R = TypeVar("R")

# Enough to keep every slot busy while results travel; memory and graph stay small.
_IN_FLIGHT_PER_SLOT = 2
# How often the loop looks up from waiting: at the clock, at ``stop``, at workers that came.
_TICK_S = 0.25


@dataclass(frozen=True)
class Patience:
    """Limits of retries and pauses.

    Attributes
    ----------
    attempts : int
        Of a task that raises.
    pause_s : float
        Before the second attempt; doubles with each.
    longest_pause_s : float
        Also of the whole engine, while nothing but failures comes.
    give_up_after : int
        Failed tasks in a row, without one that succeeds.
    full_after : int
        Tasks in a row whose results can't be written.
    deadly_after : int
        Tasks that each kill their workers alone, before any has succeeded.
    deadly_in_a_row : int
        The same after some have succeeded, one after another.
    """

    attempts: int = 3
    pause_s: float = 1.0
    longest_pause_s: float = 60.0
    give_up_after: int = 100
    full_after: int = 5
    deadly_after: int = 3
    deadly_in_a_row: int = 5

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures."""
        return min(self.pause_s * 2.0 ** max(failures - 1, 0), self.longest_pause_s)


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """End of one task: exactly one of ``result`` and ``error`` is set.

    ``attempts`` counts how often it was tried, ``worker`` tells where last, ``may_pass`` whether an
    error can go away by itself: a mistake can't.
    """

    task: T
    result: R | None = None
    error: BaseException | None = None
    attempts: int = 1
    worker: str = ""
    may_pass: bool = True


@dataclass
class Stop:
    """Request to end a run early.

    ``ask()``: no further task is started, those in flight are finished; with ``grace_s``, those
    that take longer are abandoned. ``asked`` is safe to look at from any thread.
    """

    _event: threading.Event = field(default_factory=threading.Event)
    _deadline: float | None = None

    def ask(self, grace_s: float | None = None) -> None:
        """End early."""
        if grace_s is not None:
            self._deadline = time.monotonic() + grace_s
        self._event.set()

    @property
    def asked(self) -> bool:
        """Whether the end was asked for."""
        return self._event.is_set()

    @property
    def is_late(self) -> bool:
        """Whether what is in flight must be abandoned."""
        return self.asked and self._deadline is not None and time.monotonic() > self._deadline


def execute(
    tasks: Iterable[T],
    work: Callable[[T], R],
    *,
    client: Client | Workers | None = None,
    slots: int = 1,
    stop: Stop | None = None,
    patience: Patience | None = None,
    on_tick: Callable[[int], None] | None = None,
) -> Iterator[Outcome[T, R]]:
    """Run ``work`` for every task; yield outcomes as they come, in any order.

    Parameters
    ----------
    tasks : iterable
        Consumed lazily: never more than are in flight.
    work : callable
        ``work(task)``; importable on the workers, and safe to run twice for one task.
    client : distributed.Client or Workers, optional
        Run on its cluster; on threads of this process when omitted.
    slots : int
        Threads, without a client. A cluster has its own.
    stop : Stop, optional
        Ends the run early.
    patience : Patience, optional
    on_tick : callable
        Called several times a second with the number of tasks in flight, from the thread that
        iterates.

    Yields
    ------
    Outcome
        An exception of a task is an outcome, not an end: the others go on.

    Raises
    ------
    ClusterLostError
        When the scheduler is gone. What was in flight is not reported.
    TooManyFailuresError
        When nothing but failures came for long.
    """
    stream: _Stream[T, R] = _Stream(
        tasks, open_pool(work, client, slots), stop or Stop(), patience or Patience()
    )
    with stream.pool:
        yield from stream.outcomes(on_tick or _ignore)


def _ignore(_: int) -> None:
    pass


class TooManyFailuresError(RuntimeError):
    """Nothing but failures came for long."""


@dataclass
class _Attempt(Generic[T]):
    """A task on its way."""

    task: T
    number: int = 1
    avoid: str = ""  # the worker that it failed on
    due: float = 0.0  # not before, monotonic
    is_probe: bool = False  # whether it is to show that anything works at all


class _Stream(Generic[T, R]):
    """The state of one :func:`execute`."""

    def __init__(self, tasks: Iterable[T], pool: Pool, stop: Stop, patience: Patience) -> None:
        self.pool = pool
        self._fresh = iter(tasks)
        self._is_dry = False
        self._stop = stop
        self._patience = patience
        self._replies: queue.SimpleQueue[TaskReply] = queue.SimpleQueue()
        self._flying: dict[int, _Attempt[T]] = {}
        self._again: list[_Attempt[T]] = []
        self._suspects: deque[_Attempt[T]] = deque()
        self._tickets = 0
        # Since a task last succeeded.
        self._in_a_row = self._full = self._deadly = self._suspected = 0
        self._has_succeeded = False
        self._quiet_until = 0.0

    def outcomes(self, on_tick: Callable[[int], None]) -> Iterator[Outcome[T, R]]:
        while True:
            self._fill()
            on_tick(len(self._flying))
            if self._stop.asked:
                for ticket in self.pool.withdraw():
                    del self._flying[ticket]
            if self._is_over():
                return
            try:
                reply = self._replies.get(timeout=_TICK_S)
            except queue.Empty:
                self.pool.check()
                continue
            attempt = self._flying.pop(reply.ticket)
            outcome = self._settle(attempt, reply)
            if outcome is not None:
                yield outcome
                self._count(outcome)

    def _is_over(self) -> bool:
        if self._stop.asked:
            return not self._flying or self._stop.is_late
        return not (self._flying or self._again or self._suspects) and self._is_dry

    def _fill(self) -> None:
        """Put tasks in flight, as many as may be."""
        if self._stop.asked or time.monotonic() < self._quiet_until:
            return
        room = self.pool.slots() * _IN_FLIGHT_PER_SLOT - len(self._flying)
        while room > 0 and (attempt := self._next()) is not None:
            self._tickets += 1
            self._flying[self._tickets] = attempt
            self.pool.submit(self._tickets, attempt.task, attempt.avoid, self._replies)
            room -= 1

    def _next(self) -> _Attempt[T] | None:
        """Choose the next attempt: a due retry, else a new task, else one suspect alone."""
        if self._suspects and self._suspected >= self.pool.slots():
            # Does anything work here, still? One alone tells, before more workers die.
            if self._flying:
                return None
            self._suspected -= 1
            return replace(self._suspects.pop(), is_probe=True)
        now = time.monotonic()
        for attempt in self._again:
            if attempt.due <= now:
                self._again.remove(attempt)
                return attempt
        if not self._is_dry:
            for task in self._fresh:
                return _Attempt(task)
            self._is_dry = True
        if self._suspects and not self._flying and not self._again:
            return self._suspects.popleft()
        return None

    def _settle(self, attempt: _Attempt[T], reply: TaskReply) -> Outcome[T, R] | None:
        """Turn a reply into an outcome, or plan another attempt (None)."""
        error, number = reply.error, attempt.number
        if error is None:
            return Outcome(attempt.task, reply.result, None, number, reply.worker)
        if isinstance(error, ClusterLostError):
            raise error
        is_suspect = isinstance(error, WorkerDiedError) and number == 1
        if is_suspect:
            # With nothing else in flight, so that it can take nothing else with it.
            self._suspects.append(_Attempt(attempt.task, self._patience.attempts))
            self._suspected += 1
            return None
        if reply.may_retry and number < self._patience.attempts and not self._stop.asked:
            due = time.monotonic() + self._patience.pause(number)
            self._again.append(_Attempt(attempt.task, number + 1, reply.worker, due))
            return None
        self._deadly += attempt.is_probe and isinstance(error, WorkerDiedError)
        return Outcome(attempt.task, None, error, number, reply.worker, reply.may_retry)

    def _count(self, outcome: Outcome[T, R]) -> None:
        """Back off while nothing but failures comes that may pass, and give up at last."""
        error, patience = outcome.error, self._patience
        if error is None:
            self._in_a_row = self._full = self._deadly = self._suspected = 0
            self._has_succeeded = True
            return
        self._in_a_row += 1
        self._full = self._full + 1 if is_about_storage(error) else 0
        if self._in_a_row >= patience.give_up_after or self._full >= patience.full_after:
            raise TooManyFailuresError(
                f"{self._in_a_row} tiles failed one after another: {one_line(error)}"
            )
        deadly = patience.deadly_in_a_row if self._has_succeeded else patience.deadly_after
        if self._deadly >= deadly:
            lately = " of late" if self._has_succeeded else ""
            raise TooManyFailuresError(
                f"no tile was finished{lately}, and {self._deadly} were tried alone: "
                f"{one_line(error)}; their memory may be too small"
            )
        if outcome.may_pass and self._in_a_row > self.pool.slots():
            failures = self._in_a_row - self.pool.slots()
            self._quiet_until = time.monotonic() + self._patience.pause(failures)


def one_line(error: BaseException) -> str:
    """An error on one line, without secrets: it is kept, and it may be anybody's."""
    return scrub(" ".join(str(error).split()) or type(error).__name__)


__all__ = [
    "ClusterLostError",
    "Outcome",
    "Patience",
    "Stop",
    "TooManyFailuresError",
    "Workers",
    "execute",
    "one_line",
]
