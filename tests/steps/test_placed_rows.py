"""Gathered rows that have places: a tile reads those of its box, and depends on no others."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.steps.placed_rows import PlacedTable
from rsscale.store.storage import open_storage
from rsscale.store.table_store import StoredBytes, TableStore

SCHEMA = pa.schema(
    [("span", pa.string()), ("x", pa.float64()), ("y", pa.float64()), ("shape", pa.binary())]
)
PLACE = ("x", "y")
KEY = TileKey("decided", "all", 0, 0)
SPANS = ("2023", "2024")


def rows_of(span: str) -> pa.Table:
    """A row at each middle of a pixel of 100 x 100, in bands of 10 px, with 300 bytes each."""
    rng = np.random.default_rng(int(span))
    x, y = (axis.ravel() + 0.5 for axis in np.meshgrid(np.arange(100), np.arange(100)))
    order = np.lexsort((x, y // 10))
    shapes = pa.array([rng.bytes(300) for _ in order], pa.binary())
    columns = {"span": [span] * len(x), "x": x[order], "y": y[order], "shape": shapes}
    return pa.table(columns, schema=SCHEMA)


def stored(folder: Path, table: pa.Table) -> PlacedTable:
    storage = open_storage(folder)
    digests = TableStore(storage, "decided", SCHEMA, place=PLACE).write(KEY, table)
    return PlacedTable(storage.url, "decided", digests["table"], PLACE, SCHEMA, storage)


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    monkeypatch.setattr("rsscale.store.table_store._GROUP", 100)
    return pa.concat_tables([rows_of(span) for span in SPANS])


BOXES = [(0, 0, 100, 100), (20, 10, 30, 20), (3, 1, 4, 2), (0, -9, 9, 0), (95, 90, 300, 300)]


def test_the_rows_of_a_box_are_those_of_the_table(tmp_path: Path, whole: pa.Table) -> None:
    table = stored(tmp_path, whole)
    x, y, span = (whole[name].to_numpy() for name in ("x", "y", "span"))
    for box in (PixelBox(*corners) for corners in BOXES):
        inside = (x >= box.col0) & (x < box.col1) & (y >= box.row0) & (y < box.row1)
        for year in SPANS:
            assert table.read(box, year).equals(whole.filter(pa.array(inside & (span == year))))
    assert table.read(PixelBox(0, 0, 9, 9), "2025").num_rows == 0


def test_little_of_the_file_is_read(
    tmp_path: Path, whole: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    read = StoredBytes.read

    def counting(self: StoredBytes, size: int = -1) -> bytes:
        content = read(self, size)
        counted.append(len(content))
        return content

    monkeypatch.setattr(StoredBytes, "read", counting)
    table = stored(tmp_path, whole)
    assert table.read(PixelBox(20, 10, 30, 20), "2023").num_rows == 100
    size = (tmp_path / "tables/decided/all/x0_y0.parquet").stat().st_size
    assert size > 6_000_000
    assert sum(counted) < 300_000
    # A neighbour is of the same groups, and reads nothing again.
    counted.clear()
    assert table.read(PixelBox(20, 10, 25, 15), "2023").num_rows == 25
    assert counted == []


def test_a_tile_depends_on_its_own_rows(tmp_path: Path, whole: pa.Table) -> None:
    before = stored(tmp_path / "before", whole)
    shapes = whole["shape"].to_pylist()
    x, y, span = (whole[name].to_pylist() for name in ("x", "y", "span"))
    place = next(n for n, one in enumerate(zip(x, y, span, strict=True))
                 if one == (15.5, 25.5, "2024"))  # fmt: skip
    shapes[place] = b"another"
    changed = whole.set_column(3, "shape", pa.array(shapes, pa.binary()))
    # A row that comes first shifts all others to other row groups.
    first = pa.table({"span": ["2023"], "x": [-5.5], "y": [-5.5], "shape": [b""]}, schema=SCHEMA)
    after = stored(tmp_path / "after", pa.concat_tables([first, changed]))
    assert before.digest != after.digest
    for box, year, is_same in (
        (PixelBox(20, 10, 30, 20), "2024", False),
        (PixelBox(20, 10, 30, 20), "2023", True),
        (PixelBox(30, 10, 40, 20), "2024", True),
        (PixelBox(0, 0, 100, 100), "2023", True),
        (PixelBox(-9, -9, 100, 100), "2023", False),
    ):
        assert (before.digest_of(box, year) == after.digest_of(box, year)) == is_same, box


def test_a_table_that_was_replaced_is_read_anew(tmp_path: Path, whole: pa.Table) -> None:
    stored(tmp_path, whole).read(PixelBox(0, 0, 9, 9), "2023")
    none = stored(tmp_path, SCHEMA.empty_table())
    assert none.read(PixelBox(0, 0, 9, 9), "2023").equals(SCHEMA.empty_table())
    assert none.digest_of(PixelBox(0, 0, 9, 9), "2023") == none.digest_of(PixelBox(5, 5, 6, 6), "")


def test_rows_without_a_span_are_of_every_one(tmp_path: Path) -> None:
    schema = pa.schema([("x", pa.int32()), ("y", pa.int32())])
    storage: Any = open_storage(tmp_path)
    digests = TableStore(storage, "decided", schema, place=PLACE).write(
        KEY, pa.table({"x": [1, 5], "y": [1, 5]}, schema=schema)
    )
    table = PlacedTable(storage.url, "decided", digests["table"], PLACE, schema, storage)
    assert table.read(PixelBox(0, 0, 5, 5), "2023").to_pydict() == {"x": [1], "y": [1]}
