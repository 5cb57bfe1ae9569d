"""Smoothing as a pass: the majority of classes around a pixel, or probabilities in context."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from rsscale.area_passes.class_layer import class_layer
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError
from rsscale.layers import NODATA, Layer
from rsscale.memory import PROCESS_BYTES
from rsscale.patches.majority import majority
from rsscale.patches.markov_field import smooth_probabilities
from rsscale.recipe import Reference, StepRecipe
from rsscale.steps.base import Block, Cost, Fold, Pass, Result, Setup, Source
from rsscale.steps.options import Options

_CLASSES, _PERCENT, _CONFIDENCE = "classification", "probability", "confidence"
# Rows that are smoothed at once: floats of all classes are held of these alone.
_STRIP = 256
# Of a pixel: votes of a class, running sums, the most so far; of a class of a strip: floats.
_MAJORITY_BYTES, _FLOAT_BYTES = 24, 24


class SmoothOptions(Options):
    """``{kind: smooth, of: STEP, method:, radius:, strength:, iterations:, layer:}``.

    ``strength`` and ``iterations`` are those of ``method: gaussian-markov``, ``layer`` is that of
    ``method: majority``.
    """

    method: Literal["majority", "gaussian-markov"]
    """The most frequent class of a disc, or a Markov random field over the probabilities."""
    radius: int = Field(default=2, ge=1, le=100)
    """Pixels around."""
    strength: float = Field(default=4.0, gt=0, le=20)
    """Of `gaussian-markov`: how much the neighbours count."""
    iterations: int = Field(default=5, ge=1, le=50)
    """Of `gaussian-markov`: a fixed number, so that a value does not depend on the tile."""
    layer: str = _CLASSES
    """Of `majority`: the layer of classes."""


@dataclass(repr=False, kw_only=True)
class SmoothPass(Pass):
    """Base of both methods; counts pixels whose class is another one afterwards."""

    kind: ClassVar[str] = "smooth"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = SmoothOptions
    facts: ClassVar[Mapping[str, Fold]] = {"smoothed": "sum"}

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Layer, ...]
    options: SmoothOptions
    times: tuple[str, ...]
    halo: int

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Pass]:
        """Open the pass of the method."""
        reference = recipe.only_reference("step that is smoothed")
        method = MajorityPass if options.method == "majority" else MarkovPass
        _refuse_others(options)
        return [
            method(
                step=step,
                options=options,
                times=tuple(setup.spans(reference)),
                **method.of(reference, options, setup),
            )
        ]

    @classmethod
    @abstractmethod
    def of(cls, reference: Reference, options: SmoothOptions, setup: Setup) -> dict[str, Any]:
        """Sources, layers and halo of a method."""

    def spans(self) -> Sequence[str]:
        """Those of the step."""
        return self.times

    def parameters(self) -> Mapping[str, Any]:
        """All options of the method."""
        return self.options.model_dump()

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """Share of the pixels whose class is another one now."""
        if not facts.get("pixels"):
            return []
        share = facts.get("smoothed", 0) / facts["pixels"]
        return [f"{self.step}   {share:.2%} of the pixels took another class"]

    def _result(self, block: Block, before: Any, values: Mapping[str, Any]) -> Result:
        after = values[self.layers[0].name]
        smoothed = int((block.where & (before != after)).sum())
        return Result(layers=block.dataset(self.layers, values), facts={"smoothed": smoothed})


@dataclass(repr=False, kw_only=True)
class MajorityPass(SmoothPass):
    """The majority in a disc: see :func:`rsscale.patches.majority.majority`."""

    @classmethod
    def of(cls, reference: Reference, options: SmoothOptions, setup: Setup) -> dict[str, Any]:
        """The one layer, and a halo of the radius."""
        layer = class_layer(options.layer, setup, reference, "smooth")
        source = setup.source(reference, (layer.name,))
        return {"sources": {"layers": source}, "layers": (layer,), "halo": options.radius}

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side: what is read, votes, what is written."""
        del profile
        working = tile * tile * (_MAJORITY_BYTES + 3 * self.layers[0].pixel_bytes)
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + working))

    def run(self, block: Block) -> Result:
        """Smooth one tile."""
        (layer,) = self.layers
        classes = block.inputs["layers"][layer.name].values
        smoothed = majority(classes, layer.is_valid(classes), self.options.radius)
        return self._result(block, classes[block.inside], {layer.name: smoothed[block.inside]})


