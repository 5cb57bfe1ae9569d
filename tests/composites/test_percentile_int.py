"""Percentiles of numbers: to the bit those of sorted values, and the source is left alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsscale.composites import reducers
from rsscale.composites.percentile import percentile
from rsscale.composites.percentile_int import have_one_scale, number_percentile
from rsscale.composites.validity import Validity, physical

CPU, PIXELS = torch.device("cpu"), 300
SCALES = [(1.0, 0.0), (0.0001, -0.1), (2.75e-05, -0.2), (0.1, 273.15)]


@given(
    seed=st.integers(0, 2**32 - 1),
    scenes=st.integers(1, 9),
    percent=st.integers(0, 100),
    kind=st.sampled_from(["uint8", "int8", "uint16", "int16", "int32"]),
    scaling=st.sampled_from(SCALES),
    few=st.booleans(),
    complete=st.booleans(),
)
def test_bits_are_those_of_sorted_values(
    seed, scenes, percent, kind, scaling, few, complete
) -> None:
    rng, limits = np.random.default_rng(seed), np.iinfo(kind)
    low, high = (0, 4) if few else (limits.min, int(limits.max) + 1)  # ties, and both ends
    numbers = list(rng.integers(low, high, (scenes, PIXELS), kind))
    scale, offset = map(np.float32, scaling)
    fill = float("nan") if complete else 0.0
    values = [physical(scene, scale, offset, CPU) for scene in numbers]

    def valid() -> Validity:
        found = Validity.of([[scene] for scene in numbers], fill, PIXELS, CPU)
        if not complete and not few:  # as a mask would
            hidden = np.random.default_rng(seed).random((scenes, PIXELS)) < 0.4
            invalid = [a | b for a, b in zip(found.invalid, hidden, strict=True)]
            found = Validity((scenes - sum(invalid)).astype("int16"), invalid, CPU)
        return found

    before = [scene.copy() for scene in numbers]
    found = number_percentile(numbers, valid(), percent, scale, offset) + valid().blank.numpy()
    expected = percentile(values, valid(), percent) + valid().blank
    np.testing.assert_array_equal(found, expected.numpy())
    np.testing.assert_array_equal(numbers, before)


@pytest.mark.parametrize(
    ("scale", "offset", "one"),
    [
        ([0.5, 0.5], [1.0, 1.0], True),
        ([0.5, 0.25], [1.0, 1.0], False),
        ([0.5, 0.5], [1.0, 0.0], False),
        ([-0.5, -0.5], [0.0, 0.0], False),
        ([0.0, 0.0], [0.0, 0.0], False),
    ],
)
def test_numbers_are_sorted_only_where_they_have_the_order_of_values(scale, offset, one) -> None:
    assert have_one_scale(np.float32(scale), np.float32(offset)) is one


@pytest.mark.parametrize("offsets", [(0.0, 0.0, 0.0), (0.0, -1000.0, 0.0)])
def test_a_composite_takes_the_way_that_its_scales_allow(monkeypatch, offsets) -> None:
    taken = []
    for name in ("percentile", "number_percentile"):
        way = getattr(reducers, name)
        monkeypatch.setattr(
            reducers, name, lambda *a, name=name, way=way: taken.append(name) or way(*a)
        )
    planes = np.arange(1, 13, dtype="uint16").reshape(3, 1, 4)
    found = reducers.reduce_observations(
        planes, shape=(2, 2), scenes=[(0, 1, 2)], scale=np.ones((3, 1), "float32"),
        offset=np.float32(offsets)[:, None], fill=0.0, reducer="median",
    )  # fmt: skip
    values = planes[:, 0] + np.float32(offsets)[:, None]
    np.testing.assert_array_equal(found[0, 0].ravel(), np.median(values, axis=0))
    assert taken == (["number_percentile"] if len(set(offsets)) == 1 else ["percentile"])
