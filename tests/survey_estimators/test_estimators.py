"""Estimators against brute force, and what they say where a sample does not tell."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.estimation.interpreters import cohens_kappa
from rsscale.survey_estimators.area_estimator import area_estimator
from rsscale.survey_estimators.estimator import Estimator
from rsscale.survey_estimators.intervals import quantile
from rsscale.survey_estimators.units import SampleDesign, Stratum, Units


def simple(count: int, pixels: float = np.inf, **more: object) -> Estimator:
    design = SampleDesign("simple", (Stratum(0, "all", pixels, 1000.0),))
    return Estimator.direct(Units.of(design, np.zeros(count, np.int64), **more))


def jackknife(statistic, count: int, groups: np.ndarray | None = None) -> float:
    """Standard error by leaving out one unit, or one group, after the other."""
    groups = np.arange(count) if groups is None else groups
    values = np.array([statistic(groups != g) for g in np.unique(groups)])
    g = len(values)
    return float(np.sqrt((g - 1) / g * ((values - values.mean()) ** 2).sum()))


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    mapped = rng.integers(0, 3, 200)
    return mapped, np.where(rng.random(200) < 0.8, mapped, rng.integers(0, 3, 200))


def test_ratios_have_the_standard_error_of_a_jackknife(pair) -> None:
    mapped, reference = pair
    estimator = simple(200)
    right = (mapped == 1) & (reference == 1)
    f1 = estimator.ratio(2.0 * right, (mapped == 1).astype(float) + (reference == 1), "class")

    def statistic(used):
        return 2 * right[used].sum() / ((mapped == 1)[used].sum() + (reference == 1)[used].sum())

    assert f1.value == pytest.approx(statistic(np.ones(200, bool)))
    assert f1.se == pytest.approx(jackknife(statistic, 200), rel=0.02)
    assert 0 < f1.low < f1.value < f1.high < 1


def test_clusters_have_the_standard_error_of_a_jackknife_over_clusters(pair) -> None:
    _, reference = pair
    cluster = np.repeat(np.arange(25), 8)
    probability = np.random.default_rng(1).uniform(0.001, 0.01, 200)
    design = SampleDesign("two-stage", (Stratum(0, "all", 1e6, 1000.0),), 500)
    units = Units.of(design, np.zeros(200, np.int64), probability, cluster=cluster)
    found = Estimator.direct(units).area(reference == 2, "class")

    def statistic(used):
        weight = 1 / probability[used]
        return 1000 * (weight * (reference == 2)[used]).sum() / weight.sum()

    assert found.value == pytest.approx(statistic(np.ones(200, bool)))
    assert found.se == pytest.approx(jackknife(statistic, 200, cluster), rel=0.05)


def test_a_simple_sample_is_binomial_and_small_populations_count(pair) -> None:
    _, reference = pair
    share = (reference == 0).mean()
    found = simple(200).area(reference == 0, "class")
    assert found.se == pytest.approx(1000 * np.sqrt(share * (1 - share) / 199))
    assert simple(200, pixels=400).area(reference == 0, "").se == pytest.approx(
        found.se * np.sqrt(0.5)
    )


def test_a_unit_of_a_larger_pixel_stands_for_more() -> None:
    """As on a grid in degrees, where pixels shrink to the poles."""
    estimator = simple(3, size=np.array([1.0, 1.0, 2.0]))
    assert estimator.area(np.array([0, 0, 1]), "class").value == pytest.approx(500)


def test_all_agree_is_no_interval_of_zero_width() -> None:
    estimator = simple(30)
    right = estimator.ratio(np.ones(30), np.ones(30), "there")
    assert (right.value, right.se, right.high) == (1.0, None, pytest.approx(1.0))
    assert right.low == pytest.approx(30 / (30 + 1.96**2))  # Wilson's
    assert "of the units that are there all are right or none is" in right.why
    area = estimator.area(np.ones(30), "class 'water'")
    assert (area.value, area.se, area.high) == (pytest.approx(1000), None, pytest.approx(1000))
    # Where p ** 30 = 0.05, within a tenth of the width: no unit of 30 differs in 5 % of samples.
    assert area.low == pytest.approx(1000 * 0.05 ** (1 / 30), abs=10)


def test_a_class_without_units_is_not_estimable() -> None:
    estimator = simple(30)
    none = np.zeros(30)
    assert estimator.area(none, "class 'water'").to_dict() == {
        "value": None,
        "why": "no unit of the sample is class 'water' in the reference",
    }
    assert estimator.ratio(none, none, "mapped as 'water'").value is None
    assert estimator.difference(none, none, 20.0, "class 'water'").value is None


def test_one_unit_in_a_stratum_has_no_standard_error() -> None:
    strata = (Stratum(0, "a", 1e6, 10.0), Stratum(1, "b", 1e6, 20.0))
    units = Units.of(SampleDesign("stratified", strata), np.array([0, 0, 0, 1]))
    found = Estimator.direct(units).area(np.array([1, 0, 0, 1]), "class")
    assert found.value == pytest.approx(10 / 3 + 20)
    assert (found.se, found.low) == (None, None)
    assert "one interpreted unit only" in found.why


def test_a_stratum_that_was_sampled_as_a_whole_has_no_error() -> None:
    """A class of one pixel must not take the standard errors of all others with it."""
    strata = (Stratum(0, "a", 1000, 1000.0), Stratum(1, "b", 1, 1.0))
    right = np.arange(51) % 5 == 0
    units = Units.of(SampleDesign("stratified", strata), np.array([0] * 50 + [1]))
    found = Estimator.direct(units).area(right, "class")
    variance = 1000**2 * (1 - 50 / 1000) * right[:50].var(ddof=1) / 50  # Cochran 1977, eq. 5.7
    assert found.se == pytest.approx(np.sqrt(variance))


def test_a_class_whose_strata_were_sampled_as_a_whole_has_a_known_users_accuracy() -> None:
    strata = (Stratum(0, "a", 1e5, 1e5), Stratum(1, "b", 6, 6.0), Stratum(2, "c", 6, 6.0))
    stratum = np.array([0] * 50 + [1] * 6 + [2] * 6)
    estimator = Estimator.direct(Units.of(SampleDesign("stratified", strata), stratum))
    right = np.isin(np.arange(62), [50, 51])
    known = estimator.ratio(right, stratum == 1, "mapped as 'b'", by_map=True)
    assert (known.value, known.se, known.low, known.high) == (
        pytest.approx(1 / 3),
        0,
        *(2 * [known.value]),
    )
    both = estimator.ratio(right, stratum > 0, "mapped as 'b'", by_map=True)
    assert (both.value, both.se) == (pytest.approx(1 / 6), 0)
    # What the map leaves out may lie in the stratum that is not known.
    producers = estimator.ratio(right, right, "'b' in the reference")
    assert producers.low < 0.01
    # A stratum of several classes was not drawn by them: more may lie outside of the sample.
    assert estimator.ratio(right, right, "mapped as 'b'", by_map=True).low < 1


@pytest.mark.parametrize("intervals", ["adjusted", "normal"])
def test_a_stratum_that_was_sampled_as_a_whole_widens_no_interval(intervals: str) -> None:
    """An area is as uncertain as without the stratum, whose hectares are known."""

    def area(whole: int, marked: float) -> tuple[float, float]:
        strata = (Stratum(0, "a", 1000, 1000.0), Stratum(1, "b", whole, 10.0))
        stratum = np.array([0] * 50 + [1] * whole)
        units = Units.of(SampleDesign("stratified", strata), stratum)
        values = np.where(stratum == 0, marked, 1.0)
        found = Estimator.direct(units, intervals=intervals).area(values, "class")
        return found.low, found.high

    for marked in (0.0, 1.0):
        assert area(3, marked) == pytest.approx(area(500, marked))
    assert area(3, 0.0)[0] == pytest.approx(10)
    assert area(3, 1.0)[1] == pytest.approx(1010)


def test_a_sample_of_all_units_has_no_error() -> None:
    table = pd.DataFrame(
        {
            "stratum": [1, 1, 2, 2, 2],
            "map_1": ["a", "a", "b", "b", "b"],
            "map_2": ["a", "b", "b", "b", "b"],
            "reference_1": ["a", "b", "b", "b", "a"],
            "reference_2": ["a", "b", "b", "b", "b"],
            "region": ["n", "n", "n", "s", "s"],
        }
    )
    figures = rs.estimate(
        table,
        strata={1: 2.0, 2: 3.0},
        pixels={1: 2, 2: 3},
        periods=[1, 2],
        region="region",
        mapped_hectares={1: {"a": 2.0, "b": 3.0}, 2: {"a": 1.0, "b": 4.0}},
    ).table()
    known = figures[figures["estimate"].notna()]
    assert len(known) > 20
    assert (known["se"] == 0).all()
    assert (known["low"] == known["estimate"]).all()
    assert (known["high"] == known["estimate"]).all()
    assert (known["why"] == "").all()
    net = known[known["figure"] == "net"].set_index("name")["estimate"]
    assert net.to_dict() == {"a": -1.0, "b": 1.0}


def test_a_net_change_of_strata_that_agree_is_told_without_an_error() -> None:
    table = pd.DataFrame(
        {
            "stratum": [1] * 10 + [2] * 10,
            "map_1": ["a"] * 20,
            "map_2": ["a"] * 10 + ["b"] * 10,
            "reference_1": ["a"] * 20,
            "reference_2": ["a"] * 10 + ["b"] * 10,
        }
    )
    change = rs.estimate(table, strata={1: 900.0, 2: 100.0}, periods=[1, 2]).change["1-2"]
    gained = {land_class.name: net for land_class, net in change.net}["b"]
    assert gained.value == pytest.approx(100.0)
    assert gained.se is None
    assert gained.low is None
    assert "all units of each stratum agree" in gained.why


def test_an_interval_holds_its_estimate_where_each_stratum_is_of_one_value() -> None:
    strata = (Stratum(0, "a", 1e6, 500.0), Stratum(1, "b", 1e6, 500.0))
    units = Units.of(SampleDesign("stratified", strata), np.repeat([0, 1], 100))
    estimator = Estimator.direct(units)
    right, all_of_it = np.repeat([True, False], 100), np.ones(200, bool)
    for found, size in (
        (estimator.ratio(right, all_of_it, "there"), 1.0),
        (estimator.ratio_area(right, all_of_it, 80.0, "there"), 80.0),
    ):
        assert (found.value, found.se) == (pytest.approx(size / 2), None)
        assert 0 < found.low < found.value < found.high < size


def test_units_of_few_clusters_that_agree_count_as_clusters() -> None:
    design = SampleDesign("two-stage", (Stratum(0, "all", 1e6, 500.0),))
    clusters = np.repeat(np.arange(5), 20)
    units = Units.of(design, np.zeros(100, np.int64), np.full(100, 0.1), cluster=clusters)
    found = Estimator.direct(units).ratio(np.ones(100), np.ones(100), "there")
    assert found.low == pytest.approx(5 / (5 + 2.7764**2), rel=1e-4)  # Wilson's, t of 4 degrees


def test_a_difference_that_leaves_the_population_stays_in_its_interval() -> None:
    mapped, there = np.arange(100) < 30, np.arange(100) < 1
    found = simple(100).difference(there, mapped, 100.0, "class 'water'")
    assert found.low <= found.value <= found.high
    assert found.value == 0
    whole = simple(100).difference(~there, ~mapped, 990.0, "class 'water'")
    assert whole.low <= whole.value <= whole.high == 1000


def test_intervals_of_two_interpreters_have_the_confidence_that_was_asked_for() -> None:
    table = pd.DataFrame({"map": ["a", "b"] * 20, "reference": ["a", "b"] * 20})
    table["reference_second"] = ["a", "b", "a", "a"] * 10
    some, wide = (
        rs.estimate(table, hectares=100.0, confidence=share).interpreters for share in (0.5, 0.99)
    )
    assert wide.agreement.high > some.agreement.high
    assert wide.kappa.high > some.kappa.high
    one = wide.classes[1]  # 20 of 40 units by the first, 10 by the second
    within, between = (one.first.se**2 + one.second.se**2) / 2, (50 - 25) ** 2 / 2
    degrees = (1 + within / (1.5 * between)) ** 2
    half = stats.t.ppf(0.995, degrees) * np.sqrt(within + 1.5 * between)
    assert one.both.low == pytest.approx(max(37.5 - half, 0))
    assert some.classes[1].both.low == pytest.approx(
        37.5 - stats.t.ppf(0.75, degrees) * np.sqrt(within + 1.5 * between)
    )
    table["reference_second"] = table["reference"]
    agreed = rs.estimate(table, hectares=100.0).interpreters.agreement
    assert (agreed.value, agreed.se) == (1.0, None)
    assert "all units agree" in agreed.why


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mapped_hectares": {"a": 60_000, "b": 30_000}}, "90,000.0 together, .* of 1,000.0"),
        ({"mapped_hectares": {"a": 1000}, "classes": ["b"]}, "names 'a', which is no class"),
        ({"pixels": {"x": 100}}, "pixels are given by stratum"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(given: dict, said: str) -> None:
    table = pd.DataFrame({"map": ["b"] * 10, "reference": ["b"] * 10})
    with pytest.raises(RecipeError, match=said):
        rs.estimate(table, hectares=1000.0, **given)
    with pytest.raises(RecipeError, match="pixels is 10, and there are strata"):
        rs.estimate(table.assign(stratum="s"), strata={"s": 10.0}, pixels=10)


def test_a_mapped_class_without_a_unit_and_numbers_of_any_kind_count() -> None:
    table = pd.DataFrame({"map": [1, 2] * 20, "reference": [1.0, 2.0] * 19 + [1.0, None]})
    found = rs.estimate(
        table, hectares=100.0, pixels=np.int64(50), mapped_hectares={1: 60, 2: 30, 3: 10}
    )
    classes = {one.land_class.name: one for one in found["map"].classes}
    assert {name: one.mapped_hectares for name, one in classes.items()} == {
        "1": 60.0, "2": 30.0, "3": 10.0,
    }  # fmt: skip
    wrong = table.assign(map=[1, 1] * 20)
    small, large = (
        rs.estimate(wrong, hectares=100.0, pixels=count)["map"].overall.se
        for count in (np.int64(50), None)
    )
    assert small == pytest.approx(large * np.sqrt(1 - 39 / 50))


def test_assisted_estimators_beat_the_sample_alone_and_agree() -> None:
    rng = np.random.default_rng(2)
    population = rng.integers(0, 3, 100_000)
    truth = np.where(rng.random(100_000) < 0.95, population, rng.integers(0, 3, 100_000))
    chosen = rng.choice(100_000, 400, replace=False)
    hectares = np.bincount(population, minlength=4) / 100.0
    direct = simple(400)
    mapped, reference = population[chosen], truth[chosen]
    found = area_estimator(direct, mapped, reference, hectares)
    assert found.name.startswith("model-assisted")
    assisted = direct.assisted(mapped, hectares[:3])
    for k in range(3):
        areas = (
            assisted.area(reference == k, ""),
            direct.difference(reference == k, mapped == k, hectares[k], ""),
        )
        for area in areas:
            assert area.se < 0.5 * direct.area(reference == k, "").se
            assert abs(area.value - (truth == k).sum() / 100) < 3 * area.se
        assert areas[0].value == pytest.approx(areas[1].value, abs=areas[0].se)
    assert sum(assisted.area(reference == k, "").value for k in range(3)) == pytest.approx(1000)


def test_strata_that_are_the_mapped_classes_need_no_help() -> None:
    strata = (Stratum(0, "a", 1e6, 10.0), Stratum(1, "b", 1e6, 20.0))
    mapped = np.repeat([0, 1], 30)
    direct = Estimator.direct(Units.of(SampleDesign("stratified", strata), mapped))
    found = area_estimator(direct, mapped, mapped[::-1].copy(), np.array([10.0, 20.0, 0.0]))
    assert found.estimator is direct
    assert found.mapped_hectares is None


def test_a_small_class_is_assisted_by_differences() -> None:
    rng = np.random.default_rng(3)
    mapped = np.where(rng.random(300) < 0.025, 1, 0)
    assert 0 < mapped.sum() < 10
    reference = np.where(rng.random(300) < 0.005, 1 - mapped, mapped)
    found = area_estimator(simple(300), mapped, reference, np.array([990.0, 10.0, 0.0]))
    assert "plus the sample's difference" in found.name
    assert found.mapped_hectares is not None


def test_systematic_neighbours_tell_a_smaller_variance_where_values_are_alike_nearby() -> None:
    rows, cols = np.divmod(np.arange(400), 20)
    place = np.stack([cols, rows], axis=1).astype(float)
    strata = (Stratum(0, "all", 1e6, 1000.0),)
    units = Units.of(SampleDesign("systematic", strata), np.zeros(400, np.int64), place=place)
    field = (cols < 10).astype(float)
    near, random = Estimator.direct(units), simple(400)
    assert near.area(field, "").se < 0.3 * random.area(field, "").se
    noise = np.random.default_rng(0).integers(0, 2, 400)
    assert near.area(noise, "").se == pytest.approx(random.area(noise, "").se, rel=0.1)


def test_the_variance_between_random_starts_is_unbiased() -> None:
    """Over all pairs of the 16 lattices of a field in rows, which neighbours mistake by far."""
    row, col = np.divmod(np.arange(144), 12)
    field = (row % 4 < 2) + 0.1 * np.random.default_rng(5).random(144)
    start = row % 4 * 4 + col % 4
    design = SampleDesign("systematic", (Stratum(0, "all", 144, 144.0),), 16)
    values, variances, of_neighbours = [], [], []
    for pair in itertools.combinations(range(16), 2):
        chosen = np.flatnonzero(np.isin(start, pair))
        place = np.stack([col, row], axis=1)[chosen].astype(float)
        none = np.zeros(len(chosen), np.int64)
        units = Units.of(design, none, cluster=start[chosen], place=place)
        found = Estimator.direct(units, intervals="normal")
        values.append(found.sum(field[chosen]))
        variances.append(found.standard_error(field[chosen])[0] ** 2)
        near = Estimator.direct(Units.of(design, none, place=place))
        of_neighbours.append(near.standard_error(field[chosen])[0] ** 2)
    assert np.mean(variances) == pytest.approx(np.var(values), rel=1e-9)
    assert np.mean(of_neighbours) < 0.6 * np.var(values)


def test_few_random_starts_widen_intervals_and_few_of_them_are_taken_as_one() -> None:
    rng = np.random.default_rng(2)
    reference = np.where(rng.random(400) < 0.3, "water", "land")
    table = pd.DataFrame({"map": "land", "reference": reference, "cluster": np.arange(400) % 40})
    halves = {}
    for starts in (10, 40):
        units = table.assign(cluster=np.arange(400) % starts)
        found = rs.estimate(units, hectares=1000.0, design="systematic")["map"]
        assert f"variance between its {starts} random starts" in found.estimator
        area = found.classes[0].hectares
        halves[starts] = (area.high - area.low) / 2 / area.se
    assert halves[10] / halves[40] == pytest.approx(quantile(9) / quantile(39), rel=0.02)
    # Nine and fewer tell less of a variance than the units do.
    units = table.assign(cluster=np.arange(400) % 9)
    found = rs.estimate(units, hectares=1000.0, design="systematic")["map"]
    assert "variance from neighbouring units" in found.estimator
    # A class that no unit is mapped wrong of has the width that units give, not that of ten starts.
    agreed = table.assign(map=table["reference"], cluster=np.arange(400) % 10)
    hectares = {name: float(n) for name, n in agreed["map"].value_counts().items()}
    found = rs.estimate(agreed, hectares=400.0, design="systematic", mapped_hectares=hectares)
    area = found["map"].classes[0].hectares
    assert area.se is None
    assert area.high - area.low < 0.03 * 400


def test_kappa_is_cohens_and_its_error_that_of_a_jackknife(pair) -> None:
    first, second = pair

    def statistic(used):
        a, b = first[used], second[used]
        agreed = (a == b).mean()
        chance = sum((a == k).mean() * (b == k).mean() for k in range(3))
        return (agreed - chance) / (1 - chance)

    found = cohens_kappa(first, second, 3)
    assert found.value == pytest.approx(statistic(np.ones(200, bool)))
    assert found.se == pytest.approx(jackknife(statistic, 200), rel=0.02)
    assert cohens_kappa(first, first, 3).se is None
    assert cohens_kappa(first * 0, first * 0, 3).value is None


def test_figures_of_regions_two_dates_and_two_interpreters() -> None:
    rng = np.random.default_rng(0)
    names = np.array(["forest", "water", "field"])
    before = rng.integers(0, 3, 400)
    after = np.where(rng.random(400) < 0.9, before, rng.integers(0, 3, 400))
    second = np.where(rng.random(400) < 0.9, after, rng.integers(0, 3, 400))
    table = pd.DataFrame(
        {
            "map_2023": names[before], "map_2024": names[after],
            "reference_2023": names[before], "reference_2024": names[after],
            "reference_2024_second": names[second],
            "part": np.where(np.arange(400) < 120, "n", "s"),
        }
    )  # fmt: skip
    found = rs.estimate(table, hectares=4000.0, periods=[2023, 2024], region="part")
    change = found.change["2023-2024"]
    assert change.changed.value == pytest.approx(10 * (before != after).sum())
    assert change.matrix.sum() == pytest.approx(4000)
    assert sum(one.hectares.value for one in change.transitions) == pytest.approx(4000)
    gain = {one.name: net.value for one, net in change.net}
    areas = {
        period: {one.land_class.name: one.hectares.value for one in found[period].classes}
        for period in ("2023", "2024")
    }
    for name in names:
        assert gain[name] == pytest.approx(areas["2024"][name] - areas["2023"][name])
    parts = [found.regions[part]["2024"].classes for part in ("n", "s")]
    for one, north, south in zip(found["2024"].classes, *parts, strict=True):
        assert north.hectares.value + south.hectares.value == pytest.approx(one.hectares.value)
    two = found.interpreters
    assert two.units == 400
    assert two.agreement.value == pytest.approx((after == second).mean())
    for one in two.classes:
        assert one.both.se > min(one.first.se, one.second.se)
        assert min(one.first.value, one.second.value) <= one.both.value
    text = str(found)
    assert "2023-2024" in text
    assert "two interpreters agree on" in text
    assert set(found.table()["figure"]) == {
        "overall", "hectares", "users", "producers", "f1", "changed", "transition", "net"
    }  # fmt: skip


def test_a_region_of_known_size_is_a_ratio() -> None:
    """Its area does not depend on how many units fell into it."""
    inside = np.arange(200) < 50
    forest = np.arange(200) % 2 == 0
    estimator = simple(200)
    total = estimator.area(forest & inside, "")
    share = estimator.ratio_area(forest, inside, 300.0, "")
    assert (total.value, share.value) == (pytest.approx(125), pytest.approx(150))
    assert share.se == pytest.approx(300 * 0.5 / np.sqrt(50), rel=0.02)
    assert estimator.ratio_area(forest, inside & ~inside, 300.0, "").value is None


def test_units_that_are_not_interpreted_are_told_and_stood_in_for() -> None:
    table = pd.DataFrame(
        {
            "stratum": ["a"] * 10 + ["b"] * 10,
            "map": ["x"] * 10 + ["y"] * 10,
            "reference": ["x"] * 8 + ["y", None] + ["y"] * 9 + [""],
        }
    )
    found = rs.estimate(table, strata={"a": 90.0, "b": 10.0})
    assert (found.used, found.drawn) == (18, 20)
    assert "2 of 20 units not interpreted (9, 19)" in found.left_out[0]
    assert found["map"].classes[1].hectares.value == pytest.approx(10 + 10)
    with pytest.raises(RecipeError, match=r"1 of 2 strata have no interpreted unit: 'b'"):
        rs.estimate(table.iloc[:10], strata={"a": 90.0, "b": 10.0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"reference": ["x", "forest"]},
            r"'forest' \(1 unit, such as 1\), no class of the map: 0 x",
        ),
        ({"reference": [0, 1.5]}, "'1.5'"),
        ({"reference": [None, float("nan")]}, "none of the 2 units is interpreted"),
        ({"inclusion_probability": [0.1, 0.0]}, "1 unit has no inclusion_probability above 0"),
        ({"inclusion_probability": [0.1, 1.2]}, "such as unit 1 with 1.2"),
        ({"inclusion_probability": [0.1, None]}, "such as unit 1 with nan"),
        ({"inclusion_probability": [None, None]}, "are no probability sample"),
        ({"id": [5, 5]}, "1 id is there more than once, such as 5"),
        ({"stratum": [1.5, 1]}, "holds 1.5 and 0 more that are no whole numbers"),
    ],
)
def test_bad_tables_are_refused_in_one_line(change: dict, message: str) -> None:
    table = pd.DataFrame(
        {"map": ["x", "y"], "reference": ["x", "y"], "inclusion_probability": [0.1, 0.1]}
    )
    with pytest.raises(RecipeError, match=message) as refused:
        rs.estimate(table.assign(**change), classes=["x", "y"])
    assert "\n" not in str(refused.value)


def test_codes_are_taken_however_they_are_written() -> None:
    table = pd.DataFrame(
        {
            "map": ["x", "X ", "y", "y"], "reference": [0, "0", 1.0, "1"],
            "inclusion_probability": 0.1,
        }
    )  # fmt: skip
    found = rs.estimate(table, classes=["x", "y"])
    assert found["map"].overall.value == 1.0


def test_options_are_checked() -> None:
    table = pd.DataFrame({"map": ["x", "y"], "reference": ["x", "y"]})
    with pytest.raises(RecipeError, match="expected one of"):
        rs.estimate(table, hectares=10.0, intervals="exact")
    with pytest.raises(RecipeError, match="strata are given, and the table has no column"):
        rs.estimate(table, strata={"a": 1.0})
    with pytest.raises(RecipeError, match="in the stratum 'b', of which no size"):
        rs.estimate(table.assign(stratum=["a", "b"]), strata={"a": 1.0})
    with pytest.raises(RecipeError, match=r"stratum 'a' has inf pixels and 0 ha"):
        rs.estimate(table.assign(stratum=["a", "a"]), strata={"a": 0.0})
    with pytest.raises(RecipeError, match="'lottery'"):
        rs.estimate(table, hectares=10.0, design="lottery")
    with pytest.raises(RecipeError, match="two-stage sample has no column"):
        rs.estimate(table.assign(cluster=1), hectares=1.0, design="two-stage")


def test_a_class_whose_other_pixels_no_unit_shows_is_not_known() -> None:
    # All 34 pixels of "water unchanged", 100 of 10,000 that changed: none is mapped as water.
    strata = (Stratum(0, "water unchanged", 34, 3.4), Stratum(1, "changed", 10_000, 1000.0))
    stratum = np.repeat([0, 1], [34, 100])
    estimator = Estimator.direct(Units.of(SampleDesign("stratified", strata), stratum))
    is_water = stratum == 0
    right = is_water & (np.arange(134) < 13)
    known = estimator.ratio(right, is_water, "water", by_map=True, mapped=3.4)
    assert (known.se, known.low, known.high) == (0.0, known.value, known.value)
    # The map has 100 pixels more, among those that changed.
    found = estimator.ratio(right, is_water, "water", by_map=True, mapped=13.4)
    assert found.value == pytest.approx(13 / 34)
    assert found.se is None
    assert found.low < 13 / 134  # as if none of the others were right
    assert found.high > 113 / 134  # or all
