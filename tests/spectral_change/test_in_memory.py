"""Change of two images in memory of which one lacks a time window in places."""

import numpy as np
import pytest
import xarray as xr

import rsscale as rs
from rsscale.errors import BandError


def dates() -> tuple[xr.DataArray, xr.DataArray]:
    """Six bands of three windows over 60 x 60 px, a changed square, and a cloud over half of it."""
    random = np.random.default_rng(1)
    before = random.normal(0.3, 0.1, (6, 60, 60)).astype(np.float32)
    after = before + random.normal(0, 0.01, before.shape).astype(np.float32)
    after[:, 20:40, 20:40] += np.float32(0.6)
    after[:2, :30] = np.nan
    coords = {"band": np.arange(6), "y": -np.arange(60.0), "x": np.arange(60.0)}
    first, second = (xr.DataArray(date, coords, ("band", "y", "x")) for date in (before, after))
    return first, second


def test_change_is_told_of_the_windows_that_both_dates_have() -> None:
    before, after = dates()
    options = {"method": "change-vector", "scale": "none"}
    every = rs.detect_spectral_change(before, after, **options)["change"].values
    some = rs.detect_spectral_change(before, after, least_shared=0.6, **options)
    changed = np.zeros((60, 60), bool)
    changed[20:40, 20:40] = True
    assert (every[:30] == 255).all()
    np.testing.assert_array_equal(every[30:] == 1, changed[30:])
    np.testing.assert_array_equal(some["change"].values, changed.astype(np.uint8))
    magnitude = some["magnitude"].values
    seen, unseen = magnitude[20:30, 20:40].mean(), magnitude[30:40, 20:40].mean()
    assert seen == pytest.approx(unseen, rel=0.01)


@pytest.mark.parametrize(("method", "share"), [("ir-mad", 0.5), ("change-vector", 0.0)])
def test_what_needs_all_bands_says_so(method: str, share: float) -> None:
    before, after = dates()
    with pytest.raises(BandError, match=f"least_shared is {share} and the method '{method}'"):
        rs.detect_spectral_change(before, after, method=method, least_shared=share)
