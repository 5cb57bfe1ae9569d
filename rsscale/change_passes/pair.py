"""The two dates that a change is told of: imagery or layers of a step, read side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from rsscale.change_guards.guards import GuardOptions, guard
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.composites.strips import composite_strips
from rsscale.errors import RecipeError, nearest
from rsscale.geo.lattice import WARP_BLOCK, PixelBox
from rsscale.inputs.windows import window_names
from rsscale.layers import AFTER, BEFORE, Layer
from rsscale.memory import PROCESS_BYTES
from rsscale.model.outputs import QUANTIZATION
from rsscale.recipe import Reference, StepRecipe
from rsscale.spectral_change.vectors import shares_bands
from rsscale.steps.base import Block, Cost, Setup, Source, Step
from rsscale.steps.options import check_in_order

PART_BYTES = 256 << 20
"""Memory of the two dates of a part of a tile, unless a block of imagery, 512 rows, takes more."""
EMBEDDING = "embedding"
Dates = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
# What a thread holds of the scenes that it composites.
_READING = 450 << 20


class PairOptions(GuardOptions):
    """``from``, ``to`` and ``bands`` of every kind of step that compares two dates.

    ``bands`` are those of the input, or layers of the step; left out, all bands, the layer
    ``embedding`` of a step that has one, or all its layers of floats. What guards the two dates is
    in :class:`rsscale.change_guards.guards.GuardOptions`.
    """

    from_: int = Field(alias="from")
    """The earlier period."""
    to: int
    """The later period."""
    bands: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Bands of the input, or layers of the step, that are compared; left out, all bands, the layer
    `embedding` of a step that has one, or all its layers of floats."""

    @model_validator(mode="after")
    def _in_order(self) -> PairOptions:
        check_in_order(self.from_, self.to)
        if self.bands and len(set(self.bands)) < len(self.bands):
            raise ValueError(f"bands are {list(self.bands)}; name each once")
        return self


@dataclass(frozen=True)
class Pair:
    """Two dates over a box.

    Attributes
    ----------
    before, after : float32 array (band, y, x)
        Physical values of the layers, or the composites as they are; NaN where there is none.
    seen : bool array (y, x)
        Where both dates have all bands, or as many as are wanted. Elsewhere nothing is known of
        change.
    names : tuple of str
        Of the bands: ``red``, or ``summer-red`` of several time windows, ``embedding-0``.
    """

    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]
    seen: npt.NDArray[np.bool_]
    names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        before: npt.NDArray[np.float32],
        after: npt.NDArray[np.float32],
        names: tuple[str, ...],
        least_shared: float = 1.0,
    ) -> Pair:
        """The pair of two arrays ``(band, y, x)``, seen where so many bands have both values."""
        return cls(before, after, shares_bands(before, after, least_shared), names)

    def within(self, part: tuple[slice, slice]) -> Pair:
        """Some rows and columns of it, such as ``block.inside``."""
        cut = (..., *part)
        return Pair(self.before[cut], self.after[cut], self.seen[part], self.names)


