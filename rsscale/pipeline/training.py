"""Train the model of a recipe on labels and the imagery that its map reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import torch
from odc.geo.geom import Geometry

from rsscale.classical.point_estimator import PointEstimator, check_not_wrapped, is_estimator
from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.ground import pixel_width
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import complete, registered
from rsscale.learn.models import Model, save_model
from rsscale.learners.applicability import wrapped
from rsscale.learners.base import Design, Learner, Loop, Task
from rsscale.learners.chips import Chips, InputBands
from rsscale.learners.image_network import ImageNetwork
from rsscale.learners.point_network import PointNetwork
from rsscale.learners.point_samples import PointSamples, point_samples
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import DAYS, VALID
from rsscale.network.receptive_field import reach_of
from rsscale.pipeline.label_chips import ChipReader, input_bands, train_settings
from rsscale.pipeline.label_pixels import pixel_table
from rsscale.recipe import Recipe, TrainRecipe, read_recipe
from rsscale.reference.labels import Labels, read_labels
from rsscale.runs.find_items import recipe_area
from rsscale.training.checks import check_chips, check_classes, check_memory, check_network
from rsscale.training.experiment import run_experiment
from rsscale.training.report import TrainingReport
from rsscale.training.split import SplitPlan, without_validation

RecipeLearner = ImageNetwork | PointNetwork | PointEstimator
"""What learns from the chips of a recipe, or from their labelled pixels."""


def train_recipe(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
) -> tuple[Model, TrainingReport]:
    """Train what a recipe's ``train`` section asks for and save it as its model.

    Parameters
    ----------
    recipe : path, mapping or Recipe
    out : path, optional
        Folder of the model; the recipe's ``model`` when omitted.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    overrides : sequence of "key.sub=value"

    Returns
    -------
    (Model, TrainingReport)
        The accuracy in the report is on whole spatial blocks that were never trained on.

    Raises
    ------
    RecipeError
        When the recipe has no ``train`` section, its labels are wrong, or an input is a series and
        the network takes none.
    """
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe, overrides)
    settings = train_settings(recipe)
    target = Path(out) if out is not None else _model_folder(recipe)
    labels = read_recipe_labels(recipe)
    task = Task(classes=labels.classes)
    design = _design(recipe, labels, device)
    learner = recipe_learner(recipe, design, task)
    check_learner(learner, input_bands(recipe))
    plan = recipe_plan(recipe)
    if isinstance(learner, ImageNetwork):
        model, report = _train_images(recipe, labels, learner, plan)
    else:
        model, report = _train_points(recipe, labels, learner, plan)
    save_model(
        model,
        target,
        geometry=_footprint(labels),
        **_times(settings, recipe),
        **report.properties(),
    )
    return model, report


def recipe_plan(recipe: Recipe) -> SplitPlan:
    """How the labels of a recipe are parted."""
    settings = train_settings(recipe)
    split = settings.split
    return SplitPlan(split.validation, split.test, split.folds, settings.seed)


def recipe_learner(recipe: Recipe, design: Design, task: Task) -> RecipeLearner:
    """The learner that a design names: on images, or on pixels that it sees alone."""
    settings = train_settings(recipe)
    if is_estimator(design.architecture):
        return PointEstimator(
            replace(design, lattice=Lattice(settings.stride, 0), device="cpu"),
            task,
            settings.balance or "weights",
            settings.seed,
            settings.observations,
        )
    is_alone = _sees_pixels(design)
    loop = Loop(
        steps=settings.steps or (1500 if is_alone else 350),
        batch=settings.batch or (256 if is_alone else 8),
        learning_rate=settings.learning_rate,
        balance=settings.balance or ("weights" if is_alone else "sampling"),
        patience=settings.patience,
        seed=settings.seed,
    )
    if is_alone:
        return PointNetwork(design, task, loop, settings.observations)
    return ImageNetwork(design, task, tuple(input_bands(recipe)), loop)


def check_learner(learner: RecipeLearner, inputs: Sequence[InputBands]) -> None:
    """Refuse a learner that can't be, or can't take the inputs, before imagery is read."""
    takes = takes_of(learner.design.architecture, inputs)
    _check_series(inputs, learner.design.architecture, takes)
    if isinstance(learner, PointEstimator):
        learner.check([part.unscaled(takes) for part in inputs])
    else:
        check_network(learner.design, inputs, learner.task)


def takes_of(architecture: str, inputs: Sequence[InputBands]) -> tuple[str, ...]:
    """What a learner takes beside values; a classical one takes days of series."""
    if is_estimator(architecture):
        return (DAYS, VALID) if any(part.series for part in inputs) else ()
    return registered(architecture).takes


def _train_images(
    recipe: Recipe, labels: Labels, network: ImageNetwork, plan: SplitPlan
) -> tuple[Model, TrainingReport]:
    """Of a network that sees the surroundings of a pixel."""
    settings = train_settings(recipe)
    chips = labelled_chips(recipe, labels, registered(network.design.architecture).takes)
    learner = wrapped(network, settings.members, applicability=settings.applicability)
    return run_experiment(
        learner,
        chips,
        network.task,
        plan,
        conformal=settings.conformal,
        left_out=chips.left_out,
    )


def _train_points(
    recipe: Recipe, labels: Labels, learner: PointNetwork | PointEstimator, plan: SplitPlan
) -> tuple[Model, TrainingReport]:
    """Of what sees single pixels: of a chip its labelled pixels alone are kept."""
    settings, inputs = train_settings(recipe), input_bands(recipe)
    members, applicability = settings.members, settings.applicability
    trained: Learner[PointSamples]
    if isinstance(learner, PointEstimator):
        check_not_wrapped(learner.name, members, applicability=applicability)
        trained, plan = learner, without_validation(plan)
    else:
        trained = wrapped(learner, members, applicability=applicability)
    takes = takes_of(learner.design.architecture, inputs)
    table = pixel_table(ChipReader(recipe, labels, inputs, takes, context=0), inputs)
    task, samples = point_samples(table, learner.task.classes)
    return run_experiment(
        trained, samples, task, plan, conformal=settings.conformal, left_out=table.notes
    )


def labelled_chips(recipe: Recipe, labels: Labels, takes: tuple[str, ...]) -> Chips:
    """Chips that something can be learnt from: checked, and labelled where something was seen."""
    chips = make_chips(recipe, labels, takes)
    check_chips(chips, input_bands(recipe), labels.classes)
    chips = chips.seen
    check_classes(chips, labels.classes)
    return chips


def make_chips(recipe: Recipe, labels: Labels, takes: tuple[str, ...] = ()) -> Chips:
    """Images and labels of every block that holds a label, of every training period."""
    reader = ChipReader(recipe, labels, input_bands(recipe), takes)
    count, channels, width, _ = reader.shape
    check_memory(count, channels, width)
    images, targets, groups = [], [], []
    days: dict[str, list[np.ndarray]] = {}
    for chip in reader:
        images.append(chip.image)
        targets.append(chip.labels)
        groups.append(chip.group)
        for name, of_chip in chip.days.items():
            days.setdefault(name, []).append(of_chip)
    return Chips(
        np.stack(images),
        np.stack(targets),
        np.array(groups),
        tuple(reader.left_out),
        {name: np.stack(of_chips) for name, of_chips in days.items()},
    )


def read_recipe_labels(recipe: Recipe) -> Labels:
    """The labels that a recipe's ``train`` section names."""
    settings = train_settings(recipe)
    return read_labels(
        settings.labels,
        settings.class_,
        classes=_classes(settings),
        area=recipe_area(recipe),
        **settings.label_options(),
    )


