"""Processes that share a run, killed at random until it is done: the product of one process."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from array_runs import Array, write_recipe
from fault_cluster import until
from fault_runs import Run, check_clear, check_same

pytestmark = pytest.mark.clusters


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def reference(recipe: Path) -> Run:
    found = Run(recipe.parent / "reference", recipe)
    ended = found.do("run")
    assert ended.code == 0, ended.err
    return found


@pytest.fixture
def array(recipe: Path, tmp_path: Path) -> Iterator[Array]:
    found = Array.at(tmp_path / "run", recipe)
    yield found
    found.close()


@pytest.mark.parametrize("seed", range(6))
def test_four_processes_killed_at_random(array: Array, reference: Run, seed: int) -> None:
    kills = array.kill_at_random(4, random.Random(seed), most=25)
    ends = array.wait()
    assert kills >= 5
    assert {end.code for end in ends} <= {0, -signal.SIGKILL}
    assert ends[-1].code == 0 or any(end.code == 0 for end in ends)
    check_same(array.run, reference)


def test_all_die_and_the_array_is_started_again(array: Array, reference: Run) -> None:
    first = [array.start() for _ in range(3)]
    until(lambda: array.run.entry_count() >= 20, "some tiles")
    for one in first:
        one.signal(signal.SIGKILL)
    array.wait(*first)
    before = array.run.entries()
    again = [array.start() for _ in range(3)]
    assert [end.code for end in array.wait(*again)] == [0, 0, 0]
    check_same(array.run, reference)
    after = array.run.entries()
    assert sum(after[key] != before[key] for key in before) <= 12  # what was in flight


def test_walltimes_that_end_one_after_another(array: Array, reference: Run) -> None:
    """As a job array is started again and again by its scheduler, until it says that it is done."""
    codes = []
    for _ in range(30):
        ends = array.wait(*[array.start("--walltime", "9") for _ in range(2)])
        codes.append({end.code for end in ends})
        for end in ends:
            assert end.code in (0, 75), end.err
            if end.code:
                check_clear(end)
        if 0 in codes[-1]:
            break
    # The other may have come to the end of its time just before: one that starts now says so, too.
    assert 0 in codes[-1]
    assert len(codes) > 1
    (last,) = array.wait(array.start("--walltime", "600"))
    assert last.code == 0, last.err
    check_same(array.run, reference)


def test_sigterm_gives_tiles_back(array: Array, reference: Run) -> None:
    """As `scancel` and a pod's eviction: who leads leaves, the other goes on."""
    leader = array.start("--grace", "5")
    until(lambda: array.run.entry_count() >= 5, "some tiles")
    other = array.start()
    until(lambda: array.run.entry_count() >= 25, "more tiles")
    leader.signal(signal.SIGTERM)
    (left,) = array.wait(leader)
    assert left.code == 130, left.err
    (ended,) = array.wait(other)
    assert ended.code == 0, ended.err
    check_same(array.run, reference)


def test_one_that_is_stopped_and_goes_on(array: Array, reference: Run) -> None:
    """It wakes up when another has done its tiles: nothing is changed by it."""
    array.start()
    until(lambda: array.run.entry_count() >= 5, "some tiles")
    sleeper = array.start()
    until(lambda: len(array.tiles_of(sleeper)) >= 2, "tiles of the second")
    sleeper.signal(signal.SIGSTOP)
    (first,) = array.wait(array.commands[0])
    assert first.code == 0, first.err
    check_same(array.run, reference)
    sleeper.signal(signal.SIGCONT)
    (woken,) = array.wait(sleeper)
    assert woken.code == 0, woken.err
    check_same(array.run, reference)
