"""Made-up objects for scores: boxes or polygons of several classes and images, some found."""

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

CRS = "EPSG:32631"


def boxes(corners, crs=CRS, **columns):
    """Boxes ``x0, y0, x1, y1`` as a table."""
    corners = np.asarray(corners, float).reshape(-1, 4)
    return gpd.GeoDataFrame(columns, geometry=list(shapely.box(*corners.T)), crs=crs)


def scene(seed, *, truth=60, images=4, classes=3, width=300.0, sizes=(8, 120), crowded=False):
    """True and predicted boxes with the errors that detectors make.

    Boxes that are moved and stretched, some missed, some doubled, some of another class, some out
    of nothing; scores with ties.
    """
    random = np.random.default_rng(seed)
    side = random.uniform(*sizes, (truth, 2)).round(0)
    low = random.uniform(0, width, (truth, 2)).round(0)
    if crowded:
        low = (low / 8).round(0)
    true = pd.DataFrame(
        {
            "image": random.integers(images, size=truth),
            "class": random.integers(classes, size=truth) + 1,
        }
    )
    found = random.choice(truth, int(1.3 * truth))
    moved = low[found] + random.normal(0, 0.08, (len(found), 2)) * side[found]
    stretched = side[found] * random.uniform(0.75, 1.3, (len(found), 2))
    predicted = true.iloc[found].reset_index(drop=True)
    other = random.random(len(found)) < 0.1
    predicted.loc[other, "class"] = random.integers(classes, size=int(other.sum())) + 1
    predicted["score"] = random.random(len(found)).round(2)
    shapes = shapely.box(*np.hstack([low, low + side]).T)
    guesses = shapely.box(*np.hstack([moved, moved + stretched]).T)
    return (
        gpd.GeoDataFrame(predicted, geometry=guesses),
        gpd.GeoDataFrame(true, geometry=shapes),
    )
