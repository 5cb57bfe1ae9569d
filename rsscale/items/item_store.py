"""The frozen items of a run as its workers see them: on disk, found by their extent.

A country has tens of thousands of items, each some 50 kB as an object, and a tile needs a few
dozen: so a worker holds where they lie, some 70 bytes each, and reads those that it needs.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pystac
from odc.geo.geobox import GeoBox

from rsscale.items.freeze import to_items, without_secrets
from rsscale.items.item_index import Extents, ItemIndex

INDEX, RECORDS = "index.npz", "records"
"""Endings of the two files of an index."""


def write_index(index: ItemIndex, put: Callable[[str, bytes], None]) -> None:
    """Write an index of items and the items themselves, without tokens.

    Parameters
    ----------
    index : ItemIndex
    put : callable
        Takes each file's ending, :data:`INDEX` and :data:`RECORDS`, and its content.
    """
    plain = [json.dumps(without_secrets(item), sort_keys=True).encode() for item in index.items]
    records = [zlib.compress(one) for one in plain]
    digests = [hashlib.sha256(one).digest()[:16] for one in plain]
    extents, file = index.extents, io.BytesIO()
    np.savez(
        file,
        bounds=extents.bounds,
        starts=extents.starts,
        ends=extents.ends,
        turns=np.array(extents.turns),
        edges=np.cumsum([0, *map(len, records)]),
        digests=np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), 16),
    )
    put(RECORDS, b"".join(records))
    put(INDEX, file.getvalue())


class FrozenItems:
    """Items that :func:`write_index` wrote.

    Parameters
    ----------
    index, records : Path
        The two files; records are read where they are asked for.
    """

    def __init__(self, index: Path, records: Path) -> None:
        with np.load(index, allow_pickle=False) as arrays:
            turns = tuple(arrays["turns"].tolist())
            self._extents = Extents(arrays["bounds"], arrays["starts"], arrays["ends"], turns)
            self._edges, self._digests = arrays["edges"], arrays["digests"]
        self._records = records

    def __len__(self) -> int:
        return len(self._digests)

    def touching(self, geobox: GeoBox, start: date, end: date) -> list[pystac.Item]:
        """As :meth:`rsscale.items.item_index.ItemIndex.touching`, in the same order."""
        rows = self._extents.touching(geobox, start, end)
        features = []
        with self._records.open("rb") as file:
            for row in rows:
                file.seek(self._edges[row])
                record = file.read(self._edges[row + 1] - self._edges[row])
                features.append(json.loads(zlib.decompress(record)))
        return list(to_items(features))

    def digest(self, geobox: GeoBox, start: date, end: date) -> str:
        """Hash of the items that :meth:`touching` returns: it changes when one of them does."""
        rows = self._extents.touching(geobox, start, end)
        return hashlib.sha256(self._digests[rows].tobytes()).hexdigest()[:16]

    def cost(self, geobox: GeoBox, start: date, end: date) -> tuple[int, float]:
        """How many items touch a box; the bytes are not known here."""
        return len(self._extents.touching(geobox, start, end)), 0.0
