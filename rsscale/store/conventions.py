"""Georeference of a Zarr group: CF coordinates, and the conventions of the Zarr community."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyproj
import zarr
from odc.geo.geobox import GeoBox

# https://github.com/zarr-conventions/zarr-conventions-spec: how a reader knows the prefixes.
_RAW = "https://raw.githubusercontent.com/zarr-conventions"
_WEB = "https://github.com/zarr-conventions"
SPATIAL = {
    "name": "spatial",
    "schema_url": f"{_RAW}/spatial/refs/tags/v1/schema.json",
    "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
    "spec_url": f"{_WEB}/spatial/blob/v1/README.md",
    "description": "Spatial coordinate information",
}
PROJ = {
    "name": "proj:",
    "schema_url": f"{_RAW}/geo-proj/refs/tags/v1/schema.json",
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "spec_url": f"{_WEB}/geo-proj/blob/v1/README.md",
    "description": "Coordinate reference system information for geospatial data",
}
MULTISCALES = {
    "name": "multiscales",
    "schema_url": f"{_RAW}/multiscales/refs/tags/v0.1/schema.json",
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "spec_url": f"{_WEB}/multiscales/blob/v0.1/README.md",
    "description": "Multiscale layout of zarr datasets",
}

# What the convention calls the ways in which layers are reduced.
_METHODS = {"mode": "mode", "mean": "average", "nearest": "nearest"}


def georeference(box: GeoBox) -> dict[str, Any]:
    """Attributes of a group by the Zarr conventions ``spatial`` and ``proj``."""
    crs = pyproj.CRS(str(box.crs))
    code = crs.to_epsg()
    proj = {"proj:code": f"EPSG:{code}"} if code else {"proj:wkt2": crs.to_wkt()}
    return {
        "zarr_conventions": [SPATIAL, PROJ],
        "spatial:dimensions": ["y", "x"],
        "spatial:bbox": list(box.boundingbox.bbox),
        "spatial:transform": list(box.affine)[:6],
        "spatial:shape": list(box.shape),
        **proj,
    }


def without_georeference(attributes: Mapping[Any, Any]) -> dict[Any, Any]:
    """A group's attributes without those of the Zarr conventions and of rsscale itself.

    They are of the whole group, and hold what is JSON only, which no netCDF file takes.
    """
    ours = ("zarr_conventions", "multiscales", "rsscale")
    return {
        key: value
        for key, value in attributes.items()
        if key not in ours and not str(key).startswith(("spatial:", "proj:"))
    }


def multiscales(
    attributes: Mapping[str, Any], levels: Mapping[str, GeoBox], methods: Sequence[str]
) -> dict[str, Any]:
    """A root group's attributes with the layout of its overviews by the convention ``multiscales``.

    Parameters
    ----------
    attributes : mapping
        Of the root, which is the first level.
    levels : mapping of group path to GeoBox
        The overviews, from fine to coarse.
    methods : sequence of str
        How layers were reduced; named where all were reduced alike.
    """
    base = {
        "asset": ".",
        "transform": {"scale": [1.0, 1.0], "translation": [0.0, 0.0]},
        "spatial:shape": attributes["spatial:shape"],
        "spatial:transform": attributes["spatial:transform"],
    }
    layout, before = [base], base
    for path, box in levels.items():
        level = {
            "asset": path,
            "derived_from": before["asset"],
            "transform": _transform(before["spatial:transform"], box),
            "spatial:shape": list(box.shape),
            "spatial:transform": list(box.affine)[:6],
        }
        layout.append(level)
        before = level
    known = {c["name"]: c for c in attributes["zarr_conventions"]} | {"multiscales": MULTISCALES}
    method = {"resampling_method": _METHODS[methods[0]]} if len(set(methods)) == 1 else {}
    return {
        **attributes,
        "zarr_conventions": list(known.values()),
        "multiscales": {"layout": layout, **method},
    }


def _transform(before: Sequence[float], box: GeoBox) -> dict[str, list[float]]:
    """Scale, and the shift of the corner in pixels of the level before, ``(y, x)``."""
    affine = box.affine
    return {
        "scale": [affine.e / before[4], affine.a / before[0]],
        "translation": [(affine.f - before[5]) / before[4], (affine.c - before[2]) / before[0]],
    }


def write_coordinates(group: zarr.Group, box: GeoBox, times: Sequence[np.datetime64]) -> None:
    """Write ``y``, ``x`` (pixel centres), ``time`` and ``spatial_ref`` into a group, as CF."""
    from odc.geo.xr import xr_coords  # brings rasterio

    coords = xr_coords(box, always_yx=True)
    for name in ("y", "x"):
        values = np.asarray(coords[name].values, np.float64)
        # One chunk: a coordinate is read whole, always.
        group.create_array(
            name,
            data=values,
            chunks=values.shape,
            dimension_names=(name,),
            fill_value=np.nan,
            attributes={k: v for k, v in coords[name].attrs.items() if k != "crs"},
        )
    days = np.array(times, "datetime64[D]").astype(np.int64)
    group.create_array(
        "time",
        data=days,
        chunks=days.shape,
        dimension_names=("time",),
        attributes={
            "standard_name": "time",
            "units": "days since 1970-01-01",
            "calendar": "proleptic_gregorian",
        },
    )
    crs = coords["spatial_ref"]
    group.create_array(
        "spatial_ref", data=np.array(0, np.int32), dimension_names=(), attributes=dict(crs.attrs)
    )
