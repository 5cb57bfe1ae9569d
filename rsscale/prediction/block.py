"""The callables of a lazy map's tasks, which are pickled and sent to workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.geo.lattice import PixelBox
from rsscale.inference.constant_pixels import warn_of_constant
from rsscale.inference.device_lock import device_lock, torch_threads
from rsscale.inference.predict_box import empty, predict_box, warn_of_map
from rsscale.inference.stack import InputStack
from rsscale.layers import Layer
from rsscale.prediction.model_source import ModelSource, opened

Layers = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Held:
    """Gives a model's source, weights and all: as a task of its own it goes once to a process."""

    source: ModelSource

    def __call__(self) -> ModelSource:
        """The source."""
        return self.source


@dataclass(frozen=True)
class Part:
    """Assembles an array from pieces.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
    places : tuple of tuple of int
        Where each piece begins.
    """

    shape: tuple[int, ...]
    dtype: str
    places: tuple[tuple[int, ...], ...]

    def join(self, pieces: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The array; the only piece itself where there is one."""
        if len(pieces) == 1:
            return pieces[0]
        whole = np.empty(self.shape, self.dtype)
        for start, piece in zip(self.places, pieces, strict=True):
            whole[tuple(slice(a, a + n) for a, n in zip(start, piece.shape, strict=True))] = piece
        return whole


@dataclass(frozen=True)
class BlockInput:
    """One input of the model: name, bands in the model's order, whether it counts observations.

    ``days`` are the dates of its times, as days since 1970, where the model takes them.
    """

    name: str
    bands: tuple[str, ...]
    counts: bool
    days: tuple[int, ...] = ()


@dataclass(frozen=True)
class Block:
    """Predicts one block; all layers, nodata where ``wanted`` is not.

    Attributes
    ----------
    inputs : tuple of BlockInput
    layers : tuple of Layer
        Without attributes: each task carries them.
    batch : int
    several_threads : bool
        Whether torch had more than one where the map was asked for.
    box, around : PixelBox
        What is mapped; what of the inputs is there of all that its windows read.
    parts : tuple of Part
        Of each input its values and, if it counts them, observations; then of a lazy ``where``.
    wanted : bool, bytes or None
        All pixels or none; or bits, as :func:`numpy.packbits` gives them; or None: the last part.
    """

    inputs: tuple[BlockInput, ...]
    layers: tuple[Layer, ...]
    batch: int
    several_threads: bool
    box: PixelBox
    around: PixelBox
    parts: tuple[Part, ...]
    wanted: bool | bytes | None

    def __call__(self, source: ModelSource, pieces: Sequence[npt.NDArray[Any]]) -> Layers:
        """All layers, from the pieces of all parts, one part after the other."""
        arrays = self._join(pieces)
        wanted = self._wanted(arrays)
        if not wanted.any():
            return {layer.name: empty(layer, self.box) for layer in self.layers}
        # Also while it is opened: compiled code has their number in it.
        with torch_threads(several=self.several_threads):
            model = opened(source)
            inputs = self._inputs(arrays)
            stack = InputStack(inputs, model.spec, self.around)
            with device_lock(model.device):
                layers = predict_box(
                    stack, model, self.box, wanted, layers=self.layers, batch=self.batch
                )
                warn_of_map(layers, model, self.box, self.batch)
        warn_of_constant(inputs.values(), once=True)
        return layers.layers

    def _join(self, pieces: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        rest = iter(pieces)
        return [part.join([next(rest) for _ in part.places]) for part in self.parts]

    def _wanted(self, arrays: list[npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        if self.wanted is None:
            return np.asarray(arrays.pop(), bool)
        if isinstance(self.wanted, bool):
            return np.full(self.box.shape, self.wanted)
        bits = np.frombuffer(self.wanted, np.uint8)
        rows, cols = self.box.shape
        return np.unpackbits(bits, count=rows * cols).reshape(rows, cols).astype(bool)

    def _inputs(self, arrays: list[npt.NDArray[Any]]) -> dict[str, xr.DataArray]:
        rest, inputs = iter(arrays), {}
        for block_input in self.inputs:
            array = xr.DataArray(
                next(rest),
                dims=("time", "band", "y", "x"),
                coords={"band": list(block_input.bands)},
            )
            if block_input.days:
                dates = np.array(block_input.days, "datetime64[D]").astype("datetime64[ns]")
                array = array.assign_coords(time=dates)
            if block_input.counts:
                array = array.assign_coords(observations=(("time", "y", "x"), next(rest)))
            inputs[block_input.name] = array
        return inputs


@dataclass(frozen=True)
class Chunk:
    """Puts a layer's chunk together of the blocks that it touches.

    Attributes
    ----------
    layer : Layer
        Without attributes.
    box : PixelBox
    blocks : tuple of PixelBox
    """

    layer: Layer
    box: PixelBox
    blocks: tuple[PixelBox, ...]

    def __call__(self, results: Sequence[Layers]) -> npt.NDArray[Any]:
        """The chunk, from the layers of each block."""
        if self.blocks == (self.box,):
            return results[0][self.layer.name]
        whole = np.empty(self.layer.shape(*self.box.shape), self.layer.numpy_dtype)
        for block, layers in zip(self.blocks, results, strict=True):
            part = block & self.box
            whole[(..., *part.slices(self.box))] = layers[self.layer.name][
                (..., *part.slices(block))
            ]
        return whole
