"""Networks around a network, by name: ``ensemble(unet)``, ``applicability(ensemble(unet))``.

They take what the network inside takes; their own hyperparameters stand beside its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from rsscale.errors import ModelError
from rsscale.networks.applicability import WithApplicability
from rsscale.networks.ensemble import Ensemble
from rsscale.networks.inputs import NetworkInput, channels_of

_NAME = re.compile(r"([a-z]+)\((.+)\)")
_MOST_MEMBERS, _MOST_PIXELS = 100, 100_000


@dataclass(frozen=True)
class Wrapper:
    """A kind of network around another.

    Attributes
    ----------
    make : callable
        ``make(inside, inputs, own)``: ``inside()`` makes the network inside with random weights,
        ``own`` are the wrapper's hyperparameters.
    defaults : mapping
        Its own hyperparameters.
    extras : int
        Numbers that it returns beside those of the network inside.
    """

    make: Callable[..., nn.Module]
    defaults: Mapping[str, Any]
    extras: int


def _ensemble(
    inside: Callable[[], nn.Module], _: Sequence[NetworkInput], own: Mapping[str, Any]
) -> nn.Module:
    members = own["members"]
    if not isinstance(members, int) or not 2 <= members <= _MOST_MEMBERS:
        raise ModelError(f"an ensemble has {members!r} members; expected 2 to {_MOST_MEMBERS}")
    return Ensemble([inside() for _ in range(members)])


def _applicability(
    inside: Callable[[], nn.Module], inputs: Sequence[NetworkInput], own: Mapping[str, Any]
) -> nn.Module:
    features, pixels = own["features"] or channels_of(inputs), own["pixels"]
    if not all(isinstance(n, int) and 0 < n <= _MOST_PIXELS for n in (features, pixels)):
        raise ModelError(
            f"an area of applicability has {features!r} features and {pixels!r} training pixels; "
            f"expected 1 to {_MOST_PIXELS:,}"
        )
    return WithApplicability(inside(), features, pixels)


WRAPPERS: Mapping[str, Wrapper] = {
    "ensemble": Wrapper(_ensemble, {"members": 3}, extras=1),
    "applicability": Wrapper(_applicability, {"features": 0, "pixels": 1}, extras=2),
}


def unwrapped(architecture: str) -> tuple[Wrapper, str] | None:
    """The outermost wrapper and the name inside it; None for a network by itself.

    Raises
    ------
    ModelError
        When there is no wrapper of the name.
    """
    match = _NAME.fullmatch(architecture)
    if match is None:
        return None
    if match[1] not in WRAPPERS:
        raise ModelError(
            f"architecture {architecture!r}: {match[1]!r} is not known; there are "
            f"{', '.join(f'{name}(…)' for name in WRAPPERS)}"
        )
    return WRAPPERS[match[1]], match[2]


def parted(
    wrapper: Wrapper, hyperparameters: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hyperparameters of a wrapper, with its defaults, and those of the network inside."""
    own = dict(wrapper.defaults)
    own |= {key: value for key, value in hyperparameters.items() if key in own}
    inside = {key: value for key, value in hyperparameters.items() if key not in own}
    return own, inside


def check_names(wrapper: str, architecture: str, names: Iterable[str]) -> None:
    """Refuse a wrapper around a network with a hyperparameter of the wrapper's name.

    Both stand side by side in a model's contract: that of the network would be lost, and the model
    could not be opened again.

    Parameters
    ----------
    wrapper : str
        A name of :data:`WRAPPERS`.
    architecture : str
        Of the network.
    names : iterable of str
        Its hyperparameters.

    Raises
    ------
    ModelError
    """
    same = [name for name in names if name in WRAPPERS[wrapper].defaults]
    if same:
        raise ModelError(
            f"architecture {architecture!r} has a hyperparameter {same[0]!r}, and so has "
            f"{wrapper}(…) around it; call that of the network otherwise, or train without "
            f"{'members' if wrapper == 'ensemble' else wrapper}"
        )
