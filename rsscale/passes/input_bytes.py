"""Bytes of imagery that tiles take off the network or the disk, from the headers of a few files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Self

from affine import Affine

from rsscale.cube.build import OUTPUT_CHUNK
from rsscale.cube.chunks import block_origin, cube_chunks
from rsscale.errors import RsscaleError
from rsscale.geo.lattice import PixelBox
from rsscale.inputs.windows import mask_margin
from rsscale.items.records import BandRecord, SceneRecord, Scenes
from rsscale.layers import TileKey
from rsscale.read.block_bytes import BlockBytes, block_bytes
from rsscale.read.file_pool import CACHE_BYTES
from rsscale.read.placement import OutputGrid, locate_raster, parse_crs
from rsscale.read.source import Source
from rsscale.steps.sources import InputSource

FILES = 8
"""Files of all inputs that are opened at most, to see how their blocks are compressed."""

_HEADERS_KEPT = 1024
_log = logging.getLogger(__name__)


class InputBytes:
    """Compressed bytes of one input's imagery, by tile.

    Blocks of 512 px are read whole, beyond the halo too, and again for each chunk that needs a
    part of one: so a tile takes more than its pixels. How long blocks are is known of one file of
    each band, and taken for all of them. Masks inside files and repeated requests are not counted.

    Parameters
    ----------
    source : InputSource
    layouts : sequence of BlockBytes
        Of each band that is read.
    header_bytes : int
        Of one file on a server, whose first bytes are fetched when it is opened.
    """

    def __init__(
        self, source: InputSource, layouts: Sequence[BlockBytes], header_bytes: int
    ) -> None:
        self._source, self._layouts, self._header_bytes = source, layouts, header_bytes
        self._lookup = source.lookups(source.name)
        self._recipe = source.recipe.inputs[source.name]
        self._placements: dict[Any, Any] = {}

    @classmethod
    def sampled(cls, source: InputSource, files: int) -> Self | None:
        """From at most so many files, of dates that lie apart; None where one can't be opened."""
        scenes = source.lookups(source.name).scenes
        if not len(scenes):
            return None
        bands = len(scenes.names)
        asked = min(bands, files)
        grid, _ = OutputGrid.of(source.grid.geobox_of(PixelBox(0, 0, 1, 1)))
        layouts, header = [], 0
        for number in range(asked):
            record = scenes.records[(2 * number + 1) * len(scenes) // (2 * asked)]
            band = number * bands // asked
            try:
                layout, header = block_bytes(_source_of(source, scenes, record, band), grid)
            except (RsscaleError, OSError) as error:
                _log.info("bytes to read are estimated without compression: %s", error)
                return None
            layouts.append(layout)
        return cls(source, [layouts[band * asked // bands] for band in range(bands)], header)

    def of_tile(self, box: PixelBox, key: TileKey, threads: int) -> float:
        """Bytes that a tile reads.

        Parameters
        ----------
        box : PixelBox
            All that the tile reads.
        key : TileKey
        threads : int
            That read at a time, and share GDAL's cache of decoded blocks.
        """
        source, recipe = self._source, self._recipe
        geobox = source.grid.geobox_of(box.pad(mask_margin(recipe, source.grid, box)))
        scenes = self._lookup.touching(geobox, *source.days(key))
        if not len(scenes):
            return 0.0
        grid, covered = OutputGrid.of(geobox)
        codes = [scenes.is_categorical(column) for column in range(len(scenes.names))]
        itemsize = max(band.itemsize for record in scenes for band in record.bands)
        chunks = cube_chunks(
            covered,
            block_origin(scenes, grid, self._placements),
            OUTPUT_CHUNK,
            codes,
            len(scenes) * itemsize,
        )
        rows = list(accumulate(chunks[1], initial=covered.row0))
        cols = list(accumulate(chunks[2], initial=covered.col0))
        in_hand = threads * len(scenes) * max(chunks[1]) * max(chunks[2])
        is_cached = (
            in_hand * sum(file_layout.pixel_bytes for file_layout in self._layouts) <= CACHE_BYTES
        )
        if is_cached:
            rows, cols = [rows[0], rows[-1]], [cols[0], cols[-1]]
        return sum(
            layout.of_chunks(rows, cols, self._corner(grid, band, layout))
            for record in scenes
            for band, layout in zip(record.bands, self._layouts, strict=True)
        )

    def of_headers(self, tiles: int, observations: float, processes: int) -> float:
        """Bytes of the headers of all files, which each process fetches and keeps a while."""
        bands = len(self._layouts)
        files = len(self._lookup) * bands
        if files > _HEADERS_KEPT:
            return tiles * observations * bands * self._header_bytes
        return files * min(processes, tiles) * self._header_bytes

    def _corner(
        self, grid: OutputGrid, band: BandRecord, layout: BlockBytes
    ) -> tuple[float, float] | None:
        """Where a band's file lies on the grid; None where its metadata do not say."""
        if not (band.crs and band.transform and band.shape):
            return None
        known = "corner", band.crs, band.transform, band.shape, id(layout)
        if known not in self._placements:
            place = locate_raster(
                grid, parse_crs(band.crs), Affine(*band.transform), band.shape, "nearest"
            )
            corner = None
            if place.box is not None:
                box, (height, width) = place.box, layout.extent
                # A warped file lies in the middle of its footprint, which has a margin.
                spare = (0.0, 0.0) if place.zoom else (box.shape[0] - height, box.shape[1] - width)
                corner = box.row0 + spare[0] / 2, box.col0 + spare[1] / 2
            self._placements[known] = corner
        placement: tuple[float, float] | None = self._placements[known]
        return placement


def _source_of(source: InputSource, scenes: Scenes, record: SceneRecord, column: int) -> Source:
    """The file of a band, to be read as the cube reads it."""
    band, name = record.bands[column], scenes.names[column]
    method = "nearest" if scenes.is_categorical(column) else "bilinear"
    return Source(
        item=record.id,
        asset=band.asset,
        url=band.url,
        resampling=source.recipe.inputs[source.name].resampling.get(name, method),
        nodata=band.nodata,
        crs=band.crs,
        transform=band.transform,
        sign=record.sign,
        index=band.index,
        count=band.count,
        dtype=band.dtype,
        shape=band.shape,
        assumed=band.assumed,
        footprint=band.footprint,
    )
