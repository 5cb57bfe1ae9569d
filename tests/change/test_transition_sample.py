"""The sample that transitions are estimated from: by the place of pixels, and bounded."""

import numpy as np
import pyarrow as pa

from rsscale.change.transition_sample import some_pixels


def tables_of(rows: np.ndarray, cols: np.ndarray, count: int) -> list[pa.Table]:
    parts = np.array_split(np.arange(len(rows)), count)
    return [pa.table({"row": rows[some], "col": cols[some], "value": some}) for some in parts]


def test_the_same_pixels_are_taken_however_the_area_was_cut() -> None:
    rows, cols = (axis.ravel() for axis in np.mgrid[-40:40, -50:50])
    shuffled = np.random.default_rng(0).permutation(len(rows))
    chosen = [
        some_pixels(tables, 500).drop_columns("value")
        for tables in (
            tables_of(rows, cols, 1),
            tables_of(rows, cols, 13),
            tables_of(rows[shuffled], cols[shuffled], 100),
        )
    ]
    assert len(chosen[0]) == 500
    assert chosen[1].equals(chosen[0])
    assert chosen[2].equals(chosen[0])
    places = np.stack([chosen[0]["row"].to_numpy(), chosen[0]["col"].to_numpy()], axis=1)
    assert (places == places[np.lexsort(places.T[::-1])]).all()
    assert abs(places.mean(axis=0) - [-0.5, -0.5]).max() < 4  # from all of the area
    assert len(some_pixels(tables_of(rows, cols, 3), 10_000)) == len(rows)


def test_memory_does_not_grow_with_the_area() -> None:
    """Of a hundred tables of 1 MB, no more than some are held."""
    width = 1000
    binary = pa.binary(width)

    def tables() -> object:
        for row in range(100):
            values = pa.FixedSizeBinaryArray.from_buffers(
                binary, 1000, [None, pa.py_buffer(bytes(width * 1000))]
            )
            where = [pa.array([row] * 1000), pa.array(range(1000))]
            yield pa.Table.from_arrays([*where, values], names=["row", "col", "percents"])

    most, before = 0, pa.total_allocated_bytes()
    held: list[int] = []

    def watched() -> object:
        for table in tables():
            held.append(sum(chunk.nbytes for chunk in table["percents"].chunks))
            nonlocal most
            most = max(most, pa.total_allocated_bytes() - before)
            yield table

    assert len(some_pixels(watched(), 1000)) == 1000  # type: ignore[arg-type]
    assert sum(held) == 100_000_000
    assert most < 10_000_000
