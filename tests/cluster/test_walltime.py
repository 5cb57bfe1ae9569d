"""The time of a process, as schedulers say it, and what still fits into it."""

import time
from pathlib import Path

import psutil
import pytest

from rsscale.cluster.walltime import Walltime, parse_walltime
from rsscale.errors import RecipeError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3600", 3600),
        ("0.5", 0.5),
        ("1:00:00", 3600),
        ("90:00", 5400),
        ("1-00:00:30", 86430),
        ("00:10:00", 600),
    ],
)
def test_times_are_read_as_schedulers_write_them(text: str, seconds: float) -> None:
    assert parse_walltime(text) == seconds


@pytest.mark.parametrize("text", ["", "1h", "-5", "1:2:3:4", "1-", "nan", "inf"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(RecipeError, match=r"is not a time; give seconds, .* \[D-\]HH:MM:SS"):
        parse_walltime(text)


def test_it_counts_from_the_start_of_the_process() -> None:
    born = psutil.Process().create_time()
    assert Walltime.of(100.0, {"SLURM_JOB_END_TIME": "5"}).ends == born + 100
    assert Walltime.of(None, {"SLURM_JOB_END_TIME": "1800000000"}).ends == 1_800_000_000
    assert Walltime.of(None, {"SLURM_JOB_END_TIME": "soon"}).ends is None
    assert Walltime.of(None, {}).ends is None


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [("1:30", 90), ("1-00:00:00", 86400), ("UNLIMITED", None), ("", None), ("INVALID", None)],
)
def test_an_older_slurm_is_asked_for_the_time_that_is_left(
    answer: str, seconds: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\necho {answer}\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    array = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    ends = Walltime.of(None, {"SLURM_JOB_ID": "9"} | array).ends
    assert (tmp_path / "words").read_text() == "--noheader --jobs 7_3 --format %L\n"
    if seconds is None:
        assert ends is None
    else:
        assert ends == pytest.approx(time.time() + seconds, abs=30)
    Walltime.of(None, {"SLURM_JOB_ID": "9"})
    assert "--jobs 9 " in (tmp_path / "words").read_text()


def test_a_slurm_that_does_not_answer_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Walltime.of(None, {"SLURM_JOB_ID": "9"}).ends is None  # no squeue
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\nexit 1\n")
    squeue.chmod(0o755)
    assert Walltime.of(None, {"SLURM_JOB_ID": "9"}).ends is None


def test_it_is_short_when_the_slowest_tile_does_not_fit() -> None:
    walltime = Walltime(ends=time.time() + 1000)
    assert not walltime.is_short()
    walltime.add(10)
    walltime.add(500)
    walltime.add(10)
    assert not walltime.is_short()
    assert 900 < walltime.left() < 1000
    walltime.add(900)
    assert walltime.is_short()
    assert walltime.was_short
    never = Walltime()
    never.add(1e9)
    assert not never.is_short()
    assert never.left() == float("inf")
