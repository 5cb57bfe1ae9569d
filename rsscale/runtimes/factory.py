"""Networks that a function makes: one of the user's own, or a class of a library.

``architecture: "module:function"`` in a model's contract names a function, or a class, which is
called with ``(channels, outputs, **hyperparameters)`` and returns a network; its weights come from
safetensors. Since an address runs code, its module must be allowed by the environment variable
``RSSCALE_ARCHITECTURES``, here and on the workers. ``smp:Unet`` and the other networks of
segmentation-models-pytorch need no allowance, only the extra ``rsscale[smp]``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from rsscale.errors import ModelError, RecipeError, RsscaleError, missing_extra, nearest
from rsscale.importing.user_code import check_allowed, error_line, load

ALLOWED = "RSSCALE_ARCHITECTURES"
"""The environment variable that lists modules whose functions may make networks."""

_SMP = "smp"
_SMP_MODULE = "segmentation_models_pytorch"
_ENCODER = re.compile(r"[A-Za-z0-9_.+-]*")
# What rsscale says of a network itself.
_OURS = ("in_channels", "classes", "encoder_weights")


def is_address(architecture: str) -> bool:
    """Whether an architecture is named by where it is: ``module:function`` or ``package.Class``."""
    return ":" in architecture or "." in architecture


def make(
    architecture: str, channels: int, outputs: int, hyperparameters: Mapping[str, Any]
) -> nn.Module:
    """Make a network by its address, with random weights; nothing is downloaded.

    Raises
    ------
    ModelError
        When its module is not allowed, there is no such thing in it, or it does not take its
        arguments.
    MissingExtraError
        When it is of segmentation-models-pytorch, which is not installed.
    """
    place = f"architecture {architecture!r}"
    address = _address(architecture)
    try:
        if _is_smp(address):
            maker = smp_class(architecture)
            arguments = _smp_arguments(architecture, maker, hyperparameters)
            network = maker(
                in_channels=channels, classes=outputs, encoder_weights=None, **arguments
            )
        else:
            check_allowed(address, place, ALLOWED)
            network = load(address, place)(channels, outputs, **hyperparameters)
    except RecipeError as error:
        raise ModelError(str(error)) from None
    except RsscaleError:
        raise
    except Exception as error:  # noqa: BLE001 -- somebody's code
        reason = error_line(error)[:300]
        raise ModelError(f"{place} with {dict(hyperparameters)}: {reason}") from None
    if not isinstance(network, nn.Module):
        raise ModelError(f"{place} returned a {type(network).__name__}; expected a torch.nn.Module")
    return network


def complete(architecture: str, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters with the defaults of today, where the maker's signature tells them."""
    address = _address(architecture)
    try:
        if not _is_smp(address):
            check_allowed(address, "", ALLOWED)
        maker = smp_class(architecture) if _is_smp(address) else load(address, "")
        parameters = inspect.signature(maker).parameters.values()
    except (RecipeError, ModelError, ValueError, TypeError):
        return dict(hyperparameters)  # make() says what is wrong
    own = {p.name: p.default for p in parameters if p.name not in _OURS}
    defaults = {k: _plain(v) for k, v in own.items() if v is not inspect.Parameter.empty}
    plain = {k: v for k, v in defaults.items() if isinstance(v, str | int | float | bool | list)}
    return plain | dict(hyperparameters)


def smp_encoder(architecture: str) -> bool:
    """Whether an architecture has an encoder by the name of segmentation-models-pytorch."""
    return is_address(architecture) and _is_smp(_address(architecture))


def _address(architecture: str) -> str:
    """``module:name``, also of ``module.name``; the short name of smp written out."""
    module, colon, name = architecture.partition(":")
    if not colon:
        module, _, name = architecture.rpartition(".")
    return f"{_SMP_MODULE if module == _SMP else module}:{name}"


def _is_smp(address: str) -> bool:
    return address.partition(":")[0] == _SMP_MODULE


def smp_class(architecture: str) -> Any:
    """The class of a network of segmentation-models-pytorch, where that is installed."""
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise missing_extra("a network of segmentation-models-pytorch", "smp") from error
    name = _address(architecture).partition(":")[2]
    smp_network = getattr(smp, name, None)
    networks = [n for n, c in vars(smp).items() if isinstance(c, type) and issubclass(c, nn.Module)]
    if name not in networks:
        raise ModelError(
            f"architecture 'smp:{name}' is none; segmentation-models-pytorch has "
            f"{', '.join(networks)}{nearest(name, networks)}"
        )
    return smp_network


def _smp_arguments(
    architecture: str, maker: Any, hyperparameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a network of smp that decide its shape, and nothing that reads or downloads.

    Whoever wrote a contract wrote its hyperparameters. What a class hands on to its encoder could
    name a checkpoint, which is a pickle, and a name of timm a repository on a hub.
    """
    names = [
        p.name
        for p in inspect.signature(maker).parameters.values()
        if p.kind is not inspect.Parameter.VAR_KEYWORD and p.name not in _OURS
    ]
    arguments = {key: value for key, value in hyperparameters.items() if key not in _OURS}
    unknown = [key for key in arguments if key not in names]
    if unknown:
        raise ModelError(
            f"architecture {architecture!r} has no hyperparameter {unknown[0]!r}; it has "
            f"{', '.join(names)}{nearest(unknown[0], names)}"
        )
    encoder = arguments.get("encoder_name", "")
    if not isinstance(encoder, str) or not _ENCODER.fullmatch(encoder):
        raise ModelError(
            f"architecture {architecture!r} has the encoder {encoder!r:.80}; expected the name of "
            "one that smp or timm makes, such as 'resnet18' or 'tu-convnext_tiny', and no address"
        )
    return arguments


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
