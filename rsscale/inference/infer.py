"""Run a model over the windows of one box: fill, predict, blend, encode.

Nothing is copied that need not be: windows are cut out of the composites straight into one
staging buffer, and on the CPU everything around the model goes strip by strip, so that it stays
in the cache. On a GPU the next window is filled and copied while the last one is computed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import ModelError
from rsscale.geo.lattice import PixelBox
from rsscale.inference.blend import blender
from rsscale.inference.heads import Head, head_of
from rsscale.inference.stack import InputStack
from rsscale.inference.staging import staging_for
from rsscale.network.batch import Predictor
from rsscale.network.scores import class_scores

if TYPE_CHECKING:
    import torch

Layers = Mapping[str, npt.NDArray[Any]]

_BAD = "where there is no number"  # beside the layers, by a name that no layer has


def infer(
    layers: Layers,
    stack: InputStack,
    model: Predictor,
    box: PixelBox,
    mapped: npt.NDArray[np.bool_],
    *,
    batch: int,
) -> tuple[int, int, int]:
    """Predict all windows that contribute to a box; halve the batch until it fits.

    Parameters
    ----------
    layers : mapping of name to array
        ``(row, col)`` or ``(axis, row, col)`` over ``box``, layers of the model's head, of their
        types; written where ``mapped``, elsewhere undefined.
    stack : InputStack
    model : Predictor
    box : PixelBox
    mapped : bool array (row, col)
        Pixels of ``box`` that count. A window without any is left out: it can't change the map.
    batch : int
        Windows that the model sees at once.

    Returns
    -------
    (int, int, int)
        Mapped pixels for which the model returned no number, now nodata; the windows that were
        predicted; and the batch that all were predicted with.

    Raises
    ------
    ModelError
        When not even one window fits into memory, or the model returns something
        else than its contract says.
    """
    while True:
        try:
            return (*_infer(layers, stack, model, box, mapped, batch=batch), batch)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            reason = str(error).split("\n", 1)[0][:160]
        _release(model.device)
        if batch == 1:
            spec = model.spec
            raise ModelError(
                f"model {spec.name!r} does not fit into the memory of {str(model.device)!r} with "
                f"one window of {spec.channels} channels and {spec.lattice.window} px: {reason}; "
                "use a model with a smaller stride, fewer threads per worker or more memory"
            )
        # The whole box again: one batch for all its windows is one numeric profile.
        batch //= 2


def out_of_memory(error: BaseException) -> bool:
    """Whether torch's allocator, of the GPU or of the CPU, or Python found no memory."""
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def _release(device: torch.device) -> None:
    import torch

    if device.type == "cuda":  # blocks of the sizes of the larger batch are of no use now
        torch.cuda.empty_cache()


def _infer(
    layers: Layers,
    stack: InputStack,
    model: Predictor,
    box: PixelBox,
    mapped: npt.NDArray[np.bool_],
    *,
    batch: int,
) -> tuple[int, int]:
    import torch

    lattice = model.spec.lattice
    cores = [
        core
        for core in lattice.cores(box)
        if mapped[(lattice.influence(core) & box).slices(box)].any()
    ]
    with torch.inference_mode():
        staging = staging_for(model, batch)
        head = head_of(model.spec, model.device)
        blend = blender(lattice, box, head, model.device)
        sink = _Sink(layers, head, box, mapped)
        for start in range(0, len(cores), batch):
            group = cores[start : start + batch]
            windows = staging.load(stack, [core.pad(lattice.halo) for core in group])
            scores = class_scores(model, windows)
            for core, window in zip(group, scores, strict=False):  # the last batch is padded
                for part, averaged in blend.add(core, window):
                    sink.take(part, averaged)
            # Before the next windows: else these lie where one of the network's layers just was,
            # and the heap grows by a layer.
            del scores, window
            sink.settle(waiting=1)
        for part, averaged in blend.finish():
            sink.take(part, averaged)
        sink.settle()
    return sink.non_finite, len(cores)


class _Sink:
    """Encodes activated numbers on their device and writes them into the layers."""

    def __init__(
        self, layers: Layers, head: Head, box: PixelBox, mapped: npt.NDArray[np.bool_]
    ) -> None:
        self._layers, self._head, self._box, self._mapped = layers, head, box, mapped
        self._waiting: deque[_Parcel] = deque()
        self._batch: list[tuple[PixelBox, dict[str, torch.Tensor]]] = []
        self.non_finite = 0

    def take(self, box: PixelBox, averaged: torch.Tensor) -> None:
        """Encode a part; its tensor may be changed afterwards."""
        part, bad = self._head.encode(averaged, self._layers)
        part[_BAD] = bad
        if averaged.device.type == "cpu":
            self._write(box, part)
        else:
            self._batch.append((box, part))

    def settle(self, waiting: int = 0) -> None:
        """Start copying the collected parts; wait for and write all but the last ``waiting``."""
        if self._batch:
            self._waiting.append(_Parcel(self._batch))
            self._batch = []
        while len(self._waiting) > waiting:
            for box, part in self._waiting.popleft().open():
                self._write(box, part)

    def _write(self, box: PixelBox, part: Mapping[str, torch.Tensor]) -> None:
        place = box.slices(self._box)
        for name, layer in self._layers.items():
            layer[(..., *place)] = part[name].numpy()
        bad = part[_BAD].numpy()
        if bad.any():
            self.non_finite += int((bad & self._mapped[place]).sum())


class _Parcel:
    """Parts on their way from a device to the host, behind the work that makes them."""

    def __init__(self, parts: Sequence[tuple[PixelBox, Mapping[str, torch.Tensor]]]) -> None:
        import torch

        self._event = None
        self._parts = [(box, {n: _to_host(t) for n, t in part.items()}) for box, part in parts]
        device = next(iter(parts[0][1].values())).device
        if device.type == "cuda":
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(device))

    def open(self) -> Iterator[tuple[PixelBox, dict[str, torch.Tensor]]]:
        """The parts, once they are there."""
        if self._event is not None:
            self._event.synchronize()
        return iter(self._parts)


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    if tensor.device.type != "cuda":
        return tensor.cpu()
    # Torch keeps page-locked blocks and hands them out again.
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
