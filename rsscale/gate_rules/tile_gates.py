"""Gates of whole tiles and of values: missing tiles, blank tiles, values that are no class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rsscale.gate_rules.gate import Gate, Place, WorstPlaces, not_checked, verdict
from rsscale.gate_rules.rows import CONFIDENCE, OBSERVATIONS, RING, Condition
from rsscale.gate_rules.tile_rows import TileOfSpan
from rsscale.layers import Layer
from rsscale.legend.values import named_counts
from rsscale.text.wording import counted

NO_CLASSES = "the step has no layer of classes"
_SAID = {
    Condition.NOT_DONE: "not done",
    Condition.LOST: "lost from the store",
    Condition.CHANGED: "not what the ledger says was written",
    Condition.UNREADABLE: "stored as what can't be read",
}
# Share of a tile's pixels that were seen: of fewer, nothing can be expected of a map.
_SEEN = 0.01
# Share of the pixels just outside a tile of one class that may be of another.
_OTHERS = 0.25


@dataclass
class MissingTiles:
    """Tiles of the area that the ledger, or the store, has not."""

    _found: Counter[Condition] = field(default_factory=Counter)
    _worst: WorstPlaces = field(default_factory=WorstPlaces)

    def add(self, tile: TileOfSpan) -> None:
        """Add a tile."""
        self._found[tile.condition] += 1
        if tile.condition is not Condition.SOUND:
            self._worst.add(Place(tile.tile, tile.span, tile.box, float(tile.pixels)))

    def result(self) -> Gate:
        """Fails for any."""
        missing = {c: n for c, n in self._found.items() if c is not Condition.SOUND}
        total, count = self._found.total(), sum(missing.values())
        parts = [f"{missing[c]} {said}" for c, said in _SAID.items() if c in missing]
        text = f"{counted(total, 'tile')} of all periods: in the ledger, and stored as written"
        if count:
            text = f"of {counted(total, 'tile')} of all periods {', '.join(parts)}"
        title = "No tile is missing or damaged"
        return Gate(
            "missing-tiles",
            title,
            verdict(failed=count > 0),
            count,
            0,
            None,
            text,
            tuple(self._worst),
        )


@dataclass
class BlankTiles:
    """Tiles without a class where something was seen, and those that are one class all over.

    Water and forest may fill a tile. So a tile of one class is only suspected where its confidence
    is the same everywhere, too, or where it ends at the tile's border: pixels just outside it are
    of other classes.

    Attributes
    ----------
    classes : Layer, optional
    layers : tuple of str
        All that were read.
    least_pixels : int
    """

    classes: Layer | None
    layers: tuple[str, ...]
    least_pixels: int
    _blank: int = 0
    _constant: int = 0
    _tiles: int = 0
    _worst: WorstPlaces = field(default_factory=WorstPlaces)

    def add(self, tile: TileOfSpan) -> None:
        """Add a tile."""
        if self.classes is None or not tile.is_read or tile.pixels < self.least_pixels:
            return
        self._tiles += 1
        values = tile.valid(self.classes.name, self.classes.nodata)
        blank = not values and self._is_seen(tile)
        constant = len(values) == 1 and self._is_suspicious(tile, sum(values.values()))
        self._blank += blank
        self._constant += constant
        if blank or constant:
            self._worst.add(Place(tile.tile, tile.span, tile.box, float(tile.pixels)))

    def result(self) -> Gate:
        """Fails for any."""
        name, title = "blank-tiles", "No tile is blank or constant"
        if self.classes is None:
            return not_checked(name, title, NO_CLASSES)
        if not self._tiles:
            return not_checked(name, title, f"no tile has {self.least_pixels} pixels to judge by")
        count = self._blank + self._constant
        text = f"{counted(self._tiles, 'tile')} of all periods: of several values each"
        if count:
            text = (
                f"of {counted(self._tiles, 'tile')} of all periods {self._blank} have no class "
                f"though they were seen, {self._constant} have one class that ends at their border "
                "or has one confidence"
            )
        return Gate(
            name, title, verdict(failed=count > 0), count, 0, None, text, tuple(self._worst)
        )

    def _is_seen(self, tile: TileOfSpan) -> bool:
        if OBSERVATIONS not in self.layers:
            return True
        return tile.counts.get(OBSERVATIONS, {}).get(1, 0) > _SEEN * tile.pixels

    def _is_suspicious(self, tile: TileOfSpan, pixels: int) -> bool:
        if pixels < self.least_pixels:
            return False
        ring = tile.counts.get(RING, {})
        others = ring.get(1, 0) / max(sum(ring.values()), 1)
        confidence = tile.valid(CONFIDENCE, 255)
        return others > _OTHERS or (CONFIDENCE in self.layers and len(confidence) == 1)


@dataclass
class UnknownValues:
    """Pixels whose value is none of the classes, nor nodata.

    Attributes
    ----------
    classes : Layer, optional
    """

    classes: Layer | None
    _found: Counter[int] = field(default_factory=Counter)
    _worst: WorstPlaces = field(default_factory=WorstPlaces)

    def add(self, tile: TileOfSpan) -> None:
        """Add a tile."""
        if self.classes is None or not tile.is_read:
            return
        known = set(map(int, self.classes.attributes["flag_values"])) | {int(self.classes.nodata)}
        unknown = {
            v: n for v, n in tile.counts.get(self.classes.name, {}).items() if v not in known
        }
        self._found.update(unknown)
        if unknown:
            pixels = float(sum(unknown.values()))
            self._worst.add(Place(tile.tile, tile.span, tile.box, pixels))

    def result(self) -> Gate:
        """Fails for any."""
        name, title = "unknown-values", "Every value is a class"
        if self.classes is None:
            return not_checked(name, title, NO_CLASSES)
        count = self._found.total()
        text = "all values are classes of the legend, or nodata"
        if count:
            few = named_counts(dict(self._found.most_common(5)))
            text = f"{count:,} pixels hold values that are no class: {few}"
        return Gate(
            name, title, verdict(failed=count > 0), count, 0, None, text, tuple(self._worst)
        )
