"""Regions that get figures of their own: which units lie in each, and that they are apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.reference.zones import Zones, read_zones
from rsscale.survey_estimators.units import Floats

# Share of the smaller of two polygons; below it they overlap by how exactly they were drawn.
_SLIVER = 0.01


def read_regions(
    regions: str | Path | None, column: str | None, layer: str | None, grid: Grid, extent: PixelBox
) -> Zones | None:
    """Read regions, which may not overlap; None where there are none.

    Parameters
    ----------
    regions : path, optional
    column : str, optional
        Of their names.
    layer : str, optional
        Of the file.
    grid : Grid
    extent : PixelBox
        Of the map.

    Raises
    ------
    RecipeError
        When the file is not there, no column is named, a polygon is not valid, they overlap, or
        none is near the map; or when a column or layer is of no file.
    """
    if regions is None and (column is not None or layer is not None):
        option = "--region-id" if column is not None else "--regions-layer"
        raise RecipeError(
            f"{option} is of the regions' file, and none is given; add --regions FILE"
        )
    if regions is None:
        return None
    if column is None:
        raise RecipeError("say with --region-id which column of the regions holds their names")
    path = Path(regions)
    if not path.exists():
        raise RecipeError(f"there are no regions at {path}")
    zones = read_zones(path, column, grid, layer)
    if not zones.near(extent):
        raise RecipeError(zones.far_away)
    check_apart(zones, path.name)
    return zones


def zones_of(place: Floats, zones: Zones) -> Mapping[str, npt.NDArray[np.bool_]]:
    """Which units lie in each region, by their points ``(n, 2)`` in the grid's CRS."""
    points = shapely.points(place)
    return {
        name: np.asarray(shapely.intersects(shape, points), bool)
        for name, shape in zip(zones.ids, zones.shapes, strict=True)
    }


def check_apart(zones: Zones, name: str) -> None:
    """Refuse regions that overlap: their figures would not add up to those of the whole.

    Raises
    ------
    RecipeError
        With the first two.
    """
    tree = shapely.STRtree(zones.shapes)
    first, second = tree.query(zones.shapes, predicate="intersects")
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        if a >= b:
            continue
        shared = shapely.area(shapely.intersection(zones.shapes[a], zones.shapes[b]))
        smaller = min(shapely.area(zones.shapes[a]), shapely.area(zones.shapes[b]))
        if shared > _SLIVER * smaller:
            raise RecipeError(
                f"regions {zones.ids[a]!r} and {zones.ids[b]!r} of {name} overlap, by "
                f"{shared / smaller:.0%} of the smaller: their areas would not add up; give "
                "regions of one level at a time, or cut them"
            )
