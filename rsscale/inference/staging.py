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
from rsscale.inference.stack import InputStack, WindowPlanes, rows_in_cache, strips
from rsscale.model.model_input import DAYS, VALID
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import Predictor, WindowBatch
from rsscale.network.normalize import Normalizer

if TYPE_CHECKING:
    import torch


class Staging(Protocol):
    """Cuts windows out of composites into a batch."""

    def load(self, stack: InputStack, windows: Sequence[PixelBox]) -> WindowBatch:
        """The windows on the model's device, normalised, missing values 0.

        Valid until the next call.
        """


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
        shape = (batch, spec.channels, width, width)
        self._images = torch.empty(shape, memory_format=torch.channels_last).zero_()
        self._extras = _Extras(spec, batch, width)
        self._normalize = Normalizer(spec, torch.device("cpu"))
        rows = rows_in_cache(4 * spec.channels * width)
        self._strip = np.empty((spec.channels, rows, width), np.float32)

    def load(self, stack: InputStack, windows: Sequence[PixelBox]) -> WindowBatch:
        """See :class:`Staging`."""
        import torch

        for number, (image, window) in enumerate(zip(self._images, windows, strict=False)):
            chosen = stack.choose(window)
            self._extras.note_days(number, chosen)
            for strip in strips(window, self._strip.shape[1]):
                values = self._strip[:, : strip.shape[0]]
                stack.fill(values, strip, chosen)
                rows, _ = strip.slices(window)
                filled = torch.from_numpy(values)[None]
                self._extras.note_valid(number, rows, filled)
                image[:, rows] = self._normalize(filled, in_place=True)[0]
        self._images[len(windows) :] = 0.0
        self._extras.clear(len(windows))
        return WindowBatch(self._spec, self._images, self._extras.tensors).to(self._device)


class PinnedStaging:
    """Staging for CUDA: two page-locked buffers, one filled while the other is copied.

    Values are normalised on the device.
    """

    def __init__(self, spec: ModelSpec, batch: int, device: torch.device) -> None:
        import torch

        width = spec.lattice.window
        shape = (batch, spec.channels, width, width)
        self._spec, self._device = spec, device
        self._extras = _Extras(spec, batch, width)
        self._normalize = Normalizer(spec, device)
        self._slots: deque[tuple[torch.Tensor, torch.cuda.Event]] = deque()
        for _ in range(2):
            host = torch.full(shape, float("nan"), pin_memory=True)
            self._slots.append((host, torch.cuda.Event()))  # type: ignore[no-untyped-call]

    def load(self, stack: InputStack, windows: Sequence[PixelBox]) -> WindowBatch:
        """See :class:`Staging`."""
        import torch

        host, copied = self._slots[0]
        self._slots.rotate()
        copied.synchronize()  # at once for an event that was never recorded
        for number, (image, window) in enumerate(zip(host.numpy(), windows, strict=False)):
            chosen = stack.choose(window)
            self._extras.note_days(number, chosen)
            stack.fill(image, window, chosen)
            self._extras.note_valid(number, slice(None), host[number : number + 1])
        host[len(windows) :] = float("nan")
        self._extras.clear(len(windows))
        images = host.to(self._device, non_blocking=True)
        extras = {name: extra.to(self._device) for name, extra in self._extras.tensors.items()}
        copied.record(torch.cuda.current_stream(self._device))
        return WindowBatch(self._spec, self._normalize(images, in_place=True), extras)


class _Extras:
    """Days and validity of the windows of a batch, of the inputs that take them."""

    def __init__(self, spec: ModelSpec, batch: int, width: int) -> None:
        import torch

        self.tensors: dict[str, torch.Tensor] = {}
        self._valid: list[tuple[str, slice, int]] = []
        first = 0
        for model_input in spec.inputs:
            times, last = model_input.length, first + model_input.channels
            if DAYS in model_input.takes:
                self.tensors[f"{model_input.name}.{DAYS}"] = torch.zeros(batch, times)
            if VALID in model_input.takes:
                name = f"{model_input.name}.{VALID}"
                self.tensors[name] = torch.zeros(batch, times, width, width, dtype=torch.bool)
                self._valid.append((name, slice(first, last), times))
            first = last

    def note_days(self, number: int, chosen: WindowPlanes) -> None:
        """Days of one window."""
        import torch

        for name, days in chosen.days.items():
            self.tensors[f"{name}.{DAYS}"][number] = torch.from_numpy(days)

    def note_valid(self, number: int, rows: slice, filled: torch.Tensor) -> None:
        """Where all bands of a time are known, of some rows ``(1, C, row, col)`` of one window."""
        for name, channels, times in self._valid:
            known = filled[0, channels].isfinite()  # (T·B, row, col)
            known = known.view(times, -1, *known.shape[1:]).all(dim=1)
            self.tensors[name][number, :, rows] = known

    def clear(self, count: int) -> None:
        """Nothing is known of places in the batch from ``count`` on."""
        for extra in self.tensors.values():
            extra[count:] = 0
