"""Estimators and pipelines of scikit-learn as models, kept in files that run no code.

A file is written by skops, which holds arrays, numbers and the names of types. Whoever made it
chose the names, so only classes of scikit-learn itself are made of it, and what skops knows to be
harmless; neither functions nor anything of another package. Pickles are never read.
"""

from __future__ import annotations

import importlib
import io
import json
import logging
import pickle
import warnings
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsscale.errors import ModelError, missing_extra
from rsscale.importing.user_code import error_line
from rsscale.model.artifacts import ESTIMATOR
from rsscale.model.outputs import ClassOutput
from rsscale.model.spec import ModelSpec
from rsscale.runtimes.by_pixel import Given, PixelModule, check_features, check_names
from rsscale.runtimes.labels import ordered_classes

_log = logging.getLogger("rsscale")

_TRUSTED = ("numpy.dtype",)
_EPOCH = (1980, 1, 1, 0, 0, 0)


class EstimatorModule(PixelModule):
    """A fitted estimator, such as a random forest, or a pipeline that ends in one.

    Classifiers give ``predict_proba``, regressors ``predict``. It is given what a network is: bands
    scaled by the mean and standard deviation of its inputs, and 0, which is the training mean,
    where a value is missing. With ``missing="nan"`` in the contract it is given NaN there, for
    estimators that take it and pipelines that begin with an imputer.

    Values are the same whatever the threads: rows are predicted in batches of a fixed size, side
    by side for estimators that have ``n_jobs``, whose own workers are not used; matrices are
    multiplied by one thread.

    Parameters
    ----------
    spec : ModelSpec
    estimator : object
        Fitted; it is not changed.

    Raises
    ------
    ModelError
        When it does not fit the contract: features, classes, or what it predicts.
    """

    artifact = ESTIMATOR

    def __init__(self, spec: ModelSpec, estimator: Any) -> None:
        super().__init__(spec)
        check_fitted(estimator, spec.name)
        self.estimator = estimator
        kind = type(estimator).__name__
        check_features(int(estimator.n_features_in_), self.features, spec.name, kind)
        self._is_classifier = isinstance(spec.output, ClassOutput)
        if self._is_classifier:
            labels = labels_of(estimator, spec.name)
            if ordered_classes(labels, spec.classes, spec.name) != spec.classes:
                raise ModelError(
                    f"model {spec.name!r} has classes in another order than {kind}, which was "
                    f"fitted to {list(labels)}; list them in that order"
                )
        elif hasattr(estimator, "predict_proba"):
            raise ModelError(
                f"model {spec.name!r} is to give values, and {kind} is a classifier; give classes"
            )
        names = getattr(estimator, "feature_names_in_", None)
        self._columns = None if names is None else [str(name) for name in names]
        check_names(self._columns, self.features, spec.name)

    @property
    def threads(self) -> int:
        """Those of torch, where the estimator would have workers of its own."""
        is_parallel = any(key.endswith("n_jobs") for key in self.estimator.get_params(deep=True))
        return torch.get_num_threads() if is_parallel else 1

    @property
    def weight_bytes(self) -> int:
        """See :class:`~rsscale.runtimes.base.RuntimeModule`: as much as its arrays, about."""
        return len(pickle.dumps(self.estimator, protocol=5))

    def forward(self, given: Given) -> torch.Tensor:
        """See :class:`PixelModule`."""
        import threadpoolctl

        # One thread for BLAS, whose sums depend on how many there are; as many as torch has for
        # OpenMP, which would take all cores beside those of other workers.
        limits = {"blas": 1, "openmp": torch.get_num_threads()}
        with threadpoolctl.threadpool_limits(limits=limits):
            return super().forward(given)

    def rows(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        """See :class:`PixelModule`."""
        import joblib

        table: Any = features
        if self._columns is not None:
            import pandas as pd

            table = pd.DataFrame(features, columns=self._columns, copy=False)
        predict = self.estimator.predict_proba if self._is_classifier else self.estimator.predict
        with joblib.parallel_config(backend="sequential"):  # of this thread alone
            numbers = np.asarray(predict(table))
        return numbers[:, None] if numbers.ndim == 1 else numbers

    def write(self, path: Path) -> None:
        """See :class:`~rsscale.runtimes.base.RuntimeModule`; equal estimators, equal bytes."""
        content = _canonical(_skops().dumps(self.estimator))
        unsafe = _unsafe_types(content)
        if unsafe:
            raise ModelError(
                f"{type(self.estimator).__name__} holds {unsafe[0]}, which could not be opened "
                "again: only classes of scikit-learn are; save it as ONNX, or use rsscale.apply"
            )
        path.write_bytes(content)


def open_estimator(path: Path, spec: ModelSpec) -> EstimatorModule:
    """Open an estimator that skops wrote, if it is made of scikit-learn and NumPy alone.

    Raises
    ------
    ModelError
        When it is damaged, a pickle, of another version that can't be read, or holds anything else.
    MissingExtraError
        When scikit-learn or skops are not installed.
    """
    skops = _skops()
    content = path.read_bytes()
    try:
        unsafe = _unsafe_types(content)
    except Exception as error:  # noqa: BLE001 -- whatever a damaged file makes of a reader
        reason = error_line(error)[:200]
        raise ModelError(
            f"{path} is no file of skops.io.dump, or damaged ({reason}); pickles and joblib files "
            "run code and are not read"
        ) from None
    if unsafe:
        raise ModelError(
            f"{path} holds {', '.join(unsafe[:3])}; only classes of scikit-learn are opened, since "
            "others may run any code: fit a model without them, or save it as ONNX"
        )
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator = skops.loads(content, trusted=_untrusted(content))
    except Exception as error:  # noqa: BLE001 -- and of another version
        raise ModelError(
            f"{path} can't be opened by scikit-learn {_version()}: {error_line(error)[:200]}"
        ) from None
    for warning in caught[:1]:
        _log.warning("%s: %s", path, " ".join(str(warning.message).split())[:300])
    return EstimatorModule(spec, estimator)


def check_fitted(estimator: Any, name: str) -> None:
    """Refuse an object that predicts nothing, or was not fitted.

    Raises
    ------
    ModelError
    """
    if not hasattr(estimator, "predict") or not hasattr(estimator, "get_params"):
        raise ModelError(f"model {name!r} is a {type(estimator).__name__}, which predicts nothing")
    if getattr(estimator, "n_features_in_", None) is None:
        raise ModelError(f"model {name!r} is a {type(estimator).__name__} that is not fitted")


def labels_of(estimator: Any, name: str) -> Any:
    """The labels that a classifier gives probabilities of.

    Raises
    ------
    ModelError
        When it gives none, or predicts several targets.
    """
    kind = type(estimator).__name__
    labels = getattr(estimator, "classes_", None)
    if labels is None or not hasattr(estimator, "predict_proba"):
        raise ModelError(
            f"model {name!r} is a {kind} without probabilities of classes; use an estimator with "
            "predict_proba, such as sklearn.calibration.CalibratedClassifierCV around it, or give "
            "output=ValueOutput(...) for a regressor"
        )
    if isinstance(labels, list):
        raise ModelError(f"model {name!r} predicts {len(labels)} targets at once; fit it to one")
    return labels


def _unsafe_types(content: bytes) -> list[str]:
    return [name for name in _untrusted(content) if not _is_safe(name)]


def _untrusted(content: bytes) -> list[str]:
    """Types in a file of skops, beyond those that skops itself trusts; nothing is made of them."""
    return list(_skops().get_untrusted_types(data=content))


def _is_safe(name: str) -> bool:
    """Whether a name is of a class of scikit-learn: functions could be called with anything."""
    if name in _TRUSTED:
        return True
    module, _, attribute = name.rpartition(".")
    if module.split(".")[0] != "sklearn":
        return False
    try:
        return isinstance(getattr(importlib.import_module(module), attribute), type)
    except (ImportError, AttributeError):
        return False


def _canonical(content: bytes) -> bytes:
    """A file of skops without times and addresses in memory: equal estimators, equal bytes."""
    numbers: dict[str, int] = {}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: numbers.setdefault(str(part), len(numbers))
                if key == "__id__"
                else _file(part)
                if key == "file"
                else renamed(part)
                for key, part in value.items()
            }
        return [renamed(part) for part in value] if isinstance(value, list) else value

    def _file(name: Any) -> Any:
        if not isinstance(name, str):
            return renamed(name)
        stem, _, suffix = name.partition(".")
        return f"{numbers.setdefault(stem, len(numbers))}.{suffix}"

    with ExitStack() as stack:
        source = stack.enter_context(zipfile.ZipFile(io.BytesIO(content)))
        schema = renamed(json.loads(source.read("schema.json")))
        members = {_file(n): source.read(n) for n in source.namelist() if n != "schema.json"}
        members["schema.json"] = json.dumps(schema).encode()
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(members):
                info = zipfile.ZipInfo(name, _EPOCH)
                archive.writestr(info, members[name], zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _skops() -> Any:
    try:
        import sklearn  # noqa: F401
        import skops.io
    except ImportError as error:
        raise missing_extra("an estimator of scikit-learn", "classical") from error
    return skops.io


def _version() -> str:
    import sklearn

    return str(sklearn.__version__)
