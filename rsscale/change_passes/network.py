"""Change by a network of two dates, as a pass: the map of a model that reads one input twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from rsscale.change.change_classes import ChangeClasses
from rsscale.change_guards.guards import GuardOptions, guard
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import ModelError, RecipeError, nearest
from rsscale.geo.lattice import PixelBox
from rsscale.inference.map_facts import MAP_FACTS
from rsscale.inference.predict_box import BoxLayers, predict_box
from rsscale.inference.stack import InputStack
from rsscale.inputs.windows import times_of
from rsscale.layers import AFTER, BEFORE, NODATA, Layer, YearPair
from rsscale.legend.classes import LandClass
from rsscale.model.files import model_files, read_spec, weights_of
from rsscale.model.outputs import ClassOutput
from rsscale.model.spec import ModelSpec
from rsscale.network.receptive_field import exact_reach
from rsscale.network.scores import check_classes_to_map
from rsscale.passes.mapping import MapPass
from rsscale.passes.model_checks import check_resolution
from rsscale.recipe import Recipe, StepRecipe
from rsscale.recipe.train_recipe import ClassRecipe
from rsscale.steps.attachments import Attachment
from rsscale.steps.base import Block, Cost, Fold, Result, Setup
from rsscale.steps.options import Options

if TYPE_CHECKING:
    from rsscale.learn.model import Model

_MODEL = "model"
_PROBABILITY = "probability"


class ChangeNetworkOptions(GuardOptions):
    """``{kind: change-network, model: FOLDER, of: INPUT, from: YEAR, to: YEAR}``.

    ``threshold`` is the probability from which a pixel is changed, percent; ``unchanged`` names
    classes of the model that are no change; ``classes`` are values, names and colours of the layers
    ``from`` and ``to``; ``layers`` those that are written. What guards the two dates is in
    :class:`rsscale.change_guards.guards.GuardOptions`.
    """

    model: str
    """Folder of a network of two dates."""
    from_: int = Field(alias="from")
    """The earlier period."""
    to: int
    """The later period."""
    threshold: int = Field(default=50, ge=1, le=100)
    """Probability from which a pixel is changed, percent."""
    unchanged: tuple[str, ...] = ()
    """Classes of the model that are no change."""
    classes: tuple[ClassRecipe, ...] = ()
    """Values, names and colours of the layers `from` and `to`."""
    layers: tuple[str, ...] | None = None
    """Layers that are written; the usual ones when left out."""

    @property
    def years(self) -> YearPair:
        """The two periods.

        Raises
        ------
        RecipeError
            When they are equal, or in the wrong order.
        """
        if self.from_ >= self.to:
            raise RecipeError(
                f"is from {self.from_} to {self.to}; a change is from a period to a later one"
            )
        return YearPair(self.from_, self.to)


@dataclass(repr=False, kw_only=True)
class ChangeNetworkPass(MapPass):
    """The map of a model with the inputs ``before`` and ``after``, as layers of change.

    A pixel that one of the dates has not seen is nodata in all layers, whatever the contract says.

    Attributes
    ----------
    years : YearPair
    meaning : ChangeClasses
        What the model's classes say of change.
    threshold : int
        Percent from which a pixel is changed.
    of_model : tuple of Layer
        What the model is asked for at each pixel.
    """

    kind: ClassVar[str] = "change-network"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = ChangeNetworkOptions
    facts: ClassVar[Mapping[str, Fold]] = {**MAP_FACTS, "compared": "sum", "changed": "sum"}

    years: YearPair
    meaning: ChangeClasses
    threshold: int
    of_model: tuple[Layer, ...]

    @classmethod
    def attachments(cls, options: Any, recipe: Recipe) -> list[Attachment]:
        """The folder of the model."""
        folder = Path(recipe.path(options.model))
        return [Attachment(_MODEL, tuple(model_files(folder)), "models")]

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Any]:
        """Read the contract and check it against the input at both periods.

        Before the pass come the steps that find shift and digital numbers of the two dates.
        """
        years = options.years
        name = _the_input(recipe, setup.recipe)
        model = setup.attachment(step, _MODEL)
        spec = replace(read_spec(model.folder), seen="all")
        check_two_dates(spec, setup.recipe, name, years)
        check_resolution(setup.recipe, spec, setup.grid.geobox_of(setup.extent()))
        legend = tuple(LandClass(c.value, c.name, c.color) for c in options.classes)
        meaning = ChangeClasses.of(spec.classes, options.unchanged, legend)
        layers, of_model = _layers(meaning, spec, options.layers)
        reach = exact_reach(spec, weights_of(model.folder), setup.device)
        imagery = setup.recipe.inputs[name]
        times = times_of(imagery, years.before)
        guarded = guard(
            step,
            {
                BEFORE: setup.source(name, at=str(years.before)),
                AFTER: setup.source(name, at=str(years.after)),
            },
            options,
            setup,
            span=years.span,
            bands=imagery.bands,
            times=len(times) if times is not None else None,
            series=imagery.series is not None,
        )
        return [
            *guarded.steps,
            cls(
                step=step,
                sources=guarded.sources,
                layers=layers,
                models={years.span: model},
                specs={years.span: spec},
                recipe=setup.recipe.of_two_dates(name),
                looks=(reach,),
                years=years,
                meaning=meaning,
                threshold=options.threshold,
                of_model=of_model,
            ),
        ]

    def parameters(self) -> Mapping[str, Any]:
        """What classes mean, and the threshold; the periods are the span."""
        return {
            "threshold": self.threshold,
            "is_change": list(self.meaning.is_change),
            "pairs": [list(pair) for pair in self.meaning.pairs],
        }

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """That of the map, and the probabilities that layers are made of."""
        beside = tile * tile * sum(layer.pixel_bytes for layer in self.of_model)
        return super().memory(tile, cost, profile) + TILES_AT_ONCE * beside

    def run(self, block: Block) -> Result:
        """Map one tile."""
        result = super().run(block)
        if result.layers is None:
            raise TypeError("a map without layers")
        change = result.layers["change"].values[block.where]
        counts = {"compared": int((change != NODATA).sum()), "changed": int((change == 1).sum())}
        return replace(result, facts={**result.facts, **counts})

    def describe(self, facts: Mapping[str, float]) -> Iterable[str]:
        """Share of the pixels that both dates saw that changed, and what is told of a map."""
        if facts.get("compared"):
            share = facts.get("changed", 0) / facts["compared"]
            yield f"changed   {share:.2%} of the pixels that both periods have"
        yield from super().describe(facts)

    def _predict(
        self, stack: InputStack, model: Model, core: PixelBox, block: Block, *, batch: int
    ) -> BoxLayers:
        """Layers of change of what the model says of a strip."""
        where = block.where[core.slices(block.core)]
        prediction = predict_box(stack, model, core, where, layers=self.of_model, batch=batch)
        values = prediction.layers | self.meaning.values(
            prediction.layers[_PROBABILITY], self.threshold
        )
        return replace(prediction, layers={layer.name: values[layer.name] for layer in self.layers})


def _the_input(recipe: StepRecipe, of: Recipe) -> str:
    """The input of the recipe that is read at both periods."""
    names = [name for name in recipe.references.values() if isinstance(name, str)]
    if len(recipe.references) != 1 or not names or names[0] not in of.inputs:
        raise RecipeError(
            f"needs 'of': the one input that is read at both periods; there are {list(of.inputs)}"
        )
    if of.inputs[names[0]].static:
        raise RecipeError(f"input {names[0]!r} is static, and has no two periods to compare")
    return names[0]


def check_two_dates(spec: ModelSpec, recipe: Recipe, name: str, years: YearPair) -> None:
    """Refuse a model that is not of two dates of an input, or maps no classes.

    Raises
    ------
    ModelError
    """
    names = [model_input.name for model_input in spec.inputs]
    if sorted(names) != sorted((BEFORE, AFTER)):
        raise ModelError(
            f"model {spec.name!r} has the inputs {names}; a network of change has the two inputs "
            f"'{BEFORE}' and '{AFTER}', as train.change trains it, or "
            "rsscale.Model.of(…, inputs=[…])"
        )
    if not isinstance(spec.output, ClassOutput):
        raise ModelError(
            f"model {spec.name!r} maps {spec.layers()[0].name!r}, and no classes; a network of "
            "change has a class 'unchanged' and others that are changes"
        )
    check_classes_to_map(spec)
    imagery = recipe.inputs[name]
    for date, year in zip((BEFORE, AFTER), years, strict=True):
        spec.check_input(date, imagery.bands, times_of(imagery, year))


def _layers(
    meaning: ChangeClasses, spec: ModelSpec, names: Sequence[str] | None
) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """Layers to write, and those that the model is asked for.

    Beside those of change there may be all that the model's map may have.
    """
    of_change = {layer.name: layer for layer in meaning.layers}
    names = list(of_change) if names is None else list(names)
    if "change" not in names:
        raise RecipeError(f"layers are {names}; expected 'change', and others that are wanted")
    others = [name for name in names if name not in of_change]
    there = [*of_change, *(name for name in spec.layer_names if name not in of_change)]
    unknown = [name for name in others if name not in there]
    if unknown:
        raise RecipeError(
            f"layers has {unknown[0]!r}; expected 'change', and of {', '.join(there[1:])} those "
            f"that are wanted{nearest(unknown[0], there)}"
        )
    asked = dict.fromkeys(["classification", _PROBABILITY, *others])
    of_model = {layer.name: layer for layer in spec.layers(list(asked))}
    return tuple((of_change | of_model)[name] for name in names), tuple(of_model.values())
