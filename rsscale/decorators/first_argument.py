"""Refuse a first argument of another kind in one line that says what to give instead."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
_LONGEST = 60

CUBE = "a DataArray (time, band, y, x), such as rs.load gives it"
COMPOSITE = "a DataArray (time, band, y, x), such as rs.composite gives it"
MAP = "a Dataset of layers, such as rs.predict or rs.Run(folder).open() gives it"
TABLE = "a SeriesTable, such as rs.read_series_table(path, bands=[...]) gives it"


def first_is(
    *kinds: type[Any], expected: str, instead: str = ""
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function whose first argument must be of some types.

    Parameters
    ----------
    *kinds : type
    expected : str
        What is expected, and where it comes from.
    instead : str
        What to do with a path, if anything.

    Raises
    ------
    TypeError
        By the function, before it does anything.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            if args and not isinstance(args[0], kinds):
                remedy = (
                    f"; {instead}" if instead and isinstance(args[0], str | os.PathLike) else ""
                )
                raise TypeError(
                    f"rs.{function.__name__} got {_named(args[0])} first; expected {expected}"
                    f"{remedy}"
                )
            return function(*args, **kwargs)

        return checked

    return decorate


def made_by(call: str) -> Callable[[type[C]], type[C]]:
    """Decorate a class that people get from a function, and not by its name and a path.

    Parameters
    ----------
    call : str
        What makes one: ``"rs.open_model(path)"``.
    """

    def decorate(cls: type[C]) -> type[C]:
        def new(kind: type[C], *args: Any, **kwargs: Any) -> C:
            if len(args) == 1 and not kwargs and isinstance(args[0], str | os.PathLike):
                raise TypeError(f"rs.{cls.__name__} is not made of {_named(args[0])}; call {call}")
            return object.__new__(kind)

        setattr(cls, "__new__", new)  # noqa: B010 -- types forbid to assign to it
        return cls

    return decorate


def _named(value: Any) -> str:
    text = repr(value) if isinstance(value, str | os.PathLike | int | float) else ""
    kind = "None" if value is None else type(value).__name__
    return f"{kind} {text[:_LONGEST]}".rstrip()
