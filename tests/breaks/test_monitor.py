"""The process of residuals: its statistic by plain matrices, and how often stable series cross."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats
from seasonal_series import FIRST, days_of, monitoring, series

from benchmarks.critical_values import simulate
from rsscale.breaks.alerts import NONE, find_breaks
from rsscale.breaks.critical_values import LEVELS, PERIODS, WINDOWS, critical_values
from rsscale.breaks.harmonic import Season, fit_season
from rsscale.breaks.monitor import Boundary, Process, as_normal

DAYS = days_of(4, 20)
START = int(FIRST + 3 * 365.25)
HISTORY = DAYS < START
DESIGN = Season(1, True, FIRST + 548).design(DAYS)


def by_matrices(values: np.ndarray, window: float) -> Iterator[float]:
    """The statistics of one pixel, from the covariance of all its residuals."""
    seen = np.isfinite(values)
    design, y = DESIGN[seen], values[seen]
    n = int((seen & HISTORY).sum())
    inverse = np.linalg.inv(design[:n].T @ design[:n])
    from_history = design @ inverse @ design[:n].T
    residual = y - from_history @ y[:n]
    sigma = np.sqrt((residual[:n] ** 2).sum() / (n - DESIGN.shape[1]))
    take = np.eye(len(y))
    take[:, :n] -= from_history
    covariance = take @ take.T
    for newest in range(n, len(y)):
        length = newest - n + 1 if window == 0 else int(window * n)
        weight = np.zeros(len(y))
        weight[newest + 1 - length : newest + 1] = 1
        student = abs(weight @ residual) / (sigma * np.sqrt(weight @ covariance @ weight))
        normal = stats.norm.isf(stats.t.sf(student, n - DESIGN.shape[1]))
        later = int(weight[n:].sum())
        usual = length - (length - later) ** 2 / n + later**2 / n
        total, ratio = normal * np.sqrt(usual / n), (newest + 1) / n
        if window:
            total += 0.5826 * np.sqrt(2 / n)
            yield total / np.sqrt(2 * max(np.log(ratio), 1 if ratio <= np.e else 0))
        else:
            total += 0.5826 / np.sqrt(n)
            inside = total**2 / (ratio * (ratio - 1)) - np.log(ratio / (ratio - 1))
            yield np.sqrt(max(inside, 0))


@pytest.mark.parametrize("window", WINDOWS)
def test_the_statistic_is_that_of_the_residuals_covariance(window: float) -> None:
    values = series(DAYS, 12, seed=6, step=2, at=START + 100)
    fit = fit_season(values, DESIGN, HISTORY, fewest=8, robust=False)
    watched = np.isfinite(values) & ~HISTORY[:, None]
    count = watched.sum(axis=0)
    dates = np.argsort(~watched, axis=0, kind="stable")[: count.max()]
    process = Process(fit, DESIGN, dates, Boundary(window=window))
    found = np.array([process.step(number, number < count)[0] for number in range(count.max())])
    for pixel in range(12):
        wanted = np.array(list(by_matrices(values[:, pixel], window)))
        np.testing.assert_allclose(found[: count[pixel], pixel], wanted, atol=0.02)
        assert (found[count[pixel] :, pixel] == 0).all()


def test_without_a_trend_and_season_it_is_the_process_of_bfastmonitor() -> None:
    """Sums over sigma and the root of n, but for what is between observations and Student's t."""
    days = days_of(40, 40)
    rng = np.random.default_rng(7)
    values = rng.standard_normal((len(days), 3))
    history = np.arange(len(days)) < 1200
    design = Season(0, False).design(days)
    fit = fit_season(values, design, history, fewest=8, robust=False)
    later = np.arange(1200, 1600)
    dates = np.repeat(later[:, None], 3, axis=1)
    process = Process(fit, design, dates, Boundary(window=0.25))
    found = np.array([process.step(n, np.ones(3, bool))[0] for n in range(400)])
    residual = values - values[:1200].mean(axis=0)
    sums = np.cumsum(residual, axis=0)
    moving = np.abs(sums[later] - sums[later - 300])
    wanted = moving / (residual[:1200].std(axis=0, ddof=1) * np.sqrt(1200)) / np.sqrt(2)
    overshoot = 0.5826 * np.sqrt(2 / 1200) / np.sqrt(2)
    np.testing.assert_allclose(found, wanted + overshoot, atol=0.005)


