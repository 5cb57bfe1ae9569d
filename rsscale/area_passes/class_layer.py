"""A layer of classes of an earlier step, and their names."""

from __future__ import annotations

from rsscale.errors import RecipeError, nearest
from rsscale.layers import Layer
from rsscale.legend.flags import class_names
from rsscale.recipe import Reference
from rsscale.steps.base import Setup


def class_layer(name: str, setup: Setup, reference: Reference, of: str = "count") -> Layer:
    """A layer of classes of an earlier step; ``of`` is what is done with it, for messages.

    Raises
    ------
    RecipeError
        When there is none, or it has no classes.
    """
    there = {layer.name: layer for layer in setup.layers(reference)}
    if name not in there:
        raise RecipeError(
            f"the step to {of} has no layer {name!r}; it has {', '.join(there)}"
            f"{nearest(name, there)}"
        )
    layer = there[name]
    # Percents are whole numbers too; only of quantities is there a unit, or a mean.
    is_quantity = layer.is_float or layer.is_scaled or "units" in layer.attributes
    if is_quantity or layer.axis or layer.overview == "mean":
        raise RecipeError(f"layer {name!r} holds no classes, but quantities or an axis")
    return layer


def names_of(layer: Layer) -> dict[int, str]:
    """Names of classes, where the layer says them."""
    values = layer.attributes.get("flag_values", ())
    names = class_names(layer.attributes)
    return {int(value): name for value, name in zip(values, names, strict=False)}
