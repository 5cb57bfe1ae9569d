"""The ``datetime`` of a search: one closed interval, whatever way it is written.

Catalogues read dates in their own ways ("2023" is an error for some, its first instant
for others), so it is read here once, and the same interval is sent and applied.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rsscale.errors import RecipeError

Moment = str | dt.date | None
DatetimeLike = Moment | Sequence[Moment]

_PARTIAL = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_TICK = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Interval:
    """A closed interval of time; both ends in UTC, ``None`` where it is open."""

    start: dt.datetime | None
    end: dt.datetime | None

    def __post_init__(self) -> None:
        if self.start and self.end and self.start > self.end:
            raise RecipeError(f"datetime: {self} ends before it starts; swap its two ends")

    def __str__(self) -> str:
        """The interval in a STAC API's form: RFC 3339, ``..`` for an open end."""
        return f"{_rfc3339(self.start)}/{_rfc3339(self.end)}"

    def overlaps(self, properties: Mapping[str, Any]) -> bool:
        """Whether an item with these properties lies in the interval, at least in part.

        An item that has a range is taken by its range, any other by its ``datetime``.
        """
        start, end = item_range(properties)
        if start is None or end is None:
            return False
        return (self.end is None or start <= self.end) and (self.start is None or end >= self.start)


def parse_interval(value: DatetimeLike) -> Interval | None:
    """Read what STAC takes as ``datetime``.

    Parameters
    ----------
    value : str, datetime, date, a pair of these, or None
        ``"2023"`` and ``"2023-06"`` mean all of the year or month, ``"2023-01/2023-06"``
        the first to the last instant, ``"2023-06-01/.."`` and ``None`` in a pair an open
        end. A time without an offset is UTC.

    Returns
    -------
    Interval or None
        ``None`` for no restriction.

    Raises
    ------
    RecipeError
        When it cannot be read, or ends before it starts.
    """
    if value is None:
        return None
    ends: Sequence[Moment]
    if isinstance(value, str):
        ends = value.split("/")
    elif isinstance(value, dt.date):
        ends = [value]
    elif isinstance(value, Sequence):
        ends = list(value)
    else:
        raise RecipeError(f"datetime: {value!r} is not a date; write it as text, like '2023'")
    if len(ends) not in (1, 2):
        raise RecipeError(f"datetime: {value!r} has {len(ends)} parts; write START/END")
    first, last = _span(ends[0]), _span(ends[-1])
    if first is None and last is None:
        return None
    return Interval(first and first[0], last and last[1])


def item_range(properties: Mapping[str, Any]) -> tuple[dt.datetime | None, dt.datetime | None]:
    """First and last instant of an item, from its range or else its ``datetime``."""
    nominal = properties.get("datetime")
    start = properties.get("start_datetime") or nominal
    end = properties.get("end_datetime") or nominal
    return _instant(start), _instant(end)


def _instant(text: Any) -> dt.datetime | None:
    if not isinstance(text, str):
        return None
    try:
        return _utc(dt.datetime.fromisoformat(text.strip()))
    except ValueError:
        return None


def _span(value: Moment) -> tuple[dt.datetime, dt.datetime] | None:
    """First and last instant of one side of an interval; ``None`` when it is open."""
    if value is None or value in ("", ".."):
        return None
    if isinstance(value, dt.datetime):
        # A pandas Timestamp is a datetime too, with nanoseconds of its own.
        moment = value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
        return _utc(moment), _utc(moment)
    text = value.isoformat() if isinstance(value, dt.date) else str(value).strip()
    try:
        partial = _PARTIAL.fullmatch(text)
        if partial:
            return _calendar_span(*partial.groups())
        moment = _utc(dt.datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise RecipeError(
            f"datetime: {text!r} is not a date ({error}); "
            "write 2023, 2023-06, 2023-06-15 or 2023-06-15T10:30:00Z"
        ) from None
    return moment, moment


def _calendar_span(
    year: str, month: str | None, day: str | None
) -> tuple[dt.datetime, dt.datetime]:
    start = dt.datetime(int(year), int(month or 1), int(day or 1), tzinfo=dt.UTC)
    if day:
        after = start + dt.timedelta(days=1)
    elif month:
        after = (start + dt.timedelta(days=31)).replace(day=1)
    else:
        after = start.replace(year=start.year + 1)
    return start, after - _TICK


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def _rfc3339(moment: dt.datetime | None) -> str:
    return ".." if moment is None else moment.isoformat().replace("+00:00", "Z")
