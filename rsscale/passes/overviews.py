"""Overviews as a pass: the layers of an earlier step at half the resolution, level by level.

A pixel of a level is made of exactly 2 x 2 pixels of the level below, which lie on the grid's
origin: it is the same however the work was cut, and there is no halo.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError
from rsscale.layers import Layer
from rsscale.memory import PROCESS_BYTES
from rsscale.recipe import StepRecipe
from rsscale.steps.base import Block, Cost, Pass, Result, Setup, Source
from rsscale.steps.options import Options

# Levels end where a whole product has about so many pixels in a row, or is one tile.
_SMALL = 1024
# Bytes of a pixel while one layer is reduced: its four values, their sum, their count.
_WORKING_BYTES = 40

_Array = npt.NDArray[Any]


class OverviewOptions(Options):
    """``{kind: overviews, of: STEP, levels: N}``."""

    levels: int | None = Field(default=None, ge=1, le=20)
    """How many; until one is small enough for a screen when left out."""


@dataclass(repr=False, kw_only=True)
class OverviewPass(Pass):
    """Overviews of all layers of a step that have a rule for them; see :func:`reduce`.

    They lie in the step's own store, as the groups ``"1"``, ``"2"`` and so on.

    Attributes
    ----------
    of : str
        The step.
    count : int
        Levels.
    times : tuple of str
        Spans of the step.
    """

    kind: ClassVar[str] = "overviews"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = OverviewOptions
    masked: ClassVar[bool] = False

    step: str
    of: str
    layers: tuple[Layer, ...]
    count: int
    times: tuple[str, ...]
    sources: Mapping[str, Source] = field(default_factory=dict)

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Pass]:
        """One source: of each level, the one below."""
        references = list(recipe.references.values())
        if len(references) != 1 or not isinstance(references[0], str):
            raise RecipeError("needs 'of': the one step of this recipe that gets overviews")
        of = references[0]
        layers = tuple(layer for layer in setup.layers(of) if layer.overview != "none")
        if not layers:
            raise RecipeError(f"no layer of the step {of!r} has a rule for overviews")
        width = max(setup.extent().shape) / max(_SMALL, setup.grid.tile)
        opened = cls(
            step=step,
            of=of,
            layers=layers,
            count=options.levels or max(math.ceil(math.log2(width)), 1),
            times=setup.spans(of),
        )
        opened.sources = {"below": setup.level_below(opened)}
        return [opened]

    @property
    def store(self) -> str:
        """That of the step."""
        return self.of

    def levels(self) -> Sequence[int]:
        """Levels from fine to coarse."""
        return range(1, self.count + 1)

    def spans(self) -> Sequence[str]:
        """Those of the step."""
        return self.times

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side: sources, results, one layer at work."""
        del profile
        pixel_bytes = sum(layer.pixel_bytes for layer in self.layers) + _WORKING_BYTES
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + tile**2 * pixel_bytes))

    def overhead(self, tile: int) -> float:
        """Four pixels are read for each one."""
        del tile
        return 4.0

    def parameters(self) -> Mapping[str, Any]:
        """None: how a layer is reduced is the layer's own."""
        return {}

    def run(self, block: Block) -> Result:
        """One tile of a level."""
        below = block.inputs["below"]
        layers = {layer.name: reduce(layer, below[layer.name].values) for layer in self.layers}
        return Result(layers=block.dataset(self.layers, layers))


def reduce(layer: Layer, values: _Array) -> _Array:
    """Values of a layer at half the resolution, by the rule of the layer.

    Nodata counts nowhere: a pixel is nodata only where all four are.

    ``"mode"``
        The value that most of the four pixels of the level below have; of values that as many
        have, the one that comes first from north-west. (The smallest would make low classes grow
        from level to level.) From the second level on it need not be what most pixels of the full
        resolution have.
    ``"mean"``
        The mean of the level below's valid pixels, in float64; integers are rounded half to even.
        Where some have no value it is not the mean of the full resolution's pixels.
    ``"nearest"``
        The first valid one of the four from north-west.

    Parameters
    ----------
    layer : Layer
    values : array (..., 2 * y, 2 * x)
        As they are stored.

    Returns
    -------
    array (..., y, x)
        In the layer's type.
    """
    rule = _RULES[layer.overview]
    *axis, height, width = values.shape
    out = np.empty((*axis, height // 2, width // 2), layer.numpy_dtype)
    for index in np.ndindex(*axis):  # one at a time: less memory
        plane = values[index]
        # North-west, north-east, south-west, south-east.
        four = [np.ascontiguousarray(plane[row::2, col::2]) for row in (0, 1) for col in (0, 1)]
        valid = [layer.is_valid(quarter) for quarter in four]
        some = valid[0] | valid[1] | valid[2] | valid[3]
        out[index] = np.where(some, rule(four, valid, layer), layer.numpy_dtype.type(layer.nodata))
    return out


def _mode(four: list[_Array], valid: list[_Array], layer: Layer) -> _Array:
    del layer
    counts = [is_valid.astype(np.uint8) for is_valid in valid]
    for a in range(4):
        for b in range(a + 1, 4):
            # Of two equal values either both are valid or none is.
            same = (four[a] == four[b]) & valid[a]
            counts[a] += same
            counts[b] += same
    best, most = four[0].copy(), counts[0]
    for quarter, count in zip(four[1:], counts[1:], strict=True):
        np.copyto(best, quarter, where=count > most)
        most = np.maximum(most, count)
    return best


def _mean(four: list[_Array], valid: list[_Array], layer: Layer) -> _Array:
    total = np.zeros(four[0].shape, np.float64)
    count = np.zeros(four[0].shape, np.uint8)
    for quarter, there in zip(four, valid, strict=True):
        np.add(total, quarter, out=total, where=there)
        count += there
    np.divide(total, count, out=total, where=count > 0)
    return (total if layer.is_float else np.rint(total)).astype(layer.numpy_dtype)


def _nearest(four: list[_Array], valid: list[_Array], layer: Layer) -> _Array:
    del layer
    best = four[3].copy()
    for quarter, there in zip(four[2::-1], valid[2::-1], strict=True):
        np.copyto(best, quarter, where=there)
    return best


_RULES: dict[str, Callable[[list[_Array], list[_Array], Layer], _Array]] = {
    "mode": _mode,
    "mean": _mean,
    "nearest": _nearest,
}
