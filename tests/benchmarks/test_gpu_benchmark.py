"""The GPU's benchmark without one: its comparisons, and a part of it that compares the CPU."""

import numpy as np
import pytest
import xarray as xr

from benchmarks.gpu.composites import REDUCERS, composite_rows
from benchmarks.gpu.models import head_rows
from benchmarks.gpu.rows import Row, compared_arrays, compared_maps
from rsscale.composites import reducer_names


def test_values_are_compared_where_either_is_missing() -> None:
    ours, theirs = np.array([1.0, np.nan, 3.0, 4.0]), np.array([1.0, np.nan, 3.5, 4.0])
    assert compared_arrays(ours, theirs) == (0.75, 0.5)
    assert compared_arrays(np.array([np.nan, 1.0]), np.array([0.0, 1.0])) == (0.5, np.inf)
    codes = np.array([255, 0], np.uint8)
    assert compared_arrays(codes, codes[::-1]) == (0.0, 255.0)


def test_labels_agree_by_their_share_and_other_layers_by_the_largest_difference() -> None:
    labels = ("x", np.array([1, 2, 2, 1], np.uint8))
    ours = xr.Dataset({"classification": labels, "confidence": ("x", [90, 80, 70, 60])})
    theirs = ours.assign(
        classification=("x", np.array([1, 2, 1, 1], np.uint8)), confidence=("x", [90, 78, 70, 60])
    )
    assert compared_maps(ours, theirs) == (0.75, 2.0)


@pytest.mark.parametrize(("agreement", "largest"), [(0.9, 0.0), (1.0, 2.0), (float("nan"), 0.0)])
def test_a_row_that_differs_is_wrong(agreement: float, largest: float) -> None:
    row = Row("unet", agreement, largest, "", (0.99, 1.0))
    assert not row.is_right
    assert "WRONG" in str(row)


def test_every_reducer_has_a_row() -> None:
    assert set(reducer_names.REDUCERS) <= set(REDUCERS)


@pytest.mark.extended
def test_the_parts_run_on_the_cpu() -> None:
    rows = [*composite_rows("cpu", quick=True), *head_rows("cpu", quick=True)]
    assert [row.name for row in rows if not row.is_right] == []
    assert {row.agreement for row in rows} == {1.0}
