"""Fold the rows of all tiles into one result for each gate."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from rsscale.gate_rules.class_share_gate import ClassShares
from rsscale.gate_rules.fill_gate import UndeclaredFill
from rsscale.gate_rules.gate import Gate
from rsscale.gate_rules.rows import CONFIDENCE
from rsscale.gate_rules.seam_counts import FAMILIES
from rsscale.gate_rules.seam_gate import SeamGate
from rsscale.gate_rules.share_gates import share_gates
from rsscale.gate_rules.tile_gates import NO_CLASSES, BlankTiles, MissingTiles, UnknownValues
from rsscale.gate_rules.tile_rows import TileOfSpan, tile_of_spans
from rsscale.geo.grid import Grid
from rsscale.layers import Layer, TileKey
from rsscale.quality.map_source import class_layer_of
from rsscale.recipe.gates_recipe import GatesRecipe
from rsscale.steps.base import Gather

if TYPE_CHECKING:
    import pyarrow as pa


class _TileGate(Protocol):
    """A gate that looks at one tile after another."""

    def add(self, tile: TileOfSpan) -> None: ...
    def result(self) -> Gate: ...


def results_schema() -> pa.Schema:
    """A row for each gate: its name, and its result as JSON."""
    import pyarrow as pa

    return pa.schema([("gate", pa.string()), ("result", pa.string())])


def gates_of(table: pa.Table) -> list[Gate]:
    """The gates of a table of results."""
    return [Gate.parse(json.loads(text)) for text in table["result"].to_pylist()]


@dataclass(kw_only=True)
class QualityGates(Gather):
    """Judges a map by the rows of its tiles; see docs/quality-gates.md.

    Attributes
    ----------
    gates : GatesRecipe
        Thresholds.
    layers : tuple of Layer
        Those that were counted.
    spans : tuple of str
    grid : Grid
    has_windows, has_scenes : bool
        Whether it is known where these lines are.
    """

    kind: ClassVar[str] = "quality-gates"
    version: ClassVar[str] = "2"

    step: str
    of: str
    gates: GatesRecipe
    layers: tuple[Layer, ...]
    spans: tuple[str, ...]
    grid: Grid
    has_windows: bool
    has_scenes: bool

    def __post_init__(self) -> None:
        self.schema = results_schema()

    def parameters(self) -> Mapping[str, Any]:
        """Thresholds, layers and spans."""
        return {
            "gates": self.gates.model_dump(mode="json"),
            "layers": [layer.describe() for layer in self.layers],
            "spans": self.spans,
            "lines": [self.has_windows, self.has_scenes],
        }

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """The result of each gate: nothing but sums and the worst places is kept."""
        import pyarrow as pa

        classes = class_layer_of(self.layers)
        names = tuple(layer.name for layer in self.layers)
        shares = ClassShares(classes, self.spans, self.gates.class_shares, self.gates.least_pixels)
        by_span: list[_TileGate] = [
            MissingTiles(),
            BlankTiles(classes, names, self.gates.least_pixels),
            UnknownValues(classes),
            *self._seams(names, has_classes=classes is not None),
            *share_gates(self.gates, names),
            UndeclaredFill(self.gates),
        ]
        for key, table in parts:
            box = self.grid.tile_at(key.ix, key.iy).box
            tiles = tile_of_spans(key.tile, box, table)
            for tile in tiles:
                for gate in by_span:
                    gate.add(tile)
            if tiles:
                shares.add(tiles)
        results = [*(gate.result() for gate in by_span), shares.result()]
        texts = [json.dumps(gate.to_dict()) for gate in results]
        return pa.table([[gate.name for gate in results], texts], schema=self.schema)

    def _seams(self, names: tuple[str, ...], *, has_classes: bool) -> list[SeamGate]:
        missing = {
            "windows": "" if self.has_windows else "the model's windows are not known",
            "zones": "" if self.has_scenes else "the map is not made of scenes",
            "scenes": "" if self.has_scenes else "the map is not made of scenes",
        }
        return [
            SeamGate(
                family,
                self.gates.seams,
                CONFIDENCE in names,
                missing.get(family, "") if has_classes else NO_CLASSES,
            )
            for family in FAMILIES
        ]
