"""The engine: every task once, failures are outcomes, and stopping is orderly."""

import threading
from collections.abc import Iterator

import pytest

from rsscale.errors import RecipeError
from rsscale.scale.cluster import connect
from rsscale.scale.engine import execute


def square(task: int) -> int:
    """Fails on 3, as a tile may."""
    if task == 3:
        raise ValueError("three")
    return task * task


@pytest.fixture(scope="module", params=[None, "local:2"])
def client(request: pytest.FixtureRequest) -> Iterator[object]:
    with connect(request.param) as found:
        yield found


def test_every_task_has_one_outcome(client: object) -> None:
    outcomes = list(execute(range(20), square, client=client))
    assert sorted(o.task for o in outcomes) == list(range(20))
    assert {o.task: o.result for o in outcomes if o.error is None} == {
        n: n * n for n in range(20) if n != 3
    }
    (failed,) = [o for o in outcomes if o.error is not None]
    assert failed.task == 3
    assert "three" in str(failed.error)


def test_no_task_is_started_after_stop(client: object) -> None:
    stop = threading.Event()
    started = []

    def tasks() -> Iterator[int]:
        for n in range(100, 200):
            started.append(n)
            yield n

    finished = 0
    for _ in execute(tasks(), square, client=client, stop=stop):
        finished += 1
        stop.set()
    # All that were in flight are finished and yielded; no more than two a slot were.
    assert finished <= 4
    assert len(started) <= finished + 1


def test_tasks_are_taken_lazily(client: object) -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for n in range(50):
            taken.append(n)
            yield n

    stream = execute(tasks(), square, client=client)
    next(stream)
    assert len(taken) <= 5
    stream.close()


def test_no_task_at_all() -> None:
    assert list(execute([], square)) == []


@pytest.mark.parametrize("name", ["loca", "local:x", "local:0"])
def test_unknown_clusters_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match="is not known"), connect(name):
        pass


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsscale.scale.cluster._ANSWER_WITHIN", "1s")
    with pytest.raises(RecipeError, match=r"127\.0\.0\.1:9"), connect("tcp://127.0.0.1:9"):
        pass
