"""Gates of shares of pixels: never seen, outside the area of applicability, of low confidence."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from rsscale.gate_rules.gate import Gate, Place, WorstPlaces, not_checked, verdict
from rsscale.gate_rules.rows import APPLICABLE, CONFIDENCE, OBSERVATIONS
from rsscale.gate_rules.tile_rows import TileOfSpan
from rsscale.recipe.gates_recipe import GatesRecipe
from rsscale.text.wording import counted

Hits = Callable[[TileOfSpan], tuple[int, int]]
"""Of a tile: pixels that count against the map, and all that could."""
# Shares of tiles are kept in bins of a tenth of a point, so that a country's take no memory.
_BINS = 1000
_IN_OUTPUT = "add it to output.layers of the recipe"


@dataclass
class ShareGate:
    """A share of pixels, in a period and in a tile.

    Attributes
    ----------
    name, title, clause : str
        ``clause`` is what is said of the pixels, in a sentence.
    hits : callable
    limit : float
        Of a period.
    tile_limit : float
        Of a tile; above the median of all tiles of its period, where ``is_relative``.
    least_pixels : int
    missing : str
        Why it can't be checked; empty where it can.
    is_relative : bool
    units : str
        What is counted.
    """

    name: str
    title: str
    clause: str
    hits: Hits
    limit: float
    tile_limit: float
    least_pixels: int
    missing: str = ""
    is_relative: bool = False
    units: str = "pixels"
    _totals: defaultdict[str, list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0, 0])
    )
    _tiles: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    _worst: defaultdict[str, WorstPlaces] = field(default_factory=lambda: defaultdict(WorstPlaces))

    def add(self, tile: TileOfSpan) -> None:
        """Add a tile."""
        if self.missing or not tile.is_read:
            return
        hits, pixels = self.hits(tile)
        if not pixels:
            return
        self._totals[tile.span][0] += hits
        self._totals[tile.span][1] += pixels
        if pixels >= self.least_pixels:
            share = hits / pixels
            self._tiles[tile.span][round(share * _BINS)] += 1
            self._worst[tile.span].add(Place(tile.tile, tile.span, tile.box, round(share, 4)))

    def result(self) -> Gate:
        """Fails where a period, or a tile, has too large a share."""
        if self.missing:
            return not_checked(self.name, self.title, self.missing)
        if not self._totals:
            return not_checked(self.name, self.title, "no tile of the map could be read")
        shares = {span: hits / pixels for span, (hits, pixels) in self._totals.items()}
        span = max(shares, key=lambda s: shares[s])
        bad = {s: self._tiles_above(s) for s in self._tiles}
        count = sum(bad.values())
        failed = shares[span] > self.limit or count > 0
        return Gate(
            self.name,
            self.title,
            verdict(failed=failed),
            round(shares[span], 5),
            self.limit,
            None,
            self._text(span, shares[span], count),
            tuple(sorted(self._all_worst(), key=lambda p: -p.value)[:5]),
        )

    def _tile_limit(self, span: str) -> float:
        return self.tile_limit + (self._median(span) if self.is_relative else 0.0)

    def _tiles_above(self, span: str) -> int:
        least = round(self._tile_limit(span) * _BINS)
        return sum(count for share, count in self._tiles[span].items() if share > least)

    def _median(self, span: str) -> float:
        """Median share of the tiles of a span."""
        shares = self._tiles[span]
        half, seen = shares.total() / 2, 0
        for share in sorted(shares):
            seen += shares[share]
            if seen >= half:
                return share / _BINS
        return 0.0

    def _all_worst(self) -> list[Place]:
        return [place for places in self._worst.values() for place in places if place.value > 0]

    def _text(self, span: str, share: float, count: int) -> str:
        have = "has" if count == 1 else "have"
        tiles = f"{counted(count, 'tile')} {have} more than {100 * self.tile_limit:g}"
        tiles += " points above the median" if self.is_relative else " %"
        most = max((p.value for p in self._all_worst()), default=0.0)
        worst = f"the worst tile {100 * most:.1f} %" if not count else tiles
        return (
            f"{100 * share:.2f} % of the {self.units} of {span} {self.clause}, up to "
            f"{100 * self.limit:g} % may be; {worst}"
        )


def share_gates(gates: GatesRecipe, layers: tuple[str, ...]) -> list[ShareGate]:
    """The three gates; one whose layer the map lacks is not checked."""
    return [
        _confidence_gate(gates, layers),
        _applicability_gate(gates, layers),
        _never_seen_gate(gates, layers),
    ]


def _confidence_gate(gates: GatesRecipe, layers: tuple[str, ...]) -> ShareGate:
    low = gates.confidence.low

    def unsure(tile: TileOfSpan) -> tuple[int, int]:
        values = tile.valid(CONFIDENCE, 255)
        return sum(n for v, n in values.items() if v < low), sum(values.values())

    return ShareGate(
        "confidence",
        "Confidence has not collapsed",
        f"are less than {low} % confident",
        unsure,
        gates.confidence.share,
        gates.confidence.tile_points / 100,
        gates.least_pixels,
        _lacks(CONFIDENCE, layers, _IN_OUTPUT),
        is_relative=True,
    )


def _applicability_gate(gates: GatesRecipe, layers: tuple[str, ...]) -> ShareGate:
    def outside(tile: TileOfSpan) -> tuple[int, int]:
        values = tile.valid(APPLICABLE, 255)
        return values.get(0, 0), sum(values.values())

    return ShareGate(
        "applicability",
        "The imagery is like the training's",
        "lie outside the area of applicability",
        outside,
        gates.applicability.share,
        gates.applicability.tile_share,
        gates.least_pixels,
        _lacks(APPLICABLE, layers, "it is written by models that were trained with applicability"),
    )


def _never_seen_gate(gates: GatesRecipe, layers: tuple[str, ...]) -> ShareGate:
    def unseen(tile: TileOfSpan) -> tuple[int, int]:
        values = tile.counts.get(OBSERVATIONS, {})
        return tile.pixels - values.get(1, 0), tile.pixels

    return ShareGate(
        "never-seen",
        "The area was seen",
        "have no clear observation",
        unseen,
        gates.never_seen.share,
        gates.never_seen.tile_share,
        gates.least_pixels,
        _lacks(OBSERVATIONS, layers, _IN_OUTPUT),
    )


def _lacks(layer: str, layers: tuple[str, ...], remedy: str) -> str:
    """Why a gate can't be checked; empty where the map has its layer."""
    return "" if layer in layers else f"the map has no layer {layer!r}; {remedy}"
