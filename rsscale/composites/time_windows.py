"""Windows of time: named spans of a year, each with one value in a composite."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError, nearest

_MONTHS = "january february march april may june july august september october november december"
_SEASONS = ("winter", "spring", "summer", "autumn")  # of the north, from December on
_BY = ("year", "season", "month")
_FORMS = ("windows", "days", "year", "season", "month")
_BESIDE = {"days": ("first", "last"), "season": ("hemisphere",)}
_DAY = re.compile(r"^(-1-)?(\d\d)-(\d\d)$")


@dataclass(frozen=True)
class TimeWindow:
    """A named span of days, both ends included."""

    name: str
    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise RecipeError(
                f"time window {self.name!r} ends on {self.end}, before it starts on {self.start}; "
                'for a start in the year before write "-1-MM-DD"'
            )

    def holds(self, times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.bool_]:
        """Which times (UTC) lie in the window."""
        after = np.datetime64(self.end + timedelta(days=1), "ns")
        inside: npt.NDArray[np.bool_] = (times >= np.datetime64(self.start, "ns")) & (times < after)
        return inside

    @property
    def middle(self) -> np.datetime64:
        """Middle between the first and the last instant (UTC)."""
        start, after = np.datetime64(self.start, "ns"), np.datetime64(self.end, "ns")
        return start + (after + np.timedelta64(1, "D") - start) // 2


def time_windows(by: str | Mapping[str, Any], year: int) -> tuple[TimeWindow, ...]:
    """The windows of one year.

    Parameters
    ----------
    by : str or mapping
        - ``"year"``: January to December, one window.
        - ``"season"``: the meteorological seasons of the north: winter (December of the year
          before to February), spring, summer, autumn.
        - ``"month"``: january to december.
        - ``{"year": 7}``, ``{"season": 12}``, ``{"month": 7}``: the same from another month
          on. Seasons that start in December, March, June and September have names, those of
          the north or, with ``"hemisphere": "south"``, of the south; others are called by
          the initials of their months (``jfm``, ``amj``, ``jas``, ``ond``).
        - ``{"days": 16}``: spans of so many days, from 1 January or the day ``"first"`` to
          31 December or the day ``"last"``; a ``"first"`` in the year before without a
          ``"last"`` is a whole year. Names count from the first day: ``d001``, ``d017``, …
        - ``{"windows": {name: [first, last]}}``, both included.

        Days are ``"MM-DD"``, or ``"-1-MM-DD"`` in the year before; ``"02-29"`` is the last
        of February in any year.
    year : int

    Returns
    -------
    tuple of TimeWindow
        In order of time, or as given in ``windows``; the order of ``time`` in a composite.
        Their number and names are the same in every year.

    Raises
    ------
    RecipeError
        When ``by`` is not one of these.

    Notes
    -----
    Twelve months that cross the new year belong to the year in which they end, as winter and
    the hydrological year do: 2023 by ``{"year": 7}`` is July 2022 to June 2023. The spans of
    a number of days are counted for 365 days; the last takes what is left, which may be a
    short rest, and 29 February in a leap year.
    """
    if isinstance(by, str):
        if by not in _BY:
            raise RecipeError(
                f"composite by {by!r} is unknown; expected {', '.join(_BY)}, windows or days"
                f"{nearest(by, _BY)}"
            )
        by = {by: 12 if by == "season" else 1}
    form = _form(by)
    if form == "windows":
        return _given(by["windows"], year)
    if form == "days":
        return _counted(by, year)
    return _monthly(form, by, year)


def _form(by: Mapping[str, Any]) -> str:
    """The form of a mapping of windows; raises RecipeError for unknown keys."""
    forms = [key for key in by if key in _FORMS]
    if len(forms) != 1:
        wrong = next((nearest(str(key), _FORMS) for key in by), "")
        raise RecipeError(
            f"composite windows are {dict(by)!r}; expected one of {', '.join(_FORMS)}, such as "
            f'{{"windows": {{name: ["MM-DD", "MM-DD"], …}}}}{"" if forms else wrong}'
        )
    known = (forms[0], *_BESIDE.get(forms[0], ()))
    for key in by:
        if key not in known:
            raise RecipeError(
                f"composite windows by {forms[0]} have no key {key!r}; "
                f"expected {', '.join(known)}{nearest(str(key), known)}"
            )
    return forms[0]


def _given(windows: Any, year: int) -> tuple[TimeWindow, ...]:
    if not isinstance(windows, Mapping) or not windows:
        raise RecipeError(
            f'composite windows are {windows!r}; expected {{name: ["MM-DD", "MM-DD"], …}}'
        )
    for name, ends in windows.items():
        if isinstance(ends, str) or not isinstance(ends, Sequence) or len(ends) != 2:
            raise RecipeError(f"time window {name!r} is {ends!r}; expected [first day, last day]")
    return tuple(
        TimeWindow(str(name), _day(str(first), year, name), _day(str(last), year, name))
        for name, (first, last) in windows.items()
    )


def _counted(by: Mapping[str, Any], year: int) -> tuple[TimeWindow, ...]:
    days = by["days"]
    if isinstance(days, bool) or not isinstance(days, int | np.integer) or not 1 <= days <= 366:
        raise RecipeError(f"composite days are {days!r}; expected a whole number from 1 to 366")
    first, last = by.get("first", "01-01"), by.get("last")
    whole = TimeWindow("days", *_span(str(first), last, year))
    # Counted in a year without 29 February on either side, so that all years have as many.
    usual = TimeWindow("days", *_span(str(first), last, 2023))
    length = (usual.end - usual.start).days + 1
    starts = range(0, length, int(days))
    return tuple(
        TimeWindow(
            f"d{start + 1:03}",
            whole.start + timedelta(days=start),
            whole.end if start == starts[-1] else whole.start + timedelta(days=start + days - 1),
        )
        for start in starts
    )


def _span(first: str, last: Any, year: int) -> tuple[date, date]:
    start = _day(first, year, "days")
    if last is not None:
        return start, _day(str(last), year, "days")
    if not first.startswith("-1-"):
        return start, date(year, 12, 31)
    return start, _day(first[3:], year, "days") - timedelta(days=1)


def _monthly(form: str, by: Mapping[str, Any], year: int) -> tuple[TimeWindow, ...]:
    """Windows of the twelve months that end in a year: one, four of three months, or twelve."""
    first = by[form]
    if isinstance(first, bool) or not isinstance(first, int | np.integer) or not 1 <= first <= 12:
        raise RecipeError(
            f"composite windows by {form} start in {first!r}; expected a month from 1 to 12"
        )
    hemisphere = by.get("hemisphere", "north")
    if hemisphere not in ("north", "south"):
        raise RecipeError(f"hemisphere is {hemisphere!r}; expected north or south")
    # Months counted from year 0, so that crossing the new year is plain arithmetic.
    begin = (year if first == 1 else year - 1) * 12 + int(first) - 1
    width = {"year": 12, "season": 3, "month": 1}[form]
    windows = []
    for month in range(begin, begin + 12, width):
        after = month + width
        windows.append(
            TimeWindow(
                _month_name(form, month % 12, hemisphere == "south"),
                date(month // 12, month % 12 + 1, 1),
                date(after // 12, after % 12 + 1, 1) - timedelta(days=1),
            )
        )
    return tuple(windows)


def _month_name(form: str, month: int, south: bool) -> str:
    """Name of the window that starts in a month, 0 for January."""
    if form == "year":
        return "year"
    names = _MONTHS.split()
    if form == "month":
        return names[month]
    season, between = divmod((month + 1) % 12, 3)
    if between:
        return "".join(names[(month + n) % 12][0] for n in range(3))
    return _SEASONS[(season + 2) % 4 if south else season]


def _day(text: str, year: int, name: str) -> date:
    match = _DAY.match(text)
    if match:
        month, day = int(match[2]), int(match[3])
        year -= 1 if match[1] else 0
        if (month, day) == (2, 29) and not calendar.isleap(year):
            day = 28
        try:
            return date(year, month, day)
        except ValueError:
            pass
    raise RecipeError(
        f"time window {name!r} has the day {text!r}; "
        'expected "MM-DD", or "-1-MM-DD" for the year before'
    )
