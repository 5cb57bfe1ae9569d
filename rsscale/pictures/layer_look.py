"""Draw any layer of a product as a PNG: classes as they are, numbers in a few steps of colour."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.errors import ModelError, nearest
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass, class_attributes
from rsscale.legend.flags import as_list, class_names
from rsscale.legend.palette import palette
from rsscale.legend.values import declared_nodata
from rsscale.pictures.quicklook import quicklook

# Of matplotlib's viridis, dark to bright: told apart with any colour vision, and without colours.
_STEPS = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")
_SAMPLE = 1 << 20  # pixels that the limits of the steps are found by
_ENDS = (2.0, 98.0)  # percentiles


def quicklook_layer(
    ds: xr.Dataset, path: str | Path, layer: str = "", *, max_px: int = 1600
) -> Path:
    """Draw one layer of a product, a panel for each time, with a legend.

    Parameters
    ----------
    ds : Dataset
        ``(time, y, x)`` or ``(y, x)``, lazy or not.
    path : path
        The PNG.
    layer : str
        Its name; when empty the classes, or else the first one that has two dimensions in space
        alone. One with CF flag attributes is drawn by its classes; another in eight equal steps
        between its 2nd and 98th percentile, whose shares the legend has.
    max_px : int
        As of :func:`rsscale.quicklook`.

    Raises
    ------
    ModelError
        When there is no such layer, it has a further axis, or no value.
    """
    flat = [str(name) for name, each in ds.data_vars.items() if set(each.dims) <= _DIMS]
    layer = layer or ("classification" if "classification" in flat else next(iter(flat), ""))
    if layer not in flat:
        with_axis = "; it has a further axis" if layer in ds.data_vars else nearest(layer, flat)
        raise ModelError(
            f"there is no map {layer!r} to draw; there are {', '.join(flat)}{with_axis}"
        )
    array = ds[layer]
    shown = _as_flags(array) if "flag_values" in array.attrs else _as_steps(array)
    title = str(array.attrs.get("long_name", layer))
    return quicklook(
        shown.to_dataset(name="classification"), path, title=title, max_px=max_px, by_area=False,
        credit=str(ds.attrs.get("attribution", "")) or None,
    )  # fmt: skip


_DIMS = {"time", "y", "x"}


def _as_flags(array: xr.DataArray) -> xr.DataArray:
    """A layer of flags, of any type, as classes of a map: those that have no colour get one."""
    values = as_list(array.attrs["flag_values"])
    # Flag meanings can't hold a blank.
    names = [name.replace("_", " ") for name in class_names(array.attrs)]
    given = str(array.attrs.get("flag_colors", "")).split()
    colors = given if len(given) == len(values) else palette(len(values))
    codes = np.array(values)
    order = np.argsort(codes)

    def numbered(part: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        place = np.searchsorted(codes[order], part).clip(max=len(codes) - 1)
        number = order[place]
        return np.where(codes[number] == part, number, NODATA).astype(np.uint8)

    classes = [LandClass(k, n, c) for k, (n, c) in enumerate(zip(names, colors, strict=True))]
    return _mapped(array, numbered, classes)


def _as_steps(array: xr.DataArray) -> xr.DataArray:
    """A layer of numbers as classes: equal steps between two percentiles."""
    nodata = declared_nodata(array)
    every = max(int(np.sqrt(array.sizes["y"] * array.sizes["x"] / _SAMPLE)), 1)
    sample = array.isel(y=slice(None, None, every), x=slice(None, None, every)).values
    known = sample[_known(sample, nodata)]
    if not known.size:
        raise ModelError(f"layer {array.name!r} has no value to draw")
    low, high = (float(v) for v in np.percentile(known, _ENDS))
    edges = np.linspace(low, high, len(_STEPS) + 1)[1:-1] if high > low else np.array([])
    bounds = [_text(v) for v in (low, *edges, high)]
    unit = array.attrs.get("units", "")
    after = f" {unit}" if unit else ""
    names = [f"{a} to {b}{after}" for a, b in pairwise(bounds)]
    if len(names) > 1:
        names[0], names[-1] = f"below {bounds[1]}{after}", f"{bounds[-2]}{after} and more"

    def numbered(part: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        return np.where(_known(part, nodata), np.digitize(part, edges), NODATA).astype(np.uint8)

    classes = [LandClass(k, n, c) for k, (n, c) in enumerate(zip(names, _STEPS, strict=False))]
    return _mapped(array, numbered, classes)


def _mapped(array: xr.DataArray, function: Any, classes: list[LandClass]) -> xr.DataArray:
    numbered: xr.DataArray = xr.apply_ufunc(
        function, array, dask="parallelized", output_dtypes=[np.uint8]
    )
    made = array.copy(data=numbered.data)  # with the coordinates' attributes, the CRS among them
    made.encoding = {}
    made.attrs = {**class_attributes(classes), "nodata": NODATA}
    mapping = array.attrs.get("grid_mapping", array.encoding.get("grid_mapping"))
    if mapping is not None:
        made.attrs["grid_mapping"] = mapping
    return made


def _known(values: npt.NDArray[Any], nodata: tuple[float, ...]) -> npt.NDArray[np.bool_]:
    known: npt.NDArray[np.bool_] = np.isfinite(values)
    for value in nodata:
        known &= values != value
    return known


def _text(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
