"""Train the detector of a recipe on labelled objects and the imagery that its map reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsscale.cluster.machine import training_device
from rsscale.cluster.versions import versions
from rsscale.errors import RecipeError
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import registered
from rsscale.learn.models import Model
from rsscale.learners.base import Design, Loop, Task
from rsscale.object_scenes.crops import CropRules
from rsscale.object_scenes.scenes import ObjectScenes
from rsscale.object_training.detector_kind import object_output
from rsscale.object_training.experiment import run_object_experiment
from rsscale.object_training.learner import ObjectNetwork
from rsscale.object_training.report import ObjectReport
from rsscale.recipe import Recipe, TrainRecipe
from rsscale.sampling.label_chips import (
    CONTEXT,
    ChipReader,
    input_bands,
    train_settings,
)
from rsscale.sampling.object_chips import RecipeObjects, object_scenes, read_recipe_objects
from rsscale.sampling.provenance import label_pixel_width, save_trained
from rsscale.sampling.work_folder import WorkFolder, open_work_folder
from rsscale.training.split import SplitPlan

if TYPE_CHECKING:
    from distributed import Client

_OF_PIXELS = (
    "change",
    "coordinates",
    "all_touched",
    "edge",
    "priority",
    "overlap",
    "most_pixels",
    "blend",
    "members",
    "applicability",
    "conformal",
)
"""Keys of ``train`` that mean nothing for objects."""
OF_OBJECTS = ("objects", "within", "visible", "zoom")
"""Keys of ``train`` that are of detectors alone."""


def train_recipe_objects(
    recipe: Recipe,
    target: Path,
    *,
    cluster: Client | str | None = None,
    device: str = "auto",
    fresh: bool = False,
) -> tuple[Model, ObjectReport]:
    """Train the detector that a recipe's ``train`` section asks for, and save it.

    Parameters
    ----------
    recipe : Recipe
    target : Path
        Folder of the model.
    cluster, device, fresh
        As of :func:`rsscale.train`.

    Returns
    -------
    (Model, ObjectReport)

    Raises
    ------
    RecipeError
        When the labels are wrong, or a key is given that is of maps of pixels.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, with what is kept; the same call goes on.
    """
    settings = train_settings(recipe)
    _check_keys(settings)
    objects = read_recipe_objects(recipe)
    learner = recipe_detector(recipe, objects, device)
    learner.check()
    split = settings.split
    plan = SplitPlan(split.validation, split.test, 0, settings.seed)
    with open_work_folder(target.parent / f"{target.name}.training", fresh=fresh) as work:
        scenes = read_scenes(recipe, objects, work, cluster)
        learner = replace(learner, checkpoints=_checkpoints(settings, work, learner.design.device))
        model, report = run_object_experiment(learner, scenes, plan)
        report = save_trained(model, report, target, recipe, objects.ground)
    return model, report


def recipe_detector(recipe: Recipe, objects: RecipeObjects, device: str) -> ObjectNetwork:
    """The detector to be."""
    settings = train_settings(recipe)
    design = Design(
        name=recipe.name,
        architecture=settings.architecture,
        hyperparameters=settings.hyperparameters,
        lattice=Lattice(settings.stride, settings.halo),
        resolution=label_pixel_width(recipe.grid.build(), objects.ground),
        device=training_device(device),
    )
    balance = settings.balance or "sampling"
    if balance == "weights":
        raise RecipeError("train.balance is 'weights'; of detectors it is 'sampling' or 'none'")
    loop = Loop(
        steps=settings.steps or 1000,
        batch=settings.batch or 4,
        learning_rate=settings.learning_rate or 1e-3,
        balance=balance,
        patience=settings.patience,
        seed=settings.seed,
    )
    return ObjectNetwork(
        design,
        Task(classes=objects.table.legend),
        tuple(input_bands(recipe)),
        object_output(settings.architecture, settings.objects),
        loop,
        CropRules(
            settings.crop or 256, settings.visible, balance, halo=settings.halo, zoom=settings.zoom
        ),
    )


def read_scenes(
    recipe: Recipe, objects: RecipeObjects, work: WorkFolder, cluster: Client | str | None
) -> ObjectScenes:
    """Chips of the ground on which all objects are labelled, with their objects."""
    settings = train_settings(recipe)
    takes = registered(settings.architecture).takes
    context = max(CONTEXT, settings.halo)
    reader = ChipReader(recipe, objects.ground, input_bands(recipe), takes, context=context)
    arrays, images, _ = reader.read(work, cluster)
    if images is None:
        raise TypeError("a reader without 'most' keeps images")
    return object_scenes(objects, reader, arrays, images)


def _check_keys(settings: TrainRecipe) -> None:
    settings.refuse(
        _OF_PIXELS, f"is of maps of pixels, and {settings.architecture!r} finds objects"
    )
    if settings.split.folds:
        raise RecipeError(
            f"train.split.folds is {settings.split.folds}; a detector is measured on a test: leave "
            "it out, and set train.split.test"
        )


def _checkpoints(settings: TrainRecipe, work: WorkFolder, device: str) -> Any:
    """Those of the loop, if they were made by the same settings."""
    plain = settings.model_dump(mode="json")
    plain = {k: v for k, v in plain.items() if "label" not in k and k not in ("license", "within")}
    work.begin_loops({**plain, "device": device, "versions": dict(versions())})
    return work.checkpoints
