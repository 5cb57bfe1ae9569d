"""A lazy map: blocks of windows, each predicted from what it reads of the composite's chunks.

A block is some windows of the lattice, counted from the grid's origin, so it is the same whatever
array covers it. One task predicts all its layers. The chunks of a layer are as wide as a block but
begin at the array's corner, since Zarr takes no others; each is put together of the blocks that it
touches, which is one where the array begins with a block.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from rsscale.cluster.sealed import Sealed
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.device_lock import has_several_threads
from rsscale.inference.stack import days_of_year
from rsscale.layers import Layer
from rsscale.model.model_input import DAYS, ModelInput
from rsscale.model.spec import ModelSpec
from rsscale.prediction.block import Block, BlockInput, Chunk, Held, Part
from rsscale.prediction.chunk_parts import ChunkParts
from rsscale.prediction.model_source import ModelSource, PickledModel

# A wide block makes few tasks and a small share of halo; one of many channels is narrower.
_WIDEST, _NARROWEST = 2048, 1024
_BLOCK_BYTES = 256 << 20

Boxes = Mapping[tuple[int, int], PixelBox]
Graph = dict[Hashable, Any]


def is_lazy(array: xr.DataArray) -> bool:
    """Whether an array, or a coordinate of it, is Dask's."""
    parts = [array.variable, *(coord.variable for coord in array.coords.values())]
    return any(part.chunks is not None for part in parts)


def lazy_layers(
    inputs: Mapping[str, xr.DataArray],
    source: ModelSource,
    read: PixelBox,
    kept: PixelBox,
    where: Any,
    *,
    layers: Sequence[Layer],
    batch: int,
) -> dict[str, Any]:
    """The layers of a map as Dask arrays; nothing is computed.

    Parameters
    ----------
    inputs : mapping of input name to DataArray
        ``(time, band, y, x)`` over ``read``, checked; what is not Dask's of them becomes part of
        the graph.
    source : ModelSource
    read, kept : PixelBox
        What the inputs cover, and what is mapped.
    where : bool array (row, col) or None
        Pixels of ``kept`` to map; may be Dask's.
    layers : sequence of Layer
        Which to compute.
    batch : int
        Windows that the model sees at once.
    """
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    spec = source.spec
    layers = tuple(replace(layer, attributes={}) for layer in layers)
    width = block_width(spec.lattice, _pixel_bytes(inputs, spec, layers))
    arrays = _arrays(inputs, source, width)
    how = layers, batch, has_several_threads()
    token = tokenize(source.key, [a.name for a in arrays], read, kept, where, how)
    name = f"rsscale-predict-{token}"
    blocks = lattice_blocks(kept, spec.lattice, width)

    graph: Graph = {}
    masks = _Masks(where, kept, f"{name}-where", graph)
    described = tuple(
        _described(model_input, inputs[model_input.name]) for model_input in spec.inputs
    )
    cutters = [ChunkParts(a, read, f"{name}-part{n}", graph) for n, a in enumerate(arrays)]
    weights = _weights(source, f"{name}-model", graph)
    for index, box in blocks.items():
        around = spec.lattice.read_box(box) & read
        wanted, mask = masks.of(box, index)
        taken = [] if wanted is False else [cutter.of(around, index) for cutter in cutters]
        taken += mask
        parts = tuple(part for part, _ in taken)
        block = Block(described, *how, box, around, parts, wanted)
        keys = [key for _, keys in taken for key in keys]
        if weights is None:
            graph[name, *index] = (Sealed(partial(block, source)), keys)
        else:
            graph[name, *index] = (Sealed(block), weights, keys)

    base = HighLevelGraph.from_collections(name, graph, dependencies=[*arrays, *masks.arrays])
    made = _Made(base, name, token, blocks, _Chunks(kept, width))
    return {layer.name: made.layer(layer) for layer in layers}


def _described(model_input: ModelInput, array: xr.DataArray) -> BlockInput:
    """What a block must know of an input beside its values."""
    counts, days = "observations" in array.coords, ()
    if DAYS in model_input.takes:
        days_of_year(array)  # refuses an input without dates now
        days = tuple(array["time"].values.astype("datetime64[D]").astype(int).tolist())
    return BlockInput(model_input.name, model_input.bands, counts, days)


def _pixel_bytes(
    inputs: Mapping[str, xr.DataArray], spec: ModelSpec, layers: Sequence[Layer]
) -> int:
    """Bytes of a pixel of all inputs, or of all layers if those are more."""
    read = 4 * sum(inputs[i.name].sizes["time"] * len(i.bands) for i in spec.inputs)
    return max(read, sum(layer.pixel_bytes for layer in layers))


