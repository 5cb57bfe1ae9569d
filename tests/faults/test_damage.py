"""A folder that was damaged after the run: found by verify, mended by resume, the rest left."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
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


ENTRIES = (cut_short, empty, other_json, Path.unlink)
SHARDS = (garbage, one_bit, cut_short, empty, Path.unlink)
LAYERS = ("classification", "confidence", "observations")


def damage_entries(run: Run) -> int:
    entries = sorted(run.path.glob("ledger/*/*/*.json"))
    for damage, entry in zip(ENTRIES, entries[3::7], strict=False):
        damage(entry)
    return len(ENTRIES)


def damage_shards(run: Run) -> int:
    for number, damage in enumerate(SHARDS):
        damage(run.shards(LAYERS[number % 3])[4 + 9 * number])
    return len(SHARDS)


@pytest.mark.parametrize("damage", [damage_entries, damage_shards])
def test_resume_computes_what_is_damaged_and_no_more(
    copied: Run, reference: Run, damage: Callable[[Run], int]
) -> None:
    count = damage(copied)
    again = check_resumed(copied, reference)
    assert len(again) == len(set(again)) == count


@pytest.mark.parametrize(
    "damage", [pytest.param(damage_entries, marks=pytest.mark.faults), damage_shards]
)
def test_verify_names_what_is_damaged(
    copied: Run, reference: Run, damage: Callable[[Run], int]
) -> None:
    damage(copied)
    ledger = (copied.path / "ledger").rglob("*.json")
    there = {(f"{path.parent.parent.name}/{path.parent.name}", path.stem) for path in ledger}
    gone = set(reference.entries()) - there
    verified = copied.do("verify")
    assert verified.code == 1, verified.err
    assert TRACEBACK not in verified.err
    again = check_resumed(copied, reference)
    # A tile without an entry is no damage: as far as anyone can tell it has not run.
    assert set(TILE_ID.findall(verified.out + verified.err)) == {t for _, t in set(again) - gone}
    assert copied.do("verify").code == 0


@pytest.mark.faults
def test_a_folder_without_damage_is_left_as_it_is(copied: Run, reference: Run) -> None:
    written = {path: path.stat().st_mtime_ns for path in copied.shards()}
    assert check_resumed(copied, reference) == []
    assert {path: path.stat().st_mtime_ns for path in copied.shards()} == written
