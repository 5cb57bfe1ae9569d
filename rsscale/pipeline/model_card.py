"""Describe a model folder, and check it by itself and against a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsscale.errors import ModelError, RsscaleError
from rsscale.layers import AFTER, BEFORE, YearPair
from rsscale.learn.model_html import input_lines, output_lines
from rsscale.model.files import model_files, read_item, read_spec, read_training
from rsscale.model.mlm_item import ANY_TIME
from rsscale.model.spec import ModelSpec
from rsscale.pictures.training_pictures import draw_training
from rsscale.pictures.training_text import story_lines
from rsscale.recipe import Recipe, read_recipe
from rsscale.text.html_tables import block, heading, preformatted
from rsscale.training.basis import WHERE

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from rsscale.learn.model import Model


@dataclass(frozen=True)
class ModelCard:
    """What a model folder says of its model; its text is made for people.

    Attributes
    ----------
    folder : Path
    spec : ModelSpec
    properties : mapping
        Of the STAC item: framework, what it was trained on, what was measured.
    training : mapping or None
        The content of ``training.json``.
    """

    folder: Path
    spec: ModelSpec
    properties: Mapping[str, Any]
    training: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return "\n".join(f"{name:<11}{text}".rstrip() for name, text in self._lines())

    def _repr_html_(self) -> str:
        # Figures of the classes stand below one another by blanks.
        return block(heading(self.spec.name), preformatted(str(self).splitlines()))

    def _lines(self) -> Iterator[tuple[str, str]]:
        spec, said = self.spec, self.properties
        yield "model", f"{spec.name} ({self.folder})"
        framework = said.get("mlm:framework", "pytorch")
        parameters = said.get("mlm:total_parameters")
        size = f", {parameters:,} parameters" if isinstance(parameters, int) else ""
        yield "network", f"{spec.architecture} of {framework}{size}"
        yield from input_lines(spec)
        yield from output_lines(spec, classes=not self.training)
        if self.training:
            yield from story_lines(self.training)
        else:
            yield from self._training_lines()
            for name in ("start_datetime", "end_datetime"):
                if said.get(name) not in (None, ANY_TIME[name]):
                    yield name.removesuffix("_datetime"), str(said[name])
        if said.get("license"):
            yield "license", str(said["license"])

    def _training_lines(self) -> Iterator[tuple[str, str]]:
        training = self.properties.get("rsscale:training")
        if not isinstance(training, Mapping):
            return
        accuracy, tested = training.get("accuracy"), training.get("tested")
        if isinstance(accuracy, int | float) and isinstance(tested, Mapping):
            measured = f"{accuracy:.3f} on {sum(tested.values()):,} labelled pixels"
            yield "accuracy", f"{measured} of {WHERE.get(training.get('basis'), 'places')}"
        for name in ("steps", "seed"):
            if name in training:
                yield name, str(training[name])


def describe_model(folder: str | Path) -> ModelCard:
    """Read what a model folder says of its model; neither torch nor the weights are needed.

    Parameters
    ----------
    folder : path

    Raises
    ------
    ModelError
        When the folder, its item or its weights are missing, or the item can't be run.
    """
    path = Path(folder)
    model_files(path)  # the weights are there, and no pickle
    return ModelCard(path, read_spec(path), read_item(path)["properties"], read_training(path))


def draw_model(folder: str | Path) -> list[Path]:
    """Draw the pictures of a model folder again, from its ``training.json``.

    Raises
    ------
    ModelError
        When the folder is no model, or does not tell how it was trained.
    MissingExtraError
        When matplotlib is not installed: the extra ``rsscale[pictures]``.
    """
    training = describe_model(folder).training
    if training is None:
        raise ModelError(
            f"{folder} has no training.json to draw pictures of; rsscale train writes it, and "
            "rsscale.save_model with report="
        )
    return draw_training(training, folder)


def check_model(
    folder: str | Path, recipe: str | Path | Recipe | None = None, *, trust: bool = False
) -> list[str]:
    """Open a model, try it on a window, and compare it with a recipe that is to use it.

    Parameters
    ----------
    folder : path
    recipe : path or Recipe, optional
        Whose inputs, time windows and resolution the model must have.
    trust : bool
        Open a program (``.pt2``), which may run any code.

    Returns
    -------
    list of str
        What was found to be right, a line each.

    Raises
    ------
    ModelError
        With the first thing that is wrong.
    RecipeError
        When the recipe can't be read.
    """
    from rsscale.learn.models import open_model

    card = describe_model(folder)
    model = open_model(folder, device="cpu", trust=trust)
    window = card.spec.lattice.window
    lines = [f"opened, and takes a window of {window} px"]
    lines.append(_context(model))
    if recipe is not None:
        whole = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
        lines += _against(card.spec, whole)
    return lines


def _context(model: Model) -> str:
    """What the halo of a model's windows is worth."""
    from rsscale.network.receptive_field import Reach, halo_advice, measured_reach

    lattice = model.spec.lattice
    if model.spec.finds_objects:
        return (
            f"finds objects; those more than {lattice.halo} px wide, its halo, may be put together "
            "from pieces of several windows"
        )
    reach = Reach(model.reach) if model.reach is not None else measured_reach(model)
    return (
        halo_advice("it", lattice, reach)
        or f"looks {reach.pixels} px around a pixel; its halo is {lattice.halo} px"
    )


def _against(spec: ModelSpec, recipe: Recipe) -> Sequence[str]:
    """Compare a contract with a recipe's inputs and grid, for each period."""
    from rsscale.geo.area import read_area
    from rsscale.passes.model_checks import check_model as check_contract

    grid = recipe.grid.build()
    where = recipe.bbox if recipe.bbox is not None else recipe.area
    extent = grid.geobox(read_area(where, recipe.area_layer))
    if sorted(model_input.name for model_input in spec.inputs) == sorted((BEFORE, AFTER)):
        return _against_steps(spec, recipe, extent)
    for period in recipe.periods:
        try:
            check_contract(recipe, spec, period, extent)
        except RsscaleError as error:
            raise ModelError(f"recipe {recipe.name!r}, period {period}: {error}") from None
    periods = ", ".join(map(str, recipe.periods))
    if spec.finds_objects:
        return [f"recipe {recipe.name!r} gives its inputs for {periods}"]
    names = [layer.name for layer in spec.layers(recipe.output.layers)]
    return [
        f"recipe {recipe.name!r} gives its inputs for {periods}",
        f"recipe {recipe.name!r} writes {', '.join(names)}",
    ]


def _against_steps(spec: ModelSpec, recipe: Recipe, extent: GeoBox) -> Sequence[str]:
    """Compare the contract of a model of two dates with the steps that may use it."""
    from rsscale.change_passes.network import ChangeNetworkPass, check_two_dates
    from rsscale.passes.model_checks import check_resolution

    kind = ChangeNetworkPass.kind
    steps = {name: step for name, step in recipe.all_steps.items() if step.kind == kind}
    if not steps:
        raise ModelError(
            f"recipe {recipe.name!r} has no step of kind {kind!r}, which reads one input at the "
            f"two dates of model {spec.name!r}; add one, see docs/change-networks.md"
        )
    check_resolution(recipe, spec, extent)
    lines = []
    for name, step in steps.items():
        options: Any = ChangeNetworkPass.Options.model_validate(step.options)
        years: YearPair = options.years
        check_two_dates(spec, recipe, str(step.of), years)
        lines.append(f"recipe {recipe.name!r} gives {step.of} of {years} to its step {name!r}")
    return lines
