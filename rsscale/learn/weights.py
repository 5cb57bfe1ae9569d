"""Open the network of a model folder: weights of a known architecture, or a program."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path

import torch
from torch import nn

from rsscale.errors import ModelError
from rsscale.learn.architectures import build, small_size
from rsscale.learn.model import Model, call, move
from rsscale.model.files import files_digest, read_item, weights_path
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import blank_batch
from rsscale.network.receptive_field import reach_of
from rsscale.network.result import place_result
from rsscale.network.scores import check_classes_to_map, check_scores

Trust = bool | Collection[str]
"""Whether a program may run: always, never, or with one of these digests."""


def open_frozen(
    path: str | Path, device: str | torch.device, *, trust: Collection[str] = ()
) -> Model:
    """Open a model without trying it on a window: a run does that once, when it is planned.

    Parameters
    ----------
    path : path
        As for :func:`open_model`.
    device : str or torch.device
    trust : collection of str
        Digests of the models that may be programs.
    """
    return read_model(Path(path), device, trust=trust, check=False)


def read_model(
    folder: Path, device: str | torch.device | None, *, trust: Trust, check: bool
) -> Model:
    """Open a model folder as it lies; with ``check`` the network is tried on a window."""
    item = read_item(folder)
    spec = ModelSpec.from_item(item)
    weights = weights_path(folder, item)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    size = spec.lattice.window
    digest = files_digest(folder / "item.json", weights)
    reach = None
    if weights.suffix == ".pt2":
        _check_trust(weights, digest, trust)
        module = _open_program(weights)
    else:
        module = _open_weights(weights, spec).eval().to(memory_format=torch.channels_last)
        size = small_size(size)  # seconds less for a U-Net
        reach = reach_of(spec.architecture, spec.hyperparameters)
    if check:
        check_windows(module, spec, size, str(weights))
    return Model(spec, move(module, device), torch.device(device), digest, reach=reach)


def _open_weights(path: Path, spec: ModelSpec) -> nn.Module:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    make = partial(build, spec.architecture, spec.inputs, spec.output_channels)
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
            f"channels and {spec.output_channels} results, as item.json says: {reason}"
        ) from None
    return module


def _check_trust(path: Path, digest: str, trust: Trust) -> None:
    """Refuse a program that nobody trusts, before a byte of it is read as such."""
    if trust is True or (trust and digest in trust):
        return
    raise ModelError(
        f"{path} is a torch.export program, which may run any code when it is opened; save the "
        "weights of an architecture that rsscale knows as .safetensors, or, if you trust its "
        "source, open it with trust=True (rsscale.open_model, plan, run, preview), --trust on the "
        f"command line, or trust: ['{digest}'] in the recipe"
    )


def _open_program(path: Path) -> nn.Module:
    # Sample inputs and constants in the archive are pickles, read with weights_only=False.
    try:
        program = torch.export.load(path)
    except Exception as error:  # noqa: BLE001 -- torch raises whatever its archive reader meets
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} can't be opened as a torch.export program: {reason}") from None
    module: nn.Module = program.module()
    return module


def try_window(model: Model, folder: Path) -> None:
    """Run an opened model once on nothing; see :func:`check_windows`.

    Parameters
    ----------
    model : Model
        On the CPU.
    folder : Path
        Where it lies.
    """
    weights = weights_path(folder, read_item(folder))
    size = model.spec.lattice.window
    if weights.suffix != ".pt2":
        size = small_size(size)  # seconds less for a U-Net
    check_windows(model.module, model.spec, size, str(weights))


def _hint_of_time(spec: ModelSpec) -> str:
    """What to say of a network that has time as a dimension of its own."""
    if len(spec.inputs) > 1 or spec.inputs[0].length < 2 or spec.layout != "channels":
        return ""
    return (
        "; it gets (batch, channel, height, width): one that takes (batch, time, band, height, "
        "width) has the layout 'series' in its contract"
    )


def check_windows(module: nn.Module, spec: ModelSpec, size: int, name: str) -> None:
    """Run a network once on nothing: a mismatch shows now, not on a thousand tiles.

    Parameters
    ----------
    module : torch.nn.Module
        On the CPU, in evaluation mode.
    spec : ModelSpec
    size : int
        Width to try, px: that of the contract's windows, or one that stands for it.
    name : str
        Of the network in messages, such as the path of its weights.

    Raises
    ------
    ModelError
        When it does not take a window of the contract, or returns something else.
    """
    check_classes_to_map(spec)
    window = blank_batch(spec, 1, size)
    try:
        with torch.inference_mode():
            scores = place_result(call(module, window), spec.result, (size, size), name)
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 -- a network may raise anything
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{name} can't predict a window of {spec.channels} channels and "
            f"{spec.lattice.window} px (stride + 2 halo): {reason}{_hint_of_time(spec)}"
        ) from None
    check_scores(scores, spec, window, name)
