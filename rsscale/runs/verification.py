"""Verify every stored object of a run against its ledger entry."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from rsscale.errors import ReadError
from rsscale.layers import TileKey
from rsscale.plans.plan import RunPlan, TileTask
from rsscale.progress.bars import progress
from rsscale.runs.replaced_files import KnownVersions
from rsscale.steps.base import NotReadyError, Step
from rsscale.store.ahead import AHEAD, ahead_in_order
from rsscale.store.lease import acquire
from rsscale.store.ledger import Entry
from rsscale.store.run_folder import RunFolder


class Condition(Enum):
    """State of a tile."""

    SOUND = "sound"
    ABSENT = "has not run"
    WAITING = "waits for an earlier step"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Judgement:
    """Result of verifying one tile.

    Attributes
    ----------
    key : TileKey
    condition : Condition
    reason : str
        Of damage, or what is waited for.
    entry : Entry, optional
    task : TileTask, optional
        To compute it; not for one that waits.
    """

    key: TileKey
    condition: Condition
    reason: str = ""
    entry: Entry | None = None
    task: TileTask | None = None


@dataclass(frozen=True)
class Damage:
    """A tile that differs from its ledger entry.

    Attributes
    ----------
    key : TileKey
    reason : str
    """

    key: TileKey
    reason: str


@dataclass(frozen=True)
class Verification:
    """Result of :func:`verify`.

    Attributes
    ----------
    total : int
        Tiles of the run, of all steps.
    sound : int
        Tiles whose stored objects are what the ledger says, made from what the run is made from.
    absent : int
        Tiles that have not run, or wait for one of an earlier step.
    damaged : tuple of Damage
    stores : tuple of str
        Stores without some of their metadata: they can't be opened, whatever their tiles are.
    """

    total: int
    sound: int
    absent: int
    damaged: tuple[Damage, ...]
    stores: tuple[str, ...] = ()


def verify(folder: str | Path, *, repair: bool = False) -> Verification:
    """Read every stored object of a run again and compare it with the ledger.

    Parameters
    ----------
    folder : path or address
        A run folder.
    repair : bool
        Take back the ledger entries of damaged tiles, so that :func:`rsscale.resume` computes
        them. (It would find them by itself, too; an entry taken back also tells other readers.)

    Returns
    -------
    Verification
        How many tiles are sound and absent, and which are damaged, with the reason.

    Raises
    ------
    RunFolderError
        When it is no run folder; with ``repair``, also when a run is at work on it.
    """
    target = RunFolder.at(folder)
    plan = RunPlan.read(target)
    total = sum(plan.count(step) for step in plan.steps)
    sound, absent = 0, 0
    damaged: list[Damage] = []
    known = KnownVersions()
    with progress("verify", total, "tiles") as bar, ThreadPoolExecutor(AHEAD) as threads:
        for step, level in plan.rounds():
            for verdict in judged(plan, step, level, threads):
                judgement = _compared(verdict, known)
                sound += judgement.condition is Condition.SOUND
                absent += judgement.condition in (Condition.ABSENT, Condition.WAITING)
                if judgement.condition is Condition.DAMAGED:
                    damaged.append(Damage(judgement.key, judgement.reason))
                bar.advance()
    if repair and damaged:
        with acquire(target.storage):
            for damage in damaged:
                target.ledger.delete(damage.key)
    return Verification(total, sound, absent, tuple(damaged), tuple(_stores_without_metadata(plan)))


def _compared(judgement: Judgement, known: KnownVersions) -> Judgement:
    """A tile judged by the files that others have read, too.

    Two can differ where a process died before it could compare them, or where a worker that was
    given up wrote its tile after all.
    """
    if judgement.condition is not Condition.SOUND or judgement.entry is None:
        return judgement
    try:
        known.add(judgement.entry.files)
    except ReadError as error:
        return replace(judgement, condition=Condition.DAMAGED, reason=str(error))
    return judgement


def _stores_without_metadata(plan: RunPlan) -> Iterator[str]:
    for step, level in plan.rounds():
        store = plan.layers_of(step, level)
        lost = store.lost() if store else []
        if store and lost:
            yield f"{store.storage.url}: {lost[0]} is not there"


def unfinished(
    plan: RunPlan,
    step: Step,
    level: int,
    known: KnownVersions,
    *,
    found_done: Callable[[dict[str, Any]], None],
    found_waiting: Callable[[TileKey], None],
    skip: Container[TileKey] = (),
) -> Iterator[TileTask]:
    """Tiles of a step that are still to be computed, lazily.

    An entry that is no longer true is taken back before its tile is handed out, so that no later
    step reads a tile that is about to change.

    Parameters
    ----------
    plan : RunPlan
    step : Step
    level : int
    known : KnownVersions
        Of all tiles that are done: one that has read a file in another version is not.
    found_done : callable
        Is given the summary of each tile that is done and sound.
    found_waiting : callable
        Is given the key of each tile that reads one which is not done.
    skip : container of TileKey
        Tiles to leave out.
    """
    with ThreadPoolExecutor(AHEAD // 4) as threads:
        for verdict in judged(plan, step, level, threads):
            judgement = _compared(verdict, known)
            if judgement.condition is Condition.SOUND and judgement.entry is not None:
                found_done(judgement.entry.summary())
                continue
            if judgement.condition is Condition.DAMAGED:
                plan.folder.ledger.delete(judgement.key)
            if judgement.task is None:
                found_waiting(judgement.key)
            elif judgement.key not in skip:
                yield judgement.task


def judged(
    plan: RunPlan, step: Step, level: int, threads: ThreadPoolExecutor
) -> Iterator[Judgement]:
    """All tiles of a step at a level in order, each judged; some are looked at ahead."""
    plan.setup.ledger.forget()
    yield from ahead_in_order(threads, partial(_judge, plan), plan.keys(step, level))


def _judge(plan: RunPlan, key: TileKey) -> Judgement:
    """A tile by its entry, its fingerprint and its stored objects."""
    entry = plan.folder.ledger.read(key)
    is_cut_short = entry is None and plan.folder.ledger.holds(key)
    try:
        task = plan.task(key)
    except NotReadyError as error:
        condition = Condition.WAITING if entry is None else Condition.DAMAGED
        return Judgement(key, condition, str(error), entry)
    if is_cut_short:
        return Judgement(key, Condition.DAMAGED, "its ledger entry was cut short", None, task)
    if entry is None:
        return Judgement(key, Condition.ABSENT, "", None, task)
    if entry.fingerprint != task.fingerprint:
        return Judgement(key, Condition.DAMAGED, "was made from other inputs", entry, task)
    stored = plan.stored(key)
    wrong = [name for name, digest in stored.items() if entry.digests.get(name) != digest]
    if wrong:
        reason = f"stored {', '.join(wrong)} is not what was written"
        return Judgement(key, Condition.DAMAGED, reason, entry, task)
    return Judgement(key, Condition.SOUND, "", entry, task)