@dataclass(repr=False, kw_only=True)
class MarkovPass(SmoothPass):
    """Probabilities by mean fields: :func:`rsscale.patches.markov_field.smooth_probabilities`."""

    @classmethod
    def of(cls, reference: Reference, options: SmoothOptions, setup: Setup) -> dict[str, Any]:
        """Layers of classes, confidence and probability; the halo of all iterations."""
        there = {layer.name: layer for layer in setup.layers(reference)}
        if _CLASSES not in there or _PERCENT not in there:
            raise RecipeError(
                f"needs the layers {_CLASSES!r} and {_PERCENT!r} of the step; it has "
                f"{', '.join(there)}: add probability to output.layers"
            )
        classes, percent = class_layer(_CLASSES, setup, reference, "smooth"), there[_PERCENT]
        if percent.axis is None or percent.dtype != "uint8" or percent.is_scaled:
            raise RecipeError(
                f"layer {_PERCENT!r} of the step is {percent.dtype}; expected percents of each "
                "class, uint8, as a map has them"
            )
        confidence = Layer(
            _CONFIDENCE,
            overview="mean",
            attributes={"long_name": "probability of the class", "units": "percent"},
        )
        return {
            "sources": {"layers": setup.source(reference, (_CLASSES, _PERCENT))},
            "layers": (classes, there.get(_CONFIDENCE, confidence), percent),
            "halo": options.radius * options.iterations,
        }

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side: what is read and written, a strip."""
        del profile
        written = tile * tile * sum(layer.pixel_bytes for layer in self.layers)
        rows, width = min(_STRIP, tile) + 2 * self.halo, tile + 2 * self.halo
        strip = rows * width * self.layers[2].depth * _FLOAT_BYTES
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + 3 * written + strip))

    def run(self, block: Block) -> Result:
        """Smooth one tile, strip by strip."""
        classes, confidence, percent = self.layers
        inputs = block.inputs["layers"]
        before = inputs[_CLASSES].values[block.inside]
        stored = inputs[_PERCENT].values
        written = {spec.name: np.full(spec.shape(*block.core.shape), spec.nodata, spec.numpy_dtype)
                   for spec in self.layers}  # fmt: skip
        values = np.array(percent.axis.values if percent.axis else (), classes.numpy_dtype)
        for start in range(0, len(before), _STRIP):
            rows = slice(start, min(start + _STRIP, len(before)))
            around = stored[:, rows.start : rows.stop + 2 * self.halo]
            seen, field = self._smoothed(around)
            number = _most(field, values, before[rows])
            of_class = np.take_along_axis(field, number[None], axis=0)[0]
            for name, of_strip in (
                (classes.name, values[number]),
                (confidence.name, _percent(of_class)),
                (percent.name, _percent(field)),
            ):
                written[name][..., rows, :][..., seen] = of_strip[..., seen]
        return self._result(block, before, written)

    def _smoothed(
        self, around: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """Where a strip without its halo was seen, and its probabilities."""
        valid = around[0] != NODATA
        field = smooth_probabilities(
            around.astype(np.float32) / np.float32(100),
            valid,
            radius=self.options.radius,
            strength=self.options.strength,
            iterations=self.options.iterations,
        )
        inside = (slice(self.halo, -self.halo), slice(self.halo, -self.halo))
        return valid[inside], np.ascontiguousarray(field[(slice(None), *inside)])


def _most(field: npt.NDArray[np.float32], values: Any, own: Any) -> npt.NDArray[np.intp]:
    """The number of the most probable class: the pixel's own, where no other is more probable."""
    number: npt.NDArray[np.intp] = field.argmax(axis=0)
    most = field.max(axis=0)
    for k, value in enumerate(values):
        number[(own == value) & (field[k] == most)] = k
    return number


def _percent(share: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    percent: npt.NDArray[np.uint8] = np.rint(share * np.float32(100)).astype(np.uint8)
    return percent


def _refuse_others(options: SmoothOptions) -> None:
    """Refuse options of the other method."""
    is_majority = options.method == "majority"
    others = ("strength", "iterations") if is_majority else ("layer",)
    for name in others:
        if name in options.model_fields_set:
            raise RecipeError(f"has {name!r}, which method {options.method!r} has not; remove it")
