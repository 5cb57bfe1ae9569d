"""Passes that cost little: maps by a formula of the pixel's indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rsscale.layers import Axis, Layer
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


_PARCEL, _CLASSES = 12, 6
_SIX = {
    "flag_values": list(range(1, _CLASSES + 1)),
    "flag_meanings": "water forest grassland crops bare built",
    "flag_colors": "#2b83ba #1b7837 #b2df8a #f2cf5b #cccccc #d7301f",
}


@dataclass(repr=False, kw_only=True)
class ProbabilityPass(FormulaPass):
    """``{kind: "benchmarks.formula:ProbabilityPass"}``: six classes with their probabilities.

    Parcels of 12 px, of which one in 32 has another class in odd years; how sure a pixel is
    differs from pixel to pixel, and one in 16 is taken for another class.
    """

    kind: ClassVar[str] = "benchmarks.formula:ProbabilityPass"
    layers: tuple[Layer, ...] = (
        Layer("classification", overview="mode", attributes=_SIX),
        Layer("probability", axis=Axis("class", tuple(_SIX["flag_values"])), overview="mean"),
    )

    def run(self, block: Block) -> Result:
        """Percents by a table: of the class of a parcel, and of a number of the pixel."""
        year = int(block.key.span)
        core = block.core
        rows = np.arange(core.row0, core.row1).astype(np.uint32)[:, None]
        cols = np.arange(core.col0, core.col1).astype(np.uint32)[None, :]
        parcel = (rows // _PARCEL) * np.uint32(73_856_093) ^ (cols // _PARCEL) * np.uint32(
            19_349_663
        )
        moved = ((parcel >> 7) % 32 == 0) & (year % 2 == 1)
        land = ((parcel >> 3) + moved) % _CLASSES
        number = (rows * np.uint32(2_654_435_761) ^ cols * np.uint32(40_503 + year)) >> 5
        percents = _table()[land, number % 64]  # (y, x, 6)
        values = {
            "classification": (percents.argmax(axis=2) + 1).astype(np.uint8),
            "probability": np.ascontiguousarray(percents.transpose(2, 0, 1)),
        }
        return Result(layers=block.dataset(self.layers, values))


def _table() -> npt.NDArray[np.uint8]:
    """Percents ``(class, 64, 6)``: of 64 numbers four say another class."""
    table = np.zeros((_CLASSES, 64, _CLASSES), np.uint8)
    for land in range(_CLASSES):
        for number in range(64):
            said = (land + (1 + number % 5 if number < 4 else 0)) % _CLASSES
            sure = 55 + number % 40
            table[land, number] = (100 - sure) // (_CLASSES - 1)
            table[land, number, said] = sure
    return table
