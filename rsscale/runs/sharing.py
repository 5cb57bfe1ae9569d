"""Share a run among processes that nobody schedules: one leads, all compute.

Each process joins the run's array. The first that gets the run's lease leads: it plans, hands out
tiles by files in the run folder, and does what a run does besides, as with any other workers. All
others, and it too, take tiles and compute them. When who leads leaves or dies, the next one takes
the lease: the ledger says what is done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsscale.array.board import Board
from rsscale.array.crew import Crew
from rsscale.array.helper import Helper
from rsscale.array.members import FOLDER, Member, Roster, joined
from rsscale.cluster.connection import ARRAY, TILES_AT_ONCE
from rsscale.cluster.engine import Stop
from rsscale.cluster.signals import stop_on_signals
from rsscale.cluster.versions import versions
from rsscale.cluster.walltime import Walltime
from rsscale.errors import FolderHeldError, MoreToDoError, RecipeError, RunFolderError
from rsscale.layers import TileKey
from rsscale.monitoring.ending import raise_unless_done
from rsscale.monitoring.run_options import RunOptions
from rsscale.plans.growth import compare
from rsscale.plans.plan import RunPlan, TileTask
from rsscale.progress.bars import announce
from rsscale.recipe import Recipe
from rsscale.runs.worker import check_here, run_tile
from rsscale.steps.base import ByValue
from rsscale.store.lease import Lease, acquire, holder_of, latest_epoch
from rsscale.store.ledger import write_json
from rsscale.store.run_folder import RunFolder

if TYPE_CHECKING:
    from rsscale.runs.changes import Prepared

_ENDED = f"{FOLDER}/ended.json"
# How often a folder and a bucket are looked at, for tasks and for reports.
_POLL_S, _POLL_BUCKET_S = 0.2, 2.0
# Who leads has written its file before it takes the lease.
_STRANGER_S = 5.0


def refuse_by_value(by_value: ByValue | None) -> None:
    """Refuse what only this process has.

    Raises
    ------
    RecipeError
    """
    if by_value is not None:
        raise RecipeError(
            f"step {by_value.step!r} has a function of this process, which the others of an array "
            "lack; name it as 'module:function' in a recipe"
        )


def share(
    folder: RunFolder,
    work_off: Callable[..., Any],
    options: RunOptions,
    *,
    recipe: Recipe | None = None,
    plan: Callable[[], Prepared] | None = None,
    update: bool = False,
) -> None:
    """Take part in a run until it has ended.

    Parameters
    ----------
    folder : RunFolder
    work_off : callable
        Computes what is not done with given workers: ``work_off(folder, workers, lease, options)``.
    options : RunOptions
    recipe : Recipe, optional
        The run's own when omitted.
    plan : callable, optional
        Checks the recipe for this folder; called by who leads.
    update : bool
        Whether catalogues are searched anew, so that a run that is done may have more to do.

    Raises
    ------
    RsscaleError
        What the run raises for who leads; for the others when recipe, packages or device differ.
    MoreToDoError
        When the time of this process was over before the run was done.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM.
    """
    folder.make()
    walltime = Walltime.of(options.walltime_s)
    with joined(folder.storage, TILES_AT_ONCE) as me:
        part = _Part(folder, me, options, walltime, recipe)
        while update or not part.is_done_already():
            try:
                with acquire(folder.storage) as lease:
                    part.lead(lease, work_off, plan)
                    return
            except FolderHeldError:
                part.refuse_strangers()
            if part.help():
                return


@dataclass
class _Part:
    """What one process has to do with a run."""

    folder: RunFolder
    me: Member
    options: RunOptions
    walltime: Walltime
    recipe: Recipe | None

    @property
    def poll_s(self) -> float:
        return _POLL_S if self.folder.storage.supports_append else _POLL_BUCKET_S

    def is_done_already(self) -> bool:
        """Whether the array has come to its end before this process was started."""
        if not self.folder.exists or not self.folder.storage.exists(_ENDED):
            return False
        if self.folder.read_state()["state"] != "done":
            return False
        plan = RunPlan.read(self.folder)
        return self.recipe is None or not self._differing(plan)

    def _differing(self, plan: RunPlan) -> list[str]:
        """Keys in which this process's recipe is another one than that of the run."""
        from rsscale.plans.planning import open_recipe

        if self.recipe is None:
            return []
        setup, _ = open_recipe(self.recipe, self.folder)
        changes = compare(plan, setup)
        return [*changes.changed, *changes.removed, *changes.added]

    def lead(
        self, lease: Lease, work_off: Callable[..., Any], plan: Callable[[], Prepared] | None
    ) -> None:
        """Plan, and hand out tiles until none is left."""
        storage = self.folder.storage
        storage.delete(_ENDED)
        if plan is not None:
            plan().write()
        hash_ = self.folder.read_state()["plan"]
        crew = Crew(storage, self.me, self.poll_s)
        with crew.leading(lease.epoch, hash_, versions()) as board, self._helping(board, hash_):
            work_off(self.folder, crew, lease, self.options)
        for name in list(storage.names(FOLDER)):
            if not name.startswith(f"{FOLDER}/members/"):
                storage.delete(name)
        write_json(storage, _ENDED, {"epoch": lease.epoch})

    @contextmanager
    def _helping(self, board: Board, plan: str) -> Iterator[None]:
        """Take tiles in a thread, too, while this process leads."""
        over, stop = threading.Event(), Stop()
        helper = self._helper(board, plan)
        thread = threading.Thread(
            target=helper.work, args=(over.is_set, stop), name="rsscale-helper", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            over.set()
            stop.ask(0.0)  # what is in hand now was abandoned
            thread.join()

    def _helper(self, board: Board, plan: str) -> Helper:
        def compute(task: dict[str, Any]) -> dict[str, Any]:
            tile = TileTask(TileKey(**task["key"]), task["fingerprint"])
            return run_tile(self.folder.url, plan, board.epoch, tile)

        return Helper(board, self.me, compute, self.walltime, self.poll_s)

    def refuse_strangers(self) -> None:
        """Refuse to help where no array is at work on the folder, but a run of another kind.

        Raises
        ------
        FolderHeldError
        """
        roster, until = Roster(self.folder.storage, 0.0), time.monotonic() + _STRANGER_S
        while True:
            holder = holder_of(self.folder.storage, latest_epoch(self.folder.storage))
            if holder is None or not holder.is_alive():
                return
            if any(member.is_process(holder) for member in roster.members().values()):
                return
            if time.monotonic() > until:
                raise FolderHeldError(
                    f"process {holder.pid} on {holder.host} is working on {self.folder.url}, and "
                    "not as an array; wait for it, or stop it"
                )
            time.sleep(self.poll_s)

    def help(self) -> bool:
        """Compute tiles for who leads until nobody does; whether the run has ended.

        Raises
        ------
        RsscaleError
            When this process can't help, or the run has ended with tiles that failed.
        """
        storage = self.folder.storage
        epoch = latest_epoch(storage)
        board = Board(storage, epoch)
        led = _Led(self.folder, epoch, self.poll_s)
        with stop_on_signals(self.options.grace_s) as stop:
            crew = self._crew(board, led, stop)
            if crew is not None:
                announce(f"helping: {self.folder.url} is led by {crew['leader']}")
                self._check(crew)
                helper = self._helper(board, crew["plan"])
                helper.work(led.is_over, stop, self._beat)
                self._await_others(board, led, stop)
            self._leave_early(stop)
        return self._has_ended(epoch)

    def _crew(self, board: Board, led: _Led, stop: Stop) -> dict[str, Any] | None:
        """What tasks have in common, once who leads has planned; None when it is gone before."""
        while True:
            crew = board.crew()
            if crew is not None or led.is_over() or stop.asked or self.walltime.is_short():
                return crew
            time.sleep(self.poll_s)

    def _check(self, crew: dict[str, Any]) -> None:
        """Whether this process can compute the run's tiles as the others do."""
        check_here(self.folder.url, crew["plan"], crew["versions"])
        differing = self._differing(RunPlan.read(self.folder))
        if differing:
            raise RunFolderError(
                f"the array at {self.folder.url} computes another recipe: {', '.join(differing)} "
                "differ; start all of its processes with the same one"
            )

    def _beat(self, in_hand: int) -> None:
        if self.options.heartbeat is not None:
            _touch(self.options.heartbeat, in_hand)

    def _await_others(self, board: Board, led: _Led, stop: Stop) -> None:
        """Let others finish what they have in hand, which a new epoch would make worthless."""
        roster = Roster(self.folder.storage, self.poll_s)
        while led.is_lost() and not stop.asked and not self.walltime.is_short():
            alive = roster.members()
            in_hand = board.open_claims().values()
            if not any(member in alive and member != self.me.id for member in in_hand):
                return
            time.sleep(self.poll_s)

    def _leave_early(self, stop: Stop) -> None:
        if stop.asked:
            raise KeyboardInterrupt("interrupted; the other processes of the array go on")
        if self.walltime.was_short:
            raise MoreToDoError(
                f"the time of this process is over, {self.folder.url} has more to do; the other "
                "processes of the array go on, or start it again"
            )

    def _has_ended(self, epoch: int) -> bool:
        """Whether the run came to its end under who led."""
        if latest_epoch(self.folder.storage) != epoch or not self.folder.exists:
            return False
        state = self.folder.read_state()
        holder = holder_of(self.folder.storage, epoch)
        if holder is None or not holder.released or state["state"] not in ("done", "failed"):
            return False
        raise_unless_done(state, "", f"go on with: rsscale resume {self.folder.url}")
        return True


class _Led:
    """Whether somebody leads an epoch; asked often, looked at now and then."""

    def __init__(self, folder: RunFolder, epoch: int, every_s: float) -> None:
        self._folder, self._epoch, self._every = folder.storage, epoch, every_s
        self._asked, self._is_over = float("-inf"), False

    def is_over(self) -> bool:
        """Whether who led has let go, or is gone."""
        now = time.monotonic()
        if not self._is_over and now - self._asked >= self._every:
            self._asked = now
            holder = holder_of(self._folder, self._epoch)
            self._is_over = holder is None or not holder.is_alive()
        return self._is_over

    def is_lost(self) -> bool:
        """Whether who led is gone without having let go, and nobody has taken over."""
        holder = holder_of(self._folder, self._epoch)
        return (
            latest_epoch(self._folder) == self._epoch
            and holder is not None
            and not holder.released
            and not holder.is_alive()
        )


def _touch(heartbeat: Path, in_hand: int) -> None:
    heartbeat.write_text(f'{{"state": "helping", "in_hand": {in_hand}}}\n', "utf-8")


__all__ = ["ARRAY", "refuse_by_value", "share"]
