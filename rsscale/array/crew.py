"""The pool of who leads an array: posts tasks for all members, collects their reports."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from rsscale.array.board import Board, older_epochs, remove_epoch
from rsscale.array.members import FOLDER, Member, Roster
from rsscale.cluster.pools import TaskReply, WorkerDiedError, with_ticket
from rsscale.documents import read_json
from rsscale.store.storage import Storage

DEATHS = 4
"""Members that may die with a tile before it is tried alone: as many as Dask allows."""

_DEATHS = f"{FOLDER}/deaths.json"


@dataclass
class _Posted:
    """A task that was posted and not answered."""

    ticket: int
    task: Any
    avoid: str
    replies: queue.SimpleQueue[TaskReply]
    seen: float = field(default=0.0)  # when its claim was seen first, monotonic


class Deaths:
    """How many members died with each tile in hand; kept in the folder, for the next who leads.

    Parameters
    ----------
    folder : Storage
        Of the run.
    """

    def __init__(self, folder: Storage) -> None:
        self._folder = folder
        self._counts: dict[str, int] = {}
        with suppress(FileNotFoundError, ValueError, TypeError, AttributeError):
            deaths = read_json(folder.read(_DEATHS))
            self._counts = {str(k): int(n) for k, n in deaths.items()}

    def of(self, tile: str) -> int:
        """Of one tile."""
        return self._counts.get(tile, 0)

    def add(self, tile: str) -> int:
        """Count one more; how many there are."""
        self._counts[tile] = self.of(tile) + 1
        self._save()
        return self._counts[tile]

    def forget(self, tile: str) -> None:
        """It was finished after all."""
        if self._counts.pop(tile, None) is not None:
            self._save()

    def _save(self) -> None:
        self._folder.write(_DEATHS, json.dumps(self._counts).encode())


class Crew:
    """All members of an array, as the engine's workers; for the one that leads.

    Parameters
    ----------
    folder : Storage
        Of the run.
    me : Member
        The process that leads.
    poll_s : float
        How often the folder is looked at.
    """

    def __init__(self, folder: Storage, me: Member, poll_s: float) -> None:
        self.folder, self.me, self.poll_s = folder, me, poll_s
        self.roster = Roster(folder, max(poll_s, 0.5))
        self._board: Board | None = None
        self._deaths = Deaths(folder)
        self._number = 0

    @contextmanager
    def leading(self, epoch: int, plan: str, versions: Mapping[str, str]) -> Iterator[Board]:
        """Lead an epoch for the ``with`` block.

        Parameters
        ----------
        epoch : int
            Of the run's lease.
        plan : str
            Hash of the plan that all tasks belong to.
        versions : mapping of package to version
            Which all members must have.
        """
        self.roster.members()
        for old in older_epochs(self.folder, epoch):
            self._count_deaths(Board(self.folder, old))
            remove_epoch(self.folder, old)
        self.roster.sweep()
        board = Board(self.folder, epoch)
        board.open({"plan": plan, "versions": dict(versions), "leader": self.me.id})
        self._board = board
        try:
            yield board
        finally:
            self._board = None

    def _count_deaths(self, board: Board) -> None:
        """Tiles that members died with while nobody led."""
        alive = self.roster.members()
        for name, member in board.open_claims().items():
            if member not in alive and (tile := board.tile_of(name)):
                self._deaths.add(tile)

    def open_pool(self, work: Callable[[Any], Any]) -> CrewPool:
        """A pool over the members; what they do is theirs to know, ``work`` is not called."""
        del work
        if self._board is None:
            raise RuntimeError("an array has tasks only while somebody leads it")
        return CrewPool(self, self._board, self._deaths)

    def next_name(self) -> str:
        """Of a task, of which there may be several pools in an epoch."""
        self._number += 1
        return f"{self._number:06d}"


class CrewPool:
    """A :class:`rsscale.cluster.pools.Pool` whose workers are the members of an array."""

    def __init__(self, crew: Crew, board: Board, deaths: Deaths) -> None:
        self._crew, self._board, self._deaths = crew, board, deaths
        self._posted: dict[str, _Posted] = {}
        self._claims: dict[str, str] = {}
        self._tried_alone: set[str] = set()
        self._polled = float("-inf")
        self._slowest = 0.0

    def slots(self) -> int:
        """Of all members that are there now."""
        return max(sum(member.slots for member in self._crew.roster.members().values()), 1)

    def submit(
        self, ticket: int, task: Any, avoid: str, replies: queue.SimpleQueue[TaskReply]
    ) -> None:
        """Post a task. One that many members have died with is tried alone, once."""
        tile = str(task.key)
        deaths = self._deaths.of(tile)
        if deaths >= DEATHS and tile not in self._tried_alone:
            self._tried_alone.add(tile)
            replies.put(TaskReply(ticket, error=_died(deaths)))
        elif deaths > DEATHS:  # also alone, by who led before
            self._deaths.forget(tile)
            replies.put(TaskReply(ticket, error=_died(deaths)))
        else:
            self._post(_Posted(ticket, task, avoid, replies))

    def _post(self, posted: _Posted) -> None:
        name = self._crew.next_name()
        self._posted[name] = posted
        self._board.post(
            name,
            {
                "tile": str(posted.task.key),
                "key": asdict(posted.task.key),
                "fingerprint": posted.task.fingerprint,
                "avoid": posted.avoid if len(self._crew.roster.members()) > 1 else "",
                "slowest": self._slowest,
            },
        )

    def check(self) -> None:
        """Collect reports, and post again what was in the hands of members that are gone."""
        now = time.monotonic()
        if now - self._polled < self._crew.poll_s:
            return
        self._polled = now
        for name, reply in self._board.reports():
            self._answer(name, reply)
        self._claims = self._board.claims(self._claims)
        for name in [name for name in self._posted if name in self._claims]:
            self._check_holder(name, now)

    def _answer(self, name: str, reply: Mapping[str, Any]) -> None:
        posted = self._posted.pop(name, None)
        self._board.remove(name)
        if posted is None:  # of a member that was taken to be gone
            return
        if reply.get("returned"):  # it left before it had finished
            self._post(posted)
            return
        answer = with_ticket(posted.ticket, reply)
        if answer.error is None:
            self._deaths.forget(str(posted.task.key))
            self._slowest = max(self._slowest, sum(answer.result["seconds"].values()))
        posted.replies.put(answer)

    def _check_holder(self, name: str, now: float) -> None:
        posted = self._posted[name]
        posted.seen = posted.seen or now
        alive = self._crew.roster.members()
        if self._claims[name] in alive or self._crew.roster.read_at <= posted.seen:
            return
        del self._posted[name]
        self._board.remove(name)
        tile = str(posted.task.key)
        deaths = self._deaths.add(tile)
        if deaths < DEATHS:
            posted.seen = 0.0
            self._post(posted)
            return
        if deaths > DEATHS:  # a failure now; whoever resumes may have more memory
            self._deaths.forget(tile)
        self._tried_alone.add(tile)
        error = _died(deaths)
        posted.replies.put(TaskReply(posted.ticket, error=error, worker=self._claims[name]))

    def withdraw(self) -> list[int]:
        """Take the tasks back that nobody has begun; their tickets."""
        tickets = []
        for name, posted in list(self._posted.items()):
            if name not in self._claims and self._board.take(name, self._crew.me.id):
                del self._posted[name]
                self._board.remove(name)
                tickets.append(posted.ticket)
        return tickets

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Left early: members shall not begin what nobody waits for.
        self.withdraw()


def _died(deaths: int) -> WorkerDiedError:
    return WorkerDiedError(f"{deaths} processes of the array died while they had this tile")
