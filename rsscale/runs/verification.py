"""Look back at what was written: every shard against its ledger entry."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsscale.progress import progress
from rsscale.runs.folder import RunFolder
from rsscale.runs.planning import RunPlan, TileTask
from rsscale.runs.worker import summary
from rsscale.store.lease import hold
from rsscale.store.ledger import Entry

# Looked at ahead of what is handed out: hides the latency of a bucket, holds no more.
_AHEAD = 16


@dataclass(frozen=True)
class Damage:
    """A tile that is not what its entry says.

    Attributes
    ----------
    period : int
    tile : str
    reason : str
    """

    period: int
    tile: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """What :func:`verify` found.

    Attributes
    ----------
    total : int
        Tiles of the run.
    sound : int
        Tiles whose shards are what the ledger says, made from what the run is made from.
    absent : int
        Tiles that have not run.
    damaged : tuple of Damage
    """

    total: int
    sound: int
    absent: int
    damaged: tuple[Damage, ...]


def verify(folder: str | Path, *, repair: bool = False) -> Verification:
    """Read every shard of a run again and compare it with the ledger.

    Parameters
    ----------
    folder : path or address
        A run folder.
    repair : bool
        Take back the ledger entries of damaged tiles, so that :func:`rsscale.resume` computes
        them. (It would find them by itself, too; an entry taken back also tells other readers.)

    Raises
    ------
    RunFolderError
        When it is no run folder; with ``repair``, also when a run is at work on it.
    """
    target = RunFolder.at(folder)
    plan = RunPlan.read(target)
    total = target.read_state()["tiles"]["total"]
    sound, absent = 0, 0
    damaged: list[Damage] = []
    with progress("verify", total, "tiles") as bar, ThreadPoolExecutor(_AHEAD) as threads:
        for task, (entry, reason) in _looked_at(plan, threads):
            sound += not reason
            absent += entry is None and reason == _ABSENT
            if reason and reason != _ABSENT:
                damaged.append(Damage(task.period, plan.tile(task).id, reason))
            bar.advance()
    if repair and damaged:
        with hold(target.place):
            for one in damaged:
                target.ledger.forget(one.period, one.tile)
    return Verification(total, sound, absent, tuple(damaged))


def unfinished(
    plan: RunPlan,
    *,
    found: Callable[[dict[str, Any]], None],
    skip: Container[tuple[int, str]] = (),
) -> Iterator[TileTask]:
    """Tiles that are still to be computed, lazily, with their fingerprints.

    Parameters
    ----------
    plan : RunPlan
    found : callable
        Is given the summary of each tile that is done and sound.
    skip : container of (period, tile id)
        Tiles to leave out.
    """
    with ThreadPoolExecutor(_AHEAD // 4) as threads:
        for task, (entry, reason) in _looked_at(plan, threads):
            if not reason and entry is not None:
                found(summary(entry))
            elif (task.period, plan.tile(task).id) not in skip:
                yield task


_ABSENT = "has not run"
_Judged = tuple[Entry | None, str]


def _judge(plan: RunPlan, task: TileTask) -> _Judged:
    """A tile's entry, and what is wrong with it (nothing: an empty string)."""
    tile = plan.tile(task).id
    entry = plan.folder.ledger.read(task.period, tile)
    if entry is None:
        is_there = plan.folder.ledger.holds(task.period, tile)
        return None, "its ledger entry was cut short" if is_there else _ABSENT
    if entry.fingerprint != task.fingerprint:
        return entry, "was made from other inputs"
    damaged = plan.damaged(task, entry)
    return entry, f"stored {', '.join(damaged)} is not what was written" if damaged else ""


def _looked_at(plan: RunPlan, threads: ThreadPoolExecutor) -> Iterator[tuple[TileTask, _Judged]]:
    """All tasks in order, each with its judgement; some are looked at ahead."""

    def look(task: TileTask) -> tuple[TileTask, _Judged]:
        known = plan.with_fingerprint(task)
        return known, _judge(plan, known)

    ahead: deque[Future[tuple[TileTask, _Judged]]] = deque()
    for task in plan.tasks():
        ahead.append(threads.submit(look, task))
        if len(ahead) > _AHEAD:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()
