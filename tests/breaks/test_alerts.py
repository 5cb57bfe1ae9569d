"""Alerts: raised, confirmed or rejected as observations come in; when, by how much, how sure."""

import numpy as np
import pytest
from seasonal_series import FIRST, NOISE, days_of, monitoring, season, series

from rsscale.breaks.alerts import CONFIRMED, NONE, PROVISIONAL, REJECTED, find_breaks
from rsscale.breaks.layers import break_layers, break_values

DAYS = days_of(4, 30)
START = int(FIRST + 3 * 365.25)
RULE = monitoring()


def test_a_step_is_confirmed_with_its_date_and_size() -> None:
    at = START + 100
    values = series(DAYS, 1500, seed=1, step=-5, at=at)
    found = find_breaks(values, DAYS, RULE)
    assert found.monitored.all()
    assert (found.alert == CONFIRMED).mean() > 0.99
    assert (found.confidence > 0.95).mean() > 0.99
    seen = np.cumsum(np.isfinite(values), axis=0)
    sure = np.flatnonzero(found.alert == CONFIRMED)
    told = seen[np.searchsorted(DAYS, found.day[sure]), sure]
    true = seen[np.searchsorted(DAYS, at) - 1, sure] + 1  # the first observation after the step
    assert (np.abs(told - true) <= 1).mean() > 0.97
    assert abs(np.median(found.magnitude) + 5 * NOISE) < 0.1 * NOISE


@pytest.mark.parametrize(
    ("step", "least", "near"), [(2, 0.4, 0.75), (3, 0.9, 0.9), (10, 1.0, 0.99)]
)
@pytest.mark.parametrize("window", [0.25, 0.0])
def test_smaller_steps_are_found_less_often(
    window: float, step: float, least: float, near: float
) -> None:
    at = START + 100
    values = series(DAYS, 800, seed=2, step=step, at=at)
    found = find_breaks(values, DAYS, monitoring(window=window))
    sure = np.flatnonzero(found.alert == CONFIRMED)
    assert len(sure) >= least * 800
    seen = np.cumsum(np.isfinite(values), axis=0)
    told = seen[np.searchsorted(DAYS, found.day[sure]), sure]
    true = seen[np.searchsorted(DAYS, at) - 1, sure] + 1
    assert (np.abs(told - true) <= 1).mean() >= near


def quiet(*, after: dict[int, float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Days, and one pixel with alternating noise, which is moved at some monitored observations."""
    values = season(DAYS)[:, 0] + NOISE * np.where(np.arange(len(DAYS)) % 2, 1, -1) * 0.7
    first = int(np.searchsorted(DAYS, START))
    for number, step in (after or {}).items():
        values[first + number] += step * NOISE
    return DAYS[first:], values[:, None]


def states(values: np.ndarray, upto: int, rule=RULE) -> list[int]:
    """The state of the one pixel after each monitored observation."""
    first = int(np.searchsorted(DAYS, START))
    return [
        int(find_breaks(values[: first + n + 1], DAYS[: first + n + 1], rule).alert[0])
        for n in range(upto)
    ]


def test_new_observations_confirm_an_alert() -> None:
    days, values = quiet(after=dict.fromkeys(range(4, 30), -8.0))
    found = states(values, 9)
    raised = found.index(PROVISIONAL)
    assert found[:raised] == [NONE] * raised
    assert 4 <= raised <= 5
    assert found[6:] == [CONFIRMED] * 3
    told = [find_breaks(values[: 90 + n], DAYS[: 90 + n], RULE) for n in range(raised + 1, 30)]
    # The date is that of the first observation after the break, from the first alert on.
    assert {int(one.day[0]) for one in told} == {int(days[4])}


def test_observations_on_the_model_reject_an_alert() -> None:
    _, values = quiet(after={4: -30.0})  # one cloud that the mask missed
    found = states(values, 12)
    assert found == [NONE] * 4 + [PROVISIONAL] * 3 + [REJECTED] * 5
    rejected = find_breaks(values, DAYS, RULE)
    assert rejected.alert[0] == REJECTED
    assert rejected.magnitude[0] < 0


def test_after_a_rejected_alert_there_may_be_another() -> None:
    steps = {4: -30.0} | dict.fromkeys(range(15, 30), 9.0)
    days, values = quiet(after=steps)
    found = states(values, 22)
    assert found[7] == REJECTED
    assert found[14] == REJECTED  # what was rejected raises none again
    assert PROVISIONAL in found[15:18]
    assert found[18:] == [CONFIRMED] * 4
    last = find_breaks(values, DAYS, RULE)
    assert last.day[0] == days[15]
    assert last.magnitude[0] > 6 * NOISE


def test_a_confirmed_alert_stays_and_keeps_its_date() -> None:
    """Also where the place recovers: the break was there."""
    days, values = quiet(after=dict.fromkeys(range(4, 9), -8.0))
    found = find_breaks(values, DAYS, RULE)
    assert found.alert[0] == CONFIRMED
    assert found.day[0] == days[4]


def test_how_many_confirm_is_an_option() -> None:
    _, values = quiet(after=dict.fromkeys(range(4, 30), -8.0))
    assert states(values, 12, monitoring(confirm=5))[7:] == [PROVISIONAL] + [CONFIRMED] * 4


def test_dates_without_observations_and_other_pixels_change_nothing() -> None:
    values = series(DAYS, 60, seed=3, step=4, at=START + 60)
    whole = break_values(find_breaks(values, DAYS, RULE))
    more = np.unique(np.concatenate([DAYS, DAYS + 1, DAYS + 3]))
    wide = np.full((len(more), 60), np.nan)
    wide[np.searchsorted(more, DAYS)] = values
    for name, of_layer in break_values(find_breaks(wide, more, RULE)).items():
        np.testing.assert_array_equal(of_layer, whole[name], name)
    for part in (slice(0, 1), slice(9, 60), slice(59, 60)):
        some = break_values(find_breaks(values[:, part], DAYS, RULE))
        for name, of_layer in some.items():
            np.testing.assert_array_equal(of_layer, whole[name][part], name)


def test_what_is_not_monitored_has_no_value_and_says_how_often_it_was_seen() -> None:
    values = series(DAYS, 5, seed=4, seen=1)
    history = DAYS < START
    values[:, 0] = np.nan  # all cloud
    values[np.flatnonzero(history)[9:], 1] = np.nan  # too few in the history
    values[~history, 2] = np.nan  # nothing since
    values[:, 3] = 1.0  # saturated
    found = break_values(find_breaks(values, DAYS, RULE))
    assert found["alert"].tolist() == [255, 255, 255, 255, 0]
    assert found["confidence"][:4].tolist() == [255] * 4
    assert found["change_date"].tolist() == [0] * 5
    assert np.isnan(found["magnitude"]).all()
    assert found["observations"][0] == 0
    assert found["observations"][1] == 9 + (~history).sum()
    assert {layer.name: layer.numpy_dtype for layer in break_layers("NDVI")} == {
        name: array.dtype for name, array in found.items()
    }


def test_no_dates_at_all() -> None:
    found = find_breaks(np.empty((0, 3)), np.empty(0, np.int64), RULE)
    assert not found.monitored.any()
    assert found.observations.tolist() == [0, 0, 0]
