"""The engine: every task once, failures are outcomes, and stopping is orderly."""

import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Self

import pytest

from rsscale.cluster import engine
from rsscale.cluster.connection import connect
from rsscale.cluster.engine import Outcome, Patience, Stop, TooManyFailuresError, execute
from rsscale.cluster.pools import TaskReply, WorkerDiedError, has_abandoned_tasks
from rsscale.errors import ReadError, RecipeError, StorageError

QUICK = Patience(attempts=3, pause_s=0.01, longest_pause_s=0.02)


def square(task: int) -> int:
    """Fails on 3, as a tile may."""
    if task == 3:
        raise ValueError("three")
    return task * task


@pytest.fixture(scope="module", params=[None, "two_workers"])
def client(request: pytest.FixtureRequest) -> Iterator[object]:
    with connect(request.param and request.getfixturevalue(request.param)) as found:
        yield found


def run(tasks: object, work: object = square, client: object = None, **options: object) -> list:
    return list(execute(tasks, work, client=client, **{"patience": QUICK, **options}))


def test_every_task_has_one_outcome(client: object) -> None:
    outcomes = run(range(20), client=client)
    assert sorted(o.task for o in outcomes) == list(range(20))
    assert {o.task: o.result for o in outcomes if o.error is None} == {
        n: n * n for n in range(20) if n != 3
    }
    (failed,) = [o for o in outcomes if o.error is not None]
    assert failed.task == 3
    assert "three" in str(failed.error)
    assert failed.attempts == 3


def test_no_task_is_started_after_stop(client: object) -> None:
    stop = Stop()
    started = []

    def tasks() -> Iterator[int]:
        for n in range(100, 200):
            started.append(n)
            yield n

    finished = 0
    for _ in execute(tasks(), square, client=client, slots=2, stop=stop):
        finished += 1
        stop.ask()
    # All that were in flight are finished and yielded; no more than two a slot were.
    assert finished == len(started) <= 8


def test_tasks_are_taken_lazily(client: object) -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for n in range(50):
            taken.append(n)
            yield n

    stream = execute(tasks(), square, client=client, slots=2)
    next(stream)
    assert len(taken) <= 8
    stream.close()


def test_no_task_at_all(client: object) -> None:
    assert run([], client=client) == []


class Flaky:
    """Fails for each task as often as it is told, counting in files."""

    def __init__(self, folder: Path, failures: int, error: type[Exception] = OSError) -> None:
        self.folder, self.failures, self.error = folder, failures, error

    def __call__(self, task: int) -> str:
        tried = len(list(self.folder.glob(f"{task}-*")))
        (self.folder / f"{task}-{tried}-{os.getpid()}").touch()
        if tried < self.failures:
            raise self.error(f"not yet {task}")
        return "done"


@pytest.mark.parametrize("failures", [1, 2])
def test_what_fails_is_tried_again(client: object, tmp_path: Path, failures: int) -> None:
    outcomes = run(range(4), Flaky(tmp_path, failures), client)
    assert [(o.result, o.attempts) for o in outcomes] == [("done", failures + 1)] * 4


def test_a_second_attempt_goes_to_another_worker(two_workers: str, tmp_path: Path) -> None:
    with connect(two_workers) as client:
        run([1], Flaky(tmp_path, 1), client)
    assert len({path.name.split("-")[2] for path in tmp_path.iterdir()}) == 2


