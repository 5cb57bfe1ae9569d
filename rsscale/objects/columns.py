"""The columns of objects: GeoParquet 1.1, the same for detections and for polygons of maps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

if TYPE_CHECKING:
    import pyarrow as pa

GEOMETRY = "geometry"
COLUMN_TEXTS = {
    "id": "unique in a step and span",
    "span": "period",
    "class": "value of the class",
    "name": "name of the class",
    "score": "of the detector, 0 to 1; null for polygons of maps",
    "x": "of the centre, in the CRS",
    "y": "of the centre, in the CRS",
    "area_m2": "square metres on the ellipsoid",
    "parts": "pieces that it was joined of",
    "cut": "it touches the edge of what was seen: it may be larger",
    "run": "name of the run",
    "step": "name of the step",
    "model": "digest of the model; empty for polygons of maps",
    "bbox": "bounds, in the CRS",
    GEOMETRY: "polygon or multipolygon, in the CRS",
}
"""What each column holds, in a few words: for metadata that others read."""


@lru_cache(maxsize=8)
def object_schema(crs: str) -> pa.Schema:
    """The schema of rows of objects, with the metadata of GeoParquet 1.1.

    ``id`` (unique in a step and span, and the same however tiles are cut), ``span``, ``class`` and
    ``name``, ``score`` (0 to 1; null for polygons of maps), ``x`` and ``y`` (the centre, in the
    CRS), ``area_m2`` (on the ellipsoid), ``parts`` (how many pieces were joined), ``cut`` (touches
    the edge of what was seen: it may be larger), ``run``, ``step`` and ``model`` (where it comes
    from; the digest of the model, empty for polygons of maps), ``bbox`` and ``geometry`` (WKB).

    Parameters
    ----------
    crs : str
        Of the coordinates; the grid's.
    """
    import pyarrow as pa

    corners = [(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")]
    return pa.schema(
        [
            ("id", pa.string()),
            ("span", pa.string()),
            ("class", pa.int32()),
            ("name", pa.string()),
            ("score", pa.float32()),
            ("x", pa.float64()),
            ("y", pa.float64()),
            ("area_m2", pa.float64()),
            ("parts", pa.int32()),
            ("cut", pa.bool_()),
            ("run", pa.string()),
            ("step", pa.string()),
            ("model", pa.string()),
            ("bbox", pa.struct(corners)),
            (GEOMETRY, pa.binary()),
        ],
        metadata={b"geo": json.dumps(_geo(crs)).encode()},
    )


def _geo(crs: str) -> dict[str, Any]:
    """The metadata ``geo`` of https://geoparquet.org/releases/v1.1.0/."""
    covering = {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}
    column = {
        "encoding": "WKB",
        "geometry_types": ["Polygon", "MultiPolygon"],
        "crs": pyproj.CRS.from_user_input(crs).to_json_dict(),
        "orientation": "counterclockwise",
        "covering": {"bbox": covering},
    }
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def is_of_objects(schema: pa.Schema | None) -> bool:
    """Whether rows of a schema are objects."""
    return schema is not None and schema.names == object_schema("EPSG:4326").names


def object_rows(
    geometry: Sequence[shapely.Geometry] | npt.NDArray[np.object_],
    *,
    crs: str,
    ids: Sequence[str],
    classes: npt.ArrayLike,
    names: Mapping[int, str],
    area_m2: npt.ArrayLike,
    span: str,
    run: str,
    step: str,
    model: str = "",
    scores: npt.ArrayLike | None = None,
    centres: npt.NDArray[np.float64] | None = None,
    parts: npt.ArrayLike = 1,
    cut: npt.ArrayLike = False,
) -> pa.Table:
    """Rows of objects, in the order that they are given.

    Parameters
    ----------
    geometry : sequence of shapely.Polygon or MultiPolygon
        In the CRS; the outer rings are turned counterclockwise.
    crs : str
    ids : sequence of str
    classes : int array
        Values of classes.
    names : mapping of value to name
    area_m2 : float array
    span, run, step, model : str
    scores : float array, optional
        Null where they are left out.
    centres : float array (n, 2), optional
        ``x, y``; the middle of the bounds where they are left out.
    parts : int array or int
    cut : bool array or bool

    Returns
    -------
    pyarrow.Table
        Of :func:`object_schema`.
    """
    import pyarrow as pa

    shapes = shapely.orient_polygons(np.asarray(geometry, object), exterior_cw=False)
    count = len(shapes)
    bounds = shapely.bounds(shapes).reshape(count, 4)
    if centres is None:
        centres = np.stack([bounds[:, [0, 2]].mean(axis=1), bounds[:, [1, 3]].mean(axis=1)], axis=1)
    values = np.asarray(classes, np.int32)
    corners = ("xmin", "ymin", "xmax", "ymax")
    columns = {
        "id": pa.array(list(ids), pa.string()),
        "span": [span] * count,
        "class": values,
        "name": [names.get(int(value), str(value)) for value in values],
        "score": [None] * count if scores is None else np.asarray(scores, np.float32),
        "x": centres[:, 0],
        "y": centres[:, 1],
        "area_m2": np.asarray(area_m2, np.float64),
        "parts": np.broadcast_to(np.asarray(parts, np.int32), count),
        "cut": np.broadcast_to(np.asarray(cut, bool), count),
        "run": [run] * count,
        "step": [step] * count,
        "model": [model] * count,
        "bbox": pa.StructArray.from_arrays(
            [pa.array(bounds[:, i], pa.float64()) for i in range(4)], names=list(corners)
        ),
        GEOMETRY: pa.array([bytes(wkb) for wkb in shapely.to_wkb(shapes)], pa.binary()),
    }
    schema = object_schema(crs)
    arrays = [
        value if isinstance(value, pa.Array) else pa.array(value, schema.field(name).type)
        for name, value in columns.items()
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
