"""Seasonal models: least squares as NumPy has it, of each pixel's own dates."""

import numpy as np
import pytest
from seasonal_series import FIRST, days_of, series

from rsscale.breaks.harmonic import Season, fit_season, masked_median

DAYS = days_of(4, 20)
HISTORY = DAYS < FIRST + 3 * 365.25
MODEL = Season(2, True, FIRST + 548)
DESIGN = MODEL.design(DAYS)


def test_columns_are_level_trend_and_waves_of_the_year() -> None:
    assert DESIGN.shape == (len(DAYS), MODEL.columns) == (80, 6)
    np.testing.assert_array_equal(DESIGN[:, 0], 1)
    np.testing.assert_allclose(DESIGN[:, 1], (DAYS - FIRST - 548) / 365.25)
    np.testing.assert_allclose(DESIGN[:, 2] ** 2 + DESIGN[:, 3] ** 2, 1)
    assert Season(0, False).design(DAYS).shape == (80, 1)


def test_it_is_least_squares_of_each_pixels_own_observations() -> None:
    values = series(DAYS, 40, seed=1)
    fit = fit_season(values, DESIGN, HISTORY, fewest=12, robust=False)
    for pixel in range(40):
        rows = HISTORY & np.isfinite(values[:, pixel])
        wanted, squares, rank, _ = np.linalg.lstsq(DESIGN[rows], values[rows, pixel])
        assert rank == MODEL.columns
        assert fit.solved[pixel]
        assert fit.count[pixel] == rows.sum()
        np.testing.assert_allclose(fit.coefficients[:, pixel], wanted, atol=1e-10)
        np.testing.assert_allclose(fit.sigma[pixel] ** 2, squares[0] / (rows.sum() - 6))
        normal = DESIGN[rows].T @ DESIGN[rows]
        factor = fit.factor[..., pixel]
        np.testing.assert_allclose(factor @ factor.T, normal, atol=1e-9)
        residual = values[:, pixel] - DESIGN @ wanted
        np.testing.assert_allclose(fit.residuals[:, pixel], residual, atol=1e-10)


def test_it_is_the_same_to_the_bit_whatever_lies_beside_it() -> None:
    values = series(DAYS, 33, seed=2)
    whole = fit_season(values, DESIGN, HISTORY, fewest=12)
    for part in (slice(0, 1), slice(5, 6), slice(7, 33), slice(32, 33)):
        some = fit_season(values[:, part], DESIGN, HISTORY, fewest=12)
        np.testing.assert_array_equal(some.coefficients, whole.coefficients[:, part])
        np.testing.assert_array_equal(some.sigma, whole.sigma[part])
        np.testing.assert_array_equal(some.residuals, whole.residuals[:, part])


def test_clouds_that_the_mask_missed_are_left_out() -> None:
    values = series(DAYS, 200, seed=3)
    clean = fit_season(values, DESIGN, HISTORY, fewest=12)
    clouds = values.copy()
    for pixel in range(200):
        some = np.flatnonzero(HISTORY & np.isfinite(values[:, pixel]))
        clouds[some[[3, 20]], pixel] -= 0.6
    found = fit_season(clouds, DESIGN, HISTORY, fewest=12)
    plain = fit_season(clouds, DESIGN, HISTORY, fewest=12, robust=False)
    assert np.median(plain.sigma / clean.sigma) > 3
    assert abs(np.median(found.sigma / clean.sigma) - 1) < 0.05
    assert (found.count <= plain.count - 2).mean() > 0.95
    # Of good observations few are lost.
    assert clean.used.sum() > 0.99 * (np.isfinite(values) & HISTORY[:, None]).sum()


@pytest.mark.parametrize("robust", [True, False])
def test_what_has_no_model_is_not_solved(robust: bool) -> None:
    values = series(DAYS, 6, seed=4, seen=1)
    months = (DAYS - FIRST) % 365.25 / 30.4
    values[HISTORY, 0] = np.nan  # never seen
    values[np.flatnonzero(HISTORY)[11:], 1] = np.nan  # eleven times
    values[:, 2] = 0.4  # no noise at all: saturated
    values[HISTORY & ((months < 6) | (months > 6.3)), 3] = np.nan  # each year on one date
    values[HISTORY & (DAYS % 3 > 0), 4] = np.inf  # numbers that are none
    with np.errstate(all="raise"):
        fit = fit_season(values, DESIGN, HISTORY, fewest=12, robust=robust)
    assert fit.solved.tolist() == [False, False, False, False, True, True]
    assert fit.count[0] == 0


def test_one_winter_without_observations_is_no_season() -> None:
    """All seen within a tenth of the year: the waves can't be told apart there."""
    values = series(DAYS, 3, seed=5, seen=1)
    values[HISTORY & ((DAYS - FIRST) % 365.25 > 20)] = np.nan
    assert not fit_season(values, DESIGN, HISTORY, fewest=3).solved.any()


def test_the_median_of_some() -> None:
    values = np.array([[3.0, 1, 5], [1, 9, np.nan], [2, 3, 7], [8, 4, 1]])
    where = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], bool)
    np.testing.assert_array_equal(masked_median(values, where), [2, 3, np.nan])
