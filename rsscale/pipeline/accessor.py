"""Accessor ``.rs`` of xarray: pictures, classes, areas and files of layers.

Importing rsscale registers it for ``Dataset`` and ``DataArray``. Each of its methods is a call of
a function that is there without it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from rsscale.errors import ModelError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from rsscale.legend.legend import Legend
    from rsscale.reporting.pixels import Product

_MAP = "classification"
_SQUARE = 1e-6  # how far the width and height of a pixel may differ


@dataclass(frozen=True)
class Picture:
    """A PNG that a notebook shows.

    Attributes
    ----------
    png : bytes
        The file's content.
    """

    png: bytes = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Write the PNG."""
        Path(path).write_bytes(self.png)
        return Path(path)

    def _repr_png_(self) -> bytes:
        return self.png


class Accessor:
    """Methods of rsscale on a Dataset, or on a DataArray as the only layer of one."""

    def __init__(self, data: xr.Dataset | xr.DataArray) -> None:
        self._data = data
        if isinstance(data, xr.DataArray):
            self._ds = data.to_dataset(name=data.name if data.name is not None else "layer")
        else:
            self._ds = data

    def plot(self, layer: str = "", *, title: str | None = None, max_px: int = 1600) -> Picture:
        """Draw a layer with its legend, a scale bar and a north arrow; nodata stays white.

        Parameters
        ----------
        layer : str
            The map (``classification``) when empty, or else the first layer. Classes have the
            colours of their legend, numbers eight steps between their 2nd and 98th percentile.
        title : str, optional
            Above the map; of a layer that is not the map its ``long_name``.
        max_px : int
            Of the picture; of a larger map the nearest pixels are drawn. See
            :func:`rsscale.quicklook`.

        Returns
        -------
        Picture
            Shown by a notebook; ``save(path)`` writes it.

        Raises
        ------
        ModelError
            When there is no such layer, it has a further axis, or no value.
        MissingExtraError
            When matplotlib is not installed: the extra ``rsscale[pictures]``.
        """
        from rsscale.pictures.layer_look import quicklook_layer
        from rsscale.pictures.quicklook import quicklook

        layer = layer or (_MAP if _MAP in self._ds else "")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "layer.png"
            if layer == _MAP and _MAP in self._ds:
                quicklook(self._ds, path, title=title, max_px=max_px)
            else:
                quicklook_layer(self._ds, path, layer, max_px=max_px)
            return Picture(path.read_bytes())

    @property
    def classes(self) -> Legend:
        """The classes of the map, or of the first layer that has some.

        Raises
        ------
        ModelError
            When no layer has CF flag attributes with colours.
        """
        from rsscale.legend.classes import classes_from_attributes
        from rsscale.legend.legend import Legend

        return Legend(classes_from_attributes(self._ds[self._class_layer("")].attrs))

    def area(self, layer: str = "") -> pd.DataFrame:
        """Pixels and hectares of each class by counting pixels; read in blocks.

        Hectares are true ones, on the ellipsoid. They are what the map shows, which its errors
        bias: :func:`rsscale.assess_sample` estimates areas.

        Parameters
        ----------
        layer : str
            A layer of classes; the map when empty.

        Returns
        -------
        DataFrame
            ``time`` (where the layer has one), ``value``, ``name``, ``pixels``, ``hectares``,
            ``share`` of what has a class.

        Raises
        ------
        ModelError
            When there is no such layer, it has no classes, or values that are none of them.
        AreaError
            When it has no CRS, or its pixels are no squares.
        """
        import pandas as pd

        from rsscale.legend.classes import classes_from_attributes
        from rsscale.legend.values import check_known
        from rsscale.reporting.pixels import count_classes

        name = self._class_layer(layer)
        array = _north_up(self._ds[name])
        classes = classes_from_attributes(array.attrs)
        product = _product(array)
        times = array["time"].to_numpy() if "time" in array.dims else [None]
        rows: list[dict[str, Any]] = []
        for number, time in enumerate(times):
            each = array if time is None else array.isel(time=number)
            pixels, hectares = count_classes(product, each)
            counts = {value: int(count) for value, count in enumerate(pixels) if count}
            check_known(counts, classes, holder=f"the layer {name!r}")
            whole = sum(float(hectares[entry.value]) for entry in classes) or math.nan
            head = {} if time is None else {"time": time}
            rows += [
                {
                    **head, "value": entry.value, "name": entry.name,
                    "pixels": int(pixels[entry.value]), "hectares": float(hectares[entry.value]),
                    "share": float(hectares[entry.value]) / whole,
                }
                for entry in classes
            ]  # fmt: skip
        return pd.DataFrame(rows)

    def to_cog(
        self, to: str | Path, *, layers: Sequence[str] = (), periods: Sequence[int | str] = ()
    ) -> list[Path]:
        """Write layers as Cloud Optimized GeoTIFFs, with colours, names and right overviews.

        As :func:`rsscale.export`, whose arguments they are.
        """
        from rsscale.pipeline.exporting import export

        return export(self._ds, to, layers=layers, periods=periods)

    def to_netcdf(self, path: str | Path) -> Path:
        """Write all layers to netCDF, with what is installed, equal in value.

        Also what xarray's own ``to_netcdf`` can't: a Zarr as ``xr.open_zarr`` opens it, whose
        attributes hold what is JSON only, and unsigned numbers where neither netCDF4 nor h5netcdf
        is installed. As :func:`rsscale.to_netcdf`.
        """
        from rsscale.formats.netcdf import to_netcdf

        return to_netcdf(self._data, path)

    def masked(self) -> xr.Dataset | xr.DataArray:
        """The same layers as floats, NaN where they have no value; lazy as they are.

        xarray's own ``.plot()`` then leaves white what it draws as the value 255 otherwise.
        """
        ds = self._ds.map(_masked, keep_attrs=True)
        return ds if isinstance(self._data, xr.Dataset) else ds[next(iter(ds.data_vars))]

    def _class_layer(self, layer: str) -> str:
        """The name of a layer of classes; the map, or the first that there is, when empty."""
        known = [str(k) for k, array in self._ds.data_vars.items() if "flag_values" in array.attrs]
        if layer and layer not in known:
            raise ModelError(
                f"there is no layer of classes {layer!r}; there are {', '.join(known) or 'none'}"
                f"{nearest(layer, known)}"
            )
        if not known:
            raise ModelError(
                f"no layer has classes (CF flag attributes); there are {list(self._ds.data_vars)}"
            )
        return layer or (_MAP if _MAP in known else known[0])


