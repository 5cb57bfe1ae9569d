"""What every process of an array does: take tasks, compute them, report."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rsscale.array.board import Board
from rsscale.array.members import Member
from rsscale.cluster.engine import Stop
from rsscale.cluster.pools import TaskReply, Threads, reply_as_dict
from rsscale.cluster.walltime import Walltime

_TICK_S = 0.25
# A task that failed here is left to others so long.
_AVOIDED_S = 10.0

Task = dict[str, Any]


@dataclass
class Helper:
    """One process that takes tasks of an epoch.

    Attributes
    ----------
    board : Board
    me : Member
    compute : callable
        Computes the tile of a task; what it returns is JSON.
    walltime : Walltime
        No task is begun that may not end in time.
    poll_s : float
        How often the folder is looked at while there is nothing to do.
    done : int
        Tiles that were computed.
    """

    board: Board
    me: Member
    compute: Callable[[Task], dict[str, Any]]
    walltime: Walltime
    poll_s: float
    done: int = 0
    _avoided: dict[str, float] = field(default_factory=dict)
    _flying: dict[int, str] = field(default_factory=dict)
    _replies: queue.SimpleQueue[TaskReply] = field(default_factory=queue.SimpleQueue)

    def work(
        self,
        is_over: Callable[[], bool],
        stop: Stop,
        on_tick: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Take tasks until it is over, or time is short; finish what was begun.

        Parameters
        ----------
        is_over : callable
            Whether nobody wants more.
        stop : Stop
            Ends early; what takes longer than its grace is given back.
        on_tick : callable
            Called with the number of tasks in hand, several times a second.
        """
        ticket = 0
        with Threads(self.compute, self.me.slots) as threads:
            while True:
                on_tick(len(self._flying))
                ends = stop.asked or is_over() or self.walltime.is_short()
                if ends and (not self._flying or stop.is_late):
                    break
                free = 0 if ends else self.me.slots - len(self._flying)
                for name, task in self._taken(free):
                    ticket += 1
                    self._flying[ticket] = name
                    threads.submit(ticket, task, "", self._replies)
                self._report_one()
        for name in self._flying.values():
            self.board.report(name, {"returned": True})

    def _taken(self, count: int) -> list[tuple[str, Task]]:
        """Tasks that are this member's now."""
        taken: list[tuple[str, Task]] = []
        if count <= 0:
            return taken
        for name, task in self.board.offered():
            self.walltime.add(float(task.get("slowest") or 0.0))
            if self.walltime.is_short():
                break
            if not self._is_for_others(name, task) and self.board.take(name, self.me.id):
                taken.append((name, task))
            if len(taken) == count:
                break
        return taken

    def _is_for_others(self, name: str, task: Task) -> bool:
        if task.get("avoid") != self.me.id:
            return False
        now = time.monotonic()
        return now - self._avoided.setdefault(name, now) < _AVOIDED_S

    def _report_one(self) -> None:
        wait = _TICK_S if self._flying else self.poll_s
        try:
            reply = self._replies.get(timeout=wait)
        except queue.Empty:
            return
        name = self._flying.pop(reply.ticket)
        if reply.error is None:
            self.done += 1
            self.walltime.add(sum(reply.result["seconds"].values()))
        self.board.report(name, reply_as_dict(reply, self.me.id))
