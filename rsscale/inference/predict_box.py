"""Compute a map's layers for one box from inputs in memory, for eager and lazy maps alike."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import PixelBox
from rsscale.inference.infer import infer
from rsscale.inference.sampled_values import SampledValues
from rsscale.inference.stack import InputStack
from rsscale.layers import NODATA, Layer
from rsscale.model.outputs import OBSERVATIONS
from rsscale.network.batch import Predictor
from rsscale.network.receptive_field import warn_of_context

_log = logging.getLogger("rsscale")
# A look at how far a model looks takes two windows: not beside fewer than these.
_MANY = 4


@dataclass(frozen=True)
class BoxLayers:
    """The map of a box.

    Attributes
    ----------
    layers : dict of name to array
        ``(row, col)`` or ``(axis, row, col)``, of the layers' types and nodata.
    non_finite : int
        Mapped pixels for which the model returned no number.
    batch : int
        Windows that the model saw at once.
    windows : int
        Windows that were predicted.
    sampled : SampledValues
        A sample of the input.
    """

    layers: dict[str, npt.NDArray[Any]]
    non_finite: int
    batch: int
    windows: int = 0
    sampled: SampledValues = field(default_factory=SampledValues)


def predict_box(
    stack: InputStack,
    model: Predictor,
    box: PixelBox,
    to_map: npt.NDArray[np.bool_],
    *,
    layers: Sequence[Layer],
    batch: int,
) -> BoxLayers:
    """Map one box; a pixel's values do not depend on the box.

    Parameters
    ----------
    stack : InputStack
        Over all that the windows of the box read, or as much of it as there is.
    model : Predictor
    box : PixelBox
    to_map : bool array (row, col)
        Pixels of ``box`` to map; the others are nodata in every layer.
    layers : sequence of Layer
        Which to compute, of those of the model and ``observations``.
    batch : int
        Windows that the model sees at once, if memory allows.

    Raises
    ------
    ModelError
        When one window does not fit into memory.
    """
    mapped = stack.seen(box)
    mapped &= to_map
    computed = [layer for layer in layers if layer.name != OBSERVATIONS.name]
    values = {layer.name: empty(layer, box) for layer in computed}
    non_finite, windows, used = infer(values, stack, model, box, mapped, batch=batch)
    for layer in computed:
        _blank(values[layer.name], layer, ~mapped)
    if len(computed) < len(layers):
        values[OBSERVATIONS.name] = stack.observations(box)
        _blank(values[OBSERVATIONS.name], OBSERVATIONS, ~to_map)
    written = {layer.name: values[layer.name] for layer in layers}
    return BoxLayers(written, non_finite, used, windows, stack.sampled_values())


def empty(layer: Layer, box: PixelBox) -> npt.NDArray[Any]:
    """A layer over a box: all nodata."""
    return np.full(layer.shape(*box.shape), layer.nodata, layer.numpy_dtype)


def _blank(values: npt.NDArray[Any], layer: Layer, outside: npt.NDArray[np.bool_]) -> None:
    """Write nodata where a pixel is not mapped."""
    if layer.dtype == "uint8" and layer.nodata == NODATA:
        # 255 is all bits, so "or" writes it; ten times as fast as assigning through a mask.
        np.bitwise_or(values, np.negative(outside.view(np.uint8)), out=values)
        return
    values[..., outside] = layer.nodata


def warn_of_map(result: BoxLayers, model: Predictor, box: PixelBox, batch: int) -> None:
    """Log what a person should know of a map: no numbers, a smaller batch, a halo too small."""
    if result.non_finite:
        _log.warning(
            "the model returned no number for %d pixels of %s; they are nodata",
            result.non_finite,
            box,
        )
    for warning in result.sampled.warnings():
        _log.warning("%s: %s", box, warning)
    if result.batch != batch:
        _log.warning(
            "%s was predicted with %d windows at once, since memory was too small for %d",
            box,
            result.batch,
            batch,
        )
    if result.windows >= _MANY:
        warn_of_context(model, result.batch)
