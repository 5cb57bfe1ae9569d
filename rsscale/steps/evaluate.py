"""Evaluate a pass over a box: read its sources, run it, check what it gives.

A worker does it for tiles, a preview for the box that a person asked for: the same function.
"""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import xarray as xr

from rsscale.errors import RecipeError, RsscaleError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer, TileKey
from rsscale.steps.base import ALL, Block, Pass, Resources, Result, Step
from rsscale.steps.block import Unstored, by_name, centres, refuse_misplaced

MISTAKES = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError,
    NotImplementedError, StopIteration, TypeError, ValueError,
)  # fmt: skip
"""What code raises that will raise it again: such a tile is not tried a second time."""


@dataclass(frozen=True)
class Evaluated:
    """A pass over a box.

    Attributes
    ----------
    result : Result
        Checked; nodata outside the area.
    pixels : int
        Of the box inside the area.
    around : PixelBox
        What was read.
    seconds : mapping of stage to float
    """

    result: Result
    pixels: int
    around: PixelBox
    seconds: Mapping[str, float]


def evaluate(
    step: Pass,
    key: TileKey,
    core: PixelBox,
    *,
    grid: Grid,
    shape: shapely.Geometry,
    resources: Resources,
) -> Evaluated:
    """Evaluate a pass.

    Parameters
    ----------
    step : Pass
    key : TileKey
        Its span and level count; the box need not be the tile's.
    core : PixelBox
        In pixels of the key's level.
    grid : Grid
        Of the key's level.
    shape : shapely geometry
        The area in the grid's CRS.
    resources : Resources

    Raises
    ------
    RsscaleError
        When what the pass gives is not what it declares.
    """
    from rsscale.geo.rasterize import area_mask

    around = step.around(core)
    block = Block(
        key=key,
        grid=grid,
        core=core,
        around=around,
        inputs={n: source.read(around, key, resources) for n, source in step.sources.items()},
        where=area_mask(shape, grid, core),
        resources=resources,
    )
    before, started = resources.stages(), time.perf_counter()
    result = _run(step, block)
    wall = time.perf_counter() - started
    result = check_result(step, block, result)
    seconds = _stages(step, before, resources.stages(), result.seconds, wall)
    return Evaluated(result, int(block.where.sum()), around, seconds)


def _stages(
    step: Pass,
    before: Mapping[str, float],
    after: Mapping[str, float],
    given: Mapping[str, Any],
    wall: float,
) -> dict[str, float]:
    """Seconds of each stage, which add up to those that the tile took; none is negative.

    A pass that does not say computed for as long as it ran, but for what was read meanwhile: it
    may read lazily, with more threads than reading is counted for.
    """
    if given:
        own = _numbers(step, "seconds of", given)
        return {**after, **{name: max(value or 0.0, 0.0) for name, value in own.items()}}
    meanwhile = {stage: max(after[stage] - before[stage], 0.0) for stage in after}
    total = sum(meanwhile.values())
    share = min(1.0, wall / total) if total else 1.0
    stages = {stage: before[stage] + share * seconds for stage, seconds in meanwhile.items()}
    return {**stages, "compute": max(wall - share * total, 0.0)}


def _run(step: Pass, block: Block) -> Result:
    """Run a pass; what its code trips over is told with its type, and where."""
    try:
        result = step.run(block)
    except MISTAKES as error:
        raise failure_of(step, error) from error
    if not isinstance(result, Result):
        raise RsscaleError(
            f"step {step.step!r} gave {type(result).__name__}; expected a Result, such as "
            "Result(layers=block.dataset(self.layers, {…}))"
        )
    return result


def failure_of(step: Step, error: BaseException) -> RsscaleError:
    """The error of a tile whose step raised, on one line.

    It has type and text, the line of the step's own module that it came from, and the line that
    raised it where that is elsewhere.
    """
    frames = traceback.extract_tb(error.__traceback__)
    module = getattr(sys.modules.get(type(step).__module__), "__file__", None)
    own = [frame for frame in frames if frame.filename == module]
    places = [*own[-1:], frames[-1]] if not own or own[-1] is not frames[-1] else own[-1:]
    where = ", by ".join(f"{Path(f.filename).name}, line {f.lineno}" for f in places)
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return RsscaleError(f"step {step.step!r} failed: {text} ({where})")


