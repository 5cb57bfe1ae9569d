"""The gate of class shares: how far they moved since earlier periods, and whether one is all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rsscale.area_passes.class_layer import names_of
from rsscale.gate_rules.gate import Gate, Place, WorstPlaces, not_checked, verdict
from rsscale.gate_rules.tile_gates import NO_CLASSES
from rsscale.gate_rules.tile_rows import TileOfSpan
from rsscale.layers import Layer
from rsscale.recipe.gates_recipe import ClassSharesRecipe
from rsscale.text.wording import counted

_TWO = 2  # classes of a map that looks for one thing
_TITLE = "Class shares are near those of other periods, and no class is all of the map"


class _Cover(NamedTuple):
    """The share of a class in a period, percent."""

    has: float
    value: int
    span: str


class _Move(NamedTuple):
    """The share of a class in two periods, in points."""

    points: float  # that it moved
    value: int
    before: str
    after: str
    had: float
    has: float
    is_bad: bool


@dataclass
class ClassShares:
    """Shares of the mapped pixels by class, of the whole map and of tiles.

    Attributes
    ----------
    classes : Layer, optional
    spans : tuple of str
    thresholds : ClassSharesRecipe
    least_pixels : int
    """

    classes: Layer | None
    spans: tuple[str, ...]
    thresholds: ClassSharesRecipe
    least_pixels: int
    _totals: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    _worst: WorstPlaces = field(default_factory=WorstPlaces)
    _bad: int = 0

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Spans that are compared: each with the one before, and with the first."""
        after = range(1, len(self.spans))
        pairs = [(self.spans[n - 1], self.spans[n]) for n in after]
        return list(dict.fromkeys([*pairs, *((self.spans[0], self.spans[n]) for n in after)]))

    def add(self, tiles: Sequence[TileOfSpan]) -> None:
        """Add a tile of all spans."""
        if self.classes is None:
            return
        counts = {
            tile.span: Counter(tile.valid(self.classes.name, self.classes.nodata))
            for tile in tiles
            if tile.is_read
        }
        for span, values in counts.items():
            self._totals[span] += values
        place = tiles[0]
        for before, after in self.pairs:
            had, has = counts.get(before, Counter()), counts.get(after, Counter())
            if min(had.total(), has.total()) < self.least_pixels:
                continue
            moved = 100 * _distance(had, has)
            self._bad += moved > self.thresholds.tile_points
            self._worst.add(Place(place.tile, after, place.box, round(moved, 2)))

    def result(self) -> Gate:
        """Fails where one class covers all, a class moved far, or a tile is of another class."""
        name = "class-shares"
        if self.classes is None:
            return not_checked(name, _TITLE, NO_CLASSES)
        largest = self._largest()
        # Of two classes one is what is looked for, the other all the rest.
        is_legend = len(names_of(self.classes)) > _TWO
        if is_legend and largest is not None and largest.has > self.thresholds.most:
            return self._all_the_same(largest)
        moves = [move for pair in self.pairs for move in self._moves(*pair)]
        if not moves:
            why = "the map has one period, and none to compare with"
            return not_checked(name, _TITLE, why if len(self.spans) == 1 else "nothing is mapped")
        worst = max(moves, key=lambda move: (move.is_bad, move.points))
        failed = worst.is_bad or self._bad > 0
        return Gate(
            name,
            _TITLE,
            verdict(failed=failed),
            round(worst.points, 3),
            self.thresholds.points,
            None,
            self._text(worst),
            tuple(self._worst),
        )

    def _largest(self) -> _Cover | None:
        """The class that covers most of a period."""
        return max(
            (
                _Cover(100 * share, value, span)
                for span in self.spans
                for value, share in _shares(self._totals[span]).items()
            ),
            default=None,
        )

    def _all_the_same(self, largest: _Cover) -> Gate:
        most = self.thresholds.most
        text = (
            f"{self._named(largest.value)} covers {largest.has:.2f} % of {largest.span}; up to "
            f"{most:g} % may be (of an area that is so: gates: {{class_shares: {{most: 100}}}})"
        )
        covered = round(largest.has, 3)
        return Gate("class-shares", _TITLE, verdict(failed=True), covered, most, None, text, ())

    def _moves(self, before: str, after: str) -> list[_Move]:
        had, has = _shares(self._totals[before]), _shares(self._totals[after])
        if not had or not has:
            return []
        return [
            self._move(value, before, after, 100 * had.get(value, 0), 100 * has.get(value, 0))
            for value in sorted(had.keys() | has.keys())
        ]

    def _move(self, value: int, before: str, after: str, had: float, has: float) -> _Move:
        points, limits = abs(has - had), self.thresholds
        is_other = max(had, has) > limits.ratio * min(had, has) and points > limits.least_points
        return _Move(points, value, before, after, had, has, points > limits.points or is_other)

    def _named(self, value: int) -> str:
        names = names_of(self.classes) if self.classes else {}
        return names.get(value, f"class {value}")

    def _text(self, move: _Move) -> str:
        limits = self.thresholds
        tiles = (
            f"in {counted(self._bad, 'tile')} more than {limits.tile_points:g} % of the area is of"
        )
        tiles += " other classes than in another period"
        most = max((place.value for place in self._worst), default=0.0)
        worst = tiles if self._bad else f"in the worst tile {most:.1f} % is of other classes"
        return (
            f"{self._named(move.value)}: {move.had:.2f} % in {move.before}, "
            f"{move.has:.2f} % in {move.after}; up to {limits.points:g} points and "
            f"{limits.ratio:g} times may be; {worst}"
        )


def _shares(values: Mapping[int, int]) -> dict[int, float]:
    total = sum(values.values())
    return {value: count / total for value, count in values.items()} if total else {}


def _distance(had: Mapping[int, int], has: Mapping[int, int]) -> float:
    """Share of the area that has to be of another class: the total variation distance."""
    before, after = _shares(had), _shares(has)
    values = before.keys() | after.keys()
    return sum(abs(after.get(v, 0) - before.get(v, 0)) for v in values) / 2
