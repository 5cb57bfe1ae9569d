"""An image with rectangles that are turned, of known place and angle."""

import geopandas as gpd
import numpy as np
import shapely
import xarray as xr
from rasterio.features import rasterize


def turned_scene(size: int, seed: int) -> tuple[xr.DataArray, gpd.GeoDataFrame]:
    """Rectangles of 24 to 40 by 9 to 14 px on a jittered grid, brighter than the ground."""
    random = np.random.default_rng(seed)
    shapes = []
    for y in range(28, size - 24, 52):
        for x in range(28, size - 24, 52):
            half = random.uniform(12, 20), random.uniform(4.5, 7)
            upright = shapely.box(-half[0], -half[1], half[0], half[1])
            turned = shapely.affinity.rotate(upright, random.uniform(0, 180), origin=(0, 0))
            dx, dy = random.uniform(-4, 4, 2)
            shapes.append(shapely.affinity.translate(turned, x + dx, y + dy))
    inside = rasterize(shapes, out_shape=(size, size), dtype="uint8")
    image = random.normal(100, 8, (2, size, size)) + 60 * inside
    bands = xr.DataArray(image.astype("float32"), dims=("band", "y", "x"), coords={"band": [1, 2]})
    return bands, gpd.GeoDataFrame({"kind": ["ship"] * len(shapes)}, geometry=shapes)
