"""The allocator takes the settings; what they bring is for a benchmark to say."""

import functools
import os
import platform
import subprocess
import sys
import threading
import time
from itertools import cycle
from pathlib import Path

import pytest
from distributed import Client

from rsscale.cluster import allocator, kinds
from rsscale.cluster import connection as cluster

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the settings are those of glibc"
)
OURS = "glibc.malloc.hugetlb=1"
TOLD = "from rsscale.cluster.allocator import keep_memory; print(keep_memory())"


@pytest.mark.parametrize(
    ("environment", "told"), [({}, "True"), ({"MALLOC_TRIM_THRESHOLD_": "65536"}, "False")]
)
def test_a_process_sets_itself_unless_it_was_started_otherwise(
    environment: dict[str, str], told: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD],
        env={"PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == told


def test_what_a_nanny_left_in_the_environment_counts_for_nothing() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import os; os.environ['MALLOC_TRIM_THRESHOLD_'] = '1'; {TOLD}",
        ],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "True"


def test_workers_of_a_local_cluster_are_started_so() -> None:
    before = _settings()
    found = []
    for _ in range(2):  # the first one must not change how the second one starts
        with cluster.connect("local:1") as client:
            (slow,) = client.run(cluster._gives_back).values()
            (settings,) = client.run(_settings).values()
        found.append(settings)
        assert slow is False
        assert _settings() == before
    assert found[0] == found[1]


def _settings() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in kinds.worker_environment()}


def test_a_worker_started_otherwise_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = tmp_path / "environ"
    monkeypatch.setattr(allocator, "_STARTED_WITH", started)
    names = {"PATH": "/bin", **allocator.ENVIRONMENT}
    started.write_text("\0".join(f"{k}={v}" for k, v in names.items()) + "\0")
    assert not cluster._gives_back()
    # As a nanny that was told of the thresholds only.
    started.write_text("PATH=/bin\0MALLOC_TRIM_THRESHOLD_=1\0MALLOC_MMAP_THRESHOLD_=1\0")
    assert cluster._gives_back()


@pytest.mark.parametrize("told", [None, b"", b"\0" * 200, b"dask worker\0\0\0"])
def test_what_is_left_of_an_environment_by_a_title_is_not_taken_for_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: bytes | None
) -> None:
    monkeypatch.setattr(allocator, "_STARTED_WITH", tmp_path / "environ")
    if told is not None:
        (tmp_path / "environ").write_bytes(told)
    assert allocator.started_with() == set(os.environ)


@pytest.mark.parametrize(
    ("version", "pages", "others", "has"),
    [
        ("glibc 2.36", "always [madvise] never", {}, True),
        ("glibc 2.36", "always madvise [never]", {}, False),
        ("glibc 2.31", "[always] madvise never", {}, False),
        ("glibc 2.36", "[always] madvise never", {"GLIBC_TUNABLES": "glibc.rtld.nns=4"}, False),
        ("glibc 2.36", None, {}, False),
        ("glibc 2.36", "[always] madvise never", {"GLIBC_TUNABLES": OURS}, True),
    ],
)
def test_workers_get_huge_pages_where_there_are_some(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    version: str,
    pages: str | None,
    others: dict[str, str],
    has: bool,
) -> None:
    monkeypatch.setattr(allocator, "_THP", tmp_path / "enabled")
    if pages is not None:
        (tmp_path / "enabled").write_text(pages)
    monkeypatch.setattr(allocator.os, "confstr", lambda _: version)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    found = allocator.environment()
    assert found.keys() - {"GLIBC_TUNABLES"} == allocator.ENVIRONMENT.keys()
    assert ("GLIBC_TUNABLES" in found) == has
    assert (found == allocator.ENVIRONMENT) == (not has)


MANY_ARENAS = """
import queue, threading
from rsscale.cluster.allocator import in_main_arena, keep_memory, start_thread

def ask():
    told = queue.SimpleQueue()
    return told, lambda: told.put(in_main_arena())

# Threads of others, each with an arena of its own.
rest = threading.Event()
told, say = ask()
others = [threading.Thread(target=lambda: (say(), rest.wait())) for _ in range(6)]
for one in others:
    one.start()
print(in_main_arena(), [told.get() for _ in others])
keep_memory()
found = []
for number in range(4):
    told, say = ask()
    start_thread(say, f"t{number}").join()
    found.append(told.get())
rest.set()
print(found)
"""


def test_threads_get_the_main_arena_where_there_are_others() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY_ARENAS],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == [f"True {[False] * 6}", f"{[True] * 4}"]


def test_a_thread_without_the_main_arena_works_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "in_main_arena", lambda: False)
    monkeypatch.setattr(allocator, "_TRIES", 3)
    done = threading.Event()
    thread = allocator.start_thread(done.set, "worker")
    thread.join()
    assert done.is_set()
    assert not [one for one in threading.enumerate() if one.name == "worker"]


HOLES = """
import ctypes
import numpy as np
from rsscale.cluster import allocator

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

allocator.keep_memory()
pieces = [np.ones(4 << 20, np.uint8) for _ in range(100)]
keep = [bytes(1000) for _ in range(1000)] + pieces[1::2]
full = resident()
del pieces
holes = resident()
first, second = allocator.trim(), allocator.trim()
print(first, second, full - holes < 50 << 20, holes - resident() > 150 << 20)
"""


def test_holes_of_the_heap_are_given_back_now_and_then() -> None:
    told = subprocess.run(
        [sys.executable, "-c", HOLES],
        env={"PYTHONPATH": ":".join(sys.path)},  # whatever others have left in the tests' own
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["True", "False", "True", "True"]


def test_slow_workers_are_told_of_once_for_each_cluster(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Planning, its pilot and the run connect one after the other, or at the same time."""
    monkeypatch.setattr(cluster, "_gives_back", functools.partial(bool, 1))
    hints = []

    def told_in_full(client: Client) -> None:
        hint(client)
        hints.append(client)

    hint = cluster._hint
    monkeypatch.setattr(cluster, "_hint", told_in_full)
    count = 0
    for _ in range(2):
        with cluster.connect("local:1") as own:
            assert own is not None
            address = own.scheduler.address
            for _ in range(2):
                with cluster.connect(address), cluster.connect(address):
                    count += 2
                    deadline = time.monotonic() + 60
                    while len(hints) < count and time.monotonic() < deadline:
                        time.sleep(0.01)
    assert len(hints) == 8
    told = [r.getMessage() for r in caplog.records if "freed memory" in r.getMessage()]
    assert len(told) == 2
    assert all(message.startswith("1 of 1 workers") for message in told)


@pytest.mark.skipif(not allocator.has_glibc(), reason="there is no glibc to trim")
def test_filling_the_heap_anew_takes_a_small_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, sizes = [0.0], cycle([2 << 30, 1 << 30])  # a gigabyte is given back each time
    monkeypatch.setattr(allocator.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(allocator, "current_rss", lambda: next(sizes))
    trimmer, trimmed = allocator._Trimmer(), []
    for second in range(100):  # as of strips of two seconds
        clock[0] = float(second)
        if trimmer.trim(every_s=1.0):
            trimmed.append(second)
    assert trimmed == list(range(0, 100, 10))
    sizes = cycle([2 << 30, (2 << 30) - (10 << 20)])  # ten megabytes
    trimmer, trimmed = allocator._Trimmer(), []
    for second in range(100, 200):
        clock[0] = float(second)
        if trimmer.trim(every_s=1.0):
            trimmed.append(second)
    assert len(trimmed) == 100
