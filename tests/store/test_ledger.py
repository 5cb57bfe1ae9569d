"""The ledger: an entry is there whole or not at all."""

from pathlib import Path

import pytest

from rsscale.store.ledger import Entry, Ledger
from rsscale.store.storage import Folder

ENTRY = Entry(
    period=2023,
    tile="x1_y-2",
    fingerprint="abc",
    digests={"classification": "d1"},
    items=("a", "b"),
    pixels=7,
    unseen=1,
    missing=("red of a",),
    seams={"pairs": 3},
    seconds={"infer": 0.5},
    epoch=4,
)


def test_what_is_committed_is_read_back(tmp_path: Path) -> None:
    ledger = Ledger(Folder(tmp_path))
    ledger.commit(ENTRY)
    assert ledger.read(2023, "x1_y-2") == ENTRY
    assert list(ledger.entries()) == [ENTRY]
    assert ledger.count() == 1
    assert (tmp_path / "ledger" / "2023" / "x1_y-2.json").exists()


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    ledger = Ledger(Folder(tmp_path))
    assert ledger.read(2023, "x0_y0") is None
    assert not ledger.holds(2023, "x0_y0")
    assert list(ledger.entries()) == []


@pytest.mark.parametrize("keep", [0, 1, 40])
def test_an_entry_cut_short_does_not_count(tmp_path: Path, keep: int) -> None:
    ledger = Ledger(Folder(tmp_path))
    ledger.commit(ENTRY)
    path = tmp_path / "ledger" / "2023" / "x1_y-2.json"
    path.write_bytes(path.read_bytes()[:keep])
    assert ledger.read(2023, "x1_y-2") is None
    assert ledger.holds(2023, "x1_y-2")
    assert list(ledger.entries()) == []


@pytest.mark.parametrize("content", [b"[]", b"3", b'{"period": 1}', b"\xff"])
def test_what_is_no_entry_does_not_count(tmp_path: Path, content: bytes) -> None:
    Folder(tmp_path).write("ledger/2023/x1_y-2.json", content)
    assert Ledger(Folder(tmp_path)).read(2023, "x1_y-2") is None


def test_an_entry_can_be_taken_back(tmp_path: Path) -> None:
    ledger = Ledger(Folder(tmp_path))
    ledger.commit(ENTRY)
    ledger.forget(*ENTRY.key)
    ledger.forget(*ENTRY.key)
    assert not ledger.holds(*ENTRY.key)
