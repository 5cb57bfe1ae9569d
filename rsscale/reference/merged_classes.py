"""Merge and ignore classes by their names or values in the labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from rsscale.errors import RecipeError, nearest
from rsscale.legend.classes import LandClass
from rsscale.reference.class_column import class_text, plain_text
from rsscale.reference.label_rules import LabelRules


@dataclass(frozen=True)
class MergedClasses:
    """What the names and values of labels stand for.

    Attributes
    ----------
    rules : LabelRules
        Of which ``merge`` and ``ignore`` count.
    source : str
        Where the labels come from, for messages.

    Raises
    ------
    RecipeError
        When a name stands for two classes, or for one that is ignored.
    """

    rules: LabelRules
    source: str

    def __post_init__(self) -> None:
        meaning: dict[str, str] = dict.fromkeys(self._ignored, "train.ignore")
        for name, members in self.rules.merge.items():
            if not members:
                raise RecipeError(f"{self.source}: train.merge.{name} lists no class of the labels")
            for member in map(_plain, members):
                other = meaning.setdefault(member, f"train.merge.{name}")
                if other != f"train.merge.{name}":
                    raise RecipeError(
                        f"{self.source}: {member!r} is listed in {other} and in "
                        f"train.merge.{name}; list it in one of them"
                    )

    def is_ignored(self, *names: str) -> bool:
        """Whether a class is ignored, by any of its names."""
        return any(plain_text(name) in self._ignored for name in names)

    def name_of(self, *names: str) -> str | None:
        """The class that one is merged into, by any of its names; None where it is in none."""
        merged = (self._merged.get(plain_text(name) or "") for name in names)
        return next((name for name in merged if name is not None), None)

    def check_known(self, names: Iterable[str]) -> None:
        """Refuse entries that no label has: a name that is not written as in the labels.

        Raises
        ------
        RecipeError
        """
        there = {plain_text(name): name for name in names}
        for key, entries in (("ignore", self._ignored), ("merge", self._merged)):
            for entry in entries:
                if entry not in there:
                    listed = sorted(there.values())
                    raise RecipeError(
                        f"{self.source}: train.{key} lists {entry!r}, which no label has; there "
                        f"are {listed}{nearest(entry, listed)}"
                    )

    def check_classes(self, classes: Sequence[LandClass]) -> None:
        """Refuse merged classes that the legend does not have.

        Raises
        ------
        RecipeError
        """
        names = [land_class.name for land_class in classes]
        for name in self.rules.merge:
            if class_text(name) not in map(class_text, names):
                raise RecipeError(
                    f"{self.source}: train.merge makes {name!r}, which is not among the classes "
                    f"{names}{nearest(name, names)}"
                )

    @cached_property
    def _ignored(self) -> frozenset[str]:
        return frozenset(map(_plain, self.rules.ignore))

    @cached_property
    def _merged(self) -> dict[str, str]:
        return {
            _plain(member): class_text(name) or name
            for name, members in self.rules.merge.items()
            for member in members
        }


def _plain(entry: str | int) -> str:
    text = plain_text(entry)
    if text is None:
        raise RecipeError(
            "train.merge or train.ignore lists an empty name; labels without a class are left out "
            "as they are"
        )
    return text
