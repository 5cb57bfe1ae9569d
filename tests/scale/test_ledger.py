"""The ledger: an entry is there whole or not at all."""

import os
from pathlib import Path

import pytest

from rsscale.errors import RunFolderError
from rsscale.scale.ledger import Entry, Ledger, write_durably

ENTRY = Entry(
    period=2023,
    tile="x1_y-2",
    plan="abc",
    digests={"classification": "d1"},
    items=("a", "b"),
    pixels=7,
    unseen=1,
    seconds={"infer": 0.5},
)


def test_what_is_committed_is_read_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.commit(ENTRY)
    assert ledger.read(2023, "x1_y-2") == ENTRY
    assert ledger.entries() == [ENTRY]


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.read(2023, "x0_y0") is None
    assert ledger.entries() == []


@pytest.mark.parametrize("keep", [0, 1, 40])
def test_an_entry_cut_short_does_not_count(tmp_path: Path, keep: int) -> None:
    ledger = Ledger(tmp_path)
    ledger.commit(ENTRY)
    path = tmp_path / "2023" / "x1_y-2.json"
    path.write_bytes(path.read_bytes()[:keep])
    assert ledger.read(2023, "x1_y-2") is None
    assert ledger.entries() == []


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)  # a full disk can't be made here
    with pytest.raises(RunFolderError, match="No space left"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
