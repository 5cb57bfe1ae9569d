"""The engine over the members of an array, each a thread here with a file of its own."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import psutil
import pytest

from rsscale.array.board import Board
from rsscale.array.crew import DEATHS, Crew, Deaths
from rsscale.array.helper import Helper, Task
from rsscale.array.members import Member, joined
from rsscale.cluster.engine import Outcome, Patience, Stop, execute
from rsscale.cluster.walltime import Walltime
from rsscale.errors import RecipeError
from rsscale.layers import TileKey
from rsscale.store.storage import Storage, open_storage

POLL = 0.02
QUICK = Patience(pause_s=0.01, longest_pause_s=0.01)


@dataclass(frozen=True)
class Tile:
    key: TileKey
    fingerprint: str = "f"


def tiles(count: int) -> list[Tile]:
    return [Tile(TileKey("map", "2023", n, 0)) for n in range(count)]


def computed(task: Task) -> dict[str, Any]:
    return {"ix": task["key"]["ix"], "seconds": {"compute": 0.1}}


@contextmanager
def helping(
    board: Board, member: Member, compute: Callable[[Task], dict[str, Any]] = computed
) -> Iterator[Helper]:
    over = threading.Event()
    helper = Helper(board, member, compute, Walltime(), POLL)
    thread = threading.Thread(target=helper.work, args=(over.is_set, Stop()))
    thread.start()
    try:
        yield helper
    finally:
        over.set()
        thread.join()


def run(crew: Crew, tasks: list[Tile], **options: Any) -> dict[int, Outcome[Tile, Any]]:
    found = execute(tasks, computed, client=crew, patience=QUICK, **options)
    return {outcome.task.key.ix: outcome for outcome in found}


@pytest.fixture
def place(tmp_path: Any) -> Storage:
    return open_storage(tmp_path / "run")


def dead(place: Storage, name: str = "dead") -> Member:
    """A member whose process of this machine is gone."""
    holder = replace(Member.me(2).holder, born=psutil.Process().create_time() - 100)
    member = Member(name, holder, 2)
    place.write(f"array/members/{name}.json", json.dumps(asdict(member)).encode())
    return member


def test_members_share_the_tasks_of_the_engine(anywhere: Storage) -> None:
    with joined(anywhere, 2) as me, joined(anywhere, 2) as other:
        crew = Crew(anywhere, me, POLL)
        with (
            crew.leading(1, "plan", {"numpy": "2"}) as board,
            helping(board, me) as one,
            helping(Board(anywhere, 1), other) as two,
        ):
            assert board.crew() == {"plan": "plan", "versions": {"numpy": "2"}, "leader": me.id}
            found = run(crew, tiles(12))
        assert {ix: outcome.result["ix"] for ix, outcome in found.items()} == {
            n: n for n in range(12)
        }
        assert one.done + two.done == 12
        assert {outcome.worker for outcome in found.values()} <= {me.id, other.id}


def test_a_tile_that_failed_is_tried_by_another(place: Storage) -> None:
    with joined(place, 2) as me, joined(place, 2) as other:
        tried: list[str] = []

        def failing(_: Task) -> dict[str, Any]:
            tried.append(me.id)
            raise OSError("a disk that only this machine has")

        def working(task: Task) -> dict[str, Any]:
            tried.append(other.id)
            return computed(task)

        crew = Crew(place, me, POLL)
        with (
            crew.leading(1, "plan", {}) as board,
            helping(board, me, failing),
            helping(board, other, working),
        ):
            found = run(crew, tiles(6))
    assert all(outcome.error is None for outcome in found.values())
    assert {outcome.worker for outcome in found.values()} == {other.id}
    assert {outcome.attempts for outcome in found.values()} <= {1, 2}


def test_a_mistake_is_an_outcome_in_its_own_words(place: Storage) -> None:
    def mistaken(_: Task) -> dict[str, Any]:
        raise RecipeError("this is no recipe")

    with joined(place, 2) as me:
        crew = Crew(place, me, POLL)
        with crew.leading(1, "plan", {}) as board, helping(board, me, mistaken):
            (outcome,) = run(crew, tiles(1)).values()
    assert str(outcome.error) == "this is no recipe"
    assert (outcome.attempts, outcome.may_pass) == (1, False)


def test_tiles_of_a_member_that_died_are_computed_by_another(place: Storage) -> None:
    with joined(place, 2) as me:
        crew = Crew(place, me, POLL)
        with crew.leading(1, "plan", {}) as board:
            gone = dead(place)
            taken = []

            def takes(in_flight: int) -> None:
                if in_flight and not taken:
                    taken.extend(name for name, _ in board.offered())
                    assert all(board.take(name, gone.id) for name in taken)
                    start.set()

            start = threading.Event()

            def compute(task: Task) -> dict[str, Any]:
                assert start.wait(30)
                return computed(task)

            late = Helper(board, me, compute, Walltime(), POLL)
            over = threading.Event()

            def work() -> None:
                assert start.wait(30)
                late.work(over.is_set, Stop())

            thread = threading.Thread(target=work)
            thread.start()
            found = run(crew, tiles(3), on_tick=takes)
            over.set()
            thread.join()
    assert len(taken) == 3
    assert {ix: outcome.error for ix, outcome in found.items()} == {0: None, 1: None, 2: None}
    assert late.done == 3


def test_a_tile_that_many_died_with_is_tried_alone_and_then_named(place: Storage) -> None:
    """Whoever takes the first tile is gone before it is done; the others go on."""
    poison = str(tiles(1)[0].key)
    with joined(place, 2) as me:
        crew = Crew(place, me, POLL)
        with crew.leading(1, "plan", {}) as board:
            gone = dead(place)
            alone: list[int] = []

            def takes(in_flight: int) -> None:
                for name, task in board.offered():
                    if task["tile"] == poison:
                        alone.append(in_flight)
                        board.take(name, gone.id)
                    elif board.take(name, me.id):
                        board.report(name, {"worker": me.id, "result": computed(task)})

            found = run(crew, tiles(3), on_tick=takes)
        assert Deaths(place).of(poison) == 0  # whoever resumes may have more memory
    assert str(found[0].error) == (
        f"{DEATHS + 1} processes of the array died while they had this tile"
    )
    assert found[1].error is found[2].error is None
    assert len(alone) == DEATHS + 1
    assert alone[-1] == 1


def test_deaths_are_known_to_who_leads_next(place: Storage) -> None:
    (tile,) = tiles(1)
    with joined(place, 2) as me:
        for epoch in range(1, DEATHS + 2):
            crew = Crew(place, me, POLL)
            gone = dead(place)
            with crew.leading(epoch, "plan", {}) as board:
                assert Deaths(place).of(str(tile.key)) == epoch - 1
                board.post("000001", {"tile": str(tile.key)})
                board.take("000001", gone.id)
        crew = Crew(place, me, POLL)
        with crew.leading(DEATHS + 2, "plan", {}):
            (outcome,) = run(crew, [tile]).values()
    assert "5 processes of the array died" in str(outcome.error)


def test_a_member_that_leaves_gives_back_what_it_has(place: Storage) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(task: Task) -> dict[str, Any]:
        begun.set()
        release.wait(30)
        return computed(task)

    with joined(place, 1) as me, joined(place, 1) as other:
        crew = Crew(place, me, POLL)
        with crew.leading(1, "plan", {}) as board:
            stop = Stop()
            leaving = Helper(board, other, slow, Walltime(), POLL)
            thread = threading.Thread(target=leaving.work, args=(lambda: False, stop))
            thread.start()

            def leave(_: int) -> None:
                if begun.is_set() and not stop.asked:
                    stop.ask(0.0)
                    helpers.append(helping(board, me))
                    helpers[0].__enter__()

            helpers: list[Any] = []
            found = run(crew, tiles(2), on_tick=leave)
            helpers[0].__exit__(None, None, None)
            thread.join()
            release.set()
    assert {outcome.worker for outcome in found.values()} == {me.id}
    assert Deaths(place).of("map/2023/0/0") == 0


def test_nothing_is_begun_once_the_run_is_to_end(place: Storage) -> None:
    with joined(place, 2) as me:
        crew, stop = Crew(place, me, POLL), Stop()
        with crew.leading(1, "plan", {}) as board:

            def one_is_taken(in_flight: int) -> None:
                if in_flight > 1 and not stop.asked:
                    (name, task), *_ = list(board.offered())
                    board.take(name, me.id)
                    board.report(name, {"worker": me.id, "result": computed(task)})
                    stop.ask()

            found = run(crew, tiles(4), stop=stop, on_tick=one_is_taken)
            assert list(board.offered()) == []
    assert len(found) == 1
    assert [outcome.error for outcome in found.values()] == [None]


def test_no_tile_is_taken_that_the_time_is_too_short_for(place: Storage) -> None:
    walltime = Walltime(ends=time.time() + 100)
    with joined(place, 2) as me:
        board = Board(place, 1)
        board.post("000001", {"tile": "a", "slowest": 99.0})
        helper = Helper(board, me, computed, walltime, POLL)
        helper.work(lambda: False, Stop())
        assert helper.done == 0
        assert walltime.was_short
        assert board.claims({}) == {}


def test_without_somebody_who_leads_there_are_no_tasks(place: Storage) -> None:
    with joined(place, 2) as me, pytest.raises(RuntimeError, match="while somebody leads"):
        Crew(place, me, POLL).open_pool(computed)
