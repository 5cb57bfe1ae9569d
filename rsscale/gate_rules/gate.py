"""What a gate says: whether a map passed, by which value and threshold, and where it is worst."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rsscale.geo.lattice import PixelBox

Status = Literal["passed", "failed", "not checked"]
_MOST_PLACES = 5


@dataclass(frozen=True)
class Place:
    """A part of the map that a gate points to.

    Attributes
    ----------
    tile : str
    span : str
    box : PixelBox
        In the grid's pixels.
    value : float
        What the gate looks at, there.
    """

    tile: str
    span: str
    box: PixelBox
    value: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON; see :meth:`parse`."""
        return asdict(self)

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Place:
        """Inverse of :meth:`to_dict`."""
        return cls(**{**content, "box": PixelBox(**content["box"])})


@dataclass(frozen=True)
class Gate:
    """The result of a gate.

    Attributes
    ----------
    name : str
        Its name in the recipe's terms, by which a publisher overrides it.
    title : str
    status : {"passed", "failed", "not checked"}
    value, threshold : float, optional
        What was compared; None where it was not checked.
    p_value : float, optional
        Where it is a test.
    text : str
        One plain line.
    places : tuple of Place
        The worst, the worst first; of a gate that passed too.
    """

    name: str
    title: str
    status: Status
    value: float | None
    threshold: float | None
    p_value: float | None
    text: str
    places: tuple[Place, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON; see :meth:`parse`."""
        return {**asdict(self), "places": [place.to_dict() for place in self.places]}

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Gate:
        """Inverse of :meth:`to_dict`."""
        return cls(**{**content, "places": tuple(map(Place.parse, content["places"]))})


def verdict(*, failed: bool) -> Status:
    """The status of a gate that was checked."""
    return "failed" if failed else "passed"


def not_checked(name: str, title: str, why: str) -> Gate:
    """The result of a gate that has nothing to look at."""
    return Gate(name, title, "not checked", None, None, None, why)


@dataclass
class WorstPlaces:
    """The few places with the largest values, whatever the order in which they come."""

    _heap: list[tuple[float, str, tuple[int, int], str, Place]] = field(default_factory=list)

    def add(self, place: Place) -> None:
        """Keep a place, if it is among the worst."""
        box = place.box
        corner = (-box.row0, -box.col0)
        heapq.heappush(self._heap, (place.value, place.span, corner, place.tile, place))
        if len(self._heap) > _MOST_PLACES:
            heapq.heappop(self._heap)

    def __iter__(self) -> Iterator[Place]:
        """The worst first."""
        return (entry[-1] for entry in sorted(self._heap, key=lambda e: e[:-1], reverse=True))

    def above(self, value: float) -> tuple[Place, ...]:
        """Those with more than a value."""
        return tuple(place for place in self if place.value > value)
