"""What a network is given: the windows of a batch, by input, as views of one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from rsscale.model.model_input import DAYS, VALID
from rsscale.model.spec import ModelSpec

if TYPE_CHECKING:
    import torch


class WindowBatch(Mapping[str, "torch.Tensor"]):
    """Normalised windows, in each form that a network may take them.

    ``batch.channels`` is ``(N, C, H, W)`` float32: input by input, time by time, band by band;
    missing values are 0. ``batch[name]`` is the same of one input as ``(N, T, B, H, W)``, a view
    without a copy. Inputs that take more have ``batch[name + ".days"]`` ``(N, T)`` float32, days of
    the year, and ``batch[name + ".valid"]`` ``(N, T, H, W)`` bool.

    Parameters
    ----------
    spec : ModelSpec
    channels : Tensor
        ``(N, C, H, W)`` float32.
    extras : mapping of name to Tensor
        ``NAME.days`` and ``NAME.valid`` of the inputs that take them; a day in the middle of the
        year, and all valid, where omitted.
    """

    def __init__(
        self,
        spec: ModelSpec,
        channels: torch.Tensor,
        extras: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self.spec, self.channels = spec, channels
        self._extras = dict(_defaults(spec, channels) if extras is None else extras)
        self._first = {}
        first = 0
        for model_input in spec.inputs:
            self._first[model_input.name] = first
            first += model_input.channels

    def __getitem__(self, name: str) -> torch.Tensor:
        if name in self._extras:
            return self._extras[name]
        first, model_input = self._first[name], self.spec.input(name)
        part = self.channels[:, first : first + model_input.channels]  # (N, T·B, H, W)
        # A view: channels of one input are those of its times, one after the other.
        count, _, height, width = part.shape
        return part.view(count, model_input.length, len(model_input.bands), height, width)

    @property
    def count(self) -> int:
        """Windows of the batch."""
        return len(self.channels)

    @property
    def given(self) -> torch.Tensor | WindowBatch:
        """What a model is called with: ``channels``, or itself where the layout is another."""
        return self.channels if self.spec.layout == "channels" else self

    def __iter__(self) -> Iterator[str]:
        yield from self._first
        yield from self._extras

    def __len__(self) -> int:
        return len(self._first) + len(self._extras)

    def to(self, device: torch.device | str) -> WindowBatch:
        """The same on another device."""
        extras = {name: extra.to(device) for name, extra in self._extras.items()}
        return WindowBatch(self.spec, self.channels.to(device), extras)

    def with_channels(self, channels: torch.Tensor) -> WindowBatch:
        """Other values, with the same days and what is known."""
        return WindowBatch(self.spec, channels, self._extras)


def blank_batch(
    spec: ModelSpec, count: int, size: int, device: torch.device | str = "cpu"
) -> WindowBatch:
    """Windows of zeros, to try a network on.

    Parameters
    ----------
    spec : ModelSpec
    count : int
        Windows.
    size : int
        Their width, px.
    device : torch.device or str
    """
    import torch

    channels = torch.zeros(count, spec.channels, size, size, device=device)
    return WindowBatch(spec, channels.to(memory_format=torch.channels_last))


def shapes_text(given: Any) -> str:
    """Shapes of what a network is called with, for messages: a tensor's, or each by its name."""
    if isinstance(given, Mapping):
        return ", ".join(f"{name} {tuple(value.shape)}" for name, value in given.items())
    return str(tuple(given.shape))


def _defaults(spec: ModelSpec, channels: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    count, _, height, width = channels.shape
    for model_input in spec.inputs:
        times = model_input.length
        if DAYS in model_input.takes:
            middle = 366 * (torch.arange(times, device=channels.device) + 0.5) / times
            yield f"{model_input.name}.{DAYS}", middle.round().expand(count, times)
        if VALID in model_input.takes:
            shape = (count, times, height, width)
            yield (
                f"{model_input.name}.{VALID}",
                torch.ones(shape, dtype=torch.bool, device=channels.device),
            )


class Predictor(Protocol):
    """Protocol of a model for :func:`rsscale.predict`: its contract, and a call."""

    @property
    def spec(self) -> ModelSpec:
        """The contract."""

    def __call__(self, batch: Any) -> torch.Tensor:
        """Numbers of the network for normalised windows, missing values 0.

        ``batch`` is ``(N, C, H, W)`` float32 where the contract's layout is ``"channels"``, else a
        :class:`WindowBatch`; the result ``(N, output channels, H, W)``, as wide as the windows.
        """

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
