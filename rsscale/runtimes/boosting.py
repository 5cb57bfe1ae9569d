"""Gradient boosting by LightGBM as models, kept as its text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsscale.errors import ModelError, missing_extra
from rsscale.importing.user_code import error_line
from rsscale.model.artifacts import BOOSTING
from rsscale.model.outputs import ClassOutput
from rsscale.model.spec import ModelSpec
from rsscale.runtimes.by_pixel import PixelModule, check_features, check_names

_OF_CLASSES = ("binary", "multiclass", "multiclassova", "softmax", "cross_entropy")


class BoosterModule(PixelModule):
    """Trees of LightGBM: probabilities of classes, or values.

    It is given bands scaled by the mean and standard deviation of its inputs. Where the contract
    says ``missing="nan"``, as :meth:`rsscale.Model.of` does by itself, what is missing is NaN,
    which LightGBM knows what to do with (it is 0 where none was missing in training); else 0.
    LightGBM has as many threads as torch.

    Parameters
    ----------
    spec : ModelSpec
    booster : lightgbm.Booster

    Raises
    ------
    ModelError
        When it does not fit the contract: features, classes, or what it predicts.
    """

    artifact = BOOSTING

    def __init__(self, spec: ModelSpec, booster: Any) -> None:
        super().__init__(spec)
        self.booster = booster
        check_features(booster.num_feature(), self.features, spec.name, "LightGBM")
        names = [str(name) for name in booster.feature_name()]
        check_names(None if names[0] == "Column_0" else names, self.features, spec.name)
        objective = objective_of(booster)
        per_pixel = booster.num_model_per_iteration()
        is_of_classes = isinstance(spec.output, ClassOutput)
        if is_of_classes != (objective in _OF_CLASSES):
            wanted = "classes" if is_of_classes else "values"
            raise ModelError(
                f"model {spec.name!r} is to give {wanted}, and LightGBM was fitted with the "
                f"objective {objective or 'of its own'!r}; expected "
                f"{'one of ' + ', '.join(_OF_CLASSES) if is_of_classes else 'a regression'}"
            )
        known = 2 if is_of_classes and per_pixel == 1 else per_pixel
        if known != spec.output_channels:
            raise ModelError(
                f"model {spec.name!r} was fitted to {known} {'classes' if is_of_classes else ''}"
                f"{'' if is_of_classes else 'values'}, and its contract has "
                f"{[c.name for c in spec.classes] or spec.output_channels}; give one for each, in "
                "the order of its labels"
            )
        self._is_binary = is_of_classes and per_pixel == 1

    @property
    def weight_bytes(self) -> int:
        """See :class:`~rsscale.runtimes.base.RuntimeModule`: of its text, about."""
        return len(self.booster.model_to_string())

    def rows(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        """See :class:`PixelModule`."""
        numbers = np.asarray(self.booster.predict(features, num_threads=torch.get_num_threads()))
        if numbers.ndim == 1:
            numbers = numbers[:, None]
        return np.concatenate([1 - numbers, numbers], axis=1) if self._is_binary else numbers

    def write(self, path: Path) -> None:
        """See :class:`~rsscale.runtimes.base.RuntimeModule`."""
        path.write_text(self.booster.model_to_string(), "utf-8")


def open_booster(path: Path, spec: ModelSpec) -> BoosterModule:
    """Open a model that LightGBM wrote as text.

    Raises
    ------
    ModelError
        When it is none, or does not fit its contract.
    MissingExtraError
        When LightGBM is not installed.
    """
    lightgbm = import_lightgbm()
    try:
        text = path.read_text("utf-8")
        if not text.startswith("tree\n"):  # LightGBM ends the process over some that are none
            raise ValueError("it does not begin with 'tree'")  # noqa: TRY301
        booster = lightgbm.Booster(model_str=text)
    except (lightgbm.basic.LightGBMError, ValueError, OSError) as error:
        raise ModelError(
            f"{path} is no model that LightGBM wrote by Booster.save_model: "
            f"{error_line(error)[:200]}"
        ) from None
    return BoosterModule(spec, booster)


def objective_of(booster: Any) -> str:
    """The name of the objective that a booster was fitted with; empty for one of the user's own."""
    objective = booster.dump_model(num_iteration=1).get("objective") or ""
    return str(objective).split(" ")[0]


def import_lightgbm() -> Any:
    """The library, where it is installed."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise missing_extra("a model of LightGBM", "classical") from error
    return lightgbm
