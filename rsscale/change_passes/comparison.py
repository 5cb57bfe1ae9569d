"""Change as a pass: two spans of an earlier step compared pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field, model_validator

from rsscale.change.comparison import change_layers, compare
from rsscale.errors import RecipeError
from rsscale.layers import NODATA, Layer
from rsscale.legend.classes import LandClass, classes_from_attributes
from rsscale.legend.values import check_known, check_nodata, class_values
from rsscale.recipe import StepRecipe
from rsscale.steps.base import Block, Fold, Pass, Result, Setup, Source
from rsscale.steps.options import Options, check_in_order

_COMPARED = ("classification", "confidence", "probability")


class CompareOptions(Options):
    """``{kind: post-classification, of: STEP, from: PERIOD, to: PERIOD}``."""

    from_: int = Field(alias="from")
    """The earlier period."""
    to: int
    """The later period."""

    @model_validator(mode="after")
    def _in_order(self) -> CompareOptions:
        check_in_order(self.from_, self.to)
        return self


@dataclass(repr=False, kw_only=True)
class ComparePass(Pass):
    """Post-classification comparison; see :func:`rsscale.detect_change`.

    Attributes
    ----------
    span : str
        ``"2023-2024"``: the two periods.
    classes : tuple of LandClass
        Of both maps.
    nodata : float
        Of the layer of classes.
    """

    kind: ClassVar[str] = "post-classification"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = CompareOptions
    facts: ClassVar[Mapping[str, Fold]] = {"compared": "sum", "changed": "sum"}

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Layer, ...]
    span: str
    classes: tuple[LandClass, ...]
    nodata: float = NODATA

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Pass]:
        """Open two sources of one step, at the two periods."""
        reference = recipe.only_reference("step whose two periods are compared")
        there = {layer.name: layer for layer in setup.layers(reference)}
        if "classification" not in there:
            raise RecipeError(
                f"the step to compare has no layer 'classification'; it has {', '.join(there)}"
            )
        _check_comparable(there["classification"])
        names = tuple(name for name in _COMPARED if name in there and _is_compared(there[name]))
        classes = classes_from_attributes(there["classification"].attributes)
        check_nodata([there["classification"].nodata], classes, holder="the step to compare")
        return [
            cls(
                step=step,
                sources={
                    "before": setup.source(reference, names, at=str(options.from_)),
                    "after": setup.source(reference, names, at=str(options.to)),
                },
                layers=change_layers(classes, doubt=len(names) > 1),
                span=f"{options.from_}-{options.to}",
                classes=classes,
                nodata=there["classification"].nodata,
            )
        ]

    def spans(self) -> Sequence[str]:
        """The one pair of periods."""
        return (self.span,)

    def parameters(self) -> Mapping[str, Any]:
        """The classes; the periods are the span."""
        return {"classes": [[land_class.value, land_class.name] for land_class in self.classes]}

    def run(self, block: Block) -> Result:
        """Compare one tile."""
        before, after = (self._arrays(block, name) for name in ("before", "after"))
        arrays = compare(before, after, len(self.classes))
        change = arrays["change"][block.where]
        facts = {"compared": int((change != 255).sum()), "changed": int((change == 1).sum())}
        written = {layer.name: arrays[layer.name] for layer in self.layers}
        return Result(layers=block.dataset(self.layers, written), facts=facts)

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """Share of the pixels that were compared that changed."""
        if not facts.get("compared"):
            return []
        share = facts.get("changed", 0) / facts["compared"]
        return [f"changed   {share:.2%} of the pixels that both periods have"]

    def _arrays(self, block: Block, name: str) -> dict[str, Any]:
        """Layers of a map inside the tile; its classes with 255 for nodata."""
        arrays = {str(n): v.values[(..., *block.inside)] for n, v in block.inputs[name].items()}
        holder = f"the map {name} the change"
        arrays["classification"] = class_values(
            arrays["classification"], [self.nodata], holder=holder
        )
        check_known(arrays["classification"], self.classes, holder=holder)
        return arrays


def _check_comparable(layer: Layer) -> None:
    if layer.is_float or layer.is_scaled or layer.axis:
        raise RecipeError(
            "the layer 'classification' of the step to compare holds no classes, but quantities or "
            "an axis; write class values as they are"
        )


def _is_compared(layer: Layer) -> bool:
    """Whether a layer is one of classes, or of percents as a map has it."""
    if layer.name == "classification":
        return True
    return layer.dtype == "uint8" and not layer.is_scaled and layer.nodata == NODATA
