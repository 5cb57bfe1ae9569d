"""The sample that transitions are estimated from: by the place of pixels, and bounded."""

import numpy as np
import pyarrow as pa
import pytest

from rsscale.change.transition_sample import estimate, some_pixels
from rsscale.change.transitions import staying


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


@pytest.mark.parametrize("pixels", [2000, 20_000])
def test_a_rare_class_lasts_as_long_as_it_does(pixels: int) -> None:
    """A thousandth of the land, which stays with 0.97: it neither fades nor is it everywhere."""
    random = np.random.default_rng(1)
    shares, years = np.array([0.499, 0.3, 0.2, 0.001]), 5
    true = np.where(np.eye(4) == 1, 0.0, shares)
    true *= 0.03 / true.sum(axis=1, keepdims=True)
    np.fill_diagonal(true, 0.97)
    states = np.empty((years, pixels), int)
    states[0] = random.choice(4, pixels, p=shares)
    for year in range(1, years):
        drawn = random.random(pixels)[:, None]
        states[year] = (true[states[year - 1]].cumsum(axis=1) < drawn).sum(axis=1).clip(max=3)
    # Probabilities of a calibrated model, in percents as they are stored: right 88 % of the time.
    score = random.normal(size=(years, pixels, 4)) + 2.5 * (states[..., None] == np.arange(4))
    share = np.exp(2.5 * score)
    percents = np.round(100 * share / share.sum(axis=-1, keepdims=True))
    likelihood = np.maximum(percents / 100, 0.0005).astype(np.float32).transpose(0, 2, 1)
    matrix, counts = estimate(likelihood, range(2019, 2019 + years), staying(4, 0.95))
    rare = int((states[:-1] == 3).sum())
    assert matrix[3, 3] == pytest.approx(0.97, abs=0.08)
    assert counts[3].sum() == pytest.approx(rare, rel=0.6)
    assert np.abs(matrix[:3] - true[:3]).max() < 0.01
    assert matrix[:3, 3].max() < 0.001
