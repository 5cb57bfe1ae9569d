"""Read an array's GeoBox without caching an accessor on it.

The accessor would keep the array's pixels in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401 -- gives arrays their .odc
import xarray as xr


def geobox_of(array: xr.DataArray) -> Any:
    """The :class:`~odc.geo.geobox.GeoBox` that an array's coordinates describe, or None.

    xarray keeps an accessor with its array, and the accessor holds the array: such a cycle, and
    all its pixels, stay until Python next collects cycles. A worker held several tiles'
    composites that way. So the accessor is taken of a copy without pixels.
    """
    plain = array.drop_vars([name for name, c in array.coords.items() if c.ndim > 1])
    return plain.copy(data=np.broadcast_to(np.uint8(0), array.shape)).odc.geobox
