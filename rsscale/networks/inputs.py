"""What a network is built for: the names, times and bands of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class NetworkInput(Protocol):
    """Protocol of an input that a network is built for, such as :class:`rsscale.ModelInput`."""

    @property
    def name(self) -> str:
        """By which the network gets it."""

    @property
    def length(self) -> int:
        """Times: windows of a composite, or places for observations."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands of each time."""


def channels_of(inputs: Sequence[NetworkInput]) -> int:
    """Channels of all inputs together: times times bands of each."""
    return sum(network_input.length * len(network_input.bands) for network_input in inputs)


def only(inputs: Sequence[NetworkInput], network: str) -> NetworkInput:
    """The one input of a network that takes no more.

    Raises
    ------
    ValueError
        When there are several.
    """
    if len(inputs) != 1:
        names = [network_input.name for network_input in inputs]
        raise ValueError(
            f"{network} takes one input, not {names}; 'fusion' takes several, each with its dates"
        )
    return inputs[0]
