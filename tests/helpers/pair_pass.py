"""A pass that writes what it is given of two dates, for tests of the pair itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rsscale.change_passes.pair import PairOptions, PairSource
from rsscale.layers import Axis, Layer
from rsscale.steps.base import Block, Pass, Result, Source, Step

KIND = "pair_pass:PairPass"


@dataclass(repr=False, kw_only=True)
class PairPass(Pass):
    """Layers ``before`` and ``after`` with all bands, and ``seen``."""

    kind: ClassVar[str] = KIND
    version: ClassVar[str] = "1"
    Options: ClassVar[type[PairOptions]] = PairOptions

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Layer, ...]
    pair: PairSource

    @classmethod
    def open(cls, step: str, recipe: Any, options: Any, setup: Any) -> list[Step]:
        opened = PairSource.open(recipe, options, setup)
        steps, pair = opened.guarded(step, options, setup)
        axis = Axis("band", tuple(range(len(pair.names))))
        layers = tuple(
            Layer(n, "float32", axis=axis, attributes={"names": list(pair.names)})
            for n in ("before", "after")
        )
        own = cls(step=step, sources=pair.sources, layers=(*layers, Layer("seen")), pair=pair)
        return [*steps, own]

    def spans(self) -> Sequence[str]:
        return (self.pair.span,)

    def parameters(self) -> Mapping[str, Any]:
        return self.pair.parameters()

    def run(self, block: Block) -> Result:
        layers = {
            layer.name: np.full(layer.shape(*block.core.shape), layer.nodata, layer.dtype)
            for layer in self.layers
        }
        for box, pair in self.pair.parts(block):
            rows, cols = box.slices(block.core)
            layers["before"][:, rows, cols] = pair.before
            layers["after"][:, rows, cols] = pair.after
            layers["seen"][rows, cols] = pair.seen
        return Result(layers=block.dataset(self.layers, layers))
