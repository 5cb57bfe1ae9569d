"""Layers of a model's map: those that are asked for, and what a network says beside its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rsscale.errors import ModelError, RecipeError, nearest
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass
from rsscale.model.outputs import (
    CALIBRATION,
    NOT_KNOWN,
    OBSERVATIONS,
    ClassOutput,
    ObjectOutput,
    Output,
)

# Layers of an output that are written if they are asked for.
_OPTIONAL = ("probability", "set_size", "class_set")
LAYERS_OF_TRAINING = {
    "disagreement": "train.members of 2 or more",
    "dissimilarity": "train.applicability",
    "applicable": "train.applicability",
    "set_size": "enough places for conformal sets (train.conformal)",
    "class_set": "enough places for conformal sets (train.conformal)",
}
"""Layers that a model has only where its training was asked for them, and how it is."""

DISAGREEMENT = Layer(
    "disagreement",
    overview="mean",
    attributes={
        "long_name": "mutual information of the class and the member, of its largest possible",
        "units": "percent",
    },
)
"""The layer of what members know differently: 0 where all say the same, 100 where each is sure."""

DISSIMILARITY = Layer(
    "dissimilarity",
    "uint16",
    65535,
    scale=0.001,
    overview="mean",
    attributes={"long_name": "dissimilarity index to the training data"},
)
"""Distance to the nearest training pixel over the mean distance between training pixels."""

APPLICABLE = Layer(
    "applicable",
    overview="mode",
    attributes={
        "long_name": "area of applicability",
        "flag_values": [0, 1],
        "flag_meanings": "outside inside",
    },
)
"""1 where the imagery is like the training, 0 where the model was never shown its like."""

OBJECTS_ARE_ROWS = (
    "this model finds objects, which are rows and no layers of a map: use rsscale.detect, or a "
    "step of kind 'detect' in a recipe"
)
"""What to say where a map is asked of a model of objects."""


def choose_layers(
    names: Sequence[str] | None,
    output: Output,
    classes: Sequence[LandClass],
    extras: Sequence[Layer] = (),
) -> tuple[Layer, ...]:
    """The layers of a map by name, in the order asked for.

    Parameters
    ----------
    names : sequence of str or None
        Of the output's layers, the extras and ``observations``; None for the usual ones: not
        ``probability``, conformal sets and extras.
    output : Output
    classes : sequence of LandClass
    extras : sequence of Layer
        Further numbers of the network.

    Raises
    ------
    RecipeError
        For a name that is none; for classes without ``classification``.
    ModelError
        For a model of objects, which has no layers.
    """
    if isinstance(output, ObjectOutput):
        raise ModelError(OBJECTS_ARE_ROWS)
    known: Mapping[str, Layer] = {
        layer.name: layer for layer in (*output.layers(classes), OBSERVATIONS, *extras)
    }
    if names is None:
        optional = {*_OPTIONAL, *(layer.name for layer in extras)}
        names = [name for name in known if name not in optional]
    unknown = [name for name in names if name not in known]
    needed = "classification" if isinstance(output, ClassOutput) else None
    if unknown or not names or (needed and needed not in names):
        problem = (
            f"the model has no layer {unknown[0]!r}" if unknown else f"layers are {list(names)}"
        )
        expected = f"{needed!r}, and of {', '.join(n for n in known if n != needed)}"
        raise RecipeError(
            f"{problem}; expected {expected if needed else 'some of '}"
            f"{'' if needed else ', '.join(known)}{' those that are wanted' if needed else ''}"
            f"{_how(unknown[0], known) if unknown else ''}"
        )
    return tuple(known[name] for name in names)


def _how(name: str, known: Mapping[str, Layer]) -> str:
    """How a model comes to have a layer, or the nearest one that it has."""
    if name in LAYERS_OF_TRAINING:
        return f"; a model that was trained with {LAYERS_OF_TRAINING[name]} has it"
    return nearest(name, known)


def with_doubt(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Layers of which that of probabilities says that these are not known to be calibrated."""
    return tuple(
        replace(layer, attributes={**layer.attributes, CALIBRATION: NOT_KNOWN})
        if layer.name == "probability"
        else layer
        for layer in layers
    )
