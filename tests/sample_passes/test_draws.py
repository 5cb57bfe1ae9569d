"""Inclusion probabilities are true: what is drawn over many seeds, against what is written."""

import math

import numpy as np
import pandas as pd
import pytest
from drawn_in_memory import Draws
from scipy import stats

from rsscale.errors import RecipeError

SEEDS = range(60)


def classes() -> np.ndarray:
    """A wide class, a rare one, and pixels without."""
    found = np.ones((48, 40), np.uint8)
    found[5:13, 20:30] = 2
    found[40:, :9] = 255
    return found


def frequencies(draws: Draws) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """How often each pixel was drawn, its probability where it was, and estimates of the total."""
    count, probability, totals = np.zeros((48, 40)), np.full((48, 40), np.nan), []
    for seed in SEEDS:
        rows = draws(seed)
        assert not rows.duplicated(["row", "col"]).any()
        count[rows["row"], rows["col"]] += 1
        probability[rows["row"], rows["col"]] = rows["probability"]
        totals.append(float((1 / rows["probability"]).sum()))
    return count, probability, totals


def test_in_strata_each_pixel_is_drawn_as_often_as_its_probability_says() -> None:
    draws = Draws(classes(), sizes={"water": 90, "forest": 20})
    count, probability, totals = frequencies(draws)
    assert totals == pytest.approx([float((classes() != 255).sum())] * len(totals))
    assert (count[classes() == 255] == 0).all()
    for value, share in ((1, 90 / (48 * 40 - 72 - 80)), (2, 20 / 80)):
        here = classes() == value
        drawn = count[here]
        assert np.nanmin(probability[here]) == np.nanmax(probability[here]) == share
        # Of a simple random sample without replacement this is chi-square, of n - 1.
        expected = len(SEEDS) * share
        found = ((drawn - expected) ** 2).sum() / (expected * (1 - share))
        freedom = here.sum() - 1
        chance = stats.chi2.cdf(found * freedom / here.sum(), freedom)
        assert 0.005 < chance < 0.995


def test_pairs_of_pixels_are_drawn_as_often_as_without_replacement() -> None:
    """Neighbours are no more often together than others: numbers do not hang together."""
    draws = Draws(classes(), design="simple", size=400)
    together = {(0, 1): 0, (1, 0): 0, (1, 1): 0, (7, 3): 0}
    pairs = dict.fromkeys(together, 0)
    for seed in SEEDS:
        drawn = np.zeros((48, 40), bool)
        rows = draws(seed)
        drawn[rows["row"], rows["col"]] = True
        for down, right in together:
            one, other = drawn[: 40 - down, : 40 - right], drawn[down:40, right:]
            together[down, right] += int((one & other).sum())
            pairs[down, right] += one.size
    total = int((classes() != 255).sum())
    share = 400 / total * 399 / (total - 1)
    for shift, found in together.items():
        expected = share * pairs[shift]
        assert abs(found - expected) < 4 * np.sqrt(expected)


def test_a_systematic_sample_draws_each_pixel_once_in_all_starts() -> None:
    draws = Draws(classes(), design="systematic", lattice=(6, 5), spacing=60, starts=2)
    count, _, totals = frequencies(draws)
    drawn = count[classes() != 255]
    # A start draws all pixels of its place in the spacing together.
    by_start = {
        (r, c): count[r::6, c::5][classes()[r::6, c::5] != 255] for r in range(6) for c in range(5)
    }
    assert all(len(set(found.tolist())) == 1 for found in by_start.values())
    times = np.array([found[0] for found in by_start.values()])
    assert times.sum() == 2 * len(SEEDS)
    assert stats.chisquare(times).pvalue > 0.005
    assert drawn.mean() == pytest.approx(len(SEEDS) * 2 / 30, rel=0.02)
    assert np.mean(totals) == pytest.approx((classes() != 255).sum(), rel=0.02)


@pytest.mark.parametrize("chosen", ["equal", "size"])
@pytest.mark.parametrize("strata", [[], pytest.param(["class"], marks=pytest.mark.extended)])
def test_two_stages_draw_as_often_as_the_probabilities_say(chosen: str, strata: list[str]) -> None:
    draws = Draws(
        classes(), design="two-stage", block=90, lattice=(9, 9), blocks=7, per_block=9,
        chosen=chosen, strata=strata,
    )  # fmt: skip
    count, written, totals = frequencies(draws)
    mapped = classes() != 255
    true = two_stage_probability(chosen, by_class=bool(strata))[mapped]
    count, written = count[mapped], written[mapped]
    seen = ~np.isnan(written)
    assert seen.mean() > 0.8
    np.testing.assert_allclose(written[seen], true[seen], rtol=1e-9)
    # Pixels of a primary unit come together: the mean of all is sharp, each by itself is not.
    off = (count - len(SEEDS) * true) / np.sqrt(len(SEEDS) * true * (1 - true))
    assert stats.binom.sf(count - 1, len(SEEDS), true).min() > 1e-7
    assert abs(off.mean()) < 0.1
    assert 0.6 < (off**2).mean() < 1.4
    error = np.std(totals) / np.sqrt(len(SEEDS))
    assert np.mean(totals) == pytest.approx(mapped.sum(), abs=4 * error)


