"""Run tasks on threads of this process or on the workers of a Dask cluster.

Both put replies on a queue, so that the waiting loop can also look at the clock. The reply to a
task that raised carries its error: it is small, made of plain types when it comes from another
process, and names its worker.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from rsscale.cluster.allocator import start_thread
from rsscale.cluster.sealed import Sealed
from rsscale.errors import ReadError, RsscaleError, StorageError
from rsscale.text.redaction import scrub

if TYPE_CHECKING:
    from distributed import Client, Future


# The scheduler answers in milliseconds, but tasks may end by the hundred a second.
_ASK_EVERY_S = 1.0
_THREADS = "rsscale-tile"
# A worker that is paused may still spill what it holds, and go on.
_PAUSED_S = 120.0


@dataclass(frozen=True)
class TaskReply:
    """The result or error of a task, by its ticket, and the worker it ran on."""

    ticket: int
    result: Any = None
    error: BaseException | None = None
    may_retry: bool = True
    worker: str = ""


class WorkerDiedError(RuntimeError):
    """Workers died while they had this task."""


class ClusterLostError(RsscaleError):
    """The scheduler is gone, and with it all that was in flight."""

    exit_code = 1


class RemoteTaskError(RuntimeError):
    """An error on another machine, as text: its class may not be known here, only its name."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def is_about_storage(error: BaseException) -> bool:
    """Whether an error means that the run can't be written, whatever the task."""
    kind = error.kind if isinstance(error, RemoteTaskError) else type(error).__name__
    return kind == StorageError.__name__


class Pool(Protocol):
    """Runs tasks. Used as a context manager; leaving it cancels those that still wait."""

    def slots(self) -> int:
        """Number of tasks that can run at once now."""

    def submit(
        self, ticket: int, task: Any, avoid: str, replies: queue.SimpleQueue[TaskReply]
    ) -> None:
        """Start a task, not on the worker ``avoid`` if there is another."""

    def check(self) -> None:
        """Raise :class:`ClusterLostError` when no answer will ever come."""

    def withdraw(self) -> list[int]:
        """Take tasks back that nobody has begun, and for which no reply comes; their tickets."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


@runtime_checkable
class Workers(Protocol):
    """What has a pool of its own, in place of a Dask client: the processes of an array."""

    def open_pool(self, work: Callable[[Any], Any]) -> Pool:
        """A pool whose workers do ``work`` for each task."""


def open_pool(work: Callable[[Any], Any], client: Client | Workers | None, slots: int) -> Pool:
    """The pool of a client's cluster, or one of threads."""
    if isinstance(client, Workers):
        return client.open_pool(work)
    return Threads(work, slots) if client is None else Cluster(work, client)


_Request = tuple[int, Any, queue.SimpleQueue[TaskReply]]


class Threads:
    """Threads of this process."""

    def __init__(self, work: Callable[[Any], Any], slots: int) -> None:
        self._work = work
        self._slots = max(slots, 1)
        self._tasks: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._is_open = True
        for number in range(self._slots):
            start_thread(self._work_off, f"{_THREADS}-{number}")

    def slots(self) -> int:
        """Number of threads."""
        return self._slots

    def submit(
        self,
        ticket: int,
        task: Any,
        avoid: str,  # noqa: ARG002 -- there is one worker only
        replies: queue.SimpleQueue[TaskReply],
    ) -> None:
        """Start a task on a thread."""
        self._tasks.put((ticket, task, replies))

    def _work_off(self) -> None:
        while (entry := self._tasks.get()) is not None and self._is_open:
            ticket, task, replies = entry
            replies.put(self._reply(ticket, task))

    def _reply(self, ticket: int, task: Any) -> TaskReply:
        try:
            return TaskReply(ticket, self._work(task))
        except BaseException as error:  # noqa: BLE001 -- reported: nobody waits here
            return TaskReply(ticket, error=error, may_retry=_may_retry(error))

    def check(self) -> None:
        """Nothing to check: threads of this process are always there."""

    def withdraw(self) -> list[int]:
        """None: what was given to threads is finished soon."""
        return []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_open = False
        for _slot in range(self._slots):
            self._tasks.put(None)


def has_abandoned_tasks() -> bool:
    """Whether threads of this process still compute tasks of a pool that was left.

    Python would wait for them before it ends.
    """
    return any(thread.name.startswith(_THREADS) for thread in threading.enumerate())


