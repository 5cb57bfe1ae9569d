"""Candidates and decided objects as rows: of a tile, and of all tiles."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.objects.candidates import Candidates, as_array
from rsscale.objects.deciding import PlaneObjects, TileCandidates
from rsscale.objects.detections import Detections
from rsscale.objects.placed import centres_of
from rsscale.steps.placed_rows import ROW_BAND

if TYPE_CHECKING:
    import pyarrow as pa

_KEY = ("window_row", "window_col", "number")
_BOX = ("x0", "y0", "x1", "y1")
PLACE = ("x", "y")
"""Columns of decided objects: their centres in global pixels."""


@cache
def candidate_schema() -> pa.Schema:
    """Rows of a tile: its own objects, and what it shares with others.

    ``window_row``, ``window_col``, ``number`` are the key; ``x0 … y1`` the box in global pixels;
    ``sides`` and ``state`` as in :class:`rsscale.objects.candidates.Candidates`; ``shared`` says
    whether the gather is to decide; ``outline`` is WKB in global pixels, empty for boxes.
    """
    import pyarrow as pa

    return pa.schema(
        [
            *((name, pa.int32()) for name in _KEY),
            ("class", pa.int32()),
            ("score", pa.float32()),
            *((name, pa.float64()) for name in _BOX),
            ("sides", pa.uint8()),
            ("cut", pa.bool_()),
            ("state", pa.int8()),
            ("shared", pa.bool_()),
            ("outline", pa.binary()),
        ]
    )


@cache
def decided_schema() -> pa.Schema:
    """Rows of what was decided of all tiles together: objects in global pixels, as WKB.

    ``x`` and ``y`` are the middles of their bounds.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("span", pa.string()),
            *((name, pa.int32()) for name in _KEY),
            ("class", pa.int32()),
            ("score", pa.float32()),
            ("parts", pa.int32()),
            ("cut", pa.bool_()),
            *((name, pa.float64()) for name in PLACE),
            ("outline", pa.binary()),
        ]
    )


def candidate_table(said: TileCandidates) -> pa.Table:
    """What a tile says, as rows of :func:`candidate_schema`: its own first."""
    import pyarrow as pa

    tables = []
    for some, is_shared in ((said.own, False), (said.shared, True)):
        detections, keys = some.detections, some.keys
        columns: dict[str, Any] = {name: keys[:, n] for n, name in enumerate(_KEY)}
        columns |= {"class": detections.classes, "score": detections.scores}
        columns |= {name: detections.boxes[:, n] for n, name in enumerate(_BOX)}
        columns |= {"sides": some.sides, "cut": some.cut, "state": some.states}
        columns["shared"] = np.full(len(some), is_shared)
        outlines = detections.outlines
        columns["outline"] = _binary([b""] * len(some) if outlines is None else _wkb(outlines))
        tables.append(pa.table(columns).cast(candidate_schema()))
    return pa.concat_tables(tables).combine_chunks()


def candidates_of(columns: Mapping[str, npt.NDArray[Any]]) -> Candidates:
    """Candidates from the columns of :func:`candidate_schema`."""
    wkb = columns["outline"]
    outlines = tuple(shapely.from_wkb(wkb)) if len(wkb) and len(wkb[0]) else None
    return Candidates(
        Detections(
            np.stack([columns[name] for name in _BOX], axis=1),
            columns["score"],
            columns["class"],
            outlines,
        ),
        np.stack([columns[name] for name in _KEY], axis=1),
        columns["sides"],
        columns["cut"],
        columns["state"],
    )


def columns_of(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    """The columns of a table as arrays."""
    return {name: table[name].to_numpy() for name in table.column_names}


def decided_table(objects: PlaneObjects, span: str) -> pa.Table:
    """Objects as rows of :func:`decided_schema`: neighbours near each other, in one order."""
    import pyarrow as pa

    x, y = centres_of(objects).T
    order = np.lexsort((*objects.keys.T, x, y // ROW_BAND))
    objects, x, y = objects.take(order), x[order], y[order]
    columns: dict[str, Any] = {"span": [span] * len(objects)}
    columns |= {name: objects.keys[:, n] for n, name in enumerate(_KEY)}
    columns |= {"class": objects.classes, "score": objects.scores, "parts": objects.parts}
    columns |= {"cut": objects.cut, "x": x, "y": y, "outline": _binary(_wkb(objects.shapes))}
    return pa.table(columns).cast(decided_schema())


def objects_of(columns: Mapping[str, npt.NDArray[Any]]) -> PlaneObjects:
    """Objects from the columns of :func:`decided_schema`."""
    return PlaneObjects(
        as_array(shapely.from_wkb(columns["outline"])),
        np.stack([columns[name] for name in _KEY], axis=1),
        columns["class"],
        columns["score"],
        columns["parts"],
        columns["cut"],
    )


def _wkb(shapes: Any) -> list[bytes]:
    wkb_shapes: list[bytes] = shapely.to_wkb(as_array(shapes)).tolist()
    return wkb_shapes


def _binary(values: list[bytes]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, pa.binary())
