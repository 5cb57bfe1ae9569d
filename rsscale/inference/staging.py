"""Cut windows of composites into a batch for the model, in buffers that are used again.

A batch has one fixed shape, since kernels may round differently for another; what the last one
lacks is zeros.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rsscale.geo.lattice import PixelBox
from rsscale.inference.stack import InputStack, rows_in_cache, strips
from rsscale.model.normalize import normalize
from rsscale.model.spec import ModelSpec, Predictor

if TYPE_CHECKING:
    import torch


class Staging(Protocol):
    """Cuts windows out of composites into a batch."""

    def load(self, stack: InputStack, windows: Sequence[PixelBox]) -> torch.Tensor:
        """``(batch, channel, row, col)`` on the model's device, normalised, missing values 0."""


def staging_for(model: Predictor, batch: int) -> Staging:
    """The staging for a model's device."""
    kind = PinnedStaging if model.device.type == "cuda" else HostStaging
    return kind(model.spec, batch, model.device)


class HostStaging:
    """Staging for the CPU, and for devices other than CUDA."""

    def __init__(self, spec: ModelSpec, batch: int, device: torch.device) -> None:
        import torch

        width = spec.lattice.window
        self._spec, self._device = spec, device
        self._images = torch.zeros(batch, spec.channels, width, width).to(
            memory_format=torch.channels_last
        )
        rows = rows_in_cache(4 * spec.channels * width)
        self._strip = np.empty((spec.channels, rows, width), np.float32)

    def load(self, stack: InputStack, windows: Sequence[PixelBox]) -> torch.Tensor:
        """See :class:`Staging`; valid until the next call."""
        import torch

        for image, window in zip(self._images, windows, strict=False):
            for strip in strips(window, self._strip.shape[1]):
                values = self._strip[:, : strip.shape[0]]
                stack.fill(values, strip)
                rows, _ = strip.slices(window)
                image[:, rows] = normalize(torch.from_numpy(values)[None], self._spec)[0]
        self._images[len(windows) :] = 0.0
        return self._images.to(self._device)


class PinnedStaging:
    """Staging for CUDA: two page-locked buffers, one filled while the other is copied.

    Values are normalised on the device.
    """

    def __init__(self, spec: ModelSpec, batch: int, device: torch.device) -> None:
        import torch

        width = spec.lattice.window
        shape = (batch, spec.channels, width, width)
        self._spec, self._device = spec, device
        self._slots: deque[tuple[torch.Tensor, torch.cuda.Event]] = deque()
        for _ in range(2):
            host = torch.full(shape, float("nan"), pin_memory=True)
            self._slots.append((host, torch.cuda.Event()))  # type: ignore[no-untyped-call]

    def load(self, stack: InputStack, windows: Sequence[PixelBox]) -> torch.Tensor:
        """See :class:`Staging`."""
        import torch

        host, copied = self._slots[0]
        self._slots.rotate()
        copied.synchronize()  # at once for an event that was never recorded
        for image, window in zip(host.numpy(), windows, strict=False):
            stack.fill(image, window)
        host[len(windows) :] = float("nan")
        images = host.to(self._device, non_blocking=True)
        copied.record(torch.cuda.current_stream(self._device))
        return normalize(images, self._spec)
