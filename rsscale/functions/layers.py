"""The layers of a user's function: as a recipe writes them, or seen on an empty block."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, cast, get_args

import numpy as np
import xarray as xr
from pydantic import Field

from rsscale.errors import FunctionError, RecipeError
from rsscale.functions.call import Function, call
from rsscale.layers import NODATA, Axis, DataType, Layer, Overview
from rsscale.steps.options import Options

EMPTY_CORE = 32
"""Width of the empty block that a function is tried on, without its halo, px."""

_DECLARE = "say layers=[rs.Layer(name, dtype, nodata), ...]"


class AxisOptions(Options):
    """``{name: component, values: [0, 1, 2], chunk: 1}``."""

    name: str
    """Name of the dimension."""
    values: tuple[int, ...]
    """Its coordinate."""
    chunk: int | None = None
    """Values in one chunk; all when left out."""


class LayerOptions(Options):
    """One layer: ``{name: edges, dtype: uint8, nodata: 255, overview: nearest, …}``.

    Further CF attributes than ``long_name`` and ``units`` go into ``attributes``.
    """

    name: str = Field(pattern=r"^[A-Za-z]\w*$")
    """Name of the layer."""
    dtype: str = "uint8"
    """Type of its stored values."""
    nodata: float | None = Field(default=None, allow_inf_nan=True)
    """Value that means nothing is known; that of the type when left out."""
    overview: str = "nearest"
    """How overviews are made: `mode`, `mean`, `nearest` or `none`."""
    axis: AxisOptions | None = None
    """A further dimension, such as a component."""
    scale: float = 1.0
    """Stored values times this, plus `offset`, are what they mean."""
    offset: float = 0.0
    """See `scale`."""
    long_name: str | None = None
    """What it is, for people (CF)."""
    units: str | None = None
    """Of what the values mean (CF)."""
    attributes: dict[str, Any] = Field(default_factory=dict)
    """Further CF attributes."""

    def build(self) -> Layer:
        """The layer.

        Raises
        ------
        RecipeError
            For a type, nodata or overview that there is not.
        """
        named = {"long_name": self.long_name, "units": self.units}
        known = self.dtype in get_args(DataType)  # else Layer says what there is
        nodata = default_nodata(self.dtype) if self.nodata is None and known else self.nodata
        return Layer(
            self.name,
            cast("DataType", self.dtype),
            NODATA if nodata is None else nodata,
            Axis(self.axis.name, self.axis.values, self.axis.chunk) if self.axis else None,
            self.scale,
            self.offset,
            cast("Overview", self.overview),
            {k: v for k, v in named.items() if v is not None} | self.attributes,
        )


def as_options(layer: Layer) -> dict[str, Any]:
    """A layer as a recipe writes it."""
    described = layer.describe()
    axis = layer.axis
    parts = {"name": axis.name, "values": list(axis.values), "chunk": axis.chunk} if axis else None
    return {**described, "axis": parts}


def default_nodata(dtype: str) -> float:
    """255 for uint8, NaN for floats; else the end of the type that values reach last."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return float("nan")
    return float(np.iinfo(kind).max if kind.kind == "u" else np.iinfo(kind).min)


def seen_layers(
    name: str, function: Function, inputs: Mapping[str, xr.Dataset], parameters: Mapping[str, Any]
) -> tuple[Layer, ...]:
    """The layers that a function returns, seen by calling it on an empty block.

    Parameters
    ----------
    name : str
        Of the function, for messages.
    function : callable
    inputs : mapping of name to Dataset
        A small block, all of it nodata.
    parameters : mapping

    Returns
    -------
    tuple of Layer
        With the name, type and axis of each variable; nodata by :func:`default_nodata`. Attributes
        are not taken: xarray carries those of the inputs through arithmetic.

    Raises
    ------
    RecipeError
        When the function can't take such a block, or a variable can be no layer.
    """
    where = "an empty block"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of means of nothing and the like
            returned = call(name, function, inputs, parameters, where)
    except (FunctionError, RecipeError) as error:
        raise RecipeError(f"{error}; to use it without that trial, {_DECLARE}") from error
    if not returned.data_vars:
        raise RecipeError(f"function {name!r} returned no layers on {where}; {_DECLARE}")
    return tuple(_seen(name, array) for array in returned.data_vars.values())


def _seen(function: str, array: xr.DataArray) -> Layer:
    further = [str(dim) for dim in array.dims if dim not in ("y", "x")]
    is_map = {"y", "x"} <= set(array.dims) and len(further) < 2 and "time" not in further
    if not is_map or str(array.dtype) not in get_args(DataType):
        raise RecipeError(
            f"function {function!r} returned {str(array.name)!r} as {array.dtype} "
            f"({', '.join(map(str, array.dims))}) on an empty block; a layer is (y, x), "
            "or (axis, y, x) with an axis other than time, and one of "
            f"{', '.join(get_args(DataType))}: cast it with .astype, or {_DECLARE}"
        )
    axis = _axis(array, further[0]) if further else None
    dtype = str(array.dtype)
    return Layer(str(array.name), cast("DataType", dtype), default_nodata(dtype), axis)


def _axis(array: xr.DataArray, dim: str) -> Axis:
    numbered = dim in array.coords and array[dim].dtype.kind in "iu"
    values = array[dim].values.tolist() if numbered else range(array.sizes[dim])
    return Axis(dim, tuple(values))
