"""A pass that has a value where the tile's year is even, and none in the other years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rsscale.layers import Layer
from rsscale.steps.base import Block, Pass, Result, Source


@dataclass(repr=False, kw_only=True)
class EmptyPass(Pass):
    """``index`` of every second year: as if all of the others was cloud."""

    kind: ClassVar[str] = "empty_pass:EmptyPass"
    version: ClassVar[str] = "1"

    step: str
    sources: Mapping[str, Source]
    periods: tuple[str, ...]
    layers: tuple[Layer, ...] = (Layer("index", "float32"),)

    @classmethod
    def open(cls, step: str, recipe: Any, options: Any, setup: Any) -> list[Pass]:
        del options
        (reference,) = recipe.references.values()
        sources = {"map": setup.source(reference, ("index",))}
        return [cls(step=step, sources=sources, periods=tuple(setup.spans(reference)))]

    def spans(self) -> Sequence[str]:
        return self.periods

    def parameters(self) -> Mapping[str, Any]:
        return {}

    def run(self, block: Block) -> Result:
        values = block.inputs["map"]["index"].values
        if int(block.key.span) % 2:
            values = np.full_like(values, np.nan)
        return Result(layers=block.dataset(self.layers, {"index": values}))
