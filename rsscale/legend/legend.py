"""Classes in the order of a legend."""

from __future__ import annotations

from rsscale.html_tables import Cell, table
from rsscale.legend.classes import LandClass


class Legend(tuple[LandClass, ...]):
    """A tuple of classes that a notebook shows with their colours.

    Examples
    --------
    >>> Legend([LandClass(1, "water", "#2b83ba"), LandClass(2, "forest", "#1b7837")]).names
    ('water', 'forest')
    """

    __slots__ = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What the classes are called."""
        return tuple(one.name for one in self)

    def __str__(self) -> str:
        return "\n".join(f"{one.value:>3} {one.color} {one.name}" for one in self)

    def _repr_html_(self) -> str:
        rows = [(Cell(one.name, color=one.color), str(one.value), one.color) for one in self]
        return table(rows, ("class", "value", "colour"), "lrl")
