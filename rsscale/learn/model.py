"""A network with its contract, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn

from rsscale.cluster.machine import Precision
from rsscale.decorators.first_argument import made_by
from rsscale.errors import ModelError
from rsscale.learn.model_html import model_html
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import Missing, Seen, TensorLayout
from rsscale.model.outputs import Output, ResultLayout
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import WindowBatch
from rsscale.network.result import place_result
from rsscale.runtimes.describe import Description, Inputs, described


@dataclass(frozen=True)
class AsOpened:
    """Source and digest of an opened model, to notice later changes to it."""

    folder: Any  # a ModelFolder
    module: nn.Module
    state: str

    def is_still(self, module: nn.Module) -> bool:
        """Whether a network is the one that was opened, with its weights as they were."""
        return module is self.module and state_digest(module) == self.state


@made_by("rs.open_model(path)")
@dataclass(frozen=True)
class Model:
    """A network with its contract, ready to predict.

    Attributes
    ----------
    spec : ModelSpec
        What it reads, how it is run, what it returns.
    module : torch.nn.Module
        What it takes and returns is said by the contract's layout, output and result; in
        evaluation mode.
    device : torch.device
        Where the weights are.
    digest : str
        Hash of contract and weights as they lie on disk; empty for a model that does not.
    precision : str
        What the network computes in: ``"float32"`` or ``"bfloat16"``.
    compiled : bool
        Whether ``module`` was compiled.
    reach : int or None
        How far the network looks around a pixel, px; None where that is not known.
    """

    spec: ModelSpec
    module: nn.Module
    device: torch.device
    digest: str = ""
    precision: Precision = "float32"
    compiled: bool = False
    reach: int | None = None
    _opened: AsOpened | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        model: Any,
        *,
        inputs: Inputs,
        times: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        classes: Sequence[LandClass] = (),
        output: Output | None = None,
        name: str | None = None,
        stride: int = 256,
        halo: int | None = None,
        blend: Literal["trim", "hann"] = "trim",
        layout: TensorLayout = "channels",
        result: ResultLayout | None = None,
        resolution: float | None = None,
        architecture: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        missing: Missing | None = None,
        seen: Seen | None = None,
    ) -> Model:
        """A network or an estimator of one's own as a model: for ``predict``, ``preview``, ``run``.

        Parameters
        ----------
        model : torch.nn.Module, estimator, or path
            A network; one in the mode of training is set to evaluation, which is logged. A program
            of :func:`torch.export.export`. A fitted
            estimator or pipeline of scikit-learn. A ``Booster``, ``LGBMClassifier`` or
            ``LGBMRegressor`` of LightGBM. The path of an ``.onnx`` file.
        inputs : sequence of ModelInput, or mapping of name to bands
            In the order of the network's channels, or the estimator's features: input by input,
            time by time, band by band. A mapping, ``{"s2": ["red", "nir"]}`` with ``times``, means
            values as they are, neither centred nor scaled.
        times : sequence of str, or mapping of name to those, optional
            Names of the time windows of a mapping's inputs, e.g. ``["spring", "summer"]``.
        classes : sequence of LandClass
            In the order of the network's scores; of an estimator in any order, found by the values
            or names that it was fitted to. A ``Booster`` knows none: in the order of its labels.
        output : ClassOutput, ValueOutput, EmbeddingOutput or ObjectOutput, optional
            Without it, scores before softmax of a network, and probabilities of an estimator;
            ``ValueOutput`` for a regressor, ``ObjectOutput`` for a detector.
        name : str, optional
            Of the type of ``model`` when omitted.
        stride, halo : int
            Width of a window's core and its context, px; the halo is 32 when omitted, 0 for
            estimators, which look at single pixels.
        blend, layout, result, resolution
            As of :class:`rsscale.ModelSpec`.
        architecture, hyperparameters
            How the network can be made again, so that it is saved as weights: a name that rsscale
            knows, ``"smp:Unet"``, or ``"module:function"`` (docs/models.md). Any other network is
            saved as a program of torch. For estimators: ``{"indices": ["NDVI"], "bands": {"B04":
            "R"}}`` adds spectral indices of each time to the features, after all bands.
        missing : str, optional
            ``"mean"``: what is missing is 0 after scaling, which is the training mean; without
            scaling it is the value 0. ``"nan"``: it is NaN, the usual for LightGBM; right too for
            pipelines that begin with an imputer.
        seen : str, optional
            ``"all"``: a pixel that one of the inputs has not seen is nodata, the default of inputs
            ``before`` and ``after``; ``"any"``: it is mapped, the default of others.

        Raises
        ------
        ModelError
            When it is none of these, is not fitted, or its classes or features are not those that
            are given.
        """
        said = Description(
            name=name,
            inputs=inputs,
            times=times,
            classes=tuple(classes),
            output=output,
            stride=stride,
            halo=halo,
            blend=blend,
            layout=layout,
            result=result or ResultLayout(),
            resolution=resolution,
            architecture=architecture,
            hyperparameters=hyperparameters or {},
            missing=missing,
            seen=seen,
        )
        spec, module = described(model, said)
        first = next(module.parameters(), None)
        device = torch.device("cpu") if first is None else first.device
        return cls(spec, module, device, reach=getattr(module, "reach", None))

    def _repr_html_(self) -> str:
        parameters = sum(weights.numel() for weights in self.module.parameters())
        more = [("parameters", f"{parameters:,}")] if parameters else []
        more.append(("computes in", f"{self.precision} on {self.device}"))
        if self.compiled:
            more.append(("compiled", "by torch.compile"))
        return model_html(self.spec, self.digest, more)

    def __call__(self, batch: WindowBatch | torch.Tensor) -> Any:
        """Numbers of the network ``(N, C, H, W)`` for normalised windows, missing values 0.

        A tensor ``(N, C, H, W)`` is taken as all channels of the windows. Of a network that finds
        objects it is what that returns, see :class:`rsscale.ObjectOutput`.
        """
        if isinstance(batch, torch.Tensor):
            batch = WindowBatch(self.spec, batch)
        name = f"model {self.spec.name!r}"
        size = (batch.channels.shape[-2], batch.channels.shape[-1])
        return place_result(call(self.module, batch), self.spec.result, size, name)

    def to(self, device: str | torch.device) -> Model:
        """The same model on another device; this one stays where it is.

        Raises
        ------
        ModelError
            When there is no such device, or the model was compiled for the one where it is.
        """
        if self.compiled:
            raise ModelError(
                f"model {self.spec.name!r} is compiled for {str(self.device)!r}; move it first, "
                "then compile it"
            )
        module = move(deepcopy(self.module), device)
        opened = self._opened
        if opened is not None and opened.module is self.module:
            folder = replace(opened.folder, device=str(device))
            opened = replace(opened, folder=folder, module=module)
        return replace(self, module=module, device=torch.device(device), _opened=opened)

    def source(self) -> Any:
        """The :class:`ModelFolder` to open this very model from; None for none, or once changed.

        Weights that were trained further, another module and the mode of training count as
        changed. All weights are hashed to tell.
        """
        opened = self._opened
        return opened.folder if opened is not None and opened.is_still(self.module) else None

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process is not what was opened there.
        return {**self.__dict__, "_opened": None}


def call(module: nn.Module, batch: WindowBatch) -> Any:
    """Give a network its windows as the contract says that it takes them."""
    return module(given(batch))


def given(batch: WindowBatch) -> torch.Tensor | dict[str, torch.Tensor]:
    """What a network is called with, by the layout of its contract."""
    layout = batch.spec.layout
    if layout == "channels":
        # The layout that oneDNN and cuDNN convolve fastest; it does not change a value's meaning.
        return batch.channels.contiguous(memory_format=torch.channels_last)
    if layout == "series":
        return batch[batch.spec.inputs[0].name]
    return dict(batch)


def move(module: nn.Module, device: str | torch.device) -> nn.Module:
    """A network on another device, moved in place; a device that is not there is refused."""
    try:
        return module.to(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch raises each
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"the model can't be moved to {str(device)!r}: {reason}") from None


def state_digest(module: nn.Module) -> str:
    """A digest of a network's weights and of which of its parts are in the mode of training."""
    total = hashlib.sha256(bytes(part.training for part in module.modules()))
    for name, value in module.state_dict().items():
        if isinstance(value, torch.Tensor):
            kind = f"{name} {value.dtype} {tuple(value.shape)}"
            total.update(kind.encode())
            # As bytes: NumPy has no bfloat16.
            flat = value.detach().cpu().contiguous().reshape(-1)
            total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()
