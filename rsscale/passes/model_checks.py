"""Checks of a model against the recipe and the grid that it is to map."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rsscale.errors import ModelError
from rsscale.geo.ground import pixel_width
from rsscale.legend.values import check_same_classes
from rsscale.model.spec import ModelSpec
from rsscale.recipe import Recipe

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

# A model's resolution and the grid's may differ by rounding, not by more.
_SAME_RESOLUTION = 0.01
_LIKE_RESOLUTION = 0.2


def check_model(recipe: Recipe, spec: ModelSpec, period: int, extent: GeoBox) -> None:
    """Refuse a model that was made for other inputs or another resolution.

    Raises
    ------
    ModelError
    """
    from rsscale.inputs.windows import times_of

    for model_input in spec.inputs:
        if model_input.name not in recipe.inputs:
            raise ModelError(
                f"model {spec.name!r} wants an input {model_input.name!r}; "
                f"the recipe has {list(recipe.inputs)}"
            )
        imagery = recipe.inputs[model_input.name]
        spec.check_input(model_input.name, imagery.bands, times_of(imagery, period))
    check_resolution(recipe, spec, extent)


def check_resolution(recipe: Recipe, spec: ModelSpec, extent: GeoBox) -> None:
    """Refuse a model that was made for another resolution.

    Raises
    ------
    ModelError
    """
    trained, used = spec.resolution, pixel_width(extent)
    # Where the projection's scale changes over an area, that of its centre is no exact figure.
    is_true = math.isclose(used, recipe.grid.build().pixel_width)
    tolerance = _SAME_RESOLUTION if is_true else _LIKE_RESOLUTION
    if trained and abs(trained - used) > tolerance * used:
        raise ModelError(
            f"model {spec.name!r} was trained at a resolution of {trained:g}, the recipe's "
            f"grid has {used:g} (metres on the ground, or degrees); train a model for this grid, "
            "or change grid.resolution"
        )


def check_same_outputs(specs: Mapping[str, ModelSpec]) -> None:
    """Refuse models of several periods with other classes or layers: a product has one set.

    Raises
    ------
    ModelError
    """
    check_same_classes({period: spec.classes for period, spec in specs.items()})
    (first, spec), *others = specs.items()
    for period, other in others:
        names, of_other = (
            [layer.name for layer in contract.layers()] for contract in (spec, other)
        )
        if names != of_other or spec.layers()[0].dtype != other.layers()[0].dtype:
            raise ModelError(
                f"the models of {first} and {period} make the layers {names}, and {of_other}; one "
                "product has one set of layers: use models of the same output"
            )
