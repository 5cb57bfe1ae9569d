"""Words and numbers of messages, pictures and pages."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with what it counts: ``"1 feature"``, ``"1,200 features"``, ``"0 boxes"``.

    Parameters
    ----------
    number : int
    noun : str
        Of one.
    plural : str
        Of any other number; the noun with an s when left out.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def date_range(first: str, last: str) -> str:
    """Two dates: ``"2024-03-01 to 2024-10-31"``, or one where they are the same."""
    return first if first == last else f"{first} to {last}"


def percent(share: float) -> str:
    """A share in per cent: ``"12.3 %"``; ``"<0.1 %"`` where that rounds to zero."""
    return f"{100 * share:.1f} %" if share >= 0.0005 or share <= 0 else "<0.1 %"


def hectares(value: float) -> str:
    """Hectares with as many digits as are seen: ``"1,234"``, ``"12.3"``, ``"0.04"``."""
    if abs(value) >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def rate_text(a_second: float) -> str:
    """A rate in the largest unit that shows a number: ``2.4/s``, ``7.5/min``, ``3.1/h``."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if a_second * seconds >= 1:
            return f"{a_second * seconds:.1f}/{unit}"
    return f"{a_second * 3600:.1f}/h"
