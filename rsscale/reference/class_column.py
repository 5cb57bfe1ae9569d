"""The column of classes of a vector file: names or codes of any type, to classes and their values.

The same class is written in many ways: ``3``, ``3.0`` (a whole number in a column of type Real),
``"3"``, ``"03"``, ``"water "``. A cell is turned into its text once, here, and both the classes
and the features' values come from that text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rsscale.errors import RecipeError, nearest
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass
from rsscale.legend.palette import class_palette, palette
from rsscale.text.wording import counted

_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_MOST_NAMED = 5


def class_text(value: Any) -> str | None:
    """A cell as text: without blanks around it, whole numbers without a fraction; None if empty."""
    if value is None or str(value) == "<NA>" or value != value:  # noqa: PLR0124 -- NaN, NaT
        return None
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value).strip() or None
    whole = _as_whole(value)
    return str(value) if whole is None else str(whole)


def classes_in(column: Any, source: str) -> tuple[LandClass, ...]:
    """The classes of a column, where nobody says which there are.

    Codes that fit a map are the values themselves. Names, and codes beyond 254, are numbered
    from 1 in their order, numbers as numbers.

    Raises
    ------
    RecipeError
        When there are more than 254, codes that are nodata, or names that differ in case alone.
    """
    counts = Counter(_texts(column, source))
    if len(counts) >= NODATA:
        raise RecipeError(
            f"{source} have {len(counts)} different classes; at most 254 fit a map, is this "
            "the column of the class name?"
        )
    codes = [text for text in counts if _WHOLE.fullmatch(text)]
    if len(codes) == len(counts):
        return _of_codes(counts, source)
    _refuse_alike(counts, source)
    return _numbered(sorted(counts))


def values_in(column: Any, classes: Sequence[LandClass], source: str) -> list[int]:
    """Class values of a column: cells are names of classes, or their values.

    Raises
    ------
    RecipeError
        When a cell is empty, or cells are of no class: all of those are named and counted.
    """
    texts = _texts(column, source)
    names = {unicodedata.normalize("NFC", c.name).strip(): c.value for c in classes}
    values = [names.get(text, names.get(_unpadded(text))) for text in texts]
    if None in values:
        known = _with_values(names, classes, source)
        values = [known.get(text, known.get(_unpadded(text))) for text in texts]
    unknown = Counter(text for text, value in zip(texts, values, strict=True) if value is None)
    if unknown:
        listed = [c.name for c in classes]
        first = unknown.most_common(1)[0][0]
        raise RecipeError(
            f"{source}: {_named(unknown)} not among the classes {listed}{nearest(first, listed)}; "
            "train.ignore leaves labels out, train.merge makes them one of these"
        )
    return [value for value in values if value is not None]


def plain_text(value: Any) -> str | None:
    """A cell's text in the form in which equal codes are equal: ``"3"`` for ``"03"`` and 3.0."""
    text = class_text(value)
    return None if text is None else _unpadded(text)


def _texts(column: Any, source: str) -> list[str]:
    texts = [class_text(value) for value in column]
    empty = [row for row, text in enumerate(texts) if text is None]
    if empty:
        others = f" ({len(empty)} rows in all)" if len(empty) > 1 else ""
        raise RecipeError(f"{source}: row {empty[0]} has no class{others}; fill it in or remove it")
    return [text for text in texts if text is not None]


def _of_codes(counts: Counter[str], source: str) -> tuple[LandClass, ...]:
    codes = sorted({int(float(text)) for text in counts})
    wrong = [code for code in codes if code < 0 or code == NODATA]
    if wrong:
        number = sum(count for text, count in counts.items() if int(float(text)) == wrong[0])
        raise RecipeError(
            f"{source}: class {wrong[0]} ({counted(number, 'feature')}) is no class "
            f"value, which are 0 to 254 ({NODATA} is nodata); remove those "
            "features, or list what they are in train.classes"
        )
    if codes[-1] > NODATA:
        return _numbered([str(code) for code in codes])
    colors = palette(len(codes))
    return tuple(
        LandClass(code, str(code), color) for code, color in zip(codes, colors, strict=True)
    )


def _numbered(names: Sequence[str]) -> tuple[LandClass, ...]:
    colors = class_palette(names)
    return tuple(
        LandClass(value, name, color)
        for value, (name, color) in enumerate(zip(names, colors, strict=True), start=1)
    )


def _refuse_alike(names: Counter[str], source: str) -> None:
    by_case: dict[str, str] = {}
    for name in names:
        other = by_case.setdefault(name.casefold(), name)
        if other != name:
            raise RecipeError(
                f"{source}: the classes {other!r} ({names[other]} features) and {name!r} "
                f"({names[name]}) differ in case alone; write them alike, or list both in "
                "train.classes"
            )


def _with_values(
    names: dict[str, int], classes: Sequence[LandClass], source: str
) -> dict[str, int]:
    """Values by name, and by the value itself.

    Raises
    ------
    RecipeError
        When a class is called by the value of another: then a code could mean either.
    """
    known = dict(names)
    for land_class in classes:
        other = known.setdefault(str(land_class.value), land_class.value)
        if other != land_class.value:
            raise RecipeError(
                f"{source}: the class with the value {other} is called {land_class.value}, which "
                "is the value of another class; give it another name"
            )
    return known


def _unpadded(text: str) -> str:
    """``"3"`` for ``"03"`` and ``"3.0"``; ``"1"`` for a column of truth values."""
    if text in ("True", "False"):
        return str(int(text == "True"))
    return str(int(float(text))) if _WHOLE.fullmatch(text) else text


def _as_whole(value: Any) -> int | None:
    """A number as an int, where it is a whole one and no truth value."""
    if type(value).__name__ in ("bool", "bool_"):
        return None
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return whole if whole == value else None


def _named(counts: Counter[str]) -> str:
    most = counts.most_common(_MOST_NAMED)
    named = ", ".join(f"{text!r} ({counted(count, 'feature')})" for text, count in most)
    more = f" and {len(counts) - len(most)} more" if len(counts) > len(most) else ""
    plural = len(counts) > 1
    return f"class{'es' if plural else ''} {named}{more} {'are' if plural else 'is'}"


def years_in(column: Iterable[Any], source: str | Path) -> list[int]:
    """Years of a column of years or dates.

    Raises
    ------
    RecipeError
        Which names the row that holds none.
    """
    years = []
    for row, value in enumerate(column):
        text = str(value)[:4]
        if not (text.isdigit() and len(text) == 4):
            raise RecipeError(
                f"labels {source}: row {row} has the period {value!r}; expected a year or a date"
                ", such as 2023 or 2023-04-01"
            )
        years.append(int(text))
    return years
