"""Train the model of a recipe on labels and the imagery that its map reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsscale.classical.point_estimator import PointEstimator, check_not_wrapped, is_estimator
from rsscale.cluster.machine import training_device
from rsscale.cluster.request import chosen
from rsscale.cluster.versions import versions
from rsscale.errors import RecipeError, nearest
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import ARCHITECTURES, complete, registered
from rsscale.learn.models import Model
from rsscale.learners.applicability import check_wrapped, wrapped
from rsscale.learners.base import Design, Learner, Loop, Task
from rsscale.learners.checkpoint import Checkpoints
from rsscale.learners.chips import MULTIPLE, Chips, InputBands
from rsscale.learners.image_network import ImageNetwork
from rsscale.learners.point_network import PointNetwork
from rsscale.learners.point_samples import PointSamples, point_samples
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import DAYS, VALID
from rsscale.network.receptive_field import reach_of
from rsscale.object_training.detector_kind import finds_objects
from rsscale.object_training.report import ObjectReport
from rsscale.pipeline.object_training import OF_OBJECTS, train_recipe_objects
from rsscale.plans.find_items import recipe_area
from rsscale.points.series_table import SeriesTable
from rsscale.progress.bars import announce
from rsscale.recipe import Recipe, TrainRecipe, read_recipe
from rsscale.reference.labels import Labels, read_labels
from rsscale.sampling.chip_task import DAYS_OF
from rsscale.sampling.label_chips import (
    ChipReader,
    input_bands,
    recipe_of_inputs,
    seen_by,
    train_settings,
)
from rsscale.sampling.label_pixels import pixel_table
from rsscale.sampling.pixel_choice import MOST_PIXELS
from rsscale.sampling.provenance import label_pixel_width, model_folder, save_trained
from rsscale.sampling.work_folder import WorkFolder, open_work_folder
from rsscale.steps.kinds import check_recipe_steps
from rsscale.training.checks import check_chips, check_classes, check_network
from rsscale.training.experiment import run_experiment
from rsscale.training.report import TrainingReport
from rsscale.training.split import SplitPlan, without_validation

if TYPE_CHECKING:
    from distributed import Client

RecipeLearner = ImageNetwork | PointNetwork | PointEstimator
"""What learns from the chips of a recipe, or from their labelled pixels."""


def train_recipe(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    out: str | Path | None = None,
    cluster: Client | str | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
    fresh: bool = False,
) -> tuple[Model, TrainingReport | ObjectReport]:
    """Train what a recipe's ``train`` section asks for and save it as its model.

    Parameters
    ----------
    recipe : path, mapping or Recipe
    out : path, optional
        Folder of the model; the recipe's ``model`` when omitted. What was read and learnt so far
        is kept beside it, in ``<out>.training``, until the model is saved: a training that was
        interrupted goes on from there.
    cluster : distributed.Client or str, optional
        Its workers read the imagery: a Dask client, ``"local:2"`` or a scheduler's address; in
        this process when omitted. The model is the same to the last bit.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    overrides : sequence of "key.sub=value"
    fresh : bool
        Begin anew, whatever an interrupted training left.

    Returns
    -------
    (Model, TrainingReport or, of a detector, ObjectReport)
        The accuracy in the report is on whole spatial blocks that were never trained on.

    Raises
    ------
    RecipeError
        When the recipe has no ``train`` section, its labels are wrong, or an input is a series and
        the network takes none; or when another training is at work for the same model.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, with what is kept; the same call goes on.
    """
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe, overrides)
    settings = train_settings(recipe)
    target = Path(out) if out is not None else model_folder(recipe)
    check_recipe_steps(recipe)
    name = settings.architecture
    if finds_objects(name, settings.objects):
        return train_recipe_objects(recipe, target, cluster=cluster, device=device, fresh=fresh)
    detectors = [other for other, made in ARCHITECTURES.items() if made.finds_objects]
    meant = "" if name in ARCHITECTURES else nearest(name, detectors).removeprefix("; ")
    role = f"is none ({meant})" if meant else "maps pixels"
    settings.refuse(OF_OBJECTS, f"is of detectors, and {name!r} {role}")
    labels = read_recipe_labels(recipe)
    original, recipe = recipe, recipe_of_inputs(recipe)
    task = Task(classes=labels.classes)
    design = recipe_design(recipe, labels, device)
    learner = recipe_learner(recipe, design, task)
    check_learner(learner, input_bands(recipe), settings)
    if not isinstance(learner, ImageNetwork):
        settings.refuse(("crop",), f"is of networks of images, and {name!r} sees single pixels")
    plan = recipe_plan(recipe)
    _announce_unlearnt(original)
    with open_work_folder(target.parent / f"{target.name}.training", fresh=fresh) as work:
        reading = Reading(recipe, labels, work, chosen(original.cluster, cluster, may_share=False))
        if isinstance(learner, ImageNetwork):
            model, report = _train_images(reading, learner, plan)
        else:
            model, report = _train_points(reading, learner, plan)
        report = save_trained(model, report, target, recipe, labels, original=original)
    return model, report


def _announce_unlearnt(recipe: Recipe) -> None:
    """Say which years are mapped that no label is true for: imagery of others may be unlike it."""
    learnt = train_settings(recipe).periods
    others = [year for year in recipe.periods if learnt and year not in learnt]
    if others:
        announce(
            f"train.periods are {', '.join(map(str, learnt or ()))}: nothing is learnt of "
            f"{', '.join(map(str, others))}, which the recipe maps too; where the labels are true "
            "for these years as well, name them there"
        )


@dataclass(frozen=True)
class Reading:
    """What is read for a training, where it is kept, and by whom it is read.

    Attributes
    ----------
    recipe : Recipe
    labels : Labels
    work : WorkFolder
    cluster : distributed.Client or str, optional
        As :func:`rsscale.run` takes it.
    """

    recipe: Recipe
    labels: Labels
    work: WorkFolder
    cluster: Client | str | None = None

    def reader(self, takes: tuple[str, ...], most: int | None = None) -> ChipReader:
        """The reader of its chips, or of single pixels of them."""
        return ChipReader(self.recipe, self.labels, input_bands(self.recipe), takes, most)

    def checkpoints(self, device: str) -> Checkpoints:
        """Those of the loops, if they were made by the same settings."""
        settings = train_settings(self.recipe).model_dump(mode="json")
        # What labels are, the chips say.
        settings = {
            name: value
            for name, value in settings.items()
            if "label" not in name and name != "license"
        }
        self.work.begin_loops({**settings, "device": device, "versions": dict(versions())})
        return self.work.checkpoints


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
        crop=_crop(settings),
        learning_rate=settings.learning_rate or 3e-3,
        balance=settings.balance or ("weights" if is_alone else "sampling"),
        patience=settings.patience,
        seed=settings.seed,
    )
    if is_alone:
        return PointNetwork(design, task, loop, settings.observations)
    return ImageNetwork(design, task, tuple(input_bands(recipe)), loop)


def _crop(settings: TrainRecipe) -> int:
    """Width of crops, refused before anything is read where no network halves it."""
    crop = settings.crop or 96
    if crop % MULTIPLE:
        raise RecipeError(f"train.crop is {crop}; expected a multiple of {MULTIPLE} pixels")
    return crop


def check_learner(
    learner: RecipeLearner, inputs: Sequence[InputBands], settings: TrainRecipe
) -> None:
    """Refuse a learner that can't be, can't take the inputs, or have what is asked for around it.

    Before imagery is read, for a training as for a comparison.
    """
    members, applicability = settings.members, settings.applicability
    takes = takes_of(learner.design.architecture, inputs)
    _check_series(inputs, learner.design.architecture, takes)
    if isinstance(learner, PointEstimator):
        check_not_wrapped(learner.name, members, applicability=applicability)
        learner.check([part.unscaled(takes) for part in inputs])
    else:
        check_network(learner.design, inputs, learner.task)
        check_wrapped(learner.design, members, applicability=applicability)


def takes_of(architecture: str, inputs: Sequence[InputBands]) -> tuple[str, ...]:
    """What a learner takes beside values; a classical one takes days of series."""
    if is_estimator(architecture):
        return (DAYS, VALID) if any(part.series for part in inputs) else ()
    return registered(architecture).takes


def _train_images(
    reading: Reading, network: ImageNetwork, plan: SplitPlan
) -> tuple[Model, TrainingReport]:
    """Of a network that sees the surroundings of a pixel."""
    settings = train_settings(reading.recipe)
    chips = labelled_chips(reading, registered(network.design.architecture).takes)
    network = replace(network, checkpoints=reading.checkpoints(network.design.device))
    learner = wrapped(network, settings.members, applicability=settings.applicability)
    return run_experiment(
        learner,
        chips,
        network.task,
        plan,
        conformal=settings.conformal,
        left_out=chips.left_out,
        observed=chips.observed(network.inputs),
    )


def _train_points(
    reading: Reading, learner: PointNetwork | PointEstimator, plan: SplitPlan
) -> tuple[Model, TrainingReport]:
    """Of what sees single pixels: of a chip its labelled pixels alone are kept."""
    settings, inputs = train_settings(reading.recipe), input_bands(reading.recipe)
    table = labelled_pixels(reading, takes_of(learner.design.architecture, inputs))
    trained: Learner[PointSamples]
    if isinstance(learner, PointEstimator):
        trained, plan = learner, without_validation(plan)
    else:
        kept = replace(learner, checkpoints=reading.checkpoints(learner.design.device))
        trained = wrapped(kept, settings.members, applicability=settings.applicability)
    task, samples = point_samples(table, learner.task.classes)
    return run_experiment(
        trained,
        samples,
        task,
        plan,
        conformal=settings.conformal,
        left_out=table.notes,
        observed=table.observed,
    )


def labelled_chips(reading: Reading, takes: tuple[str, ...]) -> Chips:
    """Chips that something can be learnt from: checked, and labelled where something was seen."""
    chips = make_chips(reading, takes)
    check_chips(chips, input_bands(reading.recipe), reading.labels.classes)
    check_classes(chips, reading.labels.classes)
    return chips


def labelled_pixels(reading: Reading, takes: tuple[str, ...] = ()) -> SeriesTable:
    """Series of the labelled pixels of the same blocks, of which no image is kept."""
    reader = reading.reader(takes, MOST_PIXELS)
    rows, _, counted = reader.read(reading.work, reading.cluster)
    names = {c.value: c.name for c in reading.labels.classes}
    thinned = {names[value]: count for value, count in counted.thinned.items()}
    table = pixel_table(rows, input_bands(reading.recipe), reader.left_out, thinned)
    return replace(table, places=reader.places, unused=reader.unused)


def make_chips(reading: Reading, takes: tuple[str, ...] = ()) -> Chips:
    """Images and labels of every block that holds a label, of every training period."""
    reader = reading.reader(takes)
    arrays, images, _ = reader.read(reading.work, reading.cluster)
    if images is None:
        raise TypeError("a reader without 'most' keeps images")
    days = {n.removeprefix(DAYS_OF): d for n, d in arrays.items() if n.startswith(DAYS_OF)}
    return Chips(
        images,
        arrays["labels"],
        arrays["groups"],
        tuple(reader.left_out),
        days,
        is_seen=True,
        places=reader.places,
        unused=reader.unused,
        origins=arrays["origins"],
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


def recipe_design(recipe: Recipe, labels: Labels, device: str) -> Design:
    """What the model of a recipe is to be."""
    settings = train_settings(recipe)
    return Design(
        name=recipe.name,
        architecture=settings.architecture,
        hyperparameters=settings.hyperparameters,
        lattice=Lattice(settings.stride, settings.halo, settings.blend),
        resolution=label_pixel_width(recipe.grid.build(), labels),
        device=training_device(device),
        seen=seen_by(settings),
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


def _classes(settings: TrainRecipe) -> tuple[LandClass, ...] | None:
    if settings.classes is None:
        return None
    return tuple(LandClass(c.value, c.name, c.color) for c in settings.classes)
