"""Networks that rsscale knows by name: what each takes, how it is built, how far it looks.

The result for a pixel depends on a bounded neighbourhood only: no statistic is taken over a
window when a network is used, so that windows can be trimmed without a seam.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from rsscale.detectors.detectors import DETECTORS
from rsscale.errors import ModelError, nearest
from rsscale.learn.wrappers import parted, unwrapped
from rsscale.model.model_input import DAYS, VALID, TensorLayout
from rsscale.network.receptive_field import innermost, reach_of
from rsscale.networks.channels import MAX_DEPTH, PixelNet, UNet
from rsscale.networks.fusion import LateFusion
from rsscale.networks.inputs import NetworkInput, channels_of
from rsscale.networks.ltae import LTAE
from rsscale.networks.siamese import EarlyFusion, SiameseConcatenation, SiameseDifference
from rsscale.networks.tempcnn import TempCNN
from rsscale.networks.utae import UTAE
from rsscale.runtimes import factory
from rsscale.runtimes.factory import is_address

__all__ = [
    "ARCHITECTURES",
    "MAX_DEPTH",
    "Architecture",
    "build",
    "complete",
    "reach",
    "registered",
    "small_size",
]


@dataclass(frozen=True)
class Architecture:
    """A network by name.

    Attributes
    ----------
    make : callable
        ``make(inputs, outputs, **hyperparameters)`` returns the network with random weights.
    layout : str
        How it takes its inputs; see :class:`rsscale.ModelSpec`.
    takes : tuple of str
        What it takes of each input beside its values.
    finds_objects : bool
        Whether it is a detector, of which ``outputs`` are classes.
    """

    make: Callable[..., nn.Module]
    layout: TensorLayout = "channels"
    takes: tuple[str, ...] = ()
    finds_objects: bool = False


ARCHITECTURES: dict[str, Architecture] = {
    "unet": Architecture(UNet),
    "pixel": Architecture(PixelNet),
    "fc-ef": Architecture(EarlyFusion),
    "fc-siam-conc": Architecture(SiameseConcatenation),
    "fc-siam-diff": Architecture(SiameseDifference),
    "tempcnn": Architecture(TempCNN, "mapping", (DAYS, VALID)),
    "ltae": Architecture(LTAE, "mapping", (DAYS, VALID)),
    "utae": Architecture(UTAE, "mapping", (DAYS, VALID)),
    "fusion": Architecture(LateFusion, "mapping", (DAYS, VALID)),
    **{name: Architecture(make, finds_objects=True) for name, make in DETECTORS.items()},
}
_MOST_BYTES = 8 << 30


def build(
    architecture: str, inputs: Sequence[NetworkInput], outputs: int, **hyperparameters: Any
) -> nn.Module:
    """Make a network by name, with random weights.

    Parameters
    ----------
    architecture : str
    inputs : sequence of NetworkInput
        Name, number of times and bands of each, such as ``spec.inputs``.
    outputs : int
        Numbers that it returns for a pixel, such as ``spec.output_channels``.
    **hyperparameters

    Raises
    ------
    ModelError
        When the name or a hyperparameter is unknown.
    """
    wrapped = unwrapped(architecture)
    if wrapped:
        wrapper, inner = wrapped
        registered(architecture)
        own, inside = parted(wrapper, hyperparameters)
        network = partial(build, inner, inputs, outputs - wrapper.extras, **inside)
        return wrapper.make(network, inputs, own)
    known = registered(architecture)
    if is_address(architecture):
        return known.make(inputs, outputs, **hyperparameters)
    names = complete(architecture, {})
    unknown = [name for name in hyperparameters if name not in names]
    if unknown:
        raise ModelError(
            f"architecture {architecture!r} has no hyperparameter {unknown[0]!r}; it has "
            f"{', '.join(names)}{nearest(unknown[0], names)}"
        )
    _check_size(architecture, inputs, outputs, hyperparameters)
    try:
        return known.make(inputs, outputs, **hyperparameters)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"architecture {architecture!r}: {error}") from None


def registered(architecture: str) -> Architecture:
    """What is known of a network by its name; one that a function makes takes channels.

    Raises
    ------
    ModelError
        When there is none of the name.
    """
    wrapped = unwrapped(architecture)
    if wrapped:
        inner = registered(wrapped[1])
        if inner.finds_objects:
            raise ModelError(
                f"architecture {architecture!r}: {wrapped[1]!r} finds objects, whose boxes can't "
                "be averaged; use it by itself"
            )
        return Architecture(partial(build, architecture), inner.layout, inner.takes)
    if is_address(architecture):
        return Architecture(partial(_made, architecture))
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"architecture {architecture!r} is not known; there are {sorted(ARCHITECTURES)}, "
            "smp:Unet and the like, module:function for any other (docs/models.md), and to train "
            "on pixels random_forest, gradient_boosting and nearest_neighbours"
            f"{nearest(architecture, ARCHITECTURES)}"
        )
    return ARCHITECTURES[architecture]


def _made(
    architecture: str, inputs: Sequence[NetworkInput], outputs: int, **hyperparameters: Any
) -> nn.Module:
    return factory.make(architecture, channels_of(inputs), outputs, hyperparameters)


def _check_size(
    architecture: str,
    inputs: Sequence[NetworkInput],
    outputs: int,
    hyperparameters: Mapping[str, Any],
) -> None:
    """Refuse a network that no memory holds, before any is taken."""
    try:
        with torch.device("meta"):
            network = ARCHITECTURES[architecture].make(inputs, outputs, **hyperparameters)
        size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    except Exception as error:  # noqa: BLE001 -- torch raises anything for numbers of any size
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"architecture {architecture!r}: {reason}") from None
    if size > _MOST_BYTES:
        raise ModelError(
            f"architecture {architecture!r} with {dict(hyperparameters)} has "
            f"{size / 2**30:.1f} GiB of weights; at most {_MOST_BYTES / 2**30:.0f} GiB are built"
        )


def complete(architecture: str, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters with the defaults of today written out, so that they stay what they were."""
    wrapped = unwrapped(architecture)
    if wrapped:
        own, inside = parted(wrapped[0], hyperparameters)
        return complete(wrapped[1], inside) | own
    if is_address(architecture):
        return factory.complete(architecture, hyperparameters)
    if architecture not in ARCHITECTURES:
        return dict(hyperparameters)  # build() says what is wrong
    parameters = inspect.signature(ARCHITECTURES[architecture].make).parameters.values()
    defaults = {
        p.name: list(p.default) if isinstance(p.default, tuple) else p.default  # as JSON has it
        for p in parameters
        if p.default is not p.empty
    }
    return defaults | dict(hyperparameters)


def can_make(architecture: str) -> bool:
    """Whether a network can be made again by this name, here or where its module is allowed."""
    inner = innermost(architecture)
    return inner in ARCHITECTURES or is_address(inner)


def small_size(size: int) -> int:
    """A small width that every network here takes if, and only if, it takes ``size``.

    None halves its input more often than :data:`MAX_DEPTH` has scales, so that only the remainder
    by that power of two decides.
    """
    step: int = 2**MAX_DEPTH
    return min(size, step + size % step)


def reach(architecture: str, **hyperparameters: Any) -> int:
    """Receptive field radius in pixels: a halo of this width leaves no seams."""
    return reach_of(architecture, complete(architecture, hyperparameters)) or 0
