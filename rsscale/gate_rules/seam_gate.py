"""The gates of seams: one for each family of lines, over all periods and measures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from rsscale.gate_rules.gate import Gate, Place, WorstPlaces, not_checked, verdict
from rsscale.gate_rules.seam_counts import SEGMENT, SUMS
from rsscale.gate_rules.seam_test import Differences
from rsscale.gate_rules.tile_rows import TileOfSpan
from rsscale.geo.lattice import PixelBox
from rsscale.recipe.gates_recipe import SeamsRecipe

LINES = {
    "tiles": "lines between tiles",
    "windows": "lines between model windows",
    "zones": "edges of a zone's imagery",
    "scenes": "edges of scenes",
}
"""What the lines of a family are."""

MEASURES = ("classes", "confidence", "step")
"""Share of neighbours of another class; mean difference of their confidence, without and with its
sign, the latter over a segment."""
_SAID = {
    "classes": "neighbours of different class",
    "confidence": "confidence between neighbours differs by",
    "step": "confidence changes from one side to the other by",
}
# Columns of a segment: place and sums.
_Key = tuple[str, int, int, int]


class _Tested(NamedTuple):
    """A test of a span and a measure, corrected for how many there are."""

    span: str
    measure: str
    p_value: float
    excess: float
    across: float
    aside: float
    place: Place | None  # of one tile; None: of all


@dataclass
class SeamGate:
    """Collects the segments of a family of lines; :meth:`result` tests them.

    Run-wide each span and measure is a test. Lines between tiles are tested around each tile too,
    so that one bad tile of thousands is seen.

    Attributes
    ----------
    family : str
    thresholds : SeamsRecipe
    least_pixels : int
        Pairs around a tile that is tested by itself.
    has_confidence : bool
    missing : str
        Why there are no such lines; empty where there may be.
    """

    family: str
    thresholds: SeamsRecipe
    has_confidence: bool
    missing: str = ""
    _sums: dict[tuple[str, str], Differences] = field(default_factory=dict)
    _cut: dict[_Key, tuple[str, list[int]]] = field(default_factory=dict)
    _worst: WorstPlaces = field(default_factory=WorstPlaces)
    _tiles: defaultdict[str, list[_Tested]] = field(default_factory=lambda: defaultdict(list))
    _tested_tiles: int = 0

    @property
    def measures(self) -> tuple[str, ...]:
        """Those that the map has layers for."""
        return MEASURES if self.has_confidence else MEASURES[:1]

    def add(self, tile: TileOfSpan) -> None:
        """Add the segments of a tile."""
        rows = tile.segments.get(self.family)
        if rows is None:
            return
        owned, sums = rows["owned"] == 1, np.stack([rows[name] for name in SUMS], axis=1)
        whole = owned & self._is_whole(tile.box, rows["row"], rows["col"])
        self._add(tile.span, tile.tile, sums[whole], rows["row"][whole], rows["col"][whole])
        for row in np.flatnonzero(owned & ~whole):  # the rest is in the tile beside
            key = (tile.span, int(rows["key"][row]), int(rows["row"][row]), int(rows["col"][row]))
            _, before = self._cut.get(key, ("", [0] * len(SUMS)))
            total = [a + int(b) for a, b in zip(before, sums[row], strict=True)]
            self._cut[key] = (tile.tile, total)
        if self.family == "tiles":
            self._add_tile(tile, sums)

    def result(self) -> Gate:
        """Test what was collected."""
        name, title = f"seams-{self.family}", f"No seams along {LINES[self.family]}"
        if self.missing:
            return not_checked(name, title, self.missing)
        for (span, _, row, col), (tile, sums) in sorted(self._cut.items()):
            self._add(span, tile, np.array([sums]), np.array([row]), np.array([col]))
        self._cut.clear()
        if not self._sums:
            lines = LINES[self.family]
            return not_checked(name, title, f"no {lines} with pixels of the map on both sides")
        tested = list(self._tested())
        alpha = self.thresholds.significance
        powerless = min(d.least_p for d in self._sums.values()) * len(self._sums) > alpha
        if powerless:
            count = max(d.nonzero for d in self._sums.values())
            few = f"only {count} segments of lines differ from what lies beside: too few for a test"
            return not_checked(name, title, few)
        failed = sorted(filter(self._is_seam, tested), key=lambda test: test.p_value)
        shown = min(failed or tested[: len(self._sums)], key=lambda test: test.p_value)
        places = (*(test.place for test in failed if test.place), *self._worst)
        places = tuple({(p.span, p.box): p for p in reversed(places)}.values())[::-1]
        return Gate(
            name,
            title,
            verdict(failed=bool(failed)),
            round(shown.excess, 4),
            self._limit(shown.measure),
            shown.p_value,
            self._text(shown),
            places[:5],
        )

    @staticmethod
    def _is_whole(box: PixelBox, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Which segments lie in a tile altogether."""
        top, left = rows * SEGMENT, cols * SEGMENT
        inside = (top >= box.row0) & (left >= box.col0)
        is_whole: np.ndarray = inside & (top + SEGMENT <= box.row1) & (left + SEGMENT <= box.col1)
        return is_whole

    def _add(
        self, span: str, tile: str, sums: np.ndarray, rows: np.ndarray, cols: np.ndarray
    ) -> None:
        if not len(sums):
            return
        for measure in self.measures:
            pairs, across, aside = _columns(sums, measure)
            self._sums.setdefault((span, measure), Differences()).add(pairs, across, aside)
        excess = sums[:, SUMS.index("across_classes")] - sums[:, SUMS.index("aside_classes")]
        points = 100 * excess / np.maximum(sums[:, 0], SEGMENT)  # of few pairs, no more than is so
        for number in np.lexsort((cols, rows, -points))[:5]:
            top, left = int(rows[number]) * SEGMENT, int(cols[number]) * SEGMENT
            box = PixelBox(top, left, top + SEGMENT, left + SEGMENT)
            self._worst.add(Place(tile, span, box, round(float(points[number]), 2)))

    def _add_tile(self, tile: TileOfSpan, sums: np.ndarray) -> None:
        """Test the borders of a tile by themselves; only the worst are kept."""
        self._tested_tiles += 1
        for measure in self.measures:
            alone = Differences()
            alone.add(*_columns(sums, measure))
            if alone.excess is None or alone.excess <= 0:
                continue
            z = (alone.across - alone.aside) / alone.squares**0.5
            place = Place(tile.tile, tile.span, tile.box, round(self._points(measure, alone), 2))
            kept = self._tiles[measure]
            kept.append(self._test(tile.span, measure, alone, alone.bound(z), place))
            kept.sort(key=lambda test: test.p_value)
            del kept[5:]

    def _tested(self) -> Iterator[_Tested]:
        """Tests over all lines, then those around the worst tiles; each with its family's count."""
        count = len(self._sums)
        for (span, measure), sums in self._sums.items():
            yield self._test(span, measure, sums, min(1.0, sums.p_value() * count), None)
        # As many tests as there are tiles in each span, and measures: their part is the same again.
        count = self._tested_tiles * len(self.measures)
        for kept in self._tiles.values():
            for test in kept:
                yield test._replace(p_value=min(1.0, test.p_value * count))

    def _test(
        self, span: str, measure: str, sums: Differences, p_value: float, place: Place | None
    ) -> _Tested:
        across, aside = (self._points(measure, sums, value) for value in (sums.across, sums.aside))
        return _Tested(span, measure, p_value, across - aside, across, aside, place)

    @staticmethod
    def _points(measure: str, sums: Differences, value: int | None = None) -> float:
        """A sum as points: of a hundred pairs, or of confidence."""
        total = sums.across - sums.aside if value is None else value
        return (100 if measure == "classes" else 1) * total / max(sums.pairs, 1)

    def _limit(self, measure: str) -> float:
        return self.thresholds.classes if measure == "classes" else self.thresholds.confidence

    def _is_seam(self, seam: _Tested) -> bool:
        """Significant at half of the level, as lines are tested together and by tile, and large."""
        parts = 2 if self.family == "tiles" else 1
        is_significant = seam.p_value < self.thresholds.significance / parts
        return is_significant and seam.excess > self._limit(seam.measure)

    def _text(self, seam: _Tested) -> str:
        where = f"around tile {seam.place.tile}" if seam.place else f"along {LINES[self.family]}"
        unit = " %" if seam.measure == "classes" else " points"
        p_value = "p < 0.0001" if seam.p_value < 1e-4 else f"p = {seam.p_value:.2g}"
        return (
            f"{seam.span}: {_SAID[seam.measure]}: {seam.across:.2f}{unit} {where}, {seam.aside:.2f}"
            f"{unit} beside them: {seam.excess:+.2f} points ({p_value}; up to "
            f"{self._limit(seam.measure):g} points may be)"
        )


def _columns(sums: np.ndarray, measure: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs, and the measure across and aside; of a step its size, whatever its direction."""
    across, aside = (sums[:, SUMS.index(f"{side}_{measure}")] for side in ("across", "aside"))
    return sums[:, 0], np.abs(across), np.abs(aside)
