"""Choose the chunks of a cube: aligned with the files' blocks, and bounded in bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from affine import Affine

from rsscale.geo.lattice import WARP_BLOCK, PixelBox
from rsscale.items.records import Scenes
from rsscale.read.placement import OutputGrid, locate_raster, parse_crs

# What one block of the cube may take, all scenes and bands in it. A thread holds about
# three such blocks: as read, masked, and while it is reduced.
_BLOCK_BYTES = 128 * 2**20
_LEAST_CHUNK = 256


def block_origin(
    scenes: Scenes, grid: OutputGrid, memo: dict[Any, tuple[int, int]] | None = None
) -> tuple[int, int]:
    """First block edge of the most common placement of files, (row, col) modulo a block.

    An aligned file is read in its own blocks, which count from its corner; a warped one in
    the fixed blocks of the grid.

    Parameters
    ----------
    scenes : Scenes
    grid : OutputGrid
    memo : dict, optional
        Keeps where files lie, for other boxes of the same grid.
    """
    votes: Counter[tuple[int, int]] = Counter()
    memo = {} if memo is None else memo
    for band in (band for record in scenes for band in record.bands):
        if not (band.crs and band.transform and band.shape):
            continue
        known = band.crs, band.transform, band.shape
        if known not in memo:
            crs, transform = parse_crs(band.crs), Affine(*band.transform)
            where = locate_raster(grid, crs, transform, band.shape, "nearest")
            direct = where.box if where.zoom else None
            memo[known] = (direct.row0 % WARP_BLOCK, direct.col0 % WARP_BLOCK) if direct else (0, 0)
        votes[memo[known]] += 1
    return votes.most_common(1)[0][0] if votes else (0, 0)


def cube_chunks(
    box: PixelBox, origin: tuple[int, int], chunk: int, codes: Sequence[bool], pixel_bytes: int
) -> tuple[tuple[int, ...], ...]:
    """Chunks of ``(band, y, x)``.

    Parameters
    ----------
    box : PixelBox
        What the cube covers.
    origin : (int, int)
        Of the blocks to keep to, from :func:`block_origin`.
    chunk : int
        Width of a square of as many pixels as are wanted.
    codes : sequence of bool
        Which bands hold codes; runs of equal kind make a chunk.
    pixel_bytes : int
        Bytes a pixel of one band, all scenes.
    """
    step = max(chunk // WARP_BLOCK, 1) * WARP_BLOCK if chunk >= WARP_BLOCK else chunk
    while pixel_bytes * len(codes) * step**2 > _BLOCK_BYTES and step >= 2 * _LEAST_CHUNK:
        step //= 2
    runs: list[int] = []
    for column, code in enumerate(codes):
        if column and code == codes[column - 1]:
            runs[-1] += 1
        else:
            runs.append(1)
    # Wide rather than high: the blocks of a COG lie row by row, so that a row of them is one
    # request, and a column as many as it has blocks.
    high = min(step, WARP_BLOCK)
    rows = _edges(box.row0, box.row1, origin[0], high)
    cols = _edges(box.col0, box.col1, origin[1], step * step // high)
    return tuple(runs), rows, cols


def _edges(start: int, stop: int, origin: int, step: int) -> tuple[int, ...]:
    """Chunk widths of about ``step`` whose inner edges lie on blocks counted from ``origin``.

    A rest thinner than a quarter step, such as a halo, is joined to its neighbour.
    """
    block = min(step, WARP_BLOCK)
    edges = [start]
    while stop - edges[-1] > step * 5 / 4:
        reach = edges[-1] + step * 5 // 4
        edges.append(reach - (reach - origin) % block)
    if len(edges) > 1 and stop - edges[-1] < step / 4:
        edges.pop()
    return tuple(b - a for a, b in pairwise([*edges, stop]))
