"""Polygons of a class map in memory: what the step ``polygons`` makes of a country."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from rsscale.decorators.first_argument import first_is
from rsscale.errors import AreaError
from rsscale.geo.georeference import geobox_of
from rsscale.geo.grid import Grid
from rsscale.legend.flags import flag_classes
from rsscale.legend.values import class_values, declared_nodata
from rsscale.objects.columns import object_rows
from rsscale.patches.pieces import Connectivity
from rsscale.polygons.finish import centres_of, finished, in_crs, polygon_ids
from rsscale.polygons.image import box_around, class_image, image_parts
from rsscale.polygons.named_rules import Holes, named_rules
from rsscale.polygons.rules import CELL

if TYPE_CHECKING:
    import geopandas as gpd

_NODATA = 255
# A corner that lies this close to one of the CRS's lattice of pixels, in pixels, lies on it.
_ON_LATTICE = 1e-6


@first_is(xr.DataArray, expected="classes (y, x) as a DataArray, such as maps.classification")
def polygonize(
    classification: xr.DataArray,
    *,
    classes: Sequence[str | int] | None = None,
    connectivity: Connectivity = 4,
    simplify: float = 0.0,
    minimum: float = 0.0,
    holes: Holes = "keep",
    instances: Mapping[str, Any] | None = None,
    cell: int = CELL,
) -> gpd.GeoDataFrame:
    """Make polygons of a class map in memory, as the step ``polygons`` does for a whole run.

    Parameters
    ----------
    classification : DataArray
        ``(y, x)``, whole numbers from 0 to 254, on square pixels, with a CRS. 255, NaN and what
        it declares as nodata is no value. Names of classes are those of its ``flag_meanings`` or
        ``class_names``. Lazy ones are read.
    classes : sequence of str or int, optional
        Names or values of those that become polygons; all when left out.
    connectivity : 4 or 8
        Whether pixels that touch at a corner alone are one object: a MultiPolygon then.
    simplify : float
        Metres on the ground; 0 keeps the edges of pixels. Neighbours go on sharing their borders.
    minimum : float
        Hectares of pixels, below which an object is dropped.
    holes : "keep", "fill" or {"below": hectares}
    instances : mapping, optional
        ``{"interior": name, "boundary": name, "grow": pixels}``: each connected piece of the
        interior is an object, grown by so many pixels into the boundary.
    cell : int
        Width of the fixed cells that are traced one by one, px.

    Returns
    -------
    GeoDataFrame
        In the CRS of the map, in order of first pixels: ``id``, ``class``, ``name``, ``x``, ``y``
        (centroid), ``area_m2`` (of the pixels, on the ellipsoid), ``parts`` (pieces of cells),
        ``cut`` (beside pixels without a value: it may be larger), ``geometry``.

    Raises
    ------
    AreaError
        For an array without a CRS or a regular grid of square pixels.
    RecipeError
        For classes that it has not, or options that can't be.
    ModelError
        For values that are no classes.
    RsscaleError
        For more pieces than memory is meant to hold.
    """
    import geopandas as gpd

    grid, box = _placed(classification)
    names = {land_class.value: land_class.name for land_class in flag_classes(classification.attrs)}
    rules = named_rules(
        names, layer=str(classification.name or "classification"), classes=classes,
        connectivity=connectivity, simplify=simplify, minimum=minimum, holes=holes,
        instances=instances, cell=cell,
    )  # fmt: skip
    around = box_around(box, rules)
    values = np.full(around.shape, _NODATA, np.uint8)
    values[box.slices(around)] = class_values(
        classification.values, declared_nodata(classification)
    )
    image = class_image(values, values != _NODATA, grid, around)
    parts = image_parts(image, box, rules)
    frame, area = finished(parts, rules, grid, image.square_metres)
    geometry = in_crs(frame.geometry, grid)
    table = object_rows(
        geometry, crs=grid.crs, ids=polygon_ids(frame.place), classes=frame.value, names=names,
        area_m2=area, span="", run="", step="", centres=centres_of(geometry),
        parts=frame.pieces, cut=frame.cut,
    )  # fmt: skip
    kept = ["id", "class", "name", "x", "y", "area_m2", "parts", "cut"]
    return gpd.GeoDataFrame(table.select(kept).to_pandas(), geometry=geometry, crs=grid.crs)


def _placed(classification: xr.DataArray) -> tuple[Grid, Any]:
    """The grid of an array, and its box: the lattice of the CRS's origin where it lies on it."""
    if classification.dims != ("y", "x"):
        raise AreaError(
            f"the map has the dimensions {classification.dims}; expected ('y', 'x'): choose one "
            "time"
        )
    geobox = geobox_of(classification)
    if geobox is None or geobox.crs is None:
        raise AreaError(
            "the map has no CRS, or coordinates that are no regular grid; use a product's layer, "
            "or write its CRS with .odc.assign_crs"
        )
    resolution = float(f"{geobox.affine.a:.12g}")
    offsets = [value / resolution for value in (geobox.affine.c, geobox.affine.f)]
    off = [value - round(value) for value in offsets]
    x0, y0 = (0.0 if abs(o) < _ON_LATTICE else o * resolution for o in off)
    grid = Grid(str(geobox.crs), resolution, origin=(x0, y0))
    return grid, grid.box_of(geobox)
