"""What becomes of a network's numbers: probabilities, values or vectors, and layers of a map.

A head activates the numbers of each window; what it returns is what windows that overlap are
averaged in. Then it encodes the average as layers. Both work in place on the device of the network.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rsscale.errors import ModelError
from rsscale.layers import NODATA, Layer
from rsscale.model.map_layers import OBJECTS_ARE_ROWS
from rsscale.model.outputs import (
    MOST_BITS,
    ClassOutput,
    ConformalSets,
    EmbeddingOutput,
    ValueOutput,
)
from rsscale.model.spec import ModelSpec

if TYPE_CHECKING:
    import torch


class Head(Protocol):
    """What is done with the numbers of a network."""

    @property
    def width(self) -> int:
        """Channels of what is averaged over windows."""

    def activate(self, scores: torch.Tensor) -> torch.Tensor:
        """Numbers of the network ``(C, row, col)`` float32 to what is averaged ``(width, …)``."""

    def encode(
        self, averaged: torch.Tensor, names: Collection[str]
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Layers by name ``(row, col)`` or ``(axis, row, col)``, and where there is no number.

        Pixels without a number, NaN in ``averaged``, are nodata in each layer.
        """


def head_of(spec: ModelSpec, device: torch.device) -> Head:
    """The head of a model's output, on a device."""
    head = _head_of_output(spec, device)
    return WithExtras(head, spec) if spec.extras else head


def _head_of_output(spec: ModelSpec, device: torch.device) -> Head:
    if isinstance(spec.output, ClassOutput):
        return ClassHead(spec, spec.output, device)
    if isinstance(spec.output, ValueOutput):
        return ValueHead(spec.output.quantities)
    if isinstance(spec.output, EmbeddingOutput):
        return EmbeddingHead(spec.output)
    raise ModelError(f"model {spec.name!r}: {OBJECTS_ARE_ROWS}")


