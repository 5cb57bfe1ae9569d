"""Dates as people write them."""

import datetime as dt

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsscale.errors import RecipeError
from rsscale.items.interval import Interval, parse_interval


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2023", "2023-01-01T00:00:00Z/2023-12-31T23:59:59.999999Z"),
        ("2024-02", "2024-02-01T00:00:00Z/2024-02-29T23:59:59.999999Z"),
        ("2023-12", "2023-12-01T00:00:00Z/2023-12-31T23:59:59.999999Z"),
        ("2023-06-15", "2023-06-15T00:00:00Z/2023-06-15T23:59:59.999999Z"),
        ("2023-01/2023-03", "2023-01-01T00:00:00Z/2023-03-31T23:59:59.999999Z"),
        ("2023-06-15T10:00:00Z", "2023-06-15T10:00:00Z/2023-06-15T10:00:00Z"),
        ("2023-06-15T12:00:00+02:00", "2023-06-15T10:00:00Z/2023-06-15T10:00:00Z"),
        ("../2023", "../2023-12-31T23:59:59.999999Z"),
        ("2023/..", "2023-01-01T00:00:00Z/.."),
        ("2023/", "2023-01-01T00:00:00Z/.."),
        (("2023", None), "2023-01-01T00:00:00Z/.."),
        (
            [dt.date(2023, 1, 1), dt.date(2023, 1, 2)],
            "2023-01-01T00:00:00Z/2023-01-02T23:59:59.999999Z",
        ),
        (dt.datetime(2023, 1, 1, 5), "2023-01-01T05:00:00Z/2023-01-01T05:00:00Z"),  # noqa: DTZ001
        (pd.Timestamp("2023-01-01T05:00"), "2023-01-01T05:00:00Z/2023-01-01T05:00:00Z"),
    ],
)
def test_written_and_meant(written, meant):
    assert str(parse_interval(written)) == meant


@pytest.mark.parametrize("nothing", [None, "..", "../..", (None, None)])
def test_no_restriction(nothing):
    assert parse_interval(nothing) is None


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("2023-13", "is not a date"),
        ("2023-02-30", "is not a date"),
        ("last summer", "is not a date"),
        ("2023/2024/2025", "3 parts"),
        ("2024/2023", "ends before it starts"),
        (2023, "2023 is not a date"),
    ],
)
def test_refused(written, words):
    with pytest.raises(RecipeError, match=words):
        parse_interval(written)


MOMENTS = st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2030, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=dt.UTC)
)


@given(st.lists(MOMENTS, min_size=2, max_size=2), st.lists(MOMENTS, min_size=2, max_size=2))
def test_overlap_is_a_shared_instant(asked, there):
    (a, b), (c, d) = sorted(asked), sorted(there)
    span = {"datetime": None, "start_datetime": c.isoformat(), "end_datetime": d.isoformat()}
    assert Interval(a, b).overlaps(span) == (max(a, c) <= min(b, d))
    assert Interval(a, None).overlaps(span) == (d >= a)
    assert Interval(None, b).overlaps(span) == (c <= b)


def test_ends_belong_to_it():
    interval = parse_interval("2023-01-01T00:00:00Z/2023-02-01T00:00:00Z")
    assert interval.overlaps({"datetime": "2023-01-01T00:00:00Z"})
    assert interval.overlaps({"datetime": "2023-02-01T00:00:00.000Z"})
    assert not interval.overlaps({"datetime": "2023-02-01T00:00:00.001Z"})
    assert not interval.overlaps({"datetime": None})
