"""Count the labels that are not used, by class and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

BLANK = ""
"""The class of a label that has none."""


class Reason(Enum):
    """Why a label is not used: a key for records, and a text for people."""

    BLANK = "blank", "the cell of the class is empty"
    IGNORED = "ignored", "listed in train.ignore"
    OTHER_PERIOD = "other_period", "of other years than those of train.periods"
    OUTSIDE_AREA = "outside_area", "outside the area of the recipe"
    TOO_SMALL = (
        "too_small",
        "too small to hold the centre of a pixel; use all_touched, or a finer grid",
    )
    EDGE = "edge", "nearer to the polygon's edge than train.edge"
    OVERLAPPED = (
        "overlapped",
        "overlapped by another class everywhere; list the classes that win in train.priority",
    )
    AMBIGUOUS = (
        "ambiguous",
        "claimed by several classes; list the classes that win in train.priority",
    )
    THINNED = "thinned", "more than train.most_pixels of the class in a block"
    NO_AREA = "no_area", "without a geometry, or with one that has no area"
    TWICE = "twice", "there twice, with the same outline"
    OUTSIDE_WITHIN = "outside_within", "with the centre outside the polygons of train.within"
    OUTSIDE_IMAGERY = "outside_imagery", "outside the imagery"
    MASKED = "masked", "masked, or without a clear observation in any time window"

    def __init__(self, key: str, text: str) -> None:
        self.key, self.text = key, text


class Unit(Enum):
    """What is counted: features and pixels of the grid are no sum."""

    FEATURES = "features"
    PIXELS = "pixels"  # of the grid
    RASTER_PIXELS = "raster_pixels"  # of a raster of labels

    def count(self, number: int) -> str:
        """A number with its unit, in words."""
        is_single = number == 1
        if self is Unit.FEATURES:
            return f"{number:,} feature{'' if is_single else 's'}"
        if self is Unit.PIXELS:
            return f"{number:,} labelled pixel{'' if is_single else 's'}"
        return f"{number:,} pixel{'' if is_single else 's'} of the raster"


Key = tuple[str, Reason, Unit]


@dataclass(frozen=True)
class UnusedLabels:
    """Labels that give nothing to train on: how many, of which class, and why.

    Two of them are summed with ``+``; equal ones are equal whatever the order of counting.

    Attributes
    ----------
    counts : mapping of (class name, Reason, Unit) to int
        Positive numbers. The class name is ``BLANK`` where a label has none.
    """

    counts: Mapping[Key, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        order = {reason: place for place, reason in enumerate(Reason)}
        keys = sorted(
            (key for key, number in self.counts.items() if number),
            key=lambda key: (key[0], order[key[1]], key[2].value),
        )
        object.__setattr__(self, "counts", {key: int(self.counts[key]) for key in keys})

    @classmethod
    def of(cls, names: Iterable[str], reason: Reason, unit: Unit = Unit.FEATURES) -> UnusedLabels:
        """Labels of one reason, from the class name of each."""
        return cls({(name, reason, unit): n for name, n in Counter(names).items()})

    @classmethod
    def of_pixels(
        cls, numbers: Mapping[str, int], reason: Reason, unit: Unit = Unit.PIXELS
    ) -> UnusedLabels:
        """Pixels of one reason, by class name."""
        return cls({(name, reason, unit): number for name, number in numbers.items()})

    def __add__(self, other: UnusedLabels) -> UnusedLabels:
        return UnusedLabels(Counter(self.counts) + Counter(other.counts))

    def __bool__(self) -> bool:
        return bool(self.counts)

    def of_class(self, name: str) -> UnusedLabels:
        """Those of one class."""
        return UnusedLabels({key: n for key, n in self.counts.items() if key[0] == name})

    def lines(self) -> list[str]:
        """A line for each class and reason, such as ``2 features of 'shed': too small …``."""
        return [
            f"{unit.count(number)} {f'of {name!r}' if name else 'without a class'}: {reason.text}"
            for (name, reason, unit), number in self.counts.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Numbers for a record: ``{class: {reason: {unit: number}}}``."""
        content: dict[str, Any] = {}
        for (name, reason, unit), number in self.counts.items():
            content.setdefault(name, {}).setdefault(reason.key, {})[unit.value] = number
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> UnusedLabels:
        """What :meth:`to_dict` made."""
        reasons = {reason.key: reason for reason in Reason}
        return cls(
            {
                (name, reasons[key], Unit(unit)): number
                for name, by_reason in content.items()
                for key, by_unit in by_reason.items()
                for unit, number in by_unit.items()
            }
        )

    def __str__(self) -> str:
        return "\n".join(self.lines())
