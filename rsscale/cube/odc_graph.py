"""The lazy array of a cube by odc-stac, with rsscale's own reader as its driver.

odc-stac warps each chunk by itself, so its values depend on where the chunks end; here it
builds the graph only, and :class:`~rsscale.read.reader.Reader` reads. As with stackstac it is
given plain items that hide everything but the names, on a plain grid: pixel ``(row, col)`` of
the cube at ``(x, y) = (col, -row)``. So no grid is too odd for it, not one without an EPSG code.
"""

# ruff: noqa: ARG002 -- odc-loader's protocols have arguments that are of no use here.

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pystac
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from rsscale.cube.stackstac_graph import Layout
from rsscale.errors import ReadError, missing_extra
from rsscale.geo.lattice import PixelBox
from rsscale.items import assets
from rsscale.items.assets import Selection
from rsscale.read.levels import Source
from rsscale.read.placement import OutputGrid
from rsscale.read.reader import Reader
from rsscale.read.stage_timer import Meter

# Any projection in metres will do: only pixel numbers are written in it.
_PLAIN_CRS = "EPSG:3857"
_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"


def odc_array(layout: Layout, chosen: Selection, sources: Sequence[Sequence[Source]]) -> Any:
    """A Dask array ``(time, band, y, x)`` by ``odc.stac.load``, one look an item."""
    import dask.array as da

    try:
        import odc.stac
    except ImportError:
        raise missing_extra("the loader 'odc-stac'", "odc") from None

    looks, runs, rows, cols = layout.chunks
    (top, tall), (left, wide) = _lattice(rows), _lattice(cols)
    height, width = sum(rows) + top, sum(cols) + left
    geobox = GeoBox((height, width), Affine(1, 0, -left, 0, -1, top), _PLAIN_CRS)
    edges = list(pairwise(accumulate(runs, initial=0)))
    cube = odc.stac.load(
        [
            _plain(str(number), item, [tuple(row[a:b]) for a, b in edges], layout, geobox)
            for number, (item, row) in enumerate(zip(chosen.items, sources, strict=True))
        ],
        bands=[f"run{n}" for n in range(len(runs))],
        geobox=geobox,
        chunks={"time": looks[0], "y": tall, "x": wide},
        dtype=layout.dtype.str,
        nodata=layout.fill.item(),
        groupby="id",
        fuse_func=f"{__name__}.replace",
        driver=_Driver(layout.grid, layout.box, layout.dtype.str, layout.on_error, layout.meter),
    )
    array = da.concatenate([cube[f"run{n}"].data for n in range(len(runs))], axis=1)
    return array[:, :, top:, left:].rechunk(layout.chunks)


def replace(target: npt.NDArray[Any], source: npt.NDArray[Any]) -> None:
    """How looks at the same slice are merged: there is one only."""
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
    item: pystac.Item,
    runs: Sequence[tuple[Source, ...]],
    layout: Layout,
    geobox: GeoBox,
) -> pystac.Item:
    """An item of one asset a run of bands, that covers the whole of the cube."""
    from dask.base import tokenize

    plain = pystac.Item(name, None, None, assets.moment(item), {}, stac_extensions=[_PROJECTION])
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

    grid: OutputGrid
    box: PixelBox
    dtype: str
    on_error: Callable[[ReadError], None] | None = None
    meter: Meter | None = None
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
        return _Bands(src.driver_data, self)


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
    driver: _Driver

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
        inside = asked & PixelBox(0, 0, *self.driver.box.shape)
        window = Window(inside.col0, inside.row0, *inside.shape[::-1])
        out = np.empty((len(self.sources), *inside.shape), cfg.dtype)
        for band, source in zip(out, self.sources, strict=True):
            band[...] = Reader(
                url="",
                sources={"": source},
                grid=self.driver.grid,
                box=self.driver.box,
                dtype=cfg.dtype,
                fill_value=cfg.fill_value,
                on_error=self.driver.on_error,
                meter=self.driver.meter,
            ).read(window)
        return inside.slices(asked), out
