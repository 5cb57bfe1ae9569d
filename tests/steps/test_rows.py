"""Rows of an earlier step as a Dataset."""

from __future__ import annotations

import pyarrow as pa

from rsscale.layers import TileKey
from rsscale.steps.rows import rows_dataset

SCHEMA = pa.schema([("id", pa.string()), ("area", pa.float64()), ("shape", pa.binary())])


def test_rows_of_tiles_follow_each_other_and_know_their_tile():
    first = pa.table({"id": ["a", "b"], "area": [1.0, 2.0], "shape": [b"x", b"y"]}, schema=SCHEMA)
    second = pa.table({"id": ["c"], "area": [3.0], "shape": [b""]}, schema=SCHEMA)
    rows = rows_dataset(
        [(TileKey("s", "2023", 1, 2), first), (TileKey("s", "2023", 2, 2), second)], SCHEMA
    )
    assert rows["id"].values.tolist() == ["a", "b", "c"]
    assert rows["shape"].values.tolist() == [b"x", b"y", b""]
    assert rows["ix"].values.tolist() == [1, 1, 2]
    assert rows["iy"].values.tolist() == [2, 2, 2]


def test_no_tile_at_all_has_the_columns():
    rows = rows_dataset([], SCHEMA)
    assert rows.sizes["row"] == 0
    assert set(rows) == {"id", "area", "shape", "ix", "iy"}