class Cluster:
    """The workers of a Dask cluster."""

    def __init__(self, work: Callable[[Any], Any], client: Client) -> None:
        self._work = work
        self._client = client
        self._address = getattr(client.scheduler, "address", "")
        self._futures: dict[int, Future] = {}
        self._known: dict[str, Any] = {}
        self._refreshed = -_ASK_EVERY_S
        self._at_work = time.monotonic()

    def slots(self) -> int:
        """Threads of all workers that are there now, at least one."""
        threads: int = sum(worker["nthreads"] for worker in self._workers().values())
        return max(threads, 1)

    def _workers(self) -> dict[str, Any]:
        """The scheduler's workers by address; refreshed every second at most."""
        now = time.monotonic()
        if now - self._refreshed >= _ASK_EVERY_S:
            self._refreshed = now
            self._known = self._client.scheduler_info(n_workers=-1).get("workers", {})
        return self._known

    def submit(
        self, ticket: int, task: Any, avoid: str, replies: queue.SimpleQueue[TaskReply]
    ) -> None:
        """Send a task; its future is released as soon as it is done."""
        others = self._others(avoid) if avoid else []
        placed = {"workers": others, "allow_other_workers": True} if others else {}
        # Impure: a task of an earlier run with the same arguments is not an answer.
        attempt = Sealed(partial(_attempt, self._work, task))
        future = self._client.submit(attempt, pure=False, **placed)
        self._futures[ticket] = future
        future.add_done_callback(partial(self._done, ticket, replies))

    def _others(self, avoid: str) -> list[str]:
        return [address for address in self._workers() if address != avoid]

    def _done(self, ticket: int, replies: queue.SimpleQueue[TaskReply], future: Future) -> None:
        # On the client's own loop: a result that was lost with its worker comes when Dask has run
        # the task again, and nobody may wait for it on the one thread that callbacks have.
        waiting = self._fetch(ticket, replies, future)
        asyncio.run_coroutine_threadsafe(waiting, self._client.loop.asyncio_loop)

    async def _fetch(
        self, ticket: int, replies: queue.SimpleQueue[TaskReply], future: Future
    ) -> None:
        try:
            returned = await self._client.gather(future, asynchronous=True)
            reply = with_ticket(ticket, returned)
        except asyncio.CancelledError:  # by a scheduler that started anew, mostly
            reply = TaskReply(ticket, error=self._lost())
        except Exception as error:  # noqa: BLE001 -- whatever Dask made of it is told
            reply = _of_dask(ticket, error)
        self._futures.pop(ticket, None)
        replies.put(reply)

    def check(self) -> None:
        """Whether the scheduler is still there, and its workers take tasks."""
        if self._client.status != "running":
            raise self._lost()
        now, workers = time.monotonic(), self._workers()
        # Without any worker a run waits: they may be queued for somewhere.
        if not workers or any(worker.get("status") == "running" for worker in workers.values()):
            self._at_work = now
        if now - self._at_work > _PAUSED_S:
            raise ClusterLostError(
                f"all {len(workers)} workers of the Dask scheduler at {self._address} have been "
                f"paused for {_PAUSED_S:.0f} s, as Dask does where memory is full; start workers "
                "with more memory and resume: what is done is kept"
            )

    def withdraw(self) -> list[int]:
        """None: what was sent is finished soon."""
        return []

    def _lost(self) -> ClusterLostError:
        return ClusterLostError(
            f"the Dask scheduler at {self._address} is gone, or has cancelled the run's tasks; "
            "start it again and resume: what is done is kept"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Left early: don't leave tasks behind on a cluster that others use.
        left = list(self._futures.values())
        if left and self._client.status == "running":
            self._client.cancel(left, force=True)


def _of_dask(ticket: int, error: Exception) -> TaskReply:
    """The reply for an error outside the task."""
    from distributed.scheduler import KilledWorker

    if not isinstance(error, KilledWorker):
        return TaskReply(ticket, error=error)
    where = str(getattr(error.last_worker, "address", ""))
    message = f"{error.allowed_failures + 1} workers died while they had this tile"
    return TaskReply(ticket, error=WorkerDiedError(message), worker=where)


def _attempt(work: Callable[[Any], Any], task: Any) -> dict[str, Any]:
    """Run a task on a worker; an error becomes text with its class and whether to retry."""
    from distributed import get_worker

    worker = {"worker": get_worker().address}
    try:
        return worker | {"result": work(task)}
    except Exception as error:  # noqa: BLE001 -- told, not raised: its class may not be known there
        return worker | {"error": _error_record(error)}


def _error_record(error: BaseException) -> dict[str, Any]:
    return {"kind": type(error).__name__, "text": scrub(str(error)), "retry": _may_retry(error)}


def reply_as_dict(reply: TaskReply, worker: str) -> dict[str, Any]:
    """A reply in plain types, for another process; :func:`with_ticket` is the inverse."""
    if reply.error is None:
        return {"worker": worker, "result": reply.result}
    return {"worker": worker, "error": _error_record(reply.error)}


def with_ticket(ticket: int, returned: Mapping[str, Any]) -> TaskReply:
    """The reply of another process, which came in plain types."""
    error = returned.get("error")
    if error is None:
        return TaskReply(ticket, returned["result"], worker=returned["worker"])
    kind, text = error["kind"], error["text"]
    known = kind.endswith("Error") and not text.startswith(kind) and kind not in _NAMED
    message = f"{kind}: {text}" if known else text
    return TaskReply(
        ticket, None, RemoteTaskError(message, kind), error["retry"], returned["worker"]
    )


def _may_retry(error: BaseException) -> bool:
    """A user's mistake stays one; a read that failed, or a disk that was full, may get through."""
    if isinstance(error, RsscaleError):
        return isinstance(error, ReadError) or error.exit_code == 1
    return not isinstance(error, (KeyboardInterrupt, SystemExit, AssertionError))


def _subclasses(cls: type) -> set[str]:
    return {cls.__name__}.union(*map(_subclasses, cls.__subclasses__()))


# Errors whose message says all.
_NAMED = _subclasses(RsscaleError)
