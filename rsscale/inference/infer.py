"""Run a model over the windows of one box: fill, predict, blend, quantise.

Nothing is copied that need not be: windows are cut out of the composites straight into one
staging buffer, and on the CPU everything around the model goes strip by strip, so that it stays
in the cache. On a GPU the next window is filled and copied while the last one is computed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rsscale.errors import ModelError
from rsscale.geo.lattice import PixelBox
from rsscale.inference.blend import blender
from rsscale.inference.stack import InputStack
from rsscale.inference.staging import staging_for
from rsscale.layers import NODATA
from rsscale.model.scores import class_scores
from rsscale.model.spec import Predictor

if TYPE_CHECKING:
    import torch

Layers = Mapping[str, npt.NDArray[np.uint8]]


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
    layers : mapping of name to uint8 array
        ``classification`` and ``confidence`` ``(row, col)`` and, if wanted, ``probability``
        ``(class, row, col)`` over ``box``; written where ``mapped``, elsewhere undefined.
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
        When not even one window fits into memory, or the model returns no scores of its classes.
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
        blend = blender(lattice, box, len(model.spec.classes), model.device)
        sink = _Sink(layers, model, box, mapped)
        for start in range(0, len(cores), batch):
            group = cores[start : start + batch]
            windows = staging.load(stack, [core.pad(lattice.halo) for core in group])
            scores = class_scores(model, windows)
            for core, window in zip(group, scores, strict=False):  # the last batch is padded
                for part, probability in blend.add(core, window):
                    sink.take(part, probability)
            sink.settle(waiting=1)
        for part, probability in blend.finish():
            sink.take(part, probability)
        sink.settle()
    return sink.non_finite, len(cores)


class _Sink:
    """Quantises probabilities on their device and writes them into the layers."""

    def __init__(
        self, layers: Layers, model: Predictor, box: PixelBox, mapped: npt.NDArray[np.bool_]
    ) -> None:
        import torch

        self._layers, self._box, self._mapped = layers, box, mapped
        values = [c.value for c in model.spec.classes]
        self._values = torch.tensor(values, dtype=torch.uint8, device=model.device)
        self._waiting: deque[_Parcel] = deque()
        self._batch: list[tuple[PixelBox, dict[str, torch.Tensor]]] = []
        self.non_finite = 0

    def take(self, box: PixelBox, probability: torch.Tensor) -> None:
        """Quantise a part; its tensor may be changed afterwards."""
        part = quantise(probability, self._values, every="probability" in self._layers)
        if probability.device.type == "cpu":
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
        bad = part["bad"].numpy()
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


def quantise(
    probability: torch.Tensor, values: torch.Tensor, *, every: bool = False
) -> dict[str, torch.Tensor]:
    """Turn probabilities into the integer layers of a map, on their device.

    Parameters
    ----------
    probability : Tensor
        ``(class, row, col)`` float32; NaN where the model returned no number.
    values : Tensor
        ``(class,)`` uint8, the class values.
    every : bool
        Also every class's percent.

    Returns
    -------
    dict of name to Tensor
        ``classification``, ``confidence`` in percent and, if asked, ``probability`` in percent:
        uint8, 255 where there is no number; ``bad``, bool, where that is.
    """
    best, index = first_largest(probability)
    bad = best.isnan()
    # On a GPU it is dearer to wait for this than to do what it would save.
    any_bad = bad.device.type != "cpu" or bool(bad.any())
    layers = {"classification": values.take(index), "confidence": _percent(best, any_bad)}
    if every:
        layers["probability"] = _percent(probability, any_bad)
    if any_bad:
        for layer in layers.values():
            layer.masked_fill_(bad, NODATA)
    return layers | {"bad": bad}


def first_largest(probability: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest along the first axis and its index, int64: the first of equals; NaN wins."""
    import torch

    if probability.device.type != "cpu":
        best, index = probability.max(dim=0)
        return best, index
    # Plane by plane in whole vectors: torch's max with indices is some five times slower.
    planes = probability.numpy()
    most = planes[0].copy()
    above = np.empty(most.shape, bool)
    last = np.zeros(most.shape, np.uint8)
    step = above.view(np.uint8)
    for number, plane in enumerate(planes[1:], start=1):
        np.greater(plane, most, out=above)
        np.maximum(most, plane, out=most)
        np.multiply(step, number, out=step)  # 0, or more than any number before
        np.maximum(last, step, out=last)
    return torch.from_numpy(most), torch.from_numpy(last).to(torch.int64)


def _percent(probability: torch.Tensor, any_bad: bool) -> torch.Tensor:
    import torch

    # A number that is none becomes 0 here and nodata later: casting NaN is undefined.
    finite = probability.nan_to_num(0.0) if any_bad else probability
    return (finite * 100).round_().to(torch.uint8)
