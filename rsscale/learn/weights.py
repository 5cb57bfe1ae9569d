"""Open the model of a folder: weights of a network, a program, or a model of another library."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rsscale.errors import ModelError, RsscaleError
from rsscale.learn.architectures import build, small_size
from rsscale.learn.model import Model, call, move
from rsscale.model.artifacts import artifact_of
from rsscale.model.files import files_digest, read_item, weights_path
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import blank_batch, shapes_text
from rsscale.network.receptive_field import innermost, reach_of
from rsscale.network.result import place_result
from rsscale.network.scores import check_classes_to_map, check_scores
from rsscale.network.window_objects import window_objects
from rsscale.runtimes.factory import is_address
from rsscale.runtimes.opening import has_runtime, open_runtime
from rsscale.runtimes.torch_program import open_program

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
    digest = files_digest(folder / "item.json", weights)
    if device is None:
        on_gpu = torch.cuda.is_available() and not has_runtime(weights.suffix)
        device = "cuda" if on_gpu else "cpu"
    reach = None
    if has_runtime(weights.suffix):
        module: nn.Module = open_runtime(weights, spec)
        reach = getattr(module, "reach", None)
    elif weights.suffix == ".pt2":
        _check_trust(weights, digest, trust)
        module = open_program(weights, by_one=spec.finds_objects)
    else:
        module = _open_weights(weights, spec).eval().to(memory_format=torch.channels_last)
        reach = reach_of(spec.architecture, spec.hyperparameters)
    if check:
        check_windows(module, spec, _width_to_try(weights, spec), str(weights))
    return Model(spec, move(module, device), torch.device(device), digest, reach=reach)


def _width_to_try(weights: Path, spec: ModelSpec) -> int:
    """A width that a model takes if it takes its windows: seconds less for a U-Net."""
    width = spec.lattice.window
    by_pixel = has_runtime(weights.suffix) and artifact_of(weights.name).by_pixel
    is_known = weights.suffix == ".safetensors" and not is_address(innermost(spec.architecture))
    return small_size(width) if by_pixel or is_known else width


def _open_weights(path: Path, spec: ModelSpec) -> nn.Module:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    make = partial(build, spec.architecture, spec.inputs, spec.output_channels)
    size = parameters_of(partial(make, **spec.hyperparameters))
    if size is not None and size > path.stat().st_size:  # it is not made only to be refused
        raise ModelError(
            f"{path} does not hold the weights of {spec.architecture!r} with {spec.channels} "
            f"channels and {dict(spec.hyperparameters)}, as item.json says: that has {size} "
            f"parameters, the file {path.stat().st_size} bytes"
        )
    module = make(**spec.hyperparameters)
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged or not safetensors: {error}") from None
    if difference := state_difference(module.state_dict(), state):
        raise ModelError(
            f"{path} does not hold the weights of {spec.architecture!r} with {spec.channels} "
            f"channels and {spec.output_channels} results, as item.json says: {difference}"
        )
    module.load_state_dict(state)
    return module


def parameters_of(make: Callable[[], nn.Module]) -> int | None:
    """Parameters of a network before its memory is taken; None where that can't be told."""
    try:
        with torch.device("meta"):
            return sum(p.numel() for p in make().parameters())
    except RsscaleError:
        raise
    except Exception:  # noqa: BLE001 -- some networks look at their numbers while they are made
        return None


def state_difference(
    wanted: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]
) -> str | None:
    """How the weights of a file differ from those of a network, by name; None where they fit."""
    missing = [key for key in wanted if key not in weights]
    unexpected = [key for key in weights if key not in wanted]
    if missing and unexpected and not set(wanted) & set(weights):
        ends = {key.removesuffix(missing[0]) for key in weights if key.endswith(f".{missing[0]}")}
        hint = f"; all begin with {ends.pop()!r}: save them without it" if ends else ""
        return f"they are of another network: {_some(unexpected)}, not {_some(missing)}{hint}"
    if missing or unexpected:
        lacks = f"they lack {_some(missing)}" if missing else ""
        more = f"they have {_some(unexpected)} besides" if unexpected else ""
        return "; ".join(filter(None, (lacks, more)))
    for key, value in wanted.items():
        if value.shape != weights[key].shape:
            return f"{key} has the shape {tuple(weights[key].shape)}, expected {tuple(value.shape)}"
    return None


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{', '.join(keys[:3])}{more}"


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
    check_windows(model.module, model.spec, _width_to_try(weights, model.spec), str(weights))


def _hint_of_time(spec: ModelSpec) -> str:
    """What to say of a network that has time as a dimension of its own."""
    if spec.layout == "series":
        return (
            "; its contract says that it gets (batch, time, band, height, width): one that takes "
            "(batch, channel, height, width) has the layout 'channels'"
        )
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
    if not spec.finds_objects:
        check_classes_to_map(spec)
    window = blank_batch(spec, 1, size)
    try:
        with torch.inference_mode():
            scores: Any = place_result(call(module, window), spec.result, (size, size), name)
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 -- a network may raise anything
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{name} can't predict a window of {spec.channels} channels and "
            f"{spec.lattice.window} px (stride + 2 halo): {reason}; "
            f"it was given {shapes_text(window.given)}{_hint_of_time(spec)}"
        ) from None
    if spec.finds_objects:
        window_objects(scores, spec, size, name)
    else:
        check_scores(scores, spec, window, name)
