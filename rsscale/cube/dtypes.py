"""Choose one dtype and one nodata value for a cube whose bands declare different ones."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsscale.errors import ReadError
from rsscale.items.records import Scenes
from rsscale.read.levels import effective_nodata
from rsscale.read.reader import read_header
from rsscale.read.source import Source

# Headers that are read side by side; as many as connections to servers are used at once.
_TOGETHER = 16

Kind = tuple[np.dtype[Any], float | None]
"""Type and nodata."""


@dataclass(frozen=True)
class CubeKind:
    """Type of a cube, and nodata of it and of its bands.

    Attributes
    ----------
    dtype : numpy.dtype
    fill : numpy.generic
        The cube's nodata, of that type.
    nodata : tuple of float or None
        Of each band, in the numbers of its files; the first, where they have several.
    types : tuple of numpy.dtype or None
        Of each band: the smallest that holds the numbers of all its files; ``None`` where no
        file could be read.
    """

    dtype: np.dtype[Any]
    fill: np.generic
    nodata: tuple[float | None, ...]
    types: tuple[np.dtype[Any] | None, ...]


def cube_kind(
    scenes: Scenes, sources: Sequence[Sequence[Source]], *, skips: bool = False
) -> CubeKind:
    """One type and one nodata value for a cube, by the rule in the notes of `load`.

    Parameters
    ----------
    scenes : Scenes
    sources : sequence of sequence of Source
        ``sources[scene][band]``.
    skips : bool
        Whether files that cannot be read count as not seen.

    Raises
    ------
    ReadError
        When the header of a file has to be read and cannot be.
    """
    by_band = [_kinds(scenes, sources, column, skips=skips) for column in range(len(scenes.names))]
    kinds = list(dict.fromkeys(kind for kinds in by_band for kind in kinds))
    own = tuple(
        next((nodata for _, nodata in kinds if nodata is not None), None) for kinds in by_band
    )
    dtype, fill = common_type(kinds) if kinds else (np.dtype("uint16"), np.uint16(0))
    types = tuple(np.result_type(*(k for k, _ in each)) if each else None for each in by_band)
    return CubeKind(dtype, fill, own, types)


def _kinds(
    scenes: Scenes, sources: Sequence[Sequence[Source]], column: int, *, skips: bool
) -> list[Kind]:
    """Types and nodata values of a band, each once.

    Of every file whose type nobody says the header is read: none of them may decide for the others.
    Nodata that nobody says is asked of the first file.
    """
    unknown = [
        source[column]
        for record, source in zip(scenes, sources, strict=True)
        if record.bands[column].dtype is None
    ]
    headers = _headers(unknown, skips=skips)
    example: Kind | None = next(iter(headers.values()), None)
    kinds: dict[Kind, None] = {}
    memo: dict[Any, Kind] = {}
    for record, row in zip(scenes, sources, strict=True):
        band, source = record.bands[column], row[column]
        header = headers.get((source.url, source.index))
        if band.dtype is None and header is None:
            continue  # it could not be read
        if band.nodata is None and header is None:
            example = header = example or next(iter(_headers([source], skips=skips).values()), None)
        key = band.dtype, band.nodata, band.assumed, header
        if key not in memo:
            dtype = np.dtype(band.dtype) if band.dtype is not None or header is None else header[0]
            _check_real(source, dtype)
            memo[key] = dtype, _nodata(source, dtype, header[1] if header else None, skips=skips)
        kinds[memo[key]] = None
    return list(kinds)


def _check_real(source: Source, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "iuf":
        raise ReadError(
            f"{source} holds {dtype}, and a cube whole or real numbers; of complex radar data take "
            "a product of intensities, or correct data_type in the item's metadata"
        )


def _nodata(
    source: Source, dtype: np.dtype[Any], own: float | None, *, skips: bool
) -> float | None:
    try:
        return effective_nodata(source, dtype, own)
    except ReadError:
        if not skips:
            raise
        return source.nodata


def _headers(sources: Sequence[Source], *, skips: bool) -> dict[tuple[str, int | None], Kind]:
    """Type and nodata of files by address and number of the band, read side by side."""

    def header(source: Source) -> Kind | None:
        try:
            return read_header(source)
        except ReadError:
            if not skips:
                raise
            return None

    unique = list({(source.url, source.index): source for source in sources}.values())
    if len(unique) < 2:
        read = [header(source) for source in unique]
    else:
        with ThreadPoolExecutor(min(_TOGETHER, len(unique))) as threads:
            read = list(threads.map(header, unique))
    pairs = zip(unique, read, strict=True)
    return {(source.url, source.index): kind for source, kind in pairs if kind is not None}


def common_type(
    kinds: Sequence[tuple[np.dtype[Any], float | None]],
) -> tuple[np.dtype[Any], np.generic]:
    """The type and nodata that hold bands of these (type, nodata) without loss."""
    dtype = np.result_type(*(kind for kind, _ in kinds))
    if dtype.kind == "f":
        return dtype, dtype.type("nan")
    lows, highs = zip(*((np.iinfo(k).min, np.iinfo(k).max) for k, _ in kinds), strict=True)
    bounds = np.iinfo(dtype)
    for _, value in kinds:
        if value is None or value != value // 1 or not bounds.min <= value <= bounds.max:
            continue
        is_free = [
            value == own or not low <= value <= high
            for (_, own), low, high in zip(kinds, lows, highs, strict=True)
        ]
        if all(is_free):
            return dtype, dtype.type(int(value))
    # Every band's values are taken: a number below or above all of them.
    for name in ("int16", "uint16", "int32", "uint32", "int64"):
        wide = np.iinfo(name)
        if wide.min <= min(lows) and max(highs) <= wide.max and wide.bits >= bounds.bits:
            if wide.min < min(lows):
                return np.dtype(name), np.dtype(name).type(max(wide.min, min(lows) - 1))
            if wide.max > max(highs):
                return np.dtype(name), np.dtype(name).type(wide.max)
    return np.dtype("float64"), np.float64("nan")
