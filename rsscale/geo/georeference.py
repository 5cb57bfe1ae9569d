"""Read an array's GeoBox without caching an accessor on it.

The accessor would keep the array's pixels in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401 -- gives arrays their .odc
import xarray as xr

from rsscale.errors import AreaError

# Pixels by which coordinates may be off a straight line: files round them, to 32 bits too. One
# that is missing moves others by half a pixel at least.
_OFF_LINE = 0.25


def geobox_of(array: xr.DataArray) -> Any:
    """The :class:`~odc.geo.geobox.GeoBox` that an array's coordinates describe, or None.

    xarray keeps an accessor with its array, and the accessor holds the array: such a cycle, and
    all its pixels, stay until Python next collects cycles. A worker held several tiles'
    composites that way. So the accessor is taken of a copy without pixels.

    Raises
    ------
    AreaError
        When its pixels are not evenly spaced.
    """
    plain = array.drop_vars([name for name, c in array.coords.items() if c.ndim > 1])
    accessor = plain.copy(data=np.broadcast_to(np.uint8(0), array.shape)).odc
    box = accessor.geobox
    for dim in accessor.spatial_dims or () if box is not None else ():
        _check_spacing(str(dim), plain[dim].values)
    return box


def _check_spacing(dim: str, places: np.ndarray[Any, np.dtype[Any]]) -> None:
    """Refuse coordinates that leave some out: a GeoBox is made of the first and last alone."""
    if places.dtype.kind not in "iuf" or len(places) < 3:
        return
    line = np.linspace(places[0], places[-1], len(places), dtype=np.float64)
    if np.abs(places - line).max() > _OFF_LINE * abs(line[1] - line[0]):
        apart = np.abs(np.diff(places.astype(np.float64)))
        raise AreaError(
            f"coordinates {dim} are not evenly spaced: {apart.min():g} to {apart.max():g} apart; "
            f"choose a box of pixels, as in .isel({dim}=slice(0, 100)), or put those that are "
            "missing back (reindex)"
        )
