"""Failpoints: off without the variable, and each action where it is asked for and only there."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rsscale.errors import RecipeError
from rsscale.store import failpoints
from rsscale.store.failpoints import POINTS, failpoint

VARIABLES = ("POINTS", "POINT_ONCE", "POINT_SEED", "POINT_COUNTS")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"RSSCALE_FAIL{name}", raising=False)
    monkeypatch.setattr(failpoints, "_thread", threading.local())


def fails(name: str, tile: str = "") -> bool:
    try:
        failpoint(name, tile)
    except OSError as error:
        return error.errno == errno.ENOSPC
    return False


def ends_of(count: int, **variables: str) -> list[int]:
    """Exit codes of processes that come by the point ``after-shards`` of tile ``t`` once each."""
    code = "from rsscale.store.failpoints import failpoint; failpoint('after-shards', 't')"
    environment = os.environ | {f"RSSCALE_FAIL{name}": value for name, value in variables.items()}
    return [
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode
        for _ in range(count)
    ]


def test_nothing_happens_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSSCALE_FAILPOINTS", ",".join(f"{name}=nospace" for name in POINTS))
    assert [name for name in POINTS if fails(name, "t")] == list(POINTS)
    monkeypatch.delenv("RSSCALE_FAILPOINTS")
    assert not [name for name in POINTS if fails(name, "t")]


def test_only_the_named_point_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSSCALE_FAILPOINTS", "between-layers=nospace")
    assert [name for name in POINTS if fails(name)] == ["between-layers"]


def test_a_point_may_be_bound_to_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSSCALE_FAILPOINTS", "tile-start@a=nospace, tile-start@b=nospace")
    assert [tile for tile in ("", "a", "b", "c") if fails("tile-start", tile)] == ["a", "b"]


def test_what_names_no_tile_is_in_the_one_that_its_thread_named_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RSSCALE_FAILPOINTS", "before-rename@a=nospace")
    assert not fails("before-rename")
    assert not fails("tile-start", "a")
    assert fails("before-rename")
    elsewhere: list[bool] = []
    thread = threading.Thread(target=lambda: elsewhere.append(fails("before-rename")))
    thread.start()
    thread.join()
    assert elsewhere == [False]
    assert not fails("tile-start", "b")
    assert not fails("before-rename")


def test_only_the_first_acts_when_asked_for_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RSSCALE_FAILPOINTS", "tile-start=nospace,after-ledger=nospace")
    monkeypatch.setenv("RSSCALE_FAILPOINT_ONCE", str(tmp_path / "once"))
    assert not fails("after-shards", "a")
    assert fails("tile-start", "a")
    assert (tmp_path / "once").read_text() == "tile-start@a"
    assert not fails("tile-start", "a")
    assert not fails("after-ledger", "b")


def test_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setenv("RSSCALE_FAILPOINTS", "before-rename=wait:1.5")
    failpoint("before-rename", "a")
    assert slept == [1.5]


def test_kills_itself_once(tmp_path: Path) -> None:
    once = str(tmp_path / "once")
    ends = ends_of(2, POINTS="after-shards=kill", POINT_ONCE=once)
    assert ends == [-signal.SIGKILL, 0]


def test_a_chance_is_drawn_anew_on_every_pass_of_any_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed = []
    monkeypatch.setattr(os, "kill", lambda _, number: killed.append(number))
    monkeypatch.setenv("RSSCALE_FAILPOINTS", "tile-start=kill/4")
    monkeypatch.setenv("RSSCALE_FAILPOINT_COUNTS", str(tmp_path / "counts"))

    def passes(seed: str, tile: str, count: int) -> list[int]:
        """Which passes of a tile are deadly."""
        monkeypatch.setenv("RSSCALE_FAILPOINT_SEED", seed)
        found = []
        for number in range(count):
            before = len(killed)
            failpoint("tile-start", tile)
            found += [number] * (len(killed) - before)
        return found

    first = passes("1", "2023/a", 200)
    assert 30 <= len(first) <= 70
    assert set(killed) == {signal.SIGKILL}
    again = passes("1", "2023/a", 200)
    assert again != first  # the count goes on
    for file in (tmp_path / "counts").iterdir():
        assert file.stat().st_size == 400
        file.unlink()
    assert passes("1", "2023/a", 200) == first
    assert passes("2", "2023/b", 200) != first


def test_processes_share_the_count(tmp_path: Path) -> None:
    shared = {"POINTS": "after-shards=kill/2", "POINT_SEED": "4"}
    alone = ends_of(3, **shared)
    assert len(set(alone)) == 1  # each draws for its own first pass
    together = ends_of(6, **shared, POINT_COUNTS=str(tmp_path / "counts"))
    assert set(together) == {0, -signal.SIGKILL}


@pytest.mark.parametrize(
    "text",
    ["tile-start", "tile-strat=kill", "tile-start=die", "tile-start=wait", "tile-start=kill:2",
     "tile-start=kill/x", "tile-start=nospace/2", "tile-start=wait/1", "tile-start=wait:-1",
     "tile-start=wait:1.2.3", "tile-start=kill/", "@a=kill"],
)  # fmt: skip
def test_a_wrong_variable_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("RSSCALE_FAILPOINTS", text)
    with pytest.raises(RecipeError, match=r"RSSCALE_FAILPOINTS has .*expected NAME"):
        failpoint("after-ledger")
