"""Train the model of a recipe on labels and the imagery that its map reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import torch
from odc.geo.geom import Geometry

from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.ground import pixel_width
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import complete, registered
from rsscale.learn.models import Model, save_model
from rsscale.learners.applicability import wrapped
from rsscale.learners.base import Design, Loop, Task
from rsscale.learners.chips import Chips
from rsscale.learners.image_network import ImageNetwork
from rsscale.learners.point_network import PointNetwork
from rsscale.learners.point_samples import point_samples
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import DAYS
from rsscale.network.receptive_field import reach_of
from rsscale.pipeline.label_chips import ChipReader, input_bands, train_settings
from rsscale.pipeline.label_pixels import pixel_table
from rsscale.recipe import Recipe, TrainRecipe, read_recipe
from rsscale.reference.labels import Labels, read_labels
from rsscale.runs.find_items import recipe_area
from rsscale.training.checks import check_chips, check_classes, check_memory, check_network
from rsscale.training.experiment import run_experiment
from rsscale.training.report import TrainingReport
from rsscale.training.split import SplitPlan


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
    _check_series(recipe)
    target = Path(out) if out is not None else _model_folder(recipe)
    labels = read_recipe_labels(recipe)
    task = Task(classes=labels.classes)
    design = _design(recipe, labels, device)
    check_network(design, input_bands(recipe), task)
    plan = SplitPlan(
        settings.split.validation, settings.split.test, settings.split.folds, settings.seed
    )
    train = _train_points if _sees_pixels(design) else _train_images
    model, report = train(recipe, labels, design, task, plan)
    save_model(
        model,
        target,
        geometry=_footprint(labels),
        **_times(settings, recipe),
        **report.properties(),
    )
    return model, report


def _train_images(
    recipe: Recipe, labels: Labels, design: Design, task: Task, plan: SplitPlan
) -> tuple[Model, TrainingReport]:
    """Of a network that sees the surroundings of a pixel."""
    settings, inputs = train_settings(recipe), input_bands(recipe)
    chips = make_chips(recipe, labels)
    check_chips(chips, inputs, task.classes)
    chips = chips.seen
    check_classes(chips, task.classes)
    loop = Loop(
        steps=settings.steps or 350,
        batch=settings.batch or 8,
        learning_rate=settings.learning_rate,
        balance=settings.balance or "sampling",
        patience=settings.patience,
        seed=settings.seed,
    )
    network = ImageNetwork(design, task, tuple(inputs), loop)
    learner = wrapped(network, settings.members, applicability=settings.applicability)
    return run_experiment(
        learner, chips, task, plan, conformal=settings.conformal, left_out=chips.left_out
    )


def _train_points(
    recipe: Recipe, labels: Labels, design: Design, task: Task, plan: SplitPlan
) -> tuple[Model, TrainingReport]:
    """Of a network that sees single pixels: of a chip its labelled pixels alone are kept."""
    settings, inputs = train_settings(recipe), input_bands(recipe)
    takes = registered(design.architecture).takes
    table = pixel_table(ChipReader(recipe, labels, inputs, takes, context=0), inputs)
    task, samples = point_samples(table, task.classes)
    loop = Loop(
        steps=settings.steps or 1500,
        batch=settings.batch or 256,
        learning_rate=settings.learning_rate,
        balance=settings.balance or "weights",
        patience=settings.patience,
        seed=settings.seed,
    )
    network = PointNetwork(design, task, loop, settings.observations)
    learner = wrapped(network, settings.members, applicability=settings.applicability)
    return run_experiment(
        learner, samples, task, plan, conformal=settings.conformal, left_out=table.notes
    )


def make_chips(recipe: Recipe, labels: Labels) -> Chips:
    """Images and labels of every block that holds a label, of every training period."""
    settings, inputs = train_settings(recipe), input_bands(recipe)
    reader = ChipReader(recipe, labels, inputs, registered(settings.architecture).takes)
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


def _check_series(recipe: Recipe) -> None:
    """Refuse series for a network that can't tell its dates apart."""
    architecture = train_settings(recipe).architecture
    if DAYS in registered(architecture).takes:
        return
    for name, imagery in recipe.inputs.items():
        if imagery.series:
            raise RecipeError(
                f"input {name!r} is a series of observations, whose dates differ from place to "
                f"place, and architecture {architecture!r} takes time windows in a fixed order; "
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