def two_stage_probability(chosen: str, *, by_class: bool) -> np.ndarray:
    """Of each pixel with 7 units of 9 x 9 and 9 pixels in each cell, from the definition."""
    given = classes()
    unit = np.arange(48)[:, None] // 9 * 100 + np.arange(40)[None, :] // 9
    cell = unit * 10 + given if by_class else unit
    found = np.full(given.shape, np.nan)
    mapped = given != 255
    units = {one: int((mapped & (unit == one)).sum()) for one in np.unique(unit[mapped])}
    for one in np.unique(cell[mapped]):
        here = mapped & (cell == one)
        of_unit = units[unit[here][0]]
        if chosen == "equal":
            hits = {0: 1 - 7 / len(units), 1: 7 / len(units)}
        else:
            share = of_unit / mapped.sum()
            hits = {h: math.comb(7, h) * share**h * (1 - share) ** (7 - h) for h in range(8)}
        drawn = sum(chance * min(9 * h, here.sum()) for h, chance in hits.items())
        found[here] = drawn / here.sum()
    return found


def test_by_size_every_pixel_has_the_same_probability_where_units_are_large() -> None:
    rows = Draws(
        classes(), design="two-stage", block=80, lattice=(8, 8), blocks=5, per_block=2,
        chosen="size",
    )(3)  # fmt: skip
    total = int((classes() != 255).sum())
    assert rows["probability"].to_numpy() == pytest.approx(5 * 2 / total, rel=1e-6)
    by_unit = rows.groupby(["block_row", "block_col"])
    assert sum(len(one["hits"].iloc[0].split()) for _, one in by_unit) == 5
    assert all(len(one) == 2 * len(one["hits"].iloc[0].split()) for _, one in by_unit)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ({"design": "simple", "size": 30}, {"size": 31}),
        ({"sizes": {"water": 10, "forest": 5}}, {"sizes": {"water": 400, "forest": 80}}),
        ({"design": "systematic", "lattice": (9, 9), "spacing": 90.0}, {"starts": 7}),
        ({"design": "two-stage", "block": 90.0, "lattice": (9, 9), "blocks": 4}, {"blocks": 9}),
        (
            {
                "design": "two-stage",
                "block": 90.0,
                "lattice": (9, 9),
                "blocks": 4,
                "chosen": "size",
            },
            {"blocks": 20},
        ),
    ],
)
def test_a_larger_sample_holds_the_smaller(small: dict, large: dict) -> None:
    for seed in range(5):
        first, second = Draws(classes(), **small)(seed), Draws(classes(), **small | large)(seed)
        places = [set(map(tuple, rows[["row", "col"]].to_numpy())) for rows in (first, second)]
        assert places[0] < places[1]
        assert first["probability"].max() <= second["probability"].max()


def test_all_of_a_stratum_can_be_drawn() -> None:
    rows = Draws(classes(), sizes={"forest": 80, "water": 2})(0)
    forest = rows[rows["code"] == 2]
    assert len(forest) == 80
    assert (forest["probability"] == 1).all()


def test_another_seed_draws_others() -> None:
    draws = Draws(classes(), design="simple", size=50)
    first, second = (pd.MultiIndex.from_frame(draws(seed)[["row", "col"]]) for seed in (1, 2))
    assert len(first.intersection(second)) < 10


def test_more_primary_units_than_there_are_is_refused() -> None:
    draws = Draws(classes(), design="two-stage", block=200, lattice=(20, 20), blocks=9)
    with pytest.raises(
        RecipeError, match="blocks is 9, and the area has 6 of 200 m; ask for fewer"
    ):
        draws(0)


@pytest.mark.parametrize("chosen", ["equal", "size"])
def test_two_stages_in_strata_draw_about_as_many_as_asked_for(chosen: str) -> None:
    draws = Draws(
        classes(), design="two-stage", block=90, lattice=(9, 9), size=40, per_block=4,
        chosen=chosen, strata=["class"],
    )  # fmt: skip
    sizes = [len(draws(seed)) for seed in range(20)]
    assert 32 < np.mean(sizes) < 52  # blocks are whole


def test_sizes_that_leave_out_a_stratum_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"no unit for 'forest': .*tells nothing of the map"):
        Draws(classes(), sizes={"water": 20})(0)
