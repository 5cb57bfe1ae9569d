"""Classical learners on series at points: forests, boosted trees, nearest neighbours."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsscale.errors import ModelError, RecipeError, missing_extra, nearest
from rsscale.importing.user_code import error_line
from rsscale.learn.model import Model, given
from rsscale.learners.base import Balance, Design, Fitted, Predictions, Task
from rsscale.learners.network import class_weights
from rsscale.learners.point_batches import predict_numbers
from rsscale.learners.point_samples import PointSamples, table_input, with_point_statistics
from rsscale.model.model_input import DAYS, VALID, ModelInput
from rsscale.model.outputs import ClassOutput
from rsscale.model.spec import ModelSpec
from rsscale.network.normalize import window_batch
from rsscale.points.series_table import SeriesTable
from rsscale.runtimes.base import RuntimeModule
from rsscale.runtimes.by_pixel import PixelFeatures

_AT_ONCE = 4096
PLACES = 24
"""Regular places of the year that observations are put on: a fortnight apart."""
_OF_FEATURES = ("indices", "bands", "places")
# What is ours to say: threads are those of torch, and neither changes what is learnt.
_OURS = ("n_jobs", "num_threads", "verbose")


@dataclass(frozen=True)
class _Kind:
    """A classical learner: what makes it, for classes and for values, and its usual parameters."""

    of_classes: str
    of_values: str
    usual: Mapping[str, Any]
    is_pipeline: bool = False

    def address(self, task: Task) -> str:
        return self.of_classes if task.classes else self.of_values


_ENSEMBLE, _NEIGHBORS = "sklearn.ensemble:RandomForest", "sklearn.neighbors:KNeighbors"
_KINDS: Mapping[str, _Kind] = {
    "random_forest": _Kind(
        f"{_ENSEMBLE}Classifier", f"{_ENSEMBLE}Regressor", {"n_estimators": 300}
    ),
    "gradient_boosting": _Kind(
        "lightgbm:LGBMClassifier",
        "lightgbm:LGBMRegressor",
        {"n_estimators": 200, "deterministic": True, "force_row_wise": True},
    ),
    "nearest_neighbours": _Kind(
        f"{_NEIGHBORS}Classifier", f"{_NEIGHBORS}Regressor", {"n_neighbors": 5}, is_pipeline=True
    ),
}
ESTIMATORS = tuple(_KINDS)
"""Names of the classical learners."""


def is_estimator(architecture: str) -> bool:
    """Whether an architecture is the name of a classical learner."""
    return architecture in _KINDS


def check_not_wrapped(name: str, members: int, *, applicability: bool) -> None:
    """Refuse an ensemble of a classical learner, or its area of applicability.

    Raises
    ------
    RecipeError
    """
    if members > 1 or applicability:
        raise RecipeError(
            f"{name} has members: {members}, applicability: {applicability}; these are of "
            "networks: leave them out, a forest is an ensemble of its own"
        )


@dataclass(frozen=True)
class PointEstimator:
    """Fits a classical estimator to labelled pixels; nothing of it needs a validation.

    Its features are those of :class:`~rsscale.runtimes.by_pixel.PixelFeatures`: all bands of all
    time windows, and spectral indices of each; what is missing is NaN, which trees take, and the
    mean for nearest neighbours. Observations at irregular dates are put on regular places of the
    year first.

    Attributes
    ----------
    design : Design
        Its architecture is one of :data:`ESTIMATORS`; its hyperparameters are ``indices`` and
        ``bands`` of :class:`~rsscale.runtimes.by_pixel.PixelFeatures`, ``places`` of the year for
        series, and those of the estimator in its library.
    task : Task
    balance : str
        ``"weights"``: samples weigh the more the rarer their class, by the inverse root of its
        count; ``"sampling"``: all classes weigh the same; ``"none"``. Nearest neighbours have no
        weights of samples.
    seed : int
        The same seed gives the same model on the same machine.
    observations : int, optional
        Places for observations in the windows of a map; as many as a sample has at most when None.
    """

    design: Design
    task: Task
    balance: Balance = "weights"
    seed: int = 0
    observations: int | None = None

    @property
    def name(self) -> str:
        """Of the kind."""
        return self.design.architecture

    def check(self, inputs: Sequence[ModelInput]) -> None:
        """Refuse what can't be fitted, before imagery is read.

        Parameters
        ----------
        inputs : sequence of ModelInput
            Their statistics don't count.

        Raises
        ------
        ModelError
            When a hyperparameter, an index or a band is not known.
        MissingExtraError
            When the library is not installed.
        """
        PixelFeatures(self._spec(inputs, self.task))
        self._estimator()

    def fit(self, training: PointSamples, validation: PointSamples) -> Fitted:  # noqa: ARG002
        """See :class:`~rsscale.learners.base.Learner`; the validation is not looked at.

        Raises
        ------
        ModelError
            When the library refuses a hyperparameter's value.
        RecipeError
            When the samples are of one class.
        """
        takes = (DAYS, VALID) if is_series(training.table) else ()
        parts = training.table.inputs
        empty = [table_input(part, self.observations, takes) for part in parts]
        inputs = list(map(with_point_statistics, empty, parts))
        task, targets = self._taught(training.targets)
        spec = self._spec(inputs, task)
        weights = self._sample_weights(targets)
        estimator = self._estimator()
        if targets.shape[1:] == (1,):
            targets = targets[:, 0]
        features = table_features(spec, training.table)
        weighted = {} if weights is None else {"sample_weight": weights}
        try:
            estimator.fit(features, targets, **weighted)
        except Exception as error:
            reason = error_line(error)[:200]
            raise ModelError(
                f"{self.name} can't be fitted with {dict(self.design.hyperparameters)}: {reason}"
            ) from error
        return Fitted(Model(spec, _module(spec, estimator), torch.device("cpu"), reach=0))

    def predict(self, model: Model, samples: PointSamples) -> Predictions:
        """See :class:`~rsscale.learners.base.Learner`; a class it was not taught has 0."""
        numbers = predict_numbers(model, samples.table)
        if self.task.classes:
            every = np.zeros((len(numbers), len(self.task.classes)), np.float32)
            every[:, [self.task.classes.index(c) for c in model.spec.classes]] = numbers
            numbers = every
        groups = np.asarray(samples.groups)
        return Predictions(numbers, samples.targets, groups, bool(self.task.classes))

    def _taught(self, targets: npt.NDArray[Any]) -> tuple[Task, npt.NDArray[Any]]:
        """The task without classes that no sample has, and its targets."""
        if not self.task.classes:
            return self.task, targets
        known, codes = np.unique(targets, return_inverse=True)
        if len(known) < 2:
            raise RecipeError(
                f"{self.name} has samples of {len(known)} class to learn from; it tells at least "
                "two apart: use fewer folds, or add labels elsewhere"
            )
        return replace(self.task, classes=tuple(self.task.classes[k] for k in known)), codes

    def _spec(self, inputs: Sequence[ModelInput], task: Task) -> ModelSpec:
        of_series = any(part.takes for part in inputs)
        places = {"places": PLACES} if of_series else {}
        return ModelSpec(
            name=self.design.name,
            inputs=tuple(inputs),
            classes=task.classes,
            lattice=self.design.lattice,
            architecture=self.name,
            hyperparameters={
                **_KINDS[self.name].usual,
                **places,
                **self.design.hyperparameters,
            },
            resolution=self.design.resolution,
            output=ClassOutput("none") if task.classes else task.output,
            layout="mapping" if of_series else "channels",
            missing="nan",
            seen=self.design.seen,
        )

    def _estimator(self) -> Any:
        """The estimator of the library, not yet fitted."""
        kind = _KINDS[self.name]
        if self.name == "gradient_boosting" and len(self.task.quantities) > 1:
            raise RecipeError(
                f"{self.name} learns one value, and there are {list(self.task.names)}; use "
                "random_forest, or train a model for each"
            )
        made = _imported(kind.address(self.task), self.name)()
        known = {k: v for k, v in made.get_params().items() if k not in _OURS}
        own = {k: v for k, v in self.design.hyperparameters.items() if k not in _OF_FEATURES}
        unknown = [key for key in own if key not in known]
        if unknown:
            names = (*_OF_FEATURES, *known)
            raise ModelError(
                f"{self.name} has no hyperparameter {unknown[0]!r}; it has {', '.join(names)}"
                f"{nearest(unknown[0], names)}"
            )
        seed = {"random_state": self.seed} if "random_state" in known else {}
        quiet = {"verbose": -1} if self.name == "gradient_boosting" else {}
        made.set_params(**{**seed, **kind.usual, **own, **quiet, "n_jobs": torch.get_num_threads()})
        return _with_imputer(made) if kind.is_pipeline else made

    def _sample_weights(self, targets: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
        if not self.task.classes or self.balance == "none" or _KINDS[self.name].is_pipeline:
            return None
        counts = np.bincount(targets)
        by_class = class_weights(counts) if self.balance == "weights" else 1 / counts
        scaled: npt.NDArray[np.float64] = by_class[targets] / by_class[targets].mean()
        return scaled


def is_series(table: SeriesTable) -> bool:
    """Whether a table has observations at dates of their own, not time windows or one date."""
    return any(not part.times and part.values.shape[1] > 1 for part in table.inputs)


def table_features(spec: ModelSpec, table: SeriesTable) -> npt.NDArray[np.float32]:
    """Features ``(N, F)`` of samples, as a model of the contract makes them of a window."""
    lengths = {part.name: part.length for part in spec.inputs}
    images, days = torch.from_numpy(table.images(lengths)), table.days(lengths)
    of_pixels = PixelFeatures(spec)
    made = []
    for start in range(0, len(table), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        batch = window_batch(images[some], {n: d[some] for n, d in days.items()}, spec)
        made += [features() for features in of_pixels.batches(given(batch), _AT_ONCE)]
    return np.concatenate(made)


def _module(spec: ModelSpec, estimator: Any) -> RuntimeModule:
    """A fitted estimator as the module of its contract."""
    if hasattr(estimator, "booster_"):
        from rsscale.runtimes.boosting import BoosterModule

        return BoosterModule(spec, estimator.booster_)
    from rsscale.runtimes.estimator import EstimatorModule

    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    last.set_params(n_jobs=None)  # equal models are equal files, whatever the threads
    if spec.classes:
        # It was fitted to their numbers, so that its scores are in the order of the contract.
        last.classes_ = np.array([c.value for c in spec.classes])
    return EstimatorModule(spec, estimator)


def _with_imputer(estimator: Any) -> Any:
    """A pipeline: what is missing becomes the mean, and features weigh by their spread."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), estimator)


def _imported(address: str, name: str) -> Callable[[], Any]:
    module, _, kind = address.partition(":")
    # Models of scikit-learn are kept by skops: told now, not after minutes.
    needed = [module, *(["skops.io"] if module.startswith("sklearn") else [])]
    try:
        library, *_ = [importlib.import_module(each) for each in needed]
    except (ImportError, OSError) as error:
        raise missing_extra(f"the learner {name!r}", "classical") from error
    made: Callable[[], Any] = getattr(library, kind)
    return made