# Of strucchange's table for moving sums (Zeileis et al. 2002; R's monitorMECritvalTable, functional
# "max"): window, period, and the values of the levels 0.05 and 0.01.
PUBLISHED = {
    (0.25, 2): (1.2276, 1.4333), (0.25, 10): (1.3418, 1.5216),
    (0.5, 2): (1.6873, 2.0315), (0.5, 10): (1.9020, 2.2091),
    (1.0, 2): (2.2241, 2.7996), (1.0, 10): (2.7459, 3.2769),
}  # fmt: skip


@pytest.mark.parametrize(("window", "period"), PUBLISHED)
def test_critical_values_are_those_that_are_published(window: float, period: float) -> None:
    levels, values = critical_values(window, period)
    # The published ones are of sums at 1000 steps a history, whose overshoot is not counted.
    overshoot = 0.5826 * np.sqrt(2 / 1000) / np.sqrt(2)
    found = np.interp([-0.05, -0.01], -levels, values - overshoot)
    np.testing.assert_allclose(found, PUBLISHED[window, period], rtol=0.01)


def test_of_a_cumulative_sum_they_are_near_the_closed_form() -> None:
    """``2 - 2 (Phi(c) - c phi(c))`` is the probability to cross ever, beyond any period."""
    levels, values = critical_values(0.0, 10)
    ever = 2 - 2 * (stats.norm.cdf(values) - values * stats.norm.pdf(values))
    np.testing.assert_allclose(ever[levels <= 0.1], levels[levels <= 0.1], rtol=0.15)


def test_the_table_is_what_the_simulation_gives() -> None:
    small = simulate(1500, 200, seed=3)
    stored = np.array([[critical_values(w, p)[1] for p in PERIODS] for w in WINDOWS])
    middle = [LEVELS.index(level) for level in (0.3, 0.1, 0.05)]
    # Soon after it began a cumulative sum is one of single observations, however many there are.
    np.testing.assert_allclose(small[:, 1:, middle], stored[:, 1:, middle], rtol=0.12)
    assert (np.diff(stored, axis=2) > 0).all()  # the rarer, the greater
    assert (np.diff(stored, axis=1) >= 0).all()  # the longer, the greater


def test_between_periods_they_are_interpolated() -> None:
    below, between, above = (critical_values(0.5, period)[1] for period in (3, 3.5, 4))
    assert (below < between).all()
    assert (between < above).all()


def test_students_t_as_a_normal_variable() -> None:
    freedom, student = np.meshgrid([3.0, 6, 20, 100], np.linspace(0, 8, 50))
    exact = stats.norm.isf(stats.t.sf(student, freedom))
    near = exact < 4
    np.testing.assert_allclose(as_normal(student, freedom)[near], exact[near], atol=0.05)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("per_year", "years", "seen"), [(20, 4, 0.7), (40, 4, 0.5), (20, 6, 0.7)])
def test_stable_series_raise_alerts_at_about_the_level(
    window: float, per_year: int, years: int, seen: float
) -> None:
    days = days_of(years, per_year)
    values = series(days, 4000, seed=8, seen=seen)
    found = find_breaks(values, days, monitoring(years=years, window=window))
    assert found.monitored.all()
    raised = (found.alert != NONE).mean()
    assert 0.01 < raised < 0.06  # at most the level of 0.05, and a binomial's spread
    assert raised == (found.confidence > 0.95).mean()


def test_a_model_that_looks_far_ahead_is_not_trusted_more_than_it_deserves() -> None:
    """With a trend of two years forecasts for the third are wide; bfastmonitor's are not."""
    days = days_of(5, 15)
    values = series(days, 3000, seed=9)
    found = find_breaks(values, days, monitoring(history=2, years=5, window=0.25))
    assert (found.alert != NONE).mean() < 0.06
