"""Begin training with an encoder that was trained before, on images of other channels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rsscale.errors import ModelError
from rsscale.importing.user_code import error_line
from rsscale.runtimes.factory import smp_class, smp_encoder

_log = logging.getLogger("rsscale")

ENCODER_WEIGHTS = "encoder_weights"
# Layers of a classifier that come with an encoder and are not part of it.
_HEADS = ("fc.", "head.", "classifier.", "last_linear.", "num_batches_tracked")


def begin_with_encoder(
    module: nn.Module, architecture: str, channels: int, hyperparameters: Mapping[str, Any]
) -> str | None:
    """Give a network of segmentation-models-pytorch the encoder weights that training asks for.

    Parameters
    ----------
    module : torch.nn.Module
        With random weights; its encoder is changed.
    architecture : str
    channels : int
        Input channels. Where the weights are of another number, those of the first convolution
        are repeated in turn, and scaled by the ratio of the numbers.
    hyperparameters : mapping
        With ``encoder_weights``: a local ``.safetensors`` file, or a name of
        segmentation-models-pytorch, such as ``"imagenet"``, which is downloaded.

    Returns
    -------
    str or None
        What was done, for people; None where nothing was asked for.

    Raises
    ------
    ModelError
        When there is no encoder, the weights are of another, or can't be had.
    """
    source = hyperparameters.get(ENCODER_WEIGHTS)
    if source is None:
        return None
    encoder = getattr(module, "encoder", None)
    if not smp_encoder(architecture) or not isinstance(encoder, nn.Module):
        raise ModelError(
            f"architecture {architecture!r} has the hyperparameter encoder_weights, which networks "
            "of segmentation-models-pytorch take (smp:Unet); others begin with random weights"
        )
    if str(source).endswith(".safetensors") or Path(str(source)).exists():
        remark = _from_file(encoder, Path(str(source)))
    else:
        remark = _from_hub(encoder, architecture, channels, hyperparameters)
    _log.info("%s: %s", architecture, remark)
    return remark


def pretrained_properties(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a model's item says of the weights that its training began with."""
    source = hyperparameters.get(ENCODER_WEIGHTS)
    if source is None:
        return {"mlm:pretrained": False} if ENCODER_WEIGHTS in hyperparameters else {}
    return {
        "mlm:pretrained": True,
        "mlm:pretrained_source": f"encoder: {Path(str(source)).name}; the weights of its first "
        "convolution repeated and scaled where the number of channels is another",
    }


def without_path(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters with the name of a file of weights, and not where it lay."""
    source = hyperparameters.get(ENCODER_WEIGHTS)
    if not str(source).endswith(".safetensors"):
        return dict(hyperparameters)
    return {**hyperparameters, ENCODER_WEIGHTS: Path(str(source)).name}


def _from_hub(
    encoder: nn.Module, architecture: str, channels: int, hyperparameters: Mapping[str, Any]
) -> str:
    name = hyperparameters[ENCODER_WEIGHTS]
    maker = smp_class(architecture)
    try:
        made = maker(in_channels=channels, classes=1, **hyperparameters)
        encoder.load_state_dict(made.encoder.state_dict())
    except Exception as error:  # noqa: BLE001 -- of the network, or of an unknown name
        raise ModelError(
            f"encoder_weights {name!r} can't be had ({error_line(error)[:200]}); on a machine "
            "without network give a local .safetensors file of the encoder's weights"
        ) from None
    adapted = (
        "" if channels == 3 else f", its first convolution adapted from 3 to {channels} channels"
    )
    return f"begins with the encoder weights {name!r}{adapted}"


def _from_file(encoder: nn.Module, path: Path) -> str:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != ".safetensors":
        raise ModelError(f"encoder_weights {path} is no .safetensors file; save it as one")
    try:
        loaded = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"encoder_weights {path} can't be read: {error}") from None
    known = encoder.state_dict()
    weights = {key.removeprefix("encoder."): value for key, value in loaded.items()}
    missing = [k for k in known if k not in weights and not k.endswith(_HEADS)]
    if missing:
        raise ModelError(
            f"encoder_weights {path} are of another encoder: they lack {', '.join(missing[:3])}; "
            f"they have {', '.join(sorted(weights)[:3])}"
        )
    remark = f"begins with the encoder weights of {path.name}"
    state = {}
    for key, value in known.items():
        weight = weights.get(key, value)
        if weight.shape != value.shape and _is_first(weight, value):
            remark += (
                f", its first convolution ({key}) adapted from {weight.shape[1]} to "
                f"{value.shape[1]} channels: repeated in turn, scaled by "
                f"{weight.shape[1]}/{value.shape[1]}"
            )
            weight = adapted_channels(weight, value.shape[1])
        if weight.shape != value.shape:
            raise ModelError(
                f"encoder_weights {path} are of another encoder: {key} is "
                f"{tuple(weight.shape)}, expected {tuple(value.shape)}"
            )
        state[key] = weight
    encoder.load_state_dict(state)
    return remark


def _is_first(weight: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether a kernel differs by its input channels alone."""
    channels, other = tuple(weight.shape), tuple(wanted.shape)
    return len(channels) == len(other) == 4 and channels[:1] + channels[2:] == other[:1] + other[2:]


def adapted_channels(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """A kernel ``(out, in, h, w)`` for other input channels: repeated in turn, and scaled.

    An input whose channels are all equal gives what it gave before, for multiples of the number
    of channels, and nearly so for others.
    """
    before = weight.shape[1]
    repeated = weight[:, [channel % before for channel in range(channels)]]
    return repeated * (before / channels)