def _masked(array: xr.DataArray) -> xr.DataArray:
    from rsscale.legend.values import declared_nodata

    nodata = [value for value in declared_nodata(array) if not math.isnan(value)]
    known = array
    for value in nodata:
        known = known.where(array != value)
    known.attrs = {k: v for k, v in array.attrs.items() if k not in ("nodata", "_FillValue")}
    known.name = array.name
    return known


def _north_up(array: xr.DataArray) -> xr.DataArray:
    array = array.transpose(..., "y", "x")
    y = array["y"].to_numpy()
    if "y" in array.coords and y[0] < y[-1]:
        array = array.isel(y=slice(None, None, -1))
    return array


def _product(array: xr.DataArray) -> Product:
    """The pixels of a layer on the ground, its upper left corner as the origin of their grid."""
    import odc.geo.xr  # noqa: F401 -- gives arrays their .odc

    from rsscale.errors import AreaError
    from rsscale.geo.grid import Grid
    from rsscale.geo.lattice import PixelBox
    from rsscale.reporting.pixels import Product

    geobox = array.odc.geobox
    if geobox is None or geobox.crs is None:
        raise AreaError(
            f"layer {array.name!r} has no CRS, or no even coordinates; see ds.odc.assign_crs"
        )
    width, height = abs(geobox.resolution.x), abs(geobox.resolution.y)
    if not np.isclose(width, height, rtol=_SQUARE):
        raise AreaError(
            f"pixels of layer {array.name!r} are {width:g} wide and {height:g} high; expected "
            "squares: reproject it to a grid of them"
        )
    transform = geobox.transform
    grid = Grid(str(geobox.crs), float(width), origin=(transform.c, transform.f))
    rows, cols = array.sizes["y"], array.sizes["x"]
    return Product(array.to_dataset(), grid, PixelBox(0, 0, rows, cols), 0)


# xarray has no types for them.
_register: tuple[Any, Any] = (xr.register_dataset_accessor, xr.register_dataarray_accessor)
for _by_name in _register:
    _by_name("rs")(Accessor)
