"""The contract of a network or an estimator that somebody has in hand, from what they say of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from rsscale.errors import ModelError
from rsscale.geo.lattice import Lattice
from rsscale.layers import AFTER, BEFORE
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import Missing, ModelInput, Seen, TensorLayout
from rsscale.model.outputs import ClassOutput, ObjectOutput, Output, ResultLayout
from rsscale.model.spec import ModelSpec
from rsscale.runtimes.torch_program import check_program

_log = logging.getLogger("rsscale")

Inputs = Sequence[ModelInput] | Mapping[str, Sequence[str]]
"""Inputs of a model, or the bands of each by its name."""

_HALO = 32
_BAD_CLASSES = "give classes, a LandClass for each, or output=ValueOutput(...) for a regression"


@dataclass(frozen=True)
class Description:
    """What a person says of a model; see :meth:`rsscale.Model.of`."""

    name: str | None
    inputs: Inputs
    times: Sequence[str] | Mapping[str, Sequence[str]] | None = None
    classes: Sequence[LandClass] = ()
    output: Output | None = None
    stride: int = 256
    halo: int | None = None
    blend: Literal["trim", "hann"] = "trim"
    layout: TensorLayout = "channels"
    result: ResultLayout = field(default_factory=ResultLayout)
    resolution: float | None = None
    architecture: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    missing: Missing | None = None
    seen: Seen | None = None

    def spec(
        self,
        architecture: str,
        *,
        output: Output,
        classes: Sequence[LandClass] | None = None,
        halo: int = 0,
        missing: Missing = "mean",
    ) -> ModelSpec:
        """The contract, with what is not said chosen for a kind of model."""
        inputs = _inputs(self.inputs, self.times)
        is_of_two_dates = {BEFORE, AFTER} <= {known.name for known in inputs}
        return ModelSpec(
            name=self.name or architecture,
            inputs=inputs,
            classes=tuple(self.classes if classes is None else classes),
            lattice=Lattice(self.stride, halo if self.halo is None else self.halo, self.blend),
            architecture=self.architecture or architecture,
            hyperparameters=dict(self.hyperparameters),
            resolution=self.resolution,
            output=self.output or output,
            layout=self.layout,
            result=self.result,
            missing=self.missing or missing,
            seen=self.seen or ("all" if is_of_two_dates else "any"),
        )


def described(model: Any, said: Description) -> tuple[ModelSpec, nn.Module]:
    """Contract and module of a network, an estimator, or a file of ONNX.

    Raises
    ------
    ModelError
        When it is none of these, or does not fit what is said of it.
    """
    if isinstance(model, torch.export.ExportedProgram):
        check_program(
            model,
            f"model {said.name or 'of torch.export'!r}",
            by_one=isinstance(said.output, ObjectOutput),
        )
        return _of_network(model.module(), said)
    if isinstance(model, nn.Module):
        return _of_network(model, said)
    if isinstance(model, str | Path):
        return _of_onnx(Path(model), said)
    if isinstance(said.output, ObjectOutput):
        raise ModelError(
            f"a {type(model).__name__} finds no objects; expected a torch.nn.Module or the path of "
            "an .onnx file that returns boxes, labels and scores"
        )
    library = type(model).__module__.partition(".")[0]
    if library == "lightgbm":
        return _of_lightgbm(model, said)
    if hasattr(model, "get_params") and hasattr(model, "predict"):
        return _of_estimator(model, said)
    raise ModelError(
        f"a {type(model).__name__} can't be made a model; expected a torch.nn.Module, a fitted "
        "estimator of scikit-learn, a model of LightGBM, or the path of an .onnx file; any other "
        "function runs with rsscale.apply"
    )


def _of_network(network: nn.Module, said: Description) -> tuple[ModelSpec, nn.Module]:
    kind = type(network).__name__
    spec = said.spec(kind, output=_of_classes(said, kind, ClassOutput()), halo=_HALO)
    if any(part.training for part in network.modules()):
        try:
            network.eval()
        except NotImplementedError:  # of torch.export: the mode is in its operators
            return spec, network
        _log.warning(
            "%s was in the mode of training, in which results depend on the other windows of a "
            "batch; it is in the mode of evaluation now (network.eval())",
            kind,
        )
    return spec, network


def _of_onnx(path: Path, said: Description) -> tuple[ModelSpec, nn.Module]:
    from rsscale.runtimes.onnx_session import open_onnx

    if path.suffix != ".onnx" or not path.is_file():
        raise ModelError(
            f"{path} is no .onnx file; a model folder is opened with rsscale.open_model"
        )
    spec = said.spec(path.stem, output=_of_classes(said, path.name, ClassOutput()), halo=_HALO)
    return spec, open_onnx(path, spec)


def _of_estimator(estimator: Any, said: Description) -> tuple[ModelSpec, nn.Module]:
    from rsscale.runtimes.estimator import EstimatorModule, check_fitted, labels_of
    from rsscale.runtimes.labels import ordered_classes

    kind = type(estimator).__name__
    name = said.name or kind
    check_fitted(estimator, name)
    if not said.classes:
        if said.output is None:
            labels = list(getattr(estimator, "classes_", []))
            raise ModelError(
                f"{kind} {f'knows the classes {labels}; ' if labels else ''}{_BAD_CLASSES}"
            )
        spec = said.spec(kind, output=said.output)
    else:
        labels = labels_of(estimator, name)
        classes = ordered_classes(labels, said.classes, name)
        _check_activation(said, kind)
        spec = said.spec(kind, output=ClassOutput("none"), classes=classes)
    return spec, EstimatorModule(spec, estimator)


def _of_lightgbm(model: Any, said: Description) -> tuple[ModelSpec, nn.Module]:
    from rsscale.runtimes.boosting import BoosterModule
    from rsscale.runtimes.labels import ordered_classes

    name = said.name or "LightGBM"
    booster, labels = model, None
    if hasattr(model, "booster_") or hasattr(model, "fit"):
        if not getattr(model, "fitted_", True) or getattr(model, "n_features_in_", None) is None:
            raise ModelError(f"model {name!r} is a {type(model).__name__} that is not fitted")
        booster, labels = model.booster_, getattr(model, "classes_", None)
    classes = said.classes
    if classes and labels is not None:
        classes = ordered_classes(labels, classes, name)
    output: Output = _of_classes(said, "LightGBM", ClassOutput("none"))
    _check_activation(said, "LightGBM")
    spec = said.spec("gradient-boosting", output=output, classes=classes, missing="nan")
    return spec, BoosterModule(spec, booster)


def _of_classes(said: Description, kind: str, output: Output) -> Output:
    """The output that is said, or the usual one of classes."""
    if said.output is None and not said.classes:
        raise ModelError(f"{kind}: {_BAD_CLASSES}")
    return said.output or output


def _check_activation(said: Description, kind: str) -> None:
    """Estimators give probabilities: another activation would be applied to them."""
    if isinstance(said.output, ClassOutput) and said.output.activation != "none":
        raise ModelError(
            f"{kind} gives probabilities, and its output says activation "
            f"{said.output.activation!r}; leave output out, or say ClassOutput('none')"
        )


def _inputs(
    inputs: Inputs, times: Sequence[str] | Mapping[str, Sequence[str]] | None
) -> tuple[ModelInput, ...]:
    """Inputs as they are, or of bands alone: those are given as they are, unscaled."""
    if not isinstance(inputs, Mapping):
        wrong = [part for part in inputs if not isinstance(part, ModelInput)]
        if wrong or times is not None:
            raise ModelError(
                f"inputs are {inputs!r:.80} with times {times!r:.40}; expected ModelInput objects, "
                "which have their times, or {'s2': ['red', 'nir']} with times=['summer']"
            )
        return tuple(inputs)
    made = []
    for name, bands in inputs.items():
        of = times.get(name) if isinstance(times, Mapping) else times
        if isinstance(bands, str) or not of or isinstance(of, str):
            raise ModelError(
                f"input {name!r} has the bands {bands!r:.60} and the times {of!r:.40}; expected "
                "lists of names, such as {'s2': ['red', 'nir']} and times=['spring', 'summer']"
            )
        count = len(bands)
        made.append(ModelInput(name, tuple(bands), tuple(of), (0.0,) * count, (1.0,) * count))
    return tuple(made)
