"""Speed up a network by bfloat16 or compilation, and measure how many labels that changes.

Neither is on by default. Both make another numeric profile: labels next to a decision boundary
may change, so a map is to be made with one of them throughout.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast, get_args

import torch
from torch import nn

from rsscale.cluster.machine import Precision, has_bfloat16, no_bfloat16
from rsscale.errors import ModelError, nearest
from rsscale.network.batch import WindowBatch, blank_batch
from rsscale.runtimes.base import RuntimeModule

if TYPE_CHECKING:
    from rsscale.learn.model import Model


def accelerate(
    model: Model,
    *,
    precision: Precision = "float32",
    compile: bool = False,  # noqa: A002 -- torch's name for it
    batch: int = 1,
) -> Model:
    """The same model, computing faster on the device that it is on.

    Parameters
    ----------
    model : Model
        Stays as it is; the weights are shared.
    precision : str
        ``"bfloat16"``: convolutions in 16 bits by :class:`torch.autocast`, for GPUs and CPUs
        that have instructions for it.
    compile : bool
        By :func:`torch.compile` with the weights frozen into the code. It takes seconds to
        minutes, and on the CPU a C++ compiler such as g++; the number of threads that torch has
        now is part of the code. Where it fails, a warning says why and the model is not compiled.
    batch : int
        Windows that the model will see at once: another number is compiled again.

    Returns
    -------
    Model
        With ``precision`` and ``compiled`` saying what was reached.

    Raises
    ------
    ModelError
        When the precision is unknown, or slower than float32 on this device; when the model is
        compiled already.
    """
    if model.compiled:
        raise ModelError(
            f"model {model.spec.name!r} is compiled already; open it again to accelerate it in "
            "another way"
        )
    if precision not in get_args(Precision):
        raise ModelError(
            f"precision is {precision!r}; expected 'float32' or 'bfloat16'"
            f"{nearest(precision, get_args(Precision))}"
        )
    if isinstance(model.module, RuntimeModule) and (compile or precision != "float32"):
        raise ModelError(
            f"model {model.spec.name!r} runs by {model.module.artifact.framework}, which has "
            "neither bfloat16 nor compilation here; leave out precision and compile"
        )
    if precision == "bfloat16" and model.precision != "bfloat16":
        _check_bfloat16(model.device)
        model = replace(model, module=_Bfloat16(model.module), precision=precision)
    return _compiled(model, batch) if compile else model


def label_agreement(plain: Model, fast: Model, windows: WindowBatch) -> float:
    """Share of pixels that two forms of one model give the same label, or vectors' largest part.

    Parameters
    ----------
    plain, fast : Model
        E.g. as opened, and accelerated.
    windows : WindowBatch
        As :func:`rsscale.prediction.predict.first_windows` gives them; as many as the models are
        used with.

    Returns
    -------
    float
        1 when all labels agree.
    """
    with torch.inference_mode():
        plain_labels, fast_labels = (
            model(windows.to(model.device)).argmax(dim=1).cpu() for model in (plain, fast)
        )
    return float((plain_labels == fast_labels).double().mean())


class _Bfloat16(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor | Mapping[str, torch.Tensor]) -> Any:
        first = images if isinstance(images, torch.Tensor) else next(iter(images.values()))
        with torch.autocast(first.device.type, dtype=torch.bfloat16):
            returned = self.module(images)
        # Softmax and sums over windows stay in float32.
        return _as_float(returned)


def _as_float(returned: Any) -> Any:
    """Tensors as float32, wherever they lie in what a network returns; labels stay integers."""
    if isinstance(returned, torch.Tensor):
        return returned.float() if returned.is_floating_point() else returned
    if isinstance(returned, Mapping):
        return {key: _as_float(value) for key, value in returned.items()}
    if isinstance(returned, list | tuple):
        return [_as_float(value) for value in returned]
    return returned


def _check_bfloat16(device: torch.device) -> None:
    if not has_bfloat16(device.type):
        raise ModelError(no_bfloat16(str(device)))


def _compiled(model: Model, batch: int) -> Model:
    module = torch.compile(model.module, dynamic=False, options={"freezing": True})
    fast = replace(model, module=cast("nn.Module", module), compiled=True)
    window = blank_batch(model.spec, batch, model.spec.lattice.window, model.device)
    try:
        # Compiled at the first call: now, not under the lock of the first tile.
        with torch.inference_mode():
            fast(window)
    except Exception as error:  # noqa: BLE001 -- compilers and their back ends raise anything
        reason = " ".join(str(error).split())[:200]
        hint = "; a C++ compiler such as g++ is needed" if model.device.type == "cpu" else ""
        warnings.warn(
            f"model {model.spec.name!r} can't be compiled, so it runs as it is{hint}: "
            f"{type(error).__name__}: {reason}",
            stacklevel=3,
        )
        return model
    return fast
