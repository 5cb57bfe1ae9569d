"""Choose one dtype and one nodata value for a cube whose bands declare different ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsscale.items.records import Scenes
from rsscale.read.reader import read_header
from rsscale.read.source import Source


def common_dtype(
    scenes: Scenes, sources: Sequence[Sequence[Source]]
) -> tuple[np.dtype[Any], np.generic]:
    """One type and one nodata value for a cube, by the rule in the notes of `load`."""
    kinds: list[tuple[np.dtype[Any], float | None]] = []
    for column in range(len(scenes.names)):
        header: tuple[np.dtype[Any], float | None] | None = None
        for record, source in zip(scenes, sources, strict=True):
            known, nodata = record.bands[column].dtype, record.bands[column].nodata
            dtype = None if known is None else np.dtype(known)
            if dtype is None or nodata is None:
                header = header or read_header(source[column])
            kind = (
                header[0] if dtype is None and header else dtype or np.dtype("uint8"),
                header[1] if nodata is None and header else nodata,
            )
            if kind not in kinds:
                kinds.append(kind)
    if not kinds:
        return np.dtype("uint16"), np.uint16(0)
    return common_type(kinds)


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
