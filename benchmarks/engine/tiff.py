"""Cloud-optimised GeoTIFFs from blocks that are compressed already.

Compressing is what takes the time when a country is simulated. A file is a header and blocks in
reading order, without overviews; https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
and https://docs.ogc.org/is/19-008r4/19-008r4.html say what the tags mean.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine

BLOCK = 512
_SHORT, _LONG, _ASCII, _DOUBLE = 3, 4, 2, 12
_FORMATS = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}
_DEFLATE, _HORIZONTAL = 8, 2


def compress(block: npt.NDArray[np.uint16]) -> bytes:
    """One block, with TIFF's predictor 2: differences along the row, modulo 65536."""
    apart = block.astype("<u2")
    apart[:, 1:] -= block[:, :-1]
    return zlib.compress(apart.tobytes(), 6)


def write_tiff(
    path: Path, size: int, blocks: Sequence[bytes], transform: Affine, epsg: int
) -> None:
    """A square uint16 GeoTIFF, nodata 0, of blocks row by row.

    A block that is given more than once is written once, and an empty one not at all: readers
    find nodata there.
    """
    across = size // BLOCK
    if across * BLOCK != size or len(blocks) != across * across:
        raise ValueError(f"{len(blocks)} blocks of {BLOCK} px for {size} px")
    sizes = [len(block) for block in blocks]
    tags: list[tuple[int, int, Sequence[float] | bytes]] = [
        (256, _LONG, [size]),
        (257, _LONG, [size]),
        (258, _SHORT, [16]),
        (259, _SHORT, [_DEFLATE]),
        (262, _SHORT, [1]),
        (277, _SHORT, [1]),
        (284, _SHORT, [1]),
        (317, _SHORT, [_HORIZONTAL]),
        (322, _LONG, [BLOCK]),
        (323, _LONG, [BLOCK]),
        (
            324,
            _LONG,
            [0] * len(blocks),
        ),  # where they start, known once the header is as long as it is
        (325, _LONG, sizes),
        (339, _SHORT, [1]),
        (33550, _DOUBLE, [transform.a, -transform.e, 0.0]),
        (33922, _DOUBLE, [0.0, 0.0, 0.0, transform.c, transform.f, 0.0]),
        # Projected, pixel is area, EPSG code.
        (34735, _SHORT, [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, epsg]),
        (42113, _ASCII, b"0\0"),
    ]
    start = len(_header(tags))
    different = list({id(block): block for block in blocks if block}.values())
    places = np.cumsum([start, *map(len, different)]).tolist()
    place_of = {id(block): place for block, place in zip(different, places, strict=False)}
    tags[10] = (324, _LONG, [place_of.get(id(block), 0) for block in blocks])
    with path.open("wb") as file:
        file.write(_header(tags))
        file.writelines(different)


def _header(tags: Sequence[tuple[int, int, Sequence[float] | bytes]]) -> bytes:
    """The directory right after the file's first eight bytes, then what does not fit in it."""
    entries, beyond = b"", b""
    rest = 8 + 2 + 12 * len(tags) + 4
    for tag, kind, values in tags:
        packed = (
            values
            if isinstance(values, bytes)
            else struct.pack(f"<{len(values)}{_FORMATS[kind]}", *values)
        )
        if len(packed) > 4:
            value = struct.pack("<I", rest + len(beyond))
            beyond += packed + b"\0" * (len(packed) % 2)
        else:
            value = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kind, len(values)) + value
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return struct.pack("<2sHI", b"II", 42, 8) + directory + beyond
