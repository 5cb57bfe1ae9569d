"""The ledger: an entry is there whole or not at all."""

from pathlib import Path

import pytest

from rsscale.layers import TileKey
from rsscale.store.ledger import Entry, Ledger
from rsscale.store.storage import Folder

KEY = TileKey("map", "2023", 1, -2)
OTHER = TileKey("map", "2023", 0, 0)
ENTRY = Entry(
    KEY,
    fingerprint="abc",
    digests={"classification": "d1"},
    inputs=("a", "b"),
    unreadable=("red of a",),
    facts={"pixels": 7, "unseen": 1, "agreement": 0.5},
    seconds={"infer": 0.5},
    epoch=4,
    files={"a": {"red 12ab34cd": "7 bytes, ETag x"}},
)


def test_what_is_committed_is_read_back(tmp_path: Path) -> None:
    ledger = Ledger(Folder(tmp_path))
    ledger.commit(ENTRY)
    assert ledger.read(KEY) == ENTRY
    assert list(ledger.entries()) == [ENTRY]
    assert ledger.count() == 1
    assert (tmp_path / "ledger" / "map" / "2023" / "x1_y-2.json").exists()


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    ledger = Ledger(Folder(tmp_path))
    assert ledger.read(OTHER) is None
    assert not ledger.holds(OTHER)
    assert list(ledger.entries()) == []


@pytest.mark.parametrize("keep", [0, 1, 40])
def test_an_entry_cut_short_does_not_count(tmp_path: Path, keep: int) -> None:
    ledger = Ledger(Folder(tmp_path))
    ledger.commit(ENTRY)
    path = tmp_path / "ledger" / "map" / "2023" / "x1_y-2.json"
    path.write_bytes(path.read_bytes()[:keep])
    assert ledger.read(KEY) is None
    assert ledger.holds(KEY)
    assert list(ledger.entries()) == []


@pytest.mark.parametrize("content", [b"[]", b"3", b'{"period": 1}', b"\xff"])
def test_what_is_no_entry_does_not_count(tmp_path: Path, content: bytes) -> None:
    Folder(tmp_path).write("ledger/map/2023/x1_y-2.json", content)
    assert Ledger(Folder(tmp_path)).read(KEY) is None


def test_an_entry_can_be_taken_back(tmp_path: Path) -> None:
    ledger = Ledger(Folder(tmp_path))
    ledger.commit(ENTRY)
    ledger.delete(KEY)
    ledger.delete(KEY)
    assert not ledger.holds(KEY)
