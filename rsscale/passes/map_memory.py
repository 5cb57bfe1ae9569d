"""Estimate the memory that mapping takes on a worker, before a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.composites import strips
from rsscale.cube.build import OUTPUT_CHUNK
from rsscale.cube.chunks import cube_chunks
from rsscale.errors import ModelError
from rsscale.geo.lattice import PixelBox
from rsscale.inference.blend import blending_bytes
from rsscale.inference.device_lock import device_lock
from rsscale.inference.heads import head_of
from rsscale.inputs.windows import bands_to_read
from rsscale.learn.model import Model
from rsscale.memory import PROCESS_BYTES
from rsscale.model.outputs import ObjectOutput
from rsscale.network.batch import blank_batch
from rsscale.read.file_pool import CACHE_BYTES
from rsscale.recipe import Recipe
from rsscale.runtimes.base import RuntimeModule

# How many chunks of a cube a thread has: as read, masked, and what it is reduced with. Beside them
# lie chunks that wait for a thread, which tiles share.
_COPIES, _WAITING = 2.5, TILES_AT_ONCE - 1
# What the heap keeps between pieces in use, at most, since it is trimmed around each strip; and
# masks of chunks that wait for those of their neighbours.
_HOLES = 320 * 2**20
# Beside a pixel of the layers: whether it lies in the area, and of one layer while it is stored.
_MASK_BYTES = 2
# A window to count a network's activations in, px; and how many times its scores those are,
# where that can't be seen.
_PROBE, _EXPORTED = 256, 8
_MASKS = 8  # bytes of a pixel of a mask: one by one as float32, and all together


@dataclass(frozen=True)
class Memory:
    """Peak memory of one process, about, in bytes.

    Attributes
    ----------
    composites : int
        What the model sees of one tile, or of one strip of a large one.
    reading : int
        Chunks of scenes that threads have in hand.
    waiting : int
        Chunks that wait for a thread, which the other tile has.
    model : int
        Weights, and what the network holds of one batch of windows.
    blending : int
        What overlapping windows add up to, of one row of them; of the one tile that is predicted.
    layers : int
        The finished tile, which of its pixels lie in the area, and a shard of one layer.
    """

    composites: int
    reading: int
    waiting: int
    model: int
    blending: int
    layers: int

    @property
    def total(self) -> int:
        """Bytes of tiles side by side, of caches and holes, and of Python and its libraries."""
        beside = min(TILES_AT_ONCE, strips.STRIPS.at_once(self.composites))
        held = beside * self.composites + TILES_AT_ONCE * self.layers
        process = PROCESS_BYTES + CACHE_BYTES + _HOLES
        return process + held + self._working(beside)

    def _working(self, beside: int) -> int:
        """What tiles take while they are read or predicted: no more than one is predicted."""
        predicting = self.model + self.blending
        if beside == 1:  # no tile reads while another is predicted
            return max(self.reading, predicting)
        return self.reading + max(self.waiting, predicting)


def estimate(  # noqa: PLR0917
    recipe: Recipe,
    model: Model,
    tile: int,
    threads: int,
    observations: int,
    pixel_bytes: int = 3,
) -> Memory:
    """Estimate the memory of a worker.

    Parameters
    ----------
    recipe : Recipe
    model : Model
    tile : int
        Width of a tile, px.
    threads : int
        That read.
    observations : int
        Items of the tile that has most.
    pixel_bytes : int
        Of all layers that are written.
    """
    spec, lattice = model.spec, model.spec.lattice
    box = PixelBox(0, 0, tile, tile)
    chunk = max(
        _chunk_bytes(lattice.read_box(box), observations, len(bands_to_read(input_recipe)))
        for input_recipe in recipe.inputs.values()
    )
    # Of a series all observations are read, of which the model takes some.
    times = [max(i.length, observations) if i.series else i.length for i in spec.inputs]
    channels = sum(n * len(i.bands) for n, i in zip(times, spec.inputs, strict=True))
    return Memory(
        composites=strips.strip_bytes(box, lattice, channels, sum(times)),
        reading=int(threads * chunk * _COPIES),
        waiting=threads * chunk * _WAITING,
        model=network_bytes(model),
        blending=0
        if spec.finds_objects
        else blending_bytes(lattice, head_of(spec, model.device).width, tile),
        layers=tile * tile * (pixel_bytes + _MASK_BYTES),
    )


def _chunk_bytes(box: PixelBox, observations: int, bands: int) -> int:
    """Bytes of the largest chunk of a cube of 16-bit numbers."""
    pixel_bytes = 2 * observations
    _, rows, cols = cube_chunks(box, (0, 0), OUTPUT_CHUNK, [False] * bands, pixel_bytes)
    return pixel_bytes * bands * max(rows) * max(cols)


def network_bytes(model: Model) -> int:
    """Weights and activations of one window: half of all that the layers put out, about.

    A network that keeps nothing for later layers holds less; but never less than the window and
    what its widest layer takes and gives.

    Counted in a small window, if the network takes one, and scaled. Torch's ``meta`` device,
    which computes nothing, would cost more: it imports torch's compiler, some seconds. A model of
    another library than torch says itself what it takes.
    """
    if isinstance(model.module, RuntimeModule):
        pixels = model.spec.lattice.window**2
        window = 4 * pixels * (model.spec.channels + model.spec.output_channels)
        return model.module.weight_bytes + window + model.module.working_bytes(pixels)
    weights = sum(p.numel() * p.element_size() for p in model.module.parameters())
    window, output = model.spec.lattice.window, model.spec.output
    if isinstance(output, ObjectOutput) and output.kind == "outlines":
        weights += _MASKS * output.most * window**2  # masks as wide as the window
    for size in (min(window, _PROBE), window):
        try:
            held = _activations(model, size)
        except Exception as error:  # noqa: BLE001 -- networks raise anything for a size they don't take
            reason = " ".join(str(error).split())[:200]
            continue
        return weights + int(held * (window / size) ** 2)
    raise ModelError(
        f"model {model.spec.name!r} can't compute one window of {model.spec.channels} channels "
        f"and {window} px: {reason}"
    )


def _activations(model: Model, size: int) -> int:
    """Bytes of the activations of a network for one window."""
    outputs: list[int] = []

    def count(_: torch.nn.Module, __: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            outputs.append(output.numel() * output.element_size())

    leaves = [part for part in model.module.modules() if not list(part.children())]
    # The model is one that tiles of this process may use, and their windows are not to be counted.
    with device_lock(model.device):
        handles = [leaf.register_forward_hook(count) for leaf in leaves]
        try:
            with torch.inference_mode():
                window = blank_batch(model.spec, 1, size, model.device)
                scores = model(window)
        finally:
            for handle in handles:
                handle.remove()
    if not outputs:  # an exported program has no layers to listen to
        numbers = scores if isinstance(scores, torch.Tensor) else window.channels  # of objects
        return _EXPORTED * numbers.numel() * numbers.element_size()
    return max(
        sum(outputs) // 2,
        window.channels.numel() * window.channels.element_size() + 2 * max(outputs),
    )
