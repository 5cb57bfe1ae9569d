"""What a scheduler is given: tasks, bytes of graphs, and how many tasks it holds at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol import dumps

_OPEN = {"waiting", "queued", "no-worker", "processing"}


@dataclass
class Counts:
    """Counted while it is entered; all are zero where there is no scheduler.

    Attributes
    ----------
    client : distributed.Client or None
    tasks : int
        Keys that the scheduler was given.
    graph_bytes : int
        The largest graph that was sent, serialised.
    sent_bytes : int
        All of them.
    in_flight : int
        The most keys that were neither done nor forgotten.
    slots : int
        Threads of all workers.
    """

    client: Any = None
    tasks: int = 0
    graph_bytes: int = 0
    sent_bytes: int = 0
    in_flight: int = 0
    slots: int = 0
    _on: bool = field(default=False, repr=False)

    def __enter__(self) -> None:
        self._on = True

    def __exit__(self, *error: object) -> None:
        self._on = False

    def sent(self, message: dict[str, Any]) -> None:
        """Note a graph on its way."""
        if self._on and message.get("op") == "update-graph":
            size = sum(len(frame) for frame in dumps(message))
            self.graph_bytes = max(self.graph_bytes, size)
            self.sent_bytes += size

    def to_dict(self) -> dict[str, int]:
        """For JSON."""
        names = ("tasks", "graph_bytes", "sent_bytes", "in_flight", "slots")
        return {name: getattr(self, name) for name in names}


LAST = Counts()
"""Of the last cluster in this process."""


class _Watch(SchedulerPlugin):  # type: ignore[misc]
    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._known: set[Any] = set()
        self._open: set[Any] = set()

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        """Called by the scheduler for every task that changes its state."""
        if not self._counts._on:  # noqa: SLF001
            return
        if start == "released" and key not in self._known:
            self._known.add(key)
            self._counts.tasks += 1
        if finish in _OPEN:
            self._open.add(key)
            self._counts.in_flight = max(self._counts.in_flight, len(self._open))
        else:
            self._open.discard(key)


@contextmanager
def counted(client: Any) -> Iterator[Counts]:
    """Counts of a client whose cluster runs in this process."""
    global LAST  # noqa: PLW0603 -- one cluster in a child process
    counts = LAST = Counts(client)
    if client is None:
        yield counts
        return
    counts.slots = sum(client.nthreads().values())
    client.cluster.scheduler.add_plugin(_Watch(counts), name="counts")
    send = client._send_to_scheduler  # noqa: SLF001

    def noted(message: dict[str, Any]) -> None:
        counts.sent(message)
        send(message)

    client._send_to_scheduler = noted  # noqa: SLF001
    yield counts