def _design(recipe: Recipe, labels: Labels, device: str) -> Design:
    settings = train_settings(recipe)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Design(
        name=recipe.name,
        architecture=settings.architecture,
        hyperparameters=settings.hyperparameters,
        lattice=Lattice(settings.stride, settings.halo, settings.blend),
        resolution=_pixel_width(recipe.grid.build(), labels),
        device=device,
    )


def _sees_pixels(design: Design) -> bool:
    """Whether a network is known to look at nothing but the pixel itself."""
    return reach_of(design.architecture, complete(design.architecture, design.hyperparameters)) == 0


def _check_series(inputs: Sequence[InputBands], architecture: str, takes: tuple[str, ...]) -> None:
    """Refuse series for a network that can't tell its dates apart."""
    for part in inputs:
        if part.series and DAYS not in takes:
            raise RecipeError(
                f"input {part.name!r} is a series of observations, whose dates differ from place "
                f"to place, and architecture {architecture!r} takes time windows in a fixed order; "
                "give the input a composite, or use tempcnn, ltae, utae or fusion"
            )


def _pixel_width(grid: Grid, labels: Labels) -> float:
    """Width of a pixel amid the labels, metres on the ground or degrees."""
    around = grid.box(Geometry(shapely.box(*labels.frame.total_bounds), labels.frame.crs))
    return pixel_width(grid.geobox_of(around))


def _classes(settings: TrainRecipe) -> tuple[LandClass, ...] | None:
    if settings.classes is None:
        return None
    return tuple(LandClass(c.value, c.name, c.color) for c in settings.classes)


def _model_folder(recipe: Recipe) -> Path:
    if not isinstance(recipe.model, str):
        named = "names a model for each period" if recipe.model else "has no 'model'"
        raise RecipeError(f"the recipe {named}; say with --out where the trained one goes")
    return Path(recipe.model)


def _times(settings: TrainRecipe, recipe: Recipe) -> dict[str, str]:
    """When the training imagery was taken: STAC's properties for a span of time."""
    periods = settings.periods or recipe.periods
    return {
        "start_datetime": f"{min(periods):04d}-01-01T00:00:00Z",
        "end_datetime": f"{max(periods):04d}-12-31T23:59:59Z",
    }


def _footprint(labels: Labels) -> dict[str, Any]:
    box = labels.frame.to_crs("EPSG:4326").total_bounds
    geometry: dict[str, Any] = shapely.geometry.mapping(shapely.box(*box))
    return geometry
