"""Compare the network of a recipe, or of a table, with the traditional way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsscale.classical.point_estimator import (
    ESTIMATORS,
    PointEstimator,
    is_estimator,
    is_series,
)
from rsscale.cluster.machine import training_device
from rsscale.comparison.chip_pixels import ChipPixels, OnChips, OnPixels
from rsscale.comparison.comparison import Comparison
from rsscale.comparison.trials import Contender, try_all
from rsscale.decorators.first_argument import TABLE, first_is
from rsscale.geo.lattice import Lattice
from rsscale.layers import Layer
from rsscale.learners.applicability import wrapped
from rsscale.learners.base import Design, S, Task
from rsscale.learners.image_network import ImageNetwork
from rsscale.learners.point_samples import PointSamples, point_samples
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import DAYS
from rsscale.pipeline.training import (
    Reading,
    RecipeLearner,
    check_learner,
    labelled_chips,
    labelled_pixels,
    read_recipe_labels,
    recipe_design,
    recipe_learner,
    recipe_plan,
)
from rsscale.points.series_table import SeriesTable
from rsscale.recipe import Recipe, TrainRecipe, read_recipe
from rsscale.sampling.label_chips import input_bands, recipe_of_inputs, train_settings
from rsscale.sampling.work_folder import open_work_folder
from rsscale.training.split import SplitPlan
from rsscale.training.train_table import table_learner, table_settings

if TYPE_CHECKING:
    from distributed import Client

Learners = Sequence[str] | Mapping[str, Mapping[str, Any]]
"""Architectures by name, or with the hyperparameters of each."""


def compare(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    learners: Learners | None = None,
    *,
    cluster: Client | str | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
    fresh: bool = False,
) -> Comparison:
    """Compare learners on the labels and the imagery of a recipe, which is read once.

    All are tested on the same labelled pixels of places that they were not trained on: at most
    1,000 of a class in a chip, from which learners of single pixels learn too, while networks of
    images learn from all. No model is kept.

    Parameters
    ----------
    recipe : path, mapping or Recipe
        Its ``train.split`` says what is tested: ``folds``, or the ``test``.
    learners : sequence of str, or mapping of str to hyperparameters, optional
        Architectures; the recipe's own and all classical learners when omitted. The recipe's own is
        trained as the recipe says, others as is usual.
    cluster : distributed.Client or str, optional
        Its workers read the imagery, as for :func:`rsscale.train`.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    overrides : sequence of "key.sub=value"
    fresh : bool
        Read all images anew, whatever an interrupted comparison left.

    Returns
    -------
    Comparison

    Raises
    ------
    RecipeError
        When the recipe has no ``train`` section, its labels are wrong, there is nothing to test on,
        or a learner takes no series.
    ModelError
        When a learner or a hyperparameter is not known.
    """
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe, overrides)
    labels = read_recipe_labels(recipe)
    recipe = recipe_of_inputs(recipe)
    settings, inputs = train_settings(recipe), input_bands(recipe)
    task = Task(classes=labels.classes)
    made = []
    for architecture, hyperparameters in _chosen(learners, settings.architecture).items():
        of_learner = _recipe_of(recipe, architecture, hyperparameters)
        learner = recipe_learner(of_learner, recipe_design(of_learner, labels, device), task)
        check_learner(learner, inputs, train_settings(of_learner))
        made.append((learner, train_settings(of_learner)))
    with open_work_folder(_work_folder(recipe), fresh=fresh) as work:
        reading = Reading(recipe, labels, work, cluster)
        if any(isinstance(learner, ImageNetwork) for learner, _ in made):
            return _by_chips(reading, made, task)
        return _by_pixels(reading, made, task)


def _by_chips(
    reading: Reading, made: Sequence[tuple[RecipeLearner, TrainRecipe]], task: Task
) -> Comparison:
    """Of networks of images and whatever else, which sees pixels of the same images."""
    chips = labelled_chips(reading, (DAYS,))
    both, notes = ChipPixels.of(chips, input_bands(reading.recipe), task)
    contenders = [_on_both(*each) for each in made]
    left_out = (*chips.left_out, *notes)
    return _tried(contenders, both, task, reading.recipe, left_out)


def _by_pixels(
    reading: Reading, made: Sequence[tuple[RecipeLearner, TrainRecipe]], task: Task
) -> Comparison:
    """Of learners that all see single pixels: no image is kept."""
    table = labelled_pixels(reading, (DAYS,))
    _, samples = point_samples(table, task.classes)
    contenders = [_on_pixels(*each) for each in made]
    return _tried(contenders, samples, task, reading.recipe, table.notes)


def _tried(
    contenders: Sequence[Contender[S]],
    samples: S,
    task: Task,
    recipe: Recipe,
    left_out: Sequence[str],
) -> Comparison:
    plan, conformal = recipe_plan(recipe), train_settings(recipe).conformal
    return try_all(contenders, samples, task, plan, conformal=conformal, left_out=left_out)


def _work_folder(recipe: Recipe) -> Path:
    """Where images are kept while learners are compared: beside the model."""
    beside = Path(recipe.model).parent if isinstance(recipe.model, str) else Path.cwd()
    return beside / f"{recipe.name}.comparison"


@first_is(SeriesTable, expected=TABLE)
def compare_table(
    table: SeriesTable,
    learners: Learners | None = None,
    *,
    classes: Sequence[LandClass] | None = None,
    quantities: Sequence[Layer] | None = None,
    folds: int = 5,
    test: float = 0.2,
    conformal: float = 0.9,
    device: str | None = None,
    **training: Any,
) -> Comparison:
    """Compare learners on series at points; no model is kept.

    Parameters
    ----------
    table : SeriesTable
    learners : sequence of str, or mapping of str to hyperparameters, optional
        Architectures; a network that fits the table and the classical learners when omitted: all,
        but of several values without gradient boosting, which learns one.
    classes, quantities, folds, test, conformal, device, **training
        As of :func:`rsscale.train_table`. Classical learners have balance and seed of these alone.

    Returns
    -------
    Comparison

    Raises
    ------
    RecipeError
        When a class has no sample, there is nothing to test on, or a setting is not known.
    ModelError
        When a learner or a hyperparameter is not known.
    """
    how = table_settings(training)
    task, samples = point_samples(table, classes, quantities)
    device = training_device(device)
    plan = SplitPlan(how.validation, test, folds, how.seed)
    contenders, left_out = [], list(table.notes)
    for architecture, hyperparameters in _chosen(learners, _usual_network(table)).items():
        design = Design(architecture, architecture, hyperparameters, Lattice(256, 0), None, device)
        if learners is None and architecture == "gradient_boosting" and len(task.quantities) > 1:
            left_out.append(f"{architecture}: it learns one value, and there are several")
            continue
        learner = table_learner(design, task, how, samples, plan)
        contenders.append(Contender(learner, is_baseline=is_estimator(architecture)))
    return try_all(contenders, samples, task, plan, conformal=conformal, left_out=left_out)


def _chosen(learners: Learners | None, network: str) -> dict[str, Mapping[str, Any]]:
    """Hyperparameters by architecture; a network and all classical learners when none are."""
    if learners is None:
        learners = tuple(dict.fromkeys((network, *ESTIMATORS)))
    if isinstance(learners, Mapping):
        return dict(learners)
    return {name: {} for name in learners}


def _recipe_of(recipe: Recipe, architecture: str, hyperparameters: Mapping[str, Any]) -> Recipe:
    """The recipe of a learner: its own as it is, others with what is usual for them."""
    settings = train_settings(recipe)
    if architecture == settings.architecture:
        own = {**settings.hyperparameters, **hyperparameters}
        train = settings.model_copy(update={"hyperparameters": own})
    else:
        usual = {
            name: TrainRecipe.model_fields[name].get_default(call_default_factory=True)
            for name in ("steps", "batch", "balance", "patience", "learning_rate", "members")
        }
        other = {"architecture": architecture, "hyperparameters": dict(hyperparameters)}
        train = settings.model_copy(update={**usual, **other, "applicability": False})
    return recipe.model_copy(update={"train": train})


def _on_both(learner: RecipeLearner, settings: TrainRecipe) -> Contender[ChipPixels]:
    if isinstance(learner, ImageNetwork):
        whole = wrapped(learner, settings.members)
        return Contender(OnChips(whole), is_baseline=False)
    alone = _on_pixels(learner, settings)
    return Contender(OnPixels(alone.learner), alone.is_baseline)


def _on_pixels(learner: RecipeLearner, settings: TrainRecipe) -> Contender[PointSamples]:
    if isinstance(learner, ImageNetwork):
        raise TypeError("a network of images sees more than single pixels")
    if isinstance(learner, PointEstimator):
        return Contender(learner, is_baseline=True)
    return Contender(wrapped(learner, settings.members), is_baseline=False)


def _usual_network(table: SeriesTable) -> str:
    if len(table.inputs) > 1:
        return "fusion"
    return "tempcnn" if is_series(table) or table.inputs[0].values.shape[1] > 2 else "pixel"
