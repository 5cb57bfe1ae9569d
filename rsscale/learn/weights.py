"""Open the network of a model folder: weights of a known architecture, or a program."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import nn

from rsscale.errors import ModelError
from rsscale.learn.architectures import build, small_size
from rsscale.learn.model import Model, move
from rsscale.model.files import files_digest, read_item, weights_path
from rsscale.model.spec import ModelSpec


def open_frozen(path: str | Path, device: str | torch.device) -> Model:
    """Open a model that a run keeps: it was tried on a window when the run was planned.

    Parameters
    ----------
    path : path
        As for :func:`open_model`.
    device : str or torch.device
    """
    return read_model(Path(path), device, trust=False, check=False)


def read_model(
    folder: Path, device: str | torch.device | None, *, trust: bool, check: bool
) -> Model:
    """Open a model folder as it lies; with ``check`` the network is tried on a window."""
    item = read_item(folder)
    spec = ModelSpec.from_item(item)
    weights = weights_path(folder, item)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    size = spec.lattice.window
    if weights.suffix == ".pt2":
        module = _open_program(weights, trust=trust)
    else:
        module = _open_weights(weights, spec).eval().to(memory_format=torch.channels_last)
        size = small_size(size)  # seconds less for a U-Net
    if check:
        check_windows(module, spec, size, str(weights))
    digest = files_digest(folder / "item.json", weights)
    return Model(spec, move(module, device), torch.device(device), digest)


def _open_weights(path: Path, spec: ModelSpec) -> nn.Module:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    make = partial(build, spec.architecture, spec.channels, len(spec.classes))
    with torch.device("meta"):
        size = sum(p.numel() for p in make(**spec.hyperparameters).parameters())
    if size > path.stat().st_size:  # a byte each at least: it is not made only to be refused
        raise ModelError(
            f"{path} does not hold the weights of {spec.architecture!r} with {spec.channels} "
            f"channels and {dict(spec.hyperparameters)}, as item.json says: that has {size} "
            f"parameters, the file {path.stat().st_size} bytes"
        )
    module = make(**spec.hyperparameters)
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged or not safetensors: {error}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{path} does not hold the weights of {spec.architecture!r} with {spec.channels} "
            f"channels and {len(spec.classes)} classes, as item.json says: {reason}"
        ) from None
    return module


def _open_program(path: Path, *, trust: bool) -> nn.Module:
    # Sample inputs and constants in the archive are pickles, read with weights_only=False.
    if not trust:
        raise ModelError(
            f"{path} is a torch.export program, which may run any code when it is opened; save "
            "the weights of an architecture that rsscale knows as .safetensors, or, if you trust "
            "its source, open it with trust=True"
        )
    try:
        program = torch.export.load(path)
    except Exception as error:  # noqa: BLE001 -- torch raises whatever its archive reader meets
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} can't be opened as a torch.export program: {reason}") from None
    module: nn.Module = program.module()
    return module


def check_windows(module: nn.Module, spec: ModelSpec, size: int, what: str) -> None:
    """Run a network once on nothing: a mismatch shows now, not on a thousand tiles.

    Parameters
    ----------
    module : torch.nn.Module
        On the CPU, in evaluation mode.
    spec : ModelSpec
    size : int
        Width to try, px: that of the contract's windows, or one that stands for it.
    what : str
        What the message is about.

    Raises
    ------
    ModelError
        When it does not take a window of the contract, or returns something else.
    """
    try:
        with torch.inference_mode():
            window = torch.zeros(1, spec.channels, size, size)
            found = tuple(module(window.to(memory_format=torch.channels_last)).shape)
    except Exception as error:  # noqa: BLE001 -- a network may raise anything
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{what} can't predict a window of {spec.channels} channels and "
            f"{spec.lattice.window} px (stride + 2 halo): {reason}"
        ) from None
    expected = (1, len(spec.classes), size, size)
    if found != expected:
        raise ModelError(
            f"{what} returns {found} for one window, expected {expected}: classes and size of "
            "its contract"
        )
