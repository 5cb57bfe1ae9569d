"""Arrays for a model, checked against its contract: dimensions, bands, nodata and pixels by name.

Whatever xarray names is taken by its name and never by its position; what an array declares to be
nodata is missing to the model, as NaN is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from rsscale.errors import AreaError, ModelError
from rsscale.geo.georeference import geobox_of
from rsscale.geo.grid import Grid, crs_name
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec

_DIMS = ("time", "band", "y", "x")
# As rsscale, rasterio, NetCDF and the older xarray.open_rasterio name it.
_NODATA = ("nodata", "_FillValue", "missing_value", "nodatavals")
_SCALED = (("scale_factor", 1.0), ("add_offset", 0.0))


def model_inputs(
    composite: xr.DataArray | Mapping[str, xr.DataArray], spec: ModelSpec
) -> dict[str, xr.DataArray]:
    """The inputs of a model by name, in its order.

    Parameters
    ----------
    composite : DataArray or mapping of name to DataArray
        ``(time, band, y, x)`` in any order; a dimension of one date or one band may be gone, if its
        name is still there as a coordinate.
    spec : ModelSpec

    Returns
    -------
    dict of name to DataArray
        ``(time, band, y, x)``, NaN where they declare nodata; lazy where they were. Their
        ``observations``, if any, are ``(time, y, x)`` integers.

    Raises
    ------
    ModelError
        When a dimension, a band or a time window is missing or there is one too many; when values
        are no numbers, or declared to stand for others.
    AreaError
        When they have no georeference, lie on different pixels, or rows do not run south.
    """
    if isinstance(composite, xr.DataArray):
        composite = {spec.inputs[0].name: composite}
    missing = [i.name for i in spec.inputs if i.name not in composite]
    if missing:
        raise ModelError(
            f"model {spec.name!r} wants the inputs {[i.name for i in spec.inputs]}, "
            f"found {list(composite)}; {missing[0]!r} is missing"
        )
    inputs = {
        model_input.name: _in_order(model_input.name, composite[model_input.name])
        for model_input in spec.inputs
    }
    _check_pixels(inputs)
    for name, array in inputs.items():
        bands = [str(band) for band in array["band"].values]
        spec.check_input(name, bands, times_of(array, spec.input(name)))
        twice = [band for band in spec.input(name).bands if bands.count(band) > 1]
        if twice:
            raise ModelError(f"input {name!r} has the band {twice[0]!r} more than once: {bands}")
    return {name: _masked(name, array) for name, array in inputs.items()}


def times_of(array: xr.DataArray, wanted: ModelInput) -> tuple[str, ...] | None:
    """Names of an input's time windows; None for a series of observations.

    What is composited has named windows. Of other arrays the model decides: their times are
    observations to a model of series.
    """
    if wanted.series and "window" not in array.coords:
        return None
    return window_names(array)


def window_names(composite: xr.DataArray) -> tuple[str, ...]:
    """Names of a composite's time windows, as a model's contract knows them."""
    if "window" in composite.coords:
        return tuple(str(name) for name in np.atleast_1d(composite["window"].values))
    if "time" in composite.coords:
        return tuple(str(time) for time in np.atleast_1d(composite["time"].values))
    return ("?",) * composite.sizes.get("time", 1)


def geobox_of_input(array: xr.DataArray) -> GeoBox:
    """The GeoBox of an array.

    Raises
    ------
    AreaError
        When it has none, or its rows or columns run the wrong way.
    """
    box = geobox_of(array)
    if not isinstance(box, GeoBox):
        raise AreaError(
            "the composite has no georeference; it needs x, y and spatial_ref coordinates "
            "as rsscale.load gives them"
        )
    for axis, step in (("y", -box.affine.e), ("x", box.affine.a)):
        if step < 0:
            way = "from south to north" if axis == "y" else "from east to west"
            raise AreaError(
                f"the composite's {axis} runs {way}; turn it round with "
                f".isel({axis}=slice(None, None, -1)), and the map likewise if you want it so"
            )
    return box


def _in_order(name: str, array: xr.DataArray) -> xr.DataArray:
    """An input as ``(time, band, y, x)``, by the names of its dimensions."""
    if not isinstance(array, xr.DataArray):
        raise ModelError(
            f"input {name!r} is a {type(array).__name__}; expected an xarray.DataArray (time, "
            "band, y, x), as rsscale.composite gives it; a Dataset of bands has "
            ".to_dataarray('band')"
        )
    array = _with_time(name, _with_space(array))
    if "band" not in array.dims and array.coords.get("band", np.empty(1)).ndim == 0:
        array = array.expand_dims("band")
    others = [str(dim) for dim in array.dims if dim not in _DIMS]
    missing = [dim for dim in _DIMS if dim not in array.dims]
    if missing or others:
        wrong = f"{missing[0]!r} is missing" if missing else f"{others[0]!r} is one too many"
        raise ModelError(
            f"input {name!r} has the dimensions {tuple(map(str, array.dims))}; expected {_DIMS} in "
            f"any order: {wrong}"
        )
    if "band" not in array.coords:
        raise ModelError(
            f"input {name!r} does not name its bands; name them in their order with "
            ".assign_coords(band=[...])"
        )
    return _with_counts(name, array.transpose(*_DIMS))


def _with_space(array: xr.DataArray) -> xr.DataArray:
    """Rows and columns called y and x, whatever coordinates they have."""
    if {"y", "x"} <= set(array.dims):
        return array
    space = array.odc.spatial_dims
    if not space or not set(space) <= set(array.dims):
        return array
    renamed = {old: new for old, new in zip(space, ("y", "x"), strict=True) if old != new}
    return array.rename(renamed)


def _with_time(name: str, array: xr.DataArray) -> xr.DataArray:
    """With a dimension of time, where it has a date or the name of its window."""
    if "time" in array.dims:
        return array
    if "window" in array.dims:  # by names of windows in place of dates
        names = array["window"].values
        array = array.drop_vars([v for v in ("time", "window") if v in array.coords])
        return array.rename(window="time").assign_coords(window=("time", names))
    if not {"time", "window"} & set(array.coords):
        raise ModelError(
            f"input {name!r} has no dimension 'time', and nothing says of which time window it is; "
            "say so with .assign_coords(window='...'), by the name that the model knows"
        )
    return array.expand_dims("time")


def _with_counts(name: str, array: xr.DataArray) -> xr.DataArray:
    """With its counts of observations, if any, as integers ``(time, y, x)``."""
    if "observations" not in array.coords:
        return array
    counts = array["observations"].reset_coords(drop=True)
    if "time" not in counts.dims and array.sizes["time"] == 1:
        counts = counts.expand_dims("time")
    if set(counts.dims) != {"time", "y", "x"}:
        raise ModelError(
            f"the observations of input {name!r} have the dimensions {tuple(counts.dims)}; "
            "expected ('time', 'y', 'x')"
        )
    counts = counts.transpose("time", "y", "x")
    if counts.dtype.kind == "f":  # as some files give integers back
        counts = counts.fillna(0).astype("int32")
    if counts.dims == array["observations"].dims and counts.dtype == array["observations"].dtype:
        return array
    return array.assign_coords(observations=(counts.dims, counts.data))


def _check_pixels(inputs: Mapping[str, xr.DataArray]) -> None:
    """All on the pixels of the first; corners that differ by rounding are the same."""
    boxes = {name: geobox_of_input(array) for name, array in inputs.items()}
    first = next(iter(boxes.values()))
    grid = Grid(str(first.crs), first.affine.a, origin=(first.affine.c, first.affine.f))
    expected = grid.box_of(first)
    for name, box in boxes.items():
        try:
            same = grid.box_of(box) == expected
        except AreaError:
            same = False
        if not same:
            raise AreaError(
                f"input {name!r} lies on {_described(box)}, the first input on "
                f"{_described(first)}; load both on one grid"
            )


def _described(box: GeoBox) -> str:
    height, width = box.shape
    corner = f"({box.affine.c:.12g}, {box.affine.f:.12g})"
    return f"{height} x {width} px of {box.affine.a:g} from {corner} in {crs_name(box.crs)}"


def _masked(name: str, array: xr.DataArray) -> xr.DataArray:
    """NaN where an input declares nodata."""
    if array.dtype.kind not in "fiub":
        raise ModelError(f"input {name!r} holds {array.dtype}; expected numbers, such as float32")
    for attribute, neutral in _SCALED:
        value = array.attrs.get(attribute, neutral)
        if value != neutral:
            raise ModelError(
                f"input {name!r} declares {attribute}={value}, so its values stand for others; "
                "decode it first (mask_and_scale=True, or xarray.decode_cf), or drop the attribute "
                "if the model was trained on the values as they are"
            )
    values = [v for v in map(array.dtype.type, _declared(name, array)) if v == v]  # noqa: PLR0124 -- not NaN
    if not values:
        return array
    if array.dtype.kind == "b":
        array = array.astype("uint8")
    return array.where(~array.isin(np.array(values)))


def _declared(name: str, array: xr.DataArray) -> list[float]:
    """Nodata values that an array declares and that its type can hold."""
    is_scaled = any(key in array.encoding for key, _ in _SCALED)  # then of the stored values
    declared: list[float] = []
    for source in (array.attrs, {} if is_scaled else array.encoding):
        for key in _NODATA:
            value = source.get(key)
            if value is None:
                continue
            try:
                listed = {float(number) for number in np.ravel(value) if not _is_none(number)}
            except (TypeError, ValueError):
                raise ModelError(
                    f"input {name!r} declares {key}={value!r}, which is no number; drop it or say "
                    "which value is nodata"
                ) from None
            if len(listed) > 1:
                raise ModelError(
                    f"input {name!r} declares {key}={value!r}, another for each band; set these "
                    "pixels to NaN first"
                )
            declared += listed
    return [value for value in dict.fromkeys(declared) if _can_hold(array.dtype, value)]


def _is_none(value: Any) -> bool:
    return value is None or value == "None"


def _can_hold(dtype: np.dtype[Any], value: float) -> bool:
    """Whether a value of this type can be equal to a nodata value."""
    if dtype.kind == "f":
        return True
    if not math.isfinite(value) or value != int(value):
        return False
    if dtype.kind == "b":
        return value in (0, 1)
    limits = np.iinfo(dtype)
    return bool(limits.min <= value <= limits.max)
