"""Intervals next to none and all, against exact ones, and where few units decide."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage_accuracies import coverage, populations
from rsscale.survey_estimators.estimator import Estimator
from rsscale.survey_estimators.intervals import effective_number, skewed_interval, wilson_interval
from rsscale.survey_estimators.units import SampleDesign, Stratum, Units
from rsscale.survey_estimators.variance import UnitInfluence, unit_influence


def poisson_coverage(mean: float) -> float:
    """How often the interval of a count of events of one hectare holds its mean."""
    counts = np.arange(100)
    held = [
        low <= mean <= high
        for low, high in (
            skewed_interval(k, np.sqrt(k), UnitInfluence(1, 0, bool(k), 0), 1.96, 1e9)
            for k in counts.tolist()
        )
    ]
    return float(stats.poisson.pmf(counts, mean) @ np.array(held))


def test_the_interval_of_a_count_holds_its_mean_as_often_as_it_says() -> None:
    """A symmetric one of 1.96 standard errors would hold a mean of 3 in 80 %."""
    shares = [poisson_coverage(mean) for mean in np.linspace(1.5, 30, 200)]
    assert np.mean(shares) == pytest.approx(0.95, abs=0.01)
    assert min(shares) > 0.91


def test_the_interval_of_no_event_is_that_of_the_exact_test() -> None:
    low, high = skewed_interval(0, 0, UnitInfluence(1, 0, 0, 0), 1.96, 1e9)
    assert low == 0
    assert high == pytest.approx(-np.log(0.05), abs=0.15)  # mid-P: half the probability of none


@pytest.mark.parametrize("units", [25, 60, 300])
def test_wilsons_interval_next_to_its_ends_does_not_dip(units: int) -> None:
    """Brown, Cai and DasGupta 2001, figure 11: without its inner ends it falls to 83 %."""
    counts = np.arange(units + 1)
    ends = np.array([wilson_interval(k / units, units, 1.96) for k in counts.tolist()])
    shares = [
        stats.binom.pmf(counts, units, p) @ ((ends[:, 0] <= p) & (p <= ends[:, 1]))
        for p in 1 - np.linspace(0.05, 8, 400) / units
    ]
    assert min(shares) > 0.9
    k = units - 2  # two units differ
    assert wilson_interval(k / units, units, 1.96)[1] == pytest.approx(
        1 - stats.chi2.ppf(0.05, 4) / 2 / units, abs=1e-5
    )


def test_units_that_all_agree_are_as_many_as_they_are() -> None:
    """And those of a simple sample keep their number, n - 1, where some do not."""
    assert effective_number(1.0, 0.0, 1 / 40, 1.96) == pytest.approx(40)
    share = 0.8
    variance = share * (1 - share) / 299
    assert effective_number(share, variance, 1 / 300, 1.96) == pytest.approx(299, rel=0.01)


def test_omissions_and_commissions_have_their_own_size() -> None:
    """Three of each, of 10 and of 1 ha, which is less than what units without one differ by."""
    strata = (Stratum(0, "mapped", 1e9, 100.0), Stratum(1, "not", 1e9, 1000.0))
    stratum = np.repeat([0, 1], 100)
    units = Units.of(SampleDesign("stratified", strata), stratum)
    there = np.where(stratum == 0, np.arange(200) > 2, np.arange(200) % 100 < 3).astype(float)
    one = unit_influence(units, stratum, there, (0.0, 1.0))
    assert one.up == pytest.approx(10, rel=0.05)
    assert 0.3 < one.down < 1
    found = Estimator.direct(units).area(there, "class")
    assert found.high - found.value > 1.5 * (found.value - found.low)


def test_a_stratum_that_was_sampled_as_a_whole_holds_no_unseen_event() -> None:
    strata = (Stratum(0, "all of it", 50, 500.0), Stratum(1, "some", 1e9, 100.0))
    stratum = np.repeat([0, 1], 50)
    units = Units.of(SampleDesign("stratified", strata), stratum)
    found = Estimator.direct(units).area((stratum == 1).astype(float), "class")
    assert found.low == pytest.approx(100 * 0.05 ** (1 / 50), abs=1)
    assert found.high < 100 + (100 - found.low)


@pytest.mark.parametrize("population", ["four strata agree", "Olofsson et al. 2014"])
def test_accuracies_hold_where_strata_agree_in_all_of_their_units(population: str) -> None:
    """By the variance of the sample alone, coverage was 30 % of a producer's accuracy and less."""
    matrix = populations()[population]
    found = coverage(matrix, [300 // len(matrix)] * len(matrix), 150)
    for figure in ("overall", "user's", "producer's", "area"):
        # 93 % less two standard errors of 150 draws
        assert found[figure]["least"] >= 89, (figure, found[figure])


def test_figures_of_clusters_keep_their_few_degrees_of_freedom() -> None:
    design = SampleDesign("two-stage", (Stratum(0, "all", 1e6, 100.0),))
    cluster = np.repeat(np.arange(12), 10)
    units = Units.of(design, np.zeros(120, np.int64), np.full(120, 0.1), cluster=cluster)
    there = np.isin(np.arange(120), [0, 1, 2, 3, 50])  # one cluster is most of the variance
    found = Estimator.direct(units).area(there, "class")
    normal = Estimator.direct(units, intervals="normal").area(there, "class")
    assert found.se == normal.se
    assert found.high - found.low > 2 * stats.t.ppf(0.975, 8) * found.se
    assert found.high - found.value > found.value - found.low  # it is skewed upwards


def test_errors_that_lie_together_in_few_clusters_are_missed_on_either_side_alike() -> None:
    """Of a symmetric interval the truth is above in 5 %, and below in 1 %."""
    rng = np.random.default_rng(3)
    number, size, drawn, inside = 1000, 100, 80, 10
    errors = np.zeros((number, size), bool)
    for cluster in rng.choice(number, 90, replace=False):
        errors[cluster, : rng.integers(20, 90)] = True
    truth = float(errors.sum())
    design = SampleDesign("two-stage", (Stratum(0, "all", number * size, number * size),), number)
    probability = np.full(drawn * inside, drawn / number * inside / size)
    of_cluster = np.repeat(np.arange(drawn), inside)
    nothing = np.zeros(drawn * inside, np.int64)
    above, below = 0, 0
    for _ in range(400):
        chosen = errors[rng.choice(number, drawn, replace=False)]
        omitted = np.concatenate([rng.permutation(cluster)[:inside] for cluster in chosen])
        units = Units.of(design, nothing, probability, cluster=of_cluster)
        found = Estimator.direct(units).difference(omitted, nothing, 0.0, "class")
        above += truth > found.high
        below += truth < found.low
    # 2.5 % on each side is 10 of 400, give or take 6
    assert above <= 16
    assert below <= 16
