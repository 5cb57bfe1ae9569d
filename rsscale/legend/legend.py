"""Classes in the order of a legend."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from rsscale.legend.classes import LandClass
from rsscale.text.html_tables import Cell, table


class Legend(tuple[LandClass, ...]):
    """A tuple of classes that a notebook shows with their colours.

    Examples
    --------
    >>> Legend([LandClass(1, "water", "#2b83ba"), LandClass(2, "forest", "#1b7837")]).names
    ('water', 'forest')
    """

    __slots__ = ()

    def __new__(cls, classes: Iterable[LandClass] = ()) -> Self:
        """A legend of classes; anything else in it is a TypeError that names it."""
        given = tuple(classes)
        wrong: list[object] = [value for value in given if not isinstance(value, LandClass)]
        if wrong:
            raise TypeError(
                f"a legend is made of LandClass(value, name, color), and got {wrong[0]!r}; the "
                "legend of a model is model.spec.classes"
            )
        return super().__new__(cls, given)

    @property
    def names(self) -> tuple[str, ...]:
        """What the classes are called."""
        return tuple(land_class.name for land_class in self)

    def __str__(self) -> str:
        return "\n".join(
            f"{land_class.value:>3} {land_class.color} {land_class.name}" for land_class in self
        )

    def _repr_html_(self) -> str:
        rows = [
            (Cell(land_class.name, color=land_class.color), str(land_class.value), land_class.color)
            for land_class in self
        ]
        return table(rows, ("class", "value", "colour"), "lrl")
