"""A pass that costs nothing: classes and confidences by a formula of the pixel's indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from rsscale.layers import Layer
from rsscale.steps.base import Block, Pass, Result, Setup, Source

FLAGS = {
    "flag_values": [1, 2, 3],
    "flag_meanings": "a b c",
    "flag_colors": "#111111 #222222 #333333",
}


@dataclass(repr=False, kw_only=True)
class FormulaPass(Pass):
    """``{kind: "benchmarks.formula:FormulaPass"}``: a map of each period."""

    kind: ClassVar[str] = "benchmarks.formula:FormulaPass"
    version: ClassVar[str] = "1"

    step: str
    periods: tuple[str, ...]
    sources: Mapping[str, Source] = field(default_factory=dict)
    layers: tuple[Layer, ...] = (
        Layer("classification", overview="mode", attributes=FLAGS),
        Layer("confidence", overview="mean"),
    )

    @classmethod
    def open(cls, step: str, recipe: Any, options: Any, setup: Setup) -> list[Pass]:
        """Of every period of the recipe."""
        del recipe, options
        return [cls(step=step, periods=setup.periods())]

    def spans(self) -> Sequence[str]:
        """The periods."""
        return self.periods

    def parameters(self) -> Mapping[str, Any]:
        """None that decides a value."""
        return {}

    def run(self, block: Block) -> Result:
        """A pattern that moves with the year."""
        rows, cols = np.ogrid[block.core.row0 : block.core.row1, block.core.col0 : block.core.col1]
        pattern = rows * 3 + cols * 5 + int(block.key.span)
        values = {
            "classification": (pattern // 7 % 3 + 1).astype(np.uint8),
            "confidence": (pattern % 101).astype(np.uint8),
        }
        return Result(layers=block.dataset(self.layers, values))
