"""Compute a map's layers for one box from inputs in memory, for eager and lazy maps alike."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import PixelBox
from rsscale.inference.infer import infer
from rsscale.inference.stack import InputStack
from rsscale.layers import NODATA
from rsscale.model.receptive_field import tell_of_context
from rsscale.model.spec import Predictor

_log = logging.getLogger("rsscale")
# A look at how far a model looks takes two windows: not beside fewer than these.
_MANY = 4


@dataclass(frozen=True)
class BoxLayers:
    """The map of a box.

    Attributes
    ----------
    layers : dict of name to uint8 array
        ``classification``, ``confidence`` and ``observations`` ``(row, col)``, and if asked for
        ``probability (class, row, col)``; 255 is nodata.
    non_finite : int
        Mapped pixels for which the model returned no number.
    batch : int
        Windows that the model saw at once.
    windows : int
        Windows that were predicted.
    """

    layers: dict[str, npt.NDArray[np.uint8]]
    non_finite: int
    batch: int
    windows: int = 0


def predict_box(
    stack: InputStack,
    model: Predictor,
    box: PixelBox,
    to_map: npt.NDArray[np.bool_],
    *,
    probability: bool,
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
    probability : bool
        Also the probability of every class.
    batch : int
        Windows that the model sees at once, if memory allows.

    Raises
    ------
    ModelError
        When one window does not fit into memory.
    """
    mapped = stack.seen(box)
    mapped &= to_map
    layers = empty_layers(box, len(model.spec.classes) if probability else 0)
    non_finite, windows, used = infer(layers, stack, model, box, mapped, batch=batch)
    layers["observations"] = stack.observations(box)
    for name, layer in layers.items():
        outside = ~(to_map if name == "observations" else mapped)
        # 255 is all bits, so "or" writes it; ten times as fast as assigning through a mask.
        np.bitwise_or(layer, np.negative(outside.view(np.uint8)), out=layer)
    return BoxLayers(layers, non_finite, used, windows)


def empty_layers(box: PixelBox, classes: int) -> dict[str, npt.NDArray[np.uint8]]:
    """Classification, confidence and, of so many classes, probability: all nodata."""
    layers = {
        "classification": np.full(box.shape, NODATA, np.uint8),
        "confidence": np.full(box.shape, NODATA, np.uint8),
    }
    if classes:
        layers["probability"] = np.full((classes, *box.shape), NODATA, np.uint8)
    return layers


def tell(result: BoxLayers, model: Predictor, box: PixelBox, batch: int) -> None:
    """Log what a person should know of a map: no numbers, a smaller batch, a halo too small."""
    if result.non_finite:
        _log.warning(
            "the model returned no number for %d pixels of %s; they are nodata",
            result.non_finite,
            box,
        )
    if result.batch != batch:
        _log.warning(
            "%s was predicted with %d windows at once, since memory was too small for %d",
            box,
            result.batch,
            batch,
        )
    if result.windows >= _MANY:
        tell_of_context(model, result.batch)
