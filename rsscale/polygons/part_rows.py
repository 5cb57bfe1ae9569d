"""Parts of polygons as rows of a table, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.polygons.parts import Parts

if TYPE_CHECKING:
    import pyarrow as pa


@lru_cache(maxsize=1)
def part_schema() -> pa.Schema:
    """The columns of :class:`rsscale.polygons.parts.Parts`.

    ``contacts`` holds those of a part as little-endian uint64, ``geometry`` is WKB in pixels of the
    grid.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("place", pa.int64()),
            ("value", pa.int32()),
            ("units", pa.int64()),
            ("cut", pa.bool_()),
            ("pieces", pa.int32()),
            ("contacts", pa.binary()),
            ("geometry", pa.binary()),
        ]
    )


def part_rows(parts: Parts) -> pa.Table:
    """A row for each part, of :func:`part_schema`."""
    import pyarrow as pa

    order = np.argsort(parts.owner, kind="stable")
    keys = parts.contacts[order].astype("<u8")
    ends = np.cumsum(np.bincount(parts.owner, minlength=len(parts)))
    contacts = [buffer.tobytes() for buffer in np.split(keys, ends[:-1])] if len(parts) else []
    columns = {
        "place": parts.place,
        "value": parts.value,
        "units": parts.units,
        "cut": parts.cut,
        "pieces": parts.pieces,
        "contacts": contacts,
        "geometry": list(shapely.to_wkb(parts.geometry)),
    }
    return pa.table(columns, schema=part_schema())


def parts_of(rows: Mapping[str, npt.NDArray[Any]]) -> Parts:
    """The parts of rows as they are read, with their contacts."""
    contacts = [np.frombuffer(buffer, "<u8") for buffer in rows["contacts"]]
    return Parts(
        place=rows["place"].astype(np.int64),
        value=rows["value"].astype(np.int32),
        units=rows["units"].astype(np.int64),
        cut=rows["cut"].astype(bool),
        pieces=rows["pieces"].astype(np.int32),
        geometry=np.asarray(shapely.from_wkb(rows["geometry"]), object).reshape(-1),
        contacts=np.concatenate([np.empty(0, np.uint64), *contacts]),
        owner=np.repeat(np.arange(len(contacts)), [len(buffer) for buffer in contacts]),
    )


def row_hash(value: Any, units: Any, cut: Any, geometry: bytes) -> int:
    """What a row holds as a number of 64 bits."""
    content = f"{int(value)} {int(units)} {bool(cut)} ".encode() + geometry
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little", signed=True)