@pytest.mark.parametrize("name", ["client", "batched"])
def test_dask_logs_no_traceback_of_a_lost_scheduler(
    two_workers: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The run says it in one line; else Dask does by chance, where something is being sent."""
    logger = import_module(f"distributed.{name}").logger
    caplog.set_level(logging.INFO, logger.name)  # others of this process may be connected, too
    with connect(two_workers):
        assert not logger.isEnabledFor(logging.ERROR)
    assert logger.level == logging.INFO


def test_a_mistake_is_not_tried_again(client: object, tmp_path: Path) -> None:
    (outcome,) = run([1], Flaky(tmp_path, 9, RecipeError), client)
    assert str(outcome.error) == "not yet 1"
    assert len(list(tmp_path.iterdir())) == 1
    (outcome,) = run([2], Flaky(tmp_path, 9, ReadError), client)
    assert outcome.attempts == 3


def deadly(task: tuple[int, int]) -> int:
    """Kills its process for the task that says so."""
    number, victim = task
    if number == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


@pytest.mark.extended
def test_poison_is_one_failure_and_takes_nothing_with_it() -> None:
    with connect("local:2") as client:
        outcomes = run([(n, 5) for n in range(12)], deadly, client)
    failed = [o for o in outcomes if o.error is not None]
    assert [o.task[0] for o in failed] == [5]
    assert "workers died while they had this tile" in str(failed[0].error)
    assert sorted(o.result for o in outcomes if o.error is None) == [n for n in range(12) if n != 5]


def always(task: int) -> int:
    """Fails, whatever it is given."""
    raise OSError(f"no access to {task}")


def test_when_nothing_works_it_gives_up() -> None:
    patience = Patience(attempts=1, pause_s=0.001, longest_pause_s=0.001, give_up_after=7)
    seen: list[Outcome[int, int]] = []
    stream = execute(iter(range(1000)), always, slots=2, patience=patience)
    with pytest.raises(TooManyFailuresError, match=r"7 tiles failed one after another: no access"):
        seen.extend(stream)
    assert len(seen) == 7


def mistaken(task: int) -> int:
    """Fails by something that no waiting mends."""
    raise RecipeError(f"{task} is wrong")


def test_nobody_waits_after_a_mistake(client: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """With pauses of a minute, a run with the wrong packages would take hours to say so."""
    pauses: list[int] = []
    monkeypatch.setattr(Patience, "pause", lambda _, failures: pauses.append(failures) or 0.0)
    outcomes = run(range(30), mistaken, client)
    assert len(outcomes) == 30
    assert all("is wrong" in str(outcome.error) for outcome in outcomes)
    assert pauses == []
    assert len(run(range(3), always, client)) == 3
    assert pauses


def is_full(task: int) -> int:
    """A folder that can't be written, for every task but the first two."""
    if task > 1:
        raise StorageError("out can't be written: No space left on device")
    return task


def test_a_full_disk_ends_the_run_soon(client: object) -> None:
    seen: list[Outcome[int, int]] = []
    with pytest.raises(
        TooManyFailuresError, match=r"5 tiles failed one after another: out can't be written"
    ):
        seen.extend(execute(iter(range(1000)), is_full, client=client, slots=2, patience=QUICK))
    assert sorted(o.result for o in seen if o.error is None) == [0, 1]
    assert sum(o.error is not None for o in seen) == 5


class KillingPool:
    """Workers that die of every task that is not good; nothing runs here."""

    def __init__(self, good: Iterable[int] = ()) -> None:
        self.good, self.tried = set(good), []

    def slots(self) -> int:
        return 2

    def submit(self, ticket: int, task: int, avoid: str, replies: object) -> None:  # noqa: ARG002
        self.tried.append(task)
        error = (
            None
            if task in self.good
            else WorkerDiedError("4 workers died while they had this tile")
        )
        replies.put(TaskReply(ticket, task, error))

    def check(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_workers_that_die_of_everything_end_the_run_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = KillingPool()
    monkeypatch.setattr(engine, "open_pool", lambda *_: pool)
    with pytest.raises(
        TooManyFailuresError, match=r"no tile was finished, and 3 were tried alone: 4 workers"
    ):
        list(execute(iter(range(1000)), square, patience=QUICK))
    assert len(pool.tried) < 12


@pytest.mark.extended
def test_tiles_that_work_show_that_workers_are_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = KillingPool(good=range(0, 40, 5))
    monkeypatch.setattr(engine, "open_pool", lambda *_: pool)
    outcomes = list(execute(iter(range(23)), square, patience=QUICK))
    assert [o.task for o in outcomes if o.error is None] == [0, 5, 10, 15, 20]
    assert sorted(o.task for o in outcomes) == list(range(23))


def test_workers_that_die_of_everything_later_end_the_run_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where the good workers went, and smaller ones came in their place."""
    pool = KillingPool(good=range(10))
    monkeypatch.setattr(engine, "open_pool", lambda *_: pool)
    outcomes: list[Outcome[int, int]] = []
    with pytest.raises(
        TooManyFailuresError, match=r"no tile was finished of late, and 5 were tried alone: 4 work"
    ):
        outcomes.extend(execute(iter(range(1000)), square, patience=QUICK))
    assert sum(o.error is None for o in outcomes) == 10
    assert len(pool.tried) < 30


def test_pauses_grow_up_to_a_limit() -> None:
    patience = Patience(pause_s=1.0, longest_pause_s=10.0)
    assert [patience.pause(n) for n in (1, 2, 3, 4, 5, 9)] == [1, 2, 4, 8, 10, 10]


def test_what_takes_longer_than_the_grace_is_abandoned() -> None:
    stop, release = Stop(), threading.Event()

    def work(task: int) -> int:
        if task:
            release.wait(60)
        return task

    seen = []
    for outcome in execute(range(10), work, slots=2, stop=stop):
        seen.append(outcome.task)
        stop.ask(grace_s=0.0)
    assert seen == [0]
    assert has_abandoned_tasks()
    release.set()
    until = time.monotonic() + 30
    while has_abandoned_tasks() and time.monotonic() < until:
        time.sleep(0.01)
    assert not has_abandoned_tasks()


def test_ticks_tell_what_is_in_flight() -> None:
    told: Counter[int] = Counter()
    list(execute(range(30), square, slots=2, patience=QUICK, on_tick=lambda n: told.update([n])))
    assert max(told) == 4


@pytest.mark.parametrize("name", ["loca", "local:x", "local:0"])
def test_unknown_clusters_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match="is not known"), connect(name):
        pass


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsscale.cluster.connection._ANSWER_WITHIN", "1s")
    with pytest.raises(RecipeError, match=r"127\.0\.0\.1:9"), connect("tcp://127.0.0.1:9"):
        pass
