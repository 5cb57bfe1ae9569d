"""Call a user's function and check its result against the declared layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.errors import FunctionError, RecipeError
from rsscale.layers import Layer
from rsscale.steps.block import refuse_misplaced

Function = Callable[..., xr.Dataset]
"""``f(inputs, **parameters)``: a mapping of name to Dataset in, a Dataset out."""


@dataclass(frozen=True)
class UserFunction:
    """A function with its halo, layers and parameters.

    Attributes
    ----------
    name : str
        What messages call it.
    function : callable
    layers : tuple of Layer
        What it promises to return.
    halo : int
        Pixels around what it answers for that it is given.
    parameters : mapping
        Keyword arguments.
    """

    name: str
    function: Function
    layers: tuple[Layer, ...]
    halo: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def values(
        self, inputs: Mapping[str, xr.Dataset], shape: tuple[int, int], where: str
    ) -> dict[str, npt.NDArray[Any]]:
        """Call the function over a box; its layers without the halo.

        Parameters
        ----------
        inputs : mapping of name to Dataset
            In memory, over the box and its halo.
        shape : (int, int)
            Rows and columns of the box without its halo.
        where : str
            The box in messages, such as ``"tile edges/2023/x1_y2"``.

        Returns
        -------
        dict of layer to array
            ``(y, x)`` or ``(axis, y, x)`` over the box. A layer that the function returned with
            the halo is cropped: which it did is told by the shape.

        Raises
        ------
        FunctionError
            When the function raises.
        RecipeError
            When it returns another thing than it promises.
        """
        returned = call(self.name, self.function, inputs, self.parameters, where)
        wanted = [layer.name for layer in self.layers]
        if sorted(map(str, returned.data_vars)) != sorted(wanted):
            raise RecipeError(
                f"function {self.name!r} returned the layers {_names(returned)} on {where}; "
                f"declared are {', '.join(wanted)}"
            )
        around = tuple(length + 2 * self.halo for length in shape)
        places = _places(inputs, dict(zip(("y", "x"), around, strict=True)))
        return {
            layer.name: self._layer(layer, returned[layer.name], shape, places, where)
            for layer in self.layers
        }

    def _layer(
        self,
        layer: Layer,
        array: xr.DataArray,
        shape: tuple[int, int],
        places: Mapping[str, npt.NDArray[Any]],
        where: str,
    ) -> npt.NDArray[Any]:
        around = (shape[0] + 2 * self.halo, shape[1] + 2 * self.halo)
        dims, known = layer.dims(), set(map(str, array.dims)) == set(layer.dims())
        values = array.transpose(*dims).values if known else array.values
        fits = values.shape in (layer.shape(*shape), layer.shape(*around))
        if not (known and fits and values.dtype == layer.numpy_dtype):
            raise RecipeError(
                f"function {self.name!r} returned layer {layer.name!r} as "
                f"{_described(array.dtype, array.dims, array.shape)} on {where}; declared is "
                f"{_described(layer.dtype, dims, layer.shape(*shape))}"
                + (f", or {_sizes(dims, layer.shape(*around))} with the halo" if self.halo else "")
            )
        cropped = values.shape == layer.shape(*shape)
        inner = slice(self.halo, -self.halo or None) if cropped else slice(None)
        refuse_misplaced(
            array,
            layer,
            {dim: coordinates[inner] for dim, coordinates in places.items()},
            f"function {self.name!r} returned layer {layer.name!r} on {where}",
        )
        if not cropped:
            values = values[..., self.halo : -self.halo, self.halo : -self.halo]
        return np.ascontiguousarray(values)


def _places(
    inputs: Mapping[str, xr.Dataset], lengths: Mapping[str, int]
) -> dict[str, npt.NDArray[Any]]:
    """Coordinates of the pixels that a function is given, by dimension; those that there are."""
    return {
        dim: dataset[dim].values
        for dim, length in lengths.items()
        for dataset in inputs.values()
        if dim in dataset.coords and dataset[dim].shape == (length,)
    }


def check_call(name: str, function: Function, parameters: Mapping[str, Any]) -> None:
    """Refuse a function that does not take its arguments.

    Raises
    ------
    RecipeError
    """
    if not callable(function):
        raise RecipeError(f"{name} is {type(function).__name__}; expected a function f(inputs)")
    try:
        signature = inspect.signature(function)
    except ValueError:  # of some that are written in C
        return
    try:
        signature.bind({}, **parameters)
    except TypeError as error:
        raise RecipeError(
            f"{name} can't be called as f(inputs, **parameters) with the parameters "
            f"{list(parameters)}: {error}"
        ) from None


def call(
    name: str,
    function: Function,
    inputs: Mapping[str, xr.Dataset],
    parameters: Mapping[str, Any],
    where: str,
) -> xr.Dataset:
    """Call a function; what it raises is one line that names it.

    Raises
    ------
    FunctionError
        When it raises.
    RecipeError
        When it returns no Dataset.
    """
    try:
        returned = function(dict(inputs), **parameters)
        if isinstance(returned, xr.Dataset) and returned.chunks:
            # On threads of this process: in a worker the default would ask the cluster again.
            returned = returned.compute(scheduler="threads")
    except Exception as error:
        text = " ".join(str(error).split())
        raise FunctionError(
            f"function {name!r} raised {type(error).__name__} on {where}: {text}"
        ) from error
    if not isinstance(returned, xr.Dataset):
        raise RecipeError(
            f"function {name!r} returned {type(returned).__name__} on {where}; expected an "
            "xarray.Dataset with a variable for each layer"
        )
    return returned


def _names(dataset: xr.Dataset) -> str:
    return ", ".join(map(str, dataset.data_vars)) or "(none)"


def _described(dtype: Any, dims: Any, shape: Any) -> str:
    return f"{dtype} {_sizes(dims, shape)}"


def _sizes(dims: Any, shape: Any) -> str:
    return "(" + ", ".join(f"{d} {n}" for d, n in zip(dims, shape, strict=True)) + ")"
