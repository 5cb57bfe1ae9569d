"""Truth of the sites: their boxes in each year, and those that an annotator has drawn."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import shapely

from rsscale.simulation.sites import SITE_CLASSES
from rsscale.simulation.tiles import ANCHOR, WORLD_CRS
from rsscale.simulation.truth import write_vectors
from rsscale.simulation.world import World


def site_boxes(world: World, area: shapely.Polygon) -> geopandas.GeoDataFrame:
    """Boxes of the sites whose middle lies in an area, of each year.

    Parameters
    ----------
    world : World
    area : shapely.Polygon
        In the world's CRS.

    Returns
    -------
    GeoDataFrame
        In the world's CRS, in whole pixels: ``kind`` (a class name), ``year``, ``site`` (the same
        in all years).
    """
    anchor_x, anchor_y = ANCHOR[WORLD_CRS]
    west, south, east, north = area.bounds
    bounds = (west - anchor_x, south - anchor_y, east - anchor_x, north - anchor_y)
    names = {c.value: c.name for c in SITE_CLASSES}
    columns: dict[str, list[object]] = {"kind": [], "year": [], "site": [], "geometry": []}
    for year in world.years:
        sites = world.sites(bounds, year)
        boxes = shapely.box(
            sites.west + anchor_x, sites.south + anchor_y,
            sites.east + anchor_x, sites.north + anchor_y,
        )  # fmt: skip
        inside = np.flatnonzero(shapely.contains(area, shapely.centroid(boxes)))
        columns["kind"] += [names[int(sites.kind[n])] for n in inside]
        columns["year"] += [year] * len(inside)
        columns["site"] += ["{}/{}".format(*sites.node[n]) for n in inside]
        columns["geometry"] += list(boxes[inside])
    return geopandas.GeoDataFrame(columns, crs=WORLD_CRS)


def write_sites(
    truth: Path, labels: Path, world: World, area: shapely.Polygon, training: shapely.Polygon
) -> None:
    """Write the boxes of all sites of the area, and those of the part with labels.

    Both are GeoPackages with the columns of :func:`site_boxes`. An annotator has drawn every site
    of the part with labels, and no other.
    """
    for path, layer, where in ((truth, "sites", area), (labels, "labels", training)):
        write_vectors(path, site_boxes(world, where), layer, world.years[0])
