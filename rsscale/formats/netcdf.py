"""Write layers to netCDF with what is installed, also where that is netCDF-3 alone."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from rsscale.decorators.first_argument import MAP, first_is
from rsscale.errors import RecipeError, StorageError

_ENGINES = {"netCDF4": "netcdf4", "h5netcdf": "h5netcdf"}
# netCDF-3 has no unsigned types: the next type that holds every value.
_WIDER = {"uint8": "int16", "uint16": "int32"}
_WHOLE = np.iinfo("int32")


@first_is(xr.Dataset, xr.DataArray, expected=MAP)
def to_netcdf(ds: xr.Dataset | xr.DataArray, path: str | Path) -> Path:
    """Write layers, a composite or a cube to netCDF, with equal values.

    By netCDF4 or h5netcdf where one of them is installed. Else by SciPy as netCDF-3, which has no
    unsigned numbers: uint8 becomes int16, uint16 int32, and all is held in memory while it is
    written. Attributes that netCDF can't hold, such as lists of texts, are written as JSON.

    Parameters
    ----------
    ds : Dataset or DataArray
        Lazy or not; is not changed.
    path : path
        Replaced if it is there.

    Returns
    -------
    Path

    Raises
    ------
    RecipeError
        For whole numbers beyond 32 bits, where only netCDF-3 can be written.
    StorageError
        When the file can't be written.
    """
    path = Path(path)
    engine = next((e for name, e in _ENGINES.items() if importlib.util.find_spec(name)), "scipy")
    ready = _prepared(ds, wider=_WIDER if engine == "scipy" else {})
    temporary = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ready.to_netcdf(temporary, engine=engine)  # type: ignore[call-overload]
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _prepared(ds: xr.Dataset | xr.DataArray, wider: Mapping[str, str]) -> xr.Dataset:
    """A copy, of the same values, with types and attributes that a file can hold."""
    if isinstance(ds, xr.DataArray):
        ds = ds.to_dataset(name=ds.name or "values")
    ready = ds.copy()
    for name, variable in ready.variables.items():
        dtype = str(variable.dtype)
        if wider:
            # How it lay in a Zarr store is no way for a file; dates keep their units.
            ready[name].encoding = {
                key: value
                for key, value in variable.encoding.items()
                if key in ("units", "calendar", "scale_factor", "add_offset", "_FillValue")
            }
        if dtype in wider:
            ready[name] = ready[name].astype(wider[dtype], keep_attrs=True)
        elif wider and variable.dtype.kind in "iu":
            ready[name] = _in_32_bits(str(name), ready[name])
    ready.attrs = _plain(ready.attrs)
    for variable in ready.variables.values():
        variable.attrs = _plain(variable.attrs)
    return ready


def _in_32_bits(name: str, array: xr.DataArray) -> xr.DataArray:
    if array.dtype.itemsize <= 4 and array.dtype.kind == "i":
        return array
    low, high = (int(value) for value in (array.min(), array.max())) if array.size else (0, 0)
    if low < _WHOLE.min or high > _WHOLE.max:
        raise RecipeError(
            f"{name!r} holds whole numbers beyond 32 bits, unlike netCDF-3; pip install netCDF4"
        )
    return array.astype("int32", keep_attrs=True)


def _plain(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as texts, numbers, and lists of numbers."""
    return {str(key): _as_plain(value) for key, value in attributes.items() if value is not None}


def _as_plain(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, str | int | float | np.number):
        return value
    values = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(values, list | tuple) and all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in values
    ):
        return list(values)
    return json.dumps(values, ensure_ascii=False, default=str)