class WithExtras:
    """The head of an output, and further numbers in layers of their own."""

    def __init__(self, head: Head, spec: ModelSpec) -> None:
        self._head, self._extras = head, ValueHead(spec.extras)
        self._channels = spec.output.channels(spec.classes)

    @property
    def width(self) -> int:
        """Channels of the head, and the extras."""
        return self._head.width + self._extras.width

    def activate(self, scores: torch.Tensor) -> torch.Tensor:
        """Numbers of the output as the head has them, the others as they are."""
        import torch

        return torch.cat([self._head.activate(scores[: self._channels]), scores[self._channels :]])

    def encode(
        self, averaged: torch.Tensor, names: Collection[str]
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Layers of the head, and those extras that are among the names."""
        layers, bad = self._head.encode(averaged[: self._head.width], names)
        extras, also_bad = self._extras.encode(averaged[self._head.width :], names)
        return layers | extras, bad | also_bad


class ClassHead:
    """Labels, and the probability of each class, in percent."""

    def __init__(self, spec: ModelSpec, output: ClassOutput, device: torch.device) -> None:
        import torch

        values = [c.value for c in spec.classes]
        self._values = torch.tensor(values, dtype=torch.uint8, device=device)
        self._output = output
        self._sets = output.conformal and _Sets(output.conformal, len(values), device)

    @property
    def width(self) -> int:
        """Classes."""
        return len(self._values)

    def activate(self, scores: torch.Tensor) -> torch.Tensor:
        """Probabilities ``(class, row, col)``."""
        import torch

        if self._output.activation == "none":
            return scores
        if self._output.temperature != 1.0:
            scores = scores / self._output.temperature
        if self._output.activation == "softmax":
            return torch.softmax(scores, dim=0)
        second = torch.sigmoid(scores)
        return torch.cat([1 - second, second])

    def encode(
        self, averaged: torch.Tensor, names: Collection[str]
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """``classification`` and ``confidence``; of the others those among the names."""
        import torch

        best, index = first_largest(averaged)
        any_bad = _may_hold_nan(best)
        bad = best.isnan() if any_bad else best.new_zeros((), dtype=torch.bool).expand_as(best)
        layers = {"classification": self._values.take(index), "confidence": _percent(best, any_bad)}
        if "probability" in names:
            layers["probability"] = _percent(averaged, any_bad)
        if self._sets:
            layers |= self._sets.encode(averaged, index, bad, names)
        if any_bad:
            for layer in layers.values():
                if layer.dtype == torch.uint8:
                    layer.masked_fill_(bad, NODATA)
        return layers, bad


class _Sets:
    """Conformal sets of classes."""

    def __init__(self, sets: ConformalSets, classes: int, device: torch.device) -> None:
        import torch

        self._thresholds = torch.tensor(sets.thresholds, device=device).view(-1, 1, 1)
        self._numbers = torch.arange(classes, device=device).view(-1, 1, 1)

    def encode(
        self,
        probability: torch.Tensor,
        best: torch.Tensor,
        bad: torch.Tensor,
        names: Collection[str],
    ) -> dict[str, torch.Tensor]:
        """``set_size`` and ``class_set``, if they are among the names."""
        import torch

        if not {"set_size", "class_set"} & set(names):
            return {}
        inside = probability >= self._thresholds  # (class, row, col); false for NaN
        inside |= self._numbers == best
        layers = {"set_size": inside.sum(dim=0, dtype=torch.uint8)}
        if len(inside) > MOST_BITS:
            return layers | {"class_set": inside.to(torch.uint8)}
        bits = (inside.to(torch.int32) << self._numbers.to(torch.int32)).sum(dim=0)
        bits = bits.to(torch.int32).masked_fill_(bad, 65535)
        return layers | {"class_set": bits.to(torch.uint16)}


class ValueHead:
    """Quantities, each in its own layer."""

    def __init__(self, quantities: Sequence[Layer]) -> None:
        self._quantities = tuple(quantities)

    @property
    def width(self) -> int:
        """Quantities."""
        return len(self._quantities)

    def activate(self, scores: torch.Tensor) -> torch.Tensor:
        """The values as they are."""
        return scores

    def encode(
        self, averaged: torch.Tensor, names: Collection[str]
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Each quantity that is among the names."""
        bad = averaged.isnan().any(dim=0)
        layers = {
            layer.name: _stored(values, layer, bad)
            for layer, values in zip(self._quantities, averaged, strict=True)
            if layer.name in names
        }
        return layers, bad


class EmbeddingHead:
    """One vector a pixel, as int8 or float32."""

    def __init__(self, output: EmbeddingOutput) -> None:
        self._output = output
        (self._layer,) = output.layers(())

    @property
    def width(self) -> int:
        """Features."""
        return self._output.size

    def activate(self, scores: torch.Tensor) -> torch.Tensor:
        """The vectors as they are."""
        return scores

    def encode(
        self, averaged: torch.Tensor, names: Collection[str]
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The vectors, of length 1 where the contract says so."""
        del names
        bad = averaged.isnan().any(dim=0)
        if self._output.unit_length:
            norm = averaged.square().sum(dim=0).sqrt_()
            averaged = averaged / norm.masked_fill_(norm == 0, 1.0)
        if self._output.dtype == "int8" and self._output.quantization == "square":
            # The inverse of the formula in the layer's attributes.
            averaged = averaged.sign() * averaged.abs().sqrt() * 127.5
        return {self._layer.name: _stored(averaged, self._layer, bad)}, bad


def _stored(values: torch.Tensor, layer: Layer, bad: torch.Tensor) -> torch.Tensor:
    """Values as a layer holds them: scaled, rounded, kept in the range of its type, nodata."""
    import torch

    if layer.is_float:
        return values.masked_fill(bad, layer.nodata)
    lowest, highest = _range(layer)
    scaled = (values - layer.offset) / layer.scale if layer.is_scaled else values
    whole = scaled.nan_to_num(0.0).round_().clamp_(lowest, highest)
    # Torch knows uint16 by name only in part: computed as int32, cast at the end.
    stored = whole.to(torch.int32).masked_fill_(bad, int(layer.nodata))
    return stored.to(getattr(torch, layer.dtype))


def _range(layer: Layer) -> tuple[int, int]:
    """The values that a layer may hold: all of its type but nodata, which lies at an end mostly."""
    limits = np.iinfo(layer.numpy_dtype)
    lowest, highest = int(limits.min), int(limits.max)
    nodata = int(layer.nodata)
    return lowest + (nodata == lowest), highest - (nodata == highest)


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


def _may_hold_nan(numbers: torch.Tensor) -> bool:
    # On a GPU it is dearer to wait for this than to do what it would save. A sum is cheap.
    return numbers.device.type != "cpu" or not bool(numbers.sum().isfinite())


def _percent(probability: torch.Tensor, any_bad: bool) -> torch.Tensor:
    import torch

    percent = probability * 100
    if any_bad:  # a number that is none becomes 0 here and nodata later: casting NaN is undefined
        percent.nan_to_num_(0.0)
    return percent.round_().to(torch.uint8)
