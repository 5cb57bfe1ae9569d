"""A folder that was damaged after the run: found by verify, mended by resume, the rest left."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fault_cluster import Cluster
from fault_runs import TRACEBACK, Run, check_resumed

TILE_ID = re.compile(r"x-?\d+_y-?\d+")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    """Of the same length, so that only a checksum can tell."""
    path.write_bytes(np.random.default_rng(1).bytes(path.stat().st_size))


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


def other_json(path: Path) -> None:
    path.write_text("[]\n")


@pytest.fixture
def finished(cluster: Cluster, new_run: Callable[..., Run]) -> Run:
    cluster.ensure()
    run = new_run()
    assert run.do("run").code == 0
    return run


def check_found_and_mended(run: Run, reference: Run, damaged: int) -> None:
    verified = run.do("verify")
    assert verified.code == 1, verified.err
    assert TRACEBACK not in verified.err
    named = set(TILE_ID.findall(verified.out + verified.err))
    again = check_resumed(run, reference)
    assert len(again) == len(set(again)) == damaged
    assert named == {tile for _, tile in again}
    assert run.do("verify").code == 0


def test_entries_that_are_no_entries(finished: Run, reference: Run) -> None:
    entries = sorted(finished.path.glob("ledger/*/*.json"))
    damages = (cut_short, empty, other_json, Path.unlink)
    for damage, entry in zip(damages, entries[3::7], strict=False):
        damage(entry)
    check_found_and_mended(finished, reference, len(damages))


def test_shards_that_are_not_what_was_written(finished: Run, reference: Run) -> None:
    damages = (garbage, one_bit, cut_short, empty, Path.unlink)
    layers = ("classification", "confidence", "observations")
    for number, damage in enumerate(damages):
        damage(finished.shards(layers[number % 3])[4 + 9 * number])
    check_found_and_mended(finished, reference, len(damages))


@pytest.mark.faults
def test_a_folder_without_damage_is_left_as_it_is(finished: Run, reference: Run) -> None:
    verified = finished.do("verify")
    assert verified.code == 0, verified.err
    written = {path: path.stat().st_mtime_ns for path in finished.shards()}
    assert check_resumed(finished, reference) == []
    assert {path: path.stat().st_mtime_ns for path in finished.shards()} == written
