"""Gate of undeclared fill: imagery that is one number in all bands and counts as seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from rsscale.gate_rules.gate import Gate, not_checked
from rsscale.gate_rules.share_gates import ShareGate
from rsscale.gate_rules.tile_rows import TileOfSpan
from rsscale.inference.constant_pixels import (
    LEAST_CONSTANT,
    SAMPLED_EVERY,
    constant_counts,
)
from rsscale.recipe.gates_recipe import GatesRecipe

_NAME, _TITLE = "undeclared-fill", "The imagery has no undeclared fill"
_MISSING = "its run read no imagery of several bands, or was made before this was counted"


@dataclass
class UndeclaredFill:
    """Observations that hold an extreme number in all bands, such as a border of zeros.

    They are counted in a sample of what is read, before clouds are masked; where the files declare
    the number as nodata there are none. The map has a class there, and no other gate sees it.

    Attributes
    ----------
    gates : GatesRecipe
    """

    gates: GatesRecipe
    _numbers: Counter[int] = field(default_factory=Counter)
    _shares: ShareGate = field(init=False)

    def __post_init__(self) -> None:
        self._shares = ShareGate(
            _NAME,
            _TITLE,
            "are one number in all bands and count as seen",
            _constant,
            self.gates.undeclared_fill.share,
            self.gates.undeclared_fill.tile_share,
            # A sample of the pixels, of one date at least.
            max(1, self.gates.least_pixels // SAMPLED_EVERY**2),
            units="observations",
        )

    def add(self, tile: TileOfSpan) -> None:
        """Add a tile."""
        self._numbers.update(constant_counts(tile.facts))
        self._shares.add(tile)

    def result(self) -> Gate:
        """Fails where a period, or a tile, has too large a share."""
        gate = self._shares.result()
        if gate.value is None:
            return not_checked(_NAME, _TITLE, _MISSING)
        if gate.status != "failed":
            return gate
        numbers = " and ".join(str(number) for number, _ in self._numbers.most_common(2))
        first = self._numbers.most_common(1)[0][0]
        remedy = (
            f"the number is {numbers}; if that is fill, say nodata: {{BAND: {first}}} for one band "
            "of the input that is not truly so, and map again"
        )
        return replace(gate, text=f"{gate.text}; {remedy}")


def _constant(tile: TileOfSpan) -> tuple[int, int]:
    count = sum(constant_counts(tile.facts).values())
    return (count if count >= LEAST_CONSTANT else 0), tile.facts.get("sampled_observations", 0)
