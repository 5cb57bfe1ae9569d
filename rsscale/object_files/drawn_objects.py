"""What a map in the browser draws objects from: a FlatGeobuf, and counts by cell for far views.

The FlatGeobuf is read by ranges of bytes, by means of its index: a page fetches the objects that
it shows. Where there are too many of them it draws the counts instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.object_files.step_objects import StepObjects
from rsscale.object_files.vector_formats import stream_to_gdal
from rsscale.objects.columns import GEOMETRY
from rsscale.store.step_version import step_version

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
"""Of the counts' JSON."""
COLUMNS = ("id", "class", "score", "area_m2", "parts", "cut", GEOMETRY)
"""Of the FlatGeobuf: what a click shows."""
# Cells of the finest counts along the longer side of the extent; each coarser level has half.
_CELLS, _LEVELS = 128, 6


def write_drawn(objects: StepObjects, span: str, folder: Path) -> None:
    """Write ``<span>.fgb`` and, after it, ``<span>.json`` into a folder.

    Parameters
    ----------
    objects : StepObjects
    span : str
    folder : Path
        Exists.

    Raises
    ------
    RunFolderError
        When a table is damaged or lost.
    StorageError
        When a file can't be written.
    """
    import pyarrow as pa

    counts = _Counts.over(objects)
    schema = pa.schema([objects.schema.field(name) for name in COLUMNS])

    def batches() -> Iterator[pa.RecordBatch]:
        for key in objects.keys[span]:
            table = objects.table(key)
            counts.add(table)
            yield from table.select(list(COLUMNS)).cast(schema).combine_chunks().to_batches()

    path = folder / f"{span}.fgb"
    path.unlink(missing_ok=True)
    stream_to_gdal(path, "FlatGeobuf", schema, batches(), crs=objects.crs, layer=objects.step)
    version = step_version(objects.folder, objects.step)
    document = {"format": FORMAT, "version": version, **counts.document()}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    (folder / f"{span}.json").write_text(text, encoding="utf-8")


@dataclass
class _Counts:
    """Objects by cell and class, while tables pass.

    Attributes
    ----------
    west, north : float
        Corner of the extent.
    side : float
        Of a cell of the finest level, in units of the CRS.
    by_class : mapping of value to array (rows, cols)
    names : mapping of value to str
    """

    west: float
    north: float
    side: float
    by_class: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    @classmethod
    def over(cls, objects: StepObjects) -> _Counts:
        """Of nothing yet, over the extent of a run."""
        state: Mapping[str, Any] = objects.folder.read_state()
        row0, col0, row1, col1 = state["extent"]
        (x0, y0), res = state["grid"]["origin"], state["grid"]["resolution"]
        longer = max(row1 - row0, col1 - col0)
        return cls(x0 + col0 * res, y0 - row0 * res, longer * res / _CELLS)

    def add(self, table: pa.Table) -> None:
        """Count the objects of a table."""
        classes = table["class"].to_numpy()
        # A centre on the edge of the extent may be rounded beyond it.
        row, col = (
            np.clip(np.floor(distance / self.side), 0, _CELLS - 1).astype(np.int64)
            for distance in (self.north - table["y"].to_numpy(), table["x"].to_numpy() - self.west)
        )
        values, first = np.unique(classes, return_index=True)
        for value, where in zip(values.tolist(), first.tolist(), strict=True):
            self.names.setdefault(value, table["name"][where].as_py())
            cells = self.by_class.setdefault(value, np.zeros((_CELLS, _CELLS), np.int64))
            is_class = classes == value
            np.add.at(cells, (row[is_class], col[is_class]), 1)

    def document(self) -> dict[str, Any]:
        """For JSON: of each cell that is not empty column, row, and the number of each class."""
        values = sorted(self.by_class)
        cells = [self.by_class[value] for value in values]
        stack = np.stack(cells) if cells else np.zeros((0, _CELLS, _CELLS), np.int64)
        levels = []
        for level in range(_LEVELS):
            rows, cols = np.nonzero(stack.sum(axis=0))
            listed = np.column_stack([cols, rows, *(layer[rows, cols] for layer in stack)])
            levels.append({"side": self.side * 2**level, "cells": listed.tolist()})
            size = stack.shape[1] // 2
            stack = stack.reshape(-1, size, 2, size, 2).sum(axis=(2, 4))
        return {
            "corner": [self.west, self.north],
            "classes": [
                {"value": value, "name": self.names[value], "objects": int(counts.sum())}
                for value, counts in zip(values, cells, strict=True)
            ],
            "levels": levels,
        }