def check_result(step: Pass, block: Block, result: Result) -> Result:
    """Refuse a result that is not what the pass declares; mask what lies outside the area.

    Returns the result with layers in memory, their axes in the order that they are stored in, and
    facts as plain numbers.

    Raises
    ------
    RsscaleError
        Which names the layer, what was given and what was declared.
    """
    if not isinstance(result.layers, xr.Dataset | None):
        raise RsscaleError(
            f"step {step.step!r} gave layers as {type(result.layers).__name__}; expected a "
            "Dataset, such as block.dataset(self.layers, {…})"
        )
    given = {} if result.layers is None else {str(n): a for n, a in result.layers.items()}
    declared = [layer.name for layer in step.layers]
    if sorted(given) != sorted(declared):
        raise RsscaleError(
            f"step {step.step!r} gave the layers {list(given)}, declared are {declared}"
        )
    if (result.table is None) != (step.schema is None):
        wanted = "rows, and declares none" if step.schema is None else "no rows, and declares some"
        raise RsscaleError(f"step {step.step!r} gave {wanted}")
    facts = _checked_facts(step, result.facts)
    outside = ~block.where if step.masked and not block.where.all() else None
    places = centres(block.grid, block.core)
    arrays = {}
    for layer in step.layers:
        place = f"step {step.step!r} gave layer {layer.name!r}"
        array = by_name(given[layer.name], layer, place)
        _check_layer(step, layer, array, block)
        refuse_misplaced(array, layer, places, place)
        if array.chunks:  # on threads of this process; the default would ask the cluster again
            array = array.compute(scheduler="threads")
        if outside is not None:
            _mask(array, outside, layer)
        arrays[layer.name] = array
    layers = None if result.layers is None else result.layers.assign(arrays)
    return replace(result, layers=layers, facts=facts)


def _checked_facts(step: Pass, facts: Mapping[str, Any]) -> dict[str, float | None]:
    """The facts of a tile as numbers that JSON has; NumPy's are taken, nothing that is no number.

    Raises
    ------
    RsscaleError
        Which names the fact.
    """
    declared = step.declared_facts()
    for name in facts:
        if name not in declared:
            raise RsscaleError(
                f"step {step.step!r} gave the fact {name!r}, declared are {list(declared)}"
            )
    return _numbers(step, "the fact", facts)


def _numbers(step: Pass, subject: str, values: Mapping[str, Any]) -> dict[str, float | None]:
    """Finite numbers by name, as plain ones; ``what`` they are begins the message."""
    numbers: dict[str, float | None] = {}
    for name, value in values.items():
        is_numpy = isinstance(value, np.generic | np.ndarray | xr.DataArray) and value.size == 1
        number = value.item() if is_numpy else value
        if number is not None and not (isinstance(number, int | float) and math.isfinite(number)):
            raise RsscaleError(
                f"step {step.step!r} gave {subject} {name!r} as {number!r}; expected a finite "
                "number, or None where there is none"
            )
        numbers[name] = number
    return numbers


def _check_layer(step: Pass, layer: Layer, array: xr.DataArray, block: Block) -> None:
    wanted = layer.shape(*block.core.shape)
    if array.shape != wanted or array.dtype != layer.numpy_dtype:
        raise RsscaleError(
            f"step {step.step!r} gave layer {layer.name!r} as {array.dtype} {array.shape}, "
            f"declared is {layer.dtype} {wanted}: the tile without its halo, in the declared type"
        )


def _mask(array: xr.DataArray, outside: np.ndarray, layer: Layer) -> None:
    values = array.values
    if not values.flags.writeable:
        values = values.copy()
        array.data = values
    values[..., outside] = layer.nodata


@dataclass(frozen=True)
class ComputedSource(Unstored):
    """Layers of an earlier step, computed as they are read: for a box that no run has mapped.

    Attributes
    ----------
    step : Pass
    grid : Grid
    shape : shapely geometry
    names : tuple of str
        Layers; all when empty.
    at : str
        A fixed span, ``"all"``, or the key's own when empty.
    """

    step: Pass
    grid: Grid
    shape: shapely.Geometry
    names: tuple[str, ...] = ()
    at: str = ""

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """The step's layers over a box, in memory."""
        if self.step.levels() != (0,) or key.level:
            raise RecipeError(f"step {self.step.step!r} has levels, of which no box is computed")
        spans = self.step.spans() if self.at == ALL else (self.at or key.span,)
        datasets = [self._over(box, span, resources) for span in spans]
        if self.at != ALL:
            return datasets[0]
        return xr.concat(datasets, "time", coords="minimal", compat="override", join="override")

    def _over(self, box: PixelBox, span: str, resources: Resources) -> xr.Dataset:
        key = TileKey(self.step.step, span, 0, 0)
        own = Resources(resources.profile, resources.meter, resources.unreadable)
        layers = evaluate(
            self.step, key, box, grid=self.grid, shape=self.shape, resources=own
        ).result.layers
        if layers is None:
            raise RecipeError(f"step {self.step.step!r} writes no layers")
        return layers[list(self.names)] if self.names else layers
