"""Gathered rows that have places: a tile reads those of its box, and little of the others."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rsscale.layers import TileKey
from rsscale.store.storage import open_storage
from rsscale.store.table_store import StoredBytes, TableStore

SCHEMA = pa.schema([("x", pa.float64()), ("y", pa.float64()), ("shape", pa.binary())])
KEY = TileKey("decided", "all", 0, 0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableStore:
    """A row at each middle of a pixel of 100 x 100, in bands of 10 px, with 300 bytes each."""
    monkeypatch.setattr("rsscale.store.table_store._GROUP", 100)
    rng = np.random.default_rng(0)
    x, y = (axis.ravel() + 0.5 for axis in np.meshgrid(np.arange(100), np.arange(100)))
    order = np.lexsort((x, y // 10))
    shapes = pa.array([rng.bytes(300) for _ in order], pa.binary())
    store = TableStore(open_storage(tmp_path), "decided", SCHEMA, place=("x", "y"))
    store.write(KEY, pa.table({"x": x[order], "y": y[order], "shape": shapes}, schema=SCHEMA))
    return store


def test_the_rows_of_a_box_are_those_of_the_table(store: TableStore) -> None:
    whole = store.read(KEY)
    for x0, y0, x1, y1 in ((0, 0, 100, 100), (10, 20, 20, 30), (0.5, 3.5, 1.5, 4.5), (-9, 0, 0, 9)):
        near = store.read_box(KEY, (x0, y0, x1, y1))
        x, y = whole["x"].to_numpy(), whole["y"].to_numpy()
        inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        assert near.equals(whole.filter(pa.array(inside)))
    assert near.num_rows == 0


def test_little_of_the_file_is_read(store: TableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    read = StoredBytes.read

    def counting(self: StoredBytes, size: int = -1) -> bytes:
        content = read(self, size)
        counted.append(len(content))
        return content

    monkeypatch.setattr(StoredBytes, "read", counting)
    assert store.read_box(KEY, (10, 20, 20, 30)).num_rows == 100
    size, _ = store.storage.stat(store.name(KEY))
    assert size > 3_000_000
    assert sum(counted) < 150_000


def test_a_table_without_rows(tmp_path: Path) -> None:
    store = TableStore(open_storage(tmp_path), "decided", SCHEMA, place=("x", "y"))
    store.write(KEY, SCHEMA.empty_table())
    assert store.read_box(KEY, (0, 0, 9, 9)).equals(SCHEMA.empty_table())
