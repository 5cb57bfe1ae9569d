"""The lazy array of a cube by odc-stac, with rsscale's own reader as its driver.

odc-stac warps each chunk by itself, so its values depend on where the chunks end; here it
builds the graph only, and :class:`~rsscale.read.reader.Reader` reads. As with stackstac it is
given plain items that hide everything but the names, on a plain grid: pixel ``(row, col)`` of
the cube at ``(x, y) = (col, -row)``. So no grid is too odd for it, not one without an EPSG code.
"""

# ruff: noqa: ARG002 -- odc-loader's protocols have arguments that are of no use here.

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pystac
from affine import Affine
from odc.geo.geobox import GeoBox

from rsscale.cube.dask_graph import Layout, Sources
from rsscale.errors import missing_extra
from rsscale.geo.lattice import PixelBox
from rsscale.items.records import SceneRecord, Scenes
from rsscale.read.source import Source

# Any projection in metres will do: only pixel numbers are written in it.
_PLAIN_CRS = "EPSG:3857"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"


def odc_array(layout: Layout, scenes: Scenes, sources: Sources) -> Any:
    """A Dask array ``(time, band, y, x)`` by ``odc.stac.load``, one slice an item."""
    import dask.array as da

    try:
        import odc.stac
    except ImportError:
        raise missing_extra("the loader 'odc-stac'", "odc") from None

    slices, runs, rows, cols = layout.chunks
    (top, tall), (left, wide) = _lattice(rows), _lattice(cols)
    height, width = sum(rows) + top, sum(cols) + left
    geobox = GeoBox((height, width), Affine(1, 0, -left, 0, -1, top), _PLAIN_CRS)
    edges = list(pairwise(accumulate(runs, initial=0)))
    cube = odc.stac.load(
        [
            _plain(str(number), record, [tuple(row[a:b]) for a, b in edges], layout, geobox)
            for number, (record, row) in enumerate(zip(scenes, sources, strict=True))
        ],
        bands=[f"run{n}" for n in range(len(runs))],
        geobox=geobox,
        chunks={"time": slices[0], "y": tall, "x": wide},
        dtype=layout.dtype.str,
        nodata=layout.fill.item(),
        groupby="id",
        fuse_func=f"{__name__}.replace",
        driver=_Driver(layout),
    )
    array = da.concatenate([cube[f"run{n}"].data for n in range(len(runs))], axis=1)
    return array[:, :, top:, left:].rechunk(layout.chunks)


def replace(target: npt.NDArray[Any], source: npt.NDArray[Any]) -> None:
    """How several items of one slice are merged: there is never more than one."""
    target[...] = source


def _lattice(widths: Sequence[int]) -> tuple[int, int]:
    """Pixels to put before the first chunk, and the width of equal chunks from there.

    odc-stac's chunks are equal, ours end on the blocks of the files: those at the ends are
    cut or joined afterwards. The reader reads nothing for what is put before.
    """
    width = widths[1] if len(widths) > 2 else max(widths)
    return -widths[0] % width if len(widths) > 1 else 0, width


def _plain(
    name: str,
    record: SceneRecord,
    runs: Sequence[tuple[Source, ...]],
    layout: Layout,
    geobox: GeoBox,
) -> pystac.Item:
    """An item of one asset a run of bands, that covers the whole of the cube."""
    from dask.base import tokenize

    moment = _EPOCH + timedelta(microseconds=record.microseconds)
    plain = pystac.Item(name, None, None, moment, {}, stac_extensions=[_PROJECTION])
    for number, run in enumerate(runs):
        # The graph's keys are made of the addresses.
        token = tokenize(run, layout.grid, layout.box, layout.dtype.str, repr(layout.fill))
        fields = {
            "proj:code": _PLAIN_CRS,
            "proj:shape": list(geobox.shape),
            "proj:transform": list(geobox.affine)[:6],
            "rsscale:sources": run,
            "rsscale:kind": (layout.dtype.str, layout.fill.item()),
        }
        plain.add_asset(f"run{number}", pystac.Asset(f"rsscale://{token}", extra_fields=fields))
    return plain


@dataclass(frozen=True)
class _Driver:
    """odc-loader's ``ReaderDriver``: opens nothing, keeps nothing."""

    layout: Layout
    dask_reader: None = None
    aux_reader: None = None

    @property
    def md_parser(self) -> _Parser:
        return _Parser()

    def new_load(self, geobox: GeoBox, *, chunks: Any = None) -> None:
        pass

    def finalise_load(self, load_state: None) -> None:
        pass

    def capture_env(self) -> dict[str, Any]:
        return {}

    def restore_env(
        self,
        env: dict[str, Any],
        load_state: None,
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def open(self, src: Any, ctx: None) -> _Bands:
        return _Bands(src.driver_data, self.layout)


class _Parser:
    """odc-loader's ``MDParser``: what the assets of a plain item hold."""

    def extract(self, md: pystac.Item) -> Any:
        from odc.loader.types import RasterBandMetadata, RasterGroupMetadata

        bands, sizes = {}, {}
        for name, asset in md.assets.items():
            dtype, nodata = asset.extra_fields["rsscale:kind"]
            bands[name, 1] = RasterBandMetadata(dtype, nodata, dims=(f"band_{name}", "y", "x"))
            sizes[f"band_{name}"] = len(asset.extra_fields["rsscale:sources"])
        return RasterGroupMetadata(bands, extra_dims=sizes)

    def driver_data(self, md: pystac.Item, band_key: tuple[str, int]) -> tuple[Source, ...]:
        sources: tuple[Source, ...] = md.assets[band_key[0]].extra_fields["rsscale:sources"]
        return sources


@dataclass(frozen=True)
class _Bands:
    """odc-loader's ``RasterReader`` of one item's bands."""

    sources: tuple[Source, ...]
    layout: Layout

    def read(
        self,
        cfg: Any,
        dst_geobox: GeoBox,
        *,
        dst: Any = None,
        selection: Any = None,
    ) -> tuple[tuple[slice, slice], npt.NDArray[Any]]:
        row, col = round(-dst_geobox.affine.f), round(dst_geobox.affine.c)
        height, width = dst_geobox.shape
        asked = PixelBox(row, col, row + height, col + width)
        box = self.layout.box
        inside = asked & PixelBox(0, 0, *box.shape)
        top, left = box.row0 + inside.row0, box.col0 + inside.col0
        pixels = PixelBox(top, left, top + inside.shape[0], left + inside.shape[1])
        out = np.empty((len(self.sources), *inside.shape), cfg.dtype)
        for band, source in zip(out, self.sources, strict=True):
            self.layout.reader(source).read_into(pixels, band)
        return inside.slices(asked), out
