"""Words of messages."""

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
