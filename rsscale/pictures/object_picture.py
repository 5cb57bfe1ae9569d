"""A picture of objects over the imagery that they were found in, for a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import odc.geo.xr  # noqa: F401 -- gives arrays their .odc
import xarray as xr

from rsscale.errors import AreaError, BandError, nearest
from rsscale.legend.palette import palette
from rsscale.pictures.charts import new_figure, require_matplotlib, style
from rsscale.pictures.quicklook import rgb
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.figure import Figure

_WIDTH = 900  # pixels


def plot_objects(
    objects: gpd.GeoDataFrame,
    image: xr.DataArray,
    *,
    bands: tuple[str, str, str] = ("red", "green", "blue"),
    by: str = "name",
    colors: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the outlines of objects over an image, in a colour for each class.

    Parameters
    ----------
    objects : geopandas.GeoDataFrame
        As :meth:`rsscale.Run.objects` or :func:`rsscale.detect` give it; with a CRS. Those that do
        not touch the image are not drawn.
    image : DataArray
        ``(band, y, x)``, or with one ``time``, with coordinates and a CRS; read into memory.
    bands : (str, str, str)
        For red, green and blue.
    by : str
        The column that colours are for.
    colors : mapping of str to str, optional
        By value of the column; others get colours that are told apart with any colour vision.

    Returns
    -------
    matplotlib.figure.Figure
        With the image in the coordinates of its CRS. A notebook shows it; ``.savefig`` writes it.

    Raises
    ------
    AreaError
        When the objects or the image have no CRS.
    BandError
        When a band is missing.
    MissingExtraError
        When matplotlib is not installed: the extra ``rsscale[pictures]``.
    """
    require_matplotlib()
    geobox = image.odc.geobox
    if geobox is None or geobox.crs is None or objects.crs is None:
        which = "the objects have" if objects.crs is None else "the image has"
        raise AreaError(f"{which} no CRS; set it with .set_crs, or .odc.assign_crs of an image")
    if by not in objects:
        known = [str(name) for name in objects.columns]
        raise BandError(f"the objects have no column {by!r}; there are {known}{nearest(by, known)}")
    west, south, east, north = geobox.extent.boundingbox.bbox
    there = objects.to_crs(str(geobox.crs))
    seen = there.cx[west:east, south:north]
    values = sorted(map(str, seen[by].unique()))
    colour = dict(zip(values, palette(len(values)), strict=True)) | dict(colors or {})
    with style():
        rows, cols = geobox.shape
        figure = new_figure(_WIDTH, max(round(_WIDTH * rows / cols), 200))
        axes = figure.subplots()
        picture = rgb(image, bands)
        axes.imshow(picture, extent=(west, east, south, north), interpolation="nearest")
        for value in values:
            some = seen[seen[by].astype(str) == value]
            lines = some.geometry.boundary
            lines.plot(ax=axes, color="white", linewidth=2.6, aspect=None)
            label = f"{value} ({len(some):,})"
            lines.plot(ax=axes, color=colour[value], linewidth=1.4, aspect=None, label=label)
        axes.set(xlim=(west, east), ylim=(south, north))
        axes.ticklabel_format(useOffset=False, style="plain")
        axes.set_title(counted(len(seen), "object") if len(seen) else "no objects here")
        if values:
            axes.legend(loc="upper right", framealpha=0.9)
    return figure