def block_width(lattice: Lattice, pixel_bytes: int) -> int:
    """Width of a block: whole windows, up to 2048 px, or 1024 where a pixel has many bytes."""
    affordable = int((_BLOCK_BYTES / pixel_bytes) ** 0.5)
    most = min(max(affordable, _NARROWEST), _WIDEST)
    return max(most // lattice.stride, 1) * lattice.stride


def lattice_blocks(box: PixelBox, lattice: Lattice, width: int) -> dict[tuple[int, int], PixelBox]:
    """The blocks that touch a box, cut to it, by their numbers from the first.

    Windows that are mixed have a say beyond their cores: then blocks begin in the middle of a core,
    where one window alone has, so that the windows that two blocks share are one row and not two.
    """
    middle = lattice.stride // 2 if lattice.blend == "hann" and lattice.halo else 0
    moved = _moved(box, -middle)
    first = moved.snap(width)
    return {
        ((block.row0 - first.row0) // width, (block.col0 - first.col0) // width): (
            _moved(block, middle) & box
        )
        for block in moved.blocks(width)
    }


def _moved(box: PixelBox, by: int) -> PixelBox:
    return PixelBox(box.row0 + by, box.col0 + by, box.row1 + by, box.col1 + by)


def _weights(source: ModelSource, name: str, graph: Graph) -> str | None:
    """The key of the task with the weights of a model that lies in no folder."""
    if not isinstance(source, PickledModel):
        return None
    graph[name] = (Sealed(Held(source)),)
    return name


def _arrays(inputs: Mapping[str, xr.DataArray], source: ModelSource, width: int) -> list[Any]:
    """Dask arrays of each input: values of the model's bands, and observations if counted."""
    arrays = []
    for model_input in source.spec.inputs:
        array = inputs[model_input.name]
        names = [str(band) for band in array["band"].values]
        if names != list(model_input.bands):
            array = array.isel(band=[names.index(band) for band in model_input.bands])
        arrays.append(_as_dask(array.variable, width))
        if "observations" in array.coords:
            arrays.append(_as_dask(array["observations"].variable, width))
    return arrays


def _as_dask(variable: xr.Variable, width: int) -> Any:
    import dask.array as da

    if variable.chunks is not None:
        return variable.data
    values = variable.values
    return da.from_array(values, chunks=(*values.shape[:-2], width, width))


class _Masks:
    """Which pixels are wanted, block by block: bits in a block's task, or parts of a Dask array."""

    def __init__(self, where: Any, kept: PixelBox, name: str, graph: Graph) -> None:
        self._where, self._kept = where, kept
        self.arrays = [where] if hasattr(where, "dask") else []
        self._parts = [ChunkParts(array, kept, name, graph) for array in self.arrays]

    def of(
        self, box: PixelBox, index: tuple[int, int]
    ) -> tuple[bool | bytes | None, list[tuple[Part, list[Hashable]]]]:
        """All pixels or none, or bits; or None, and the part to take of an array."""
        if self._parts:
            return None, [self._parts[0].of(box, index)]
        if self._where is None:
            return True, []
        wanted = self._where[box.slices(self._kept)]
        if wanted.all() or not wanted.any():
            return bool(wanted.all()), []
        return np.packbits(wanted).tobytes(), []


class _Chunks:
    """The chunks of a layer: as wide as a block, from the corner of what is mapped."""

    def __init__(self, kept: PixelBox, width: int) -> None:
        self._rows = _edges(kept.row0, kept.row1, width)
        self._cols = _edges(kept.col0, kept.col1, width)

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """As Dask has them, of rows and of columns."""
        return [
            tuple(stop - start for start, stop in pairwise(edges))
            for edges in (self._rows, self._cols)
        ]

    def touching(self, blocks: Boxes) -> Iterator[tuple[tuple[int, int], PixelBox, Boxes]]:
        """Each chunk's number and box, and the blocks that it touches."""
        for i, (row0, row1) in enumerate(pairwise(self._rows)):
            for j, (col0, col1) in enumerate(pairwise(self._cols)):
                box = PixelBox(row0, col0, row1, col1)
                # As wide as a block and begun in the block of its number or before: two in a row.
                near = [n for n in ((i, j), (i, j + 1), (i + 1, j), (i + 1, j + 1)) if n in blocks]
                yield (i, j), box, {n: blocks[n] for n in near if not (blocks[n] & box).empty}


def _edges(start: int, stop: int, width: int) -> list[int]:
    return [start, *range(start + width, stop, width), stop]


@dataclass(frozen=True)
class _Made:
    """Blocks that are predicted, as a graph, and the chunks that layers are cut into."""

    graph: Any
    name: str
    token: str
    blocks: Boxes
    chunks: _Chunks

    def layer(self, layer: Layer) -> Any:
        """One layer as a Dask array."""
        import dask.array as da
        from dask.highlevelgraph import HighLevelGraph

        name = f"rsscale-{layer.name}-{self.token}"
        leading = (layer.depth,) if layer.axis else ()
        tasks: Graph = {}
        for index, box, near in self.chunks.touching(self.blocks):
            chunk = Chunk(layer, box, tuple(near.values()))
            key = (name, *(0 for _ in leading), *index)
            tasks[key] = (Sealed(chunk), [(self.name, *number) for number in near])
        graph = HighLevelGraph(
            {**self.graph.layers, name: tasks}, {**self.graph.dependencies, name: {self.name}}
        )
        chunks = (*((n,) for n in leading), *self.chunks.sizes)
        return da.Array(graph, name, chunks, meta=np.empty((0,) * len(chunks), layer.numpy_dtype))
