from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsscale.composites.time_windows import TimeWindow, time_windows
from rsscale.errors import RecipeError


def spans(by, year):
    return [(w.name, str(w.start), str(w.end)) for w in time_windows(by, year)]


def test_names_and_mappings_say_the_same():
    for year in (2023, 2024):
        assert time_windows("season", year) == time_windows({"season": 12}, year)
        assert time_windows("year", year) == time_windows({"year": 1}, year)
        assert time_windows("month", year) == time_windows({"month": 1}, year)


def test_twelve_months_belong_to_the_year_they_end_in():
    assert spans({"year": 7}, 2023) == [("year", "2022-07-01", "2023-06-30")]
    assert spans({"year": 10}, 2024) == [("year", "2023-10-01", "2024-09-30")]
    months = spans({"month": 7}, 2024)
    assert months[0] == ("july", "2023-07-01", "2023-07-31")
    assert months[7] == ("february", "2024-02-01", "2024-02-29")
    assert months[-1] == ("june", "2024-06-01", "2024-06-30")


def test_seasons_of_both_hemispheres():
    assert spans({"season": 12, "hemisphere": "south"}, 2024) == [
        ("summer", "2023-12-01", "2024-02-29"),
        ("autumn", "2024-03-01", "2024-05-31"),
        ("winter", "2024-06-01", "2024-08-31"),
        ("spring", "2024-09-01", "2024-11-30"),
    ]
    assert spans({"season": 9, "hemisphere": "south"}, 2023) == [
        ("spring", "2022-09-01", "2022-11-30"),
        ("summer", "2022-12-01", "2023-02-28"),
        ("autumn", "2023-03-01", "2023-05-31"),
        ("winter", "2023-06-01", "2023-08-31"),
    ]
    assert [w.name for w in time_windows({"season": 3}, 2023)] == [
        "spring", "summer", "autumn", "winter",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "names"),
    [
        (1, ["jfm", "amj", "jas", "ond"]),
        (2, ["fma", "mjj", "aso", "ndj"]),
        (11, ["ndj", "fma", "mjj", "aso"]),
    ],
)
def test_other_seasons_are_called_by_their_months(first, names):
    assert [w.name for w in time_windows({"season": first}, 2023)] == names


def test_days_like_those_of_modis():
    windows = time_windows({"days": 16}, 2023)
    assert len(windows) == 23
    assert windows[0] == TimeWindow("d001", date(2023, 1, 1), date(2023, 1, 16))
    assert windows[1] == TimeWindow("d017", date(2023, 1, 17), date(2023, 2, 1))
    assert windows[-1] == TimeWindow("d353", date(2023, 12, 19), date(2023, 12, 31))
    leap = time_windows({"days": 16}, 2024)
    assert [w.name for w in leap] == [w.name for w in windows]
    assert leap[-1] == TimeWindow("d353", date(2024, 12, 18), date(2024, 12, 31))


def test_days_from_and_to():
    assert spans({"days": 30, "first": "04-01", "last": "06-15"}, 2023) == [
        ("d001", "2023-04-01", "2023-04-30"),
        ("d031", "2023-05-01", "2023-05-30"),
        ("d061", "2023-05-31", "2023-06-15"),
    ]
    whole = spans({"days": 100, "first": "-1-10-01"}, 2024)
    assert whole[0] == ("d001", "2023-10-01", "2024-01-08")
    assert whole[-1] == ("d301", "2024-07-27", "2024-09-30")
    assert spans({"days": 200, "first": "07-01"}, 2023) == [("d001", "2023-07-01", "2023-12-31")]
    assert spans({"days": 365}, 2024) == [("d001", "2024-01-01", "2024-12-31")]


FORMS = st.one_of(
    st.sampled_from(["year", "season", "month"]).flatmap(
        lambda form: st.integers(1, 12).map(lambda month: {form: month})
    ),
    st.integers(1, 366).map(lambda days: {"days": days}),
    st.integers(1, 366).map(lambda days: {"days": days, "first": "-1-11-17"}),
)


@given(by=FORMS, year=st.integers(1980, 2060))
def test_a_year_is_covered_once_and_looks_like_any_other(by, year):
    windows, after = time_windows(by, year), time_windows(by, year + 1)
    for one, two in pairwise(windows):
        assert two.start == one.end + timedelta(days=1)
    assert after[0].start == windows[-1].end + timedelta(days=1)
    assert [w.name for w in windows] == [w.name for w in after]
    assert len({w.name for w in windows}) == len(windows)
    assert windows[-1].end.year == year


def test_middle():
    window = TimeWindow("w", date(2023, 6, 1), date(2023, 6, 2))
    assert window.middle == np.datetime64("2023-06-02")
    assert TimeWindow("d", date(2023, 6, 1), date(2023, 6, 1)).middle == np.datetime64(
        "2023-06-01T12:00"
    )


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ({"days": 0}, "from 1 to 366"),
        ({"days": 16.0}, "whole number"),
        ({"days": True}, "whole number"),
        ({"days": 16, "frist": "01-01"}, "did you mean 'first'"),
        ({"days": 16, "first": "13-01"}, "13-01"),
        ({"days": 16, "first": "06-01", "last": "05-01"}, "before it starts"),
        ({"season": 13}, "a month from 1 to 12"),
        ({"year": "july"}, "a month from 1 to 12"),
        ({"season": 12, "hemisphere": "sud"}, "north or south"),
        ({"year": 7, "hemisphere": "south"}, "no key 'hemisphere'"),
        ({"season": 12, "days": 16}, "expected one of"),
        ({"seasons": 12}, "did you mean 'season'"),
        ({}, "expected one of"),
        ({"windows": ["06-01", "07-01"]}, "expected"),
    ],
)
def test_errors(by, message):
    with pytest.raises(RecipeError, match=message):
        time_windows(by, 2023)
