"""Order of places along a Hilbert curve: what lies near in it lies near on the ground."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Bits of an axis: cells of the curve are that many times halved.
_BITS = 16


def hilbert_order(places: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Positions of places in their order along a Hilbert curve; equal ones stay in theirs.

    Parameters
    ----------
    places : float64 array (n, 2)
        ``x, y``.
    """
    return np.argsort(hilbert_distance(places), kind="stable")


def hilbert_distance(places: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """How far along a Hilbert curve over all places each of them lies (geopandas' curve)."""
    import geopandas as gpd

    if len(places) == 0:
        return np.empty(0, np.int64)
    points = gpd.GeoSeries(gpd.points_from_xy(places[:, 0], places[:, 1]))
    (west, south), (east, north) = places.min(axis=0), places.max(axis=0)
    side = max(east - west, north - south, 1e-9)  # a square, so that both axes count alike
    bounds = (west, south, west + side, south + side)
    return np.asarray(points.hilbert_distance(total_bounds=bounds, level=_BITS), np.int64)
