"""Figures with their intervals, as the tables of a report show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rsscale.text import wording

_DASH = "–"  # noqa: RUF001 -- a dash as in tables


@dataclass(frozen=True)
class Figure:
    """A value with its interval, or why there is none.

    Attributes
    ----------
    value : float or None
    low, high : float or None
        The interval of the confidence that the document says.
    se : float or None
        Standard error.
    why : str
        Why there is no value.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    why: str = ""

    @classmethod
    def of(cls, content: Any) -> Figure:
        """Of a number, a mapping with ``value``, ``low``, ``high``, ``se``, ``why``, or None."""
        if isinstance(content, Mapping):
            numbers = {name: number(content.get(name)) for name in ("value", "low", "high", "se")}
            return cls(**numbers, why=str(content.get("why") or ""))
        return cls(number(content))

    @classmethod
    def within(cls, value: Any, interval: Any) -> Figure:
        """Of a value and a pair."""
        pair = isinstance(interval, Sequence) and len(interval) == 2
        low, high = interval if pair else (None, None)
        return cls(number(value), number(low), number(high))


def number(value: Any) -> float | None:
    """A finite number as a float, and nothing of all else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def hectares(value: float | None) -> str:
    """Hectares, or a dash where they are not known."""
    return _DASH if value is None else wording.hectares(value)


def percent(share: float | None) -> str:
    """A share in per cent, or a dash where it is not known."""
    return _DASH if share is None else wording.percent(share)


def interval(figure: Figure, unit: str) -> str:
    """``"1,200 to 1,350"`` of hectares, or of per cent; nothing where there is no interval."""
    write = percent if unit == "percent" else hectares
    if figure.low is None or figure.high is None:
        return ""
    return f"{write(figure.low)} to {write(figure.high)}"


def whole(value: Any) -> str:
    """A count: ``"1,234"``."""
    known = number(value)
    return _DASH if known is None else f"{known:,.0f}"


def seconds(value: float) -> str:
    """A time for people: ``"12 s"``, ``"3 min 20 s"``, ``"5 h 12 min"``."""
    if value < 60:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(value: float) -> str:
    """Bytes for people: ``"2.3 GiB"``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"