@dataclass(frozen=True)
class PairSource:
    """What a pass of two dates reads, and how.

    A pass has ``sources`` among its own, ``span`` as its one span, and reads a tile in
    :meth:`parts`.

    Attributes
    ----------
    sources : mapping of str to Source
        By the names :data:`BEFORE` and :data:`AFTER`.
    span : str
        ``"2000-2003"``: the two periods.
    names : tuple of str
        Of the bands of a :class:`Pair`.
    bands : tuple of str
        Those of the input that are read; empty for a step.
    layers : tuple of Layer
        Those of the step that are read; empty for an input.
    least_shared : float
        Share of the bands of a :class:`Pair` that both dates must have.
    """

    sources: Mapping[str, Source]
    span: str
    names: tuple[str, ...]
    bands: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    least_shared: float = 1.0

    @classmethod
    def open(cls, recipe: StepRecipe, options: PairOptions, setup: Setup) -> PairSource:
        """Open the input or step of ``of`` at the two periods.

        Raises
        ------
        RecipeError
            When ``of`` is not one input or step, has not these periods or bands, or is of
            something that has no two dates.
        """
        reference = recipe.only_reference("input or step whose two periods are compared")
        spans = list(setup.spans(reference))
        for key, period in (("from", options.from_), ("to", options.to)):
            if str(period) not in spans:
                raise RecipeError(f"{key} is {period}, and {reference!r} is of {', '.join(spans)}")
        is_input = isinstance(reference, str) and reference in setup.recipe.inputs
        given = (
            _of_input(reference, options, setup)
            if is_input
            else _of_step(reference, options, setup)
        )
        names = tuple(layer.name for layer in given.get("layers", ()))
        return cls(
            sources={
                BEFORE: setup.source(reference, names, at=str(options.from_)),
                AFTER: setup.source(reference, names, at=str(options.to)),
            },
            span=f"{options.from_}-{options.to}",
            **given,
        )

    def guarded(
        self, step: str, options: PairOptions, setup: Setup
    ) -> tuple[tuple[Step, ...], PairSource]:
        """The steps that are to be opened before a pass, and the pair that it is to read then.

        Raises
        ------
        RecipeError
            As :func:`rsscale.change_guards.guards.guard` does.
        """
        is_input = not self.layers
        bands = self.bands or tuple(layer.name for layer in self.layers)
        guarded = guard(
            step,
            self.sources,
            options,
            setup,
            span=self.span,
            bands=bands,
            times=len(self.names) // len(bands) if is_input else None,
        )
        return guarded.steps, replace(self, sources=guarded.sources)

    def parameters(self) -> Mapping[str, Any]:
        """What decides values: the bands that are compared; the periods are the span."""
        shared = {} if self.least_shared == 1 else {"least_shared": self.least_shared}
        return {"bands": list(self.names), **shared}

    def parts(self, block: Block, halo: int = 0) -> Iterator[tuple[PixelBox, Pair]]:
        """Boxes that make up a tile, from top to bottom, and the two dates over each of them.

        A part holds few rows, so that a tile of imagery takes no more memory than its parts.

        Parameters
        ----------
        block : Block
        halo : int
            Pixels around each part that the pair covers too, at most the pass's halo.
        """
        boxes = self._parts(block.core, halo)
        reads = [box.pad(halo) & block.around for box in boxes]
        dates = self._composites if self.bands else self._layers
        for box, (before, after) in zip(boxes, dates(block, reads), strict=True):
            yield box, Pair.of(before, after, self.names, self.least_shared)

    def memory(
        self, tile: int, cost: Cost, profile: NumericProfile, *, working: int, kept: int = 0
    ) -> int:
        """Bytes of a process that computes two tiles of a pass of two dates side by side.

        Parameters
        ----------
        tile, cost, profile
            As :meth:`rsscale.steps.base.Pass.memory` is given them.
        working : int
            Bytes for each value of both dates in a part, beside its own four.
        kept : int
            Bytes of a whole tile that it makes.
        """
        rows = max(box.shape[0] for box in self._parts(PixelBox(0, 0, tile, tile), 0))
        part = 2 * len(self.names) * rows * tile
        reading = min(cost.bytes, profile.threads * _READING) if self.bands else cost.bytes
        return PROCESS_BYTES + int(reading + TILES_AT_ONCE * ((4 + working) * part + kept))

    def _composites(self, block: Block, reads: Sequence[PixelBox]) -> Iterator[Dates]:
        """The composites of both dates over some boxes; windows of time one after the other."""
        lazy = {
            key: block.inputs[key]["composite"].sel(band=list(self.bands))
            for key in (BEFORE, AFTER)
        }
        resources = block.resources
        threads = resources.profile.threads or None
        for strip in composite_strips(lazy, block.around, reads, threads, resources.meter):
            arrays = [strip[key].values for key in (BEFORE, AFTER)]
            before, after = (
                np.ascontiguousarray(array.reshape(len(self.names), *array.shape[-2:]))
                for array in arrays
            )
            yield before, after

    def _layers(self, block: Block, reads: Sequence[PixelBox]) -> Iterator[Dates]:
        """The layers of both dates over some boxes: physical values of what is in memory."""
        for read in reads:
            part = (..., *read.slices(block.around))
            before, after = (
                np.concatenate(
                    [
                        _physical(block.inputs[key][layer.name].values[part], layer)
                        for layer in self.layers
                    ]
                )
                for key in (BEFORE, AFTER)
            )
            yield before, after

    def _parts(self, core: PixelBox, halo: int) -> list[PixelBox]:
        """A box cut along its rows: imagery along those of the blocks that it is read in."""
        step = WARP_BLOCK if self.bands else 1
        row = 8 * len(self.names) * (core.shape[1] + 2 * halo)
        height = max(PART_BYTES // row // step, 1) * step
        first = core.row0 // height * height + height
        lines = [core.row0, *range(first, core.row1, height), core.row1]
        return [PixelBox(top, core.col0, bottom, core.col1) for top, bottom in pairwise(lines)]


def _of_input(reference: Reference, options: PairOptions, setup: Setup) -> dict[str, Any]:
    """Bands of an input, and their names in a pair."""
    input_recipe = setup.recipe.inputs[str(reference)]
    if input_recipe.static or input_recipe.series:
        kind = "static" if input_recipe.static else "a series"
        raise RecipeError(
            f"input {reference!r} is {kind}, and two dates of composites are compared; use an "
            "input with 'composite'"
        )
    bands = options.bands or input_recipe.bands
    for band in bands:
        if band not in input_recipe.bands:
            raise RecipeError(
                f"bands has {band!r}; input {reference!r} has {', '.join(input_recipe.bands)}"
                f"{nearest(band, input_recipe.bands)}"
            )
    windows = window_names(input_recipe, options.from_)
    several = len(windows) > 1
    names = [f"{window}-{band}" if several else band for window in windows for band in bands]
    return {"names": tuple(names), "bands": tuple(bands)}


def _of_step(reference: Reference, options: PairOptions, setup: Setup) -> dict[str, Any]:
    """Layers of a step, and the names of their values in a pair."""
    there = {layer.name: layer for layer in setup.layers(reference)}
    chosen = options.bands
    if chosen is None and EMBEDDING in there:
        chosen = (EMBEDDING,)
    if chosen is None:
        chosen = tuple(name for name, layer in there.items() if layer.is_float)
    if not chosen:
        raise RecipeError(
            f"the step has no layer 'embedding' and none of floats, only {', '.join(there)}; name "
            "the layers to compare as 'bands', or compare its classes by post-classification"
        )
    for name in chosen:
        if name not in there:
            raise RecipeError(
                f"bands has {name!r}, and the step has the layers {', '.join(there)}"
                f"{nearest(name, there)}"
            )
        if "flag_values" in there[name].attributes:
            raise RecipeError(
                f"layer {name!r} holds classes, whose numbers have no distance; compare them by "
                "post-classification"
            )
    layers = tuple(there[name] for name in chosen)
    names = [
        f"{layer.name}-{value}" if layer.axis else layer.name
        for layer in layers
        for value in (layer.axis.values if layer.axis else (0,))
    ]
    return {"names": tuple(names), "layers": layers}


def _physical(stored: npt.NDArray[Any], layer: Layer) -> npt.NDArray[np.float32]:
    """Values ``(band, y, x)`` of a stored layer, NaN for nodata."""
    values = stored.astype(np.float32)
    if layer.attributes.get("quantization") == QUANTIZATION["square"]:
        values = np.sign(values) * np.square(np.abs(values) / np.float32(127.5))
    else:
        values = values * np.float32(layer.scale) + np.float32(layer.offset)
    values[~layer.is_valid(stored)] = np.nan
    return values if layer.axis else values[None]
