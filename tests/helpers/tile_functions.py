"""Functions as users write them, good and bad: of a recipe, and of a cluster's workers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.ndimage import distance_transform_edt

Inputs = Mapping[str, xr.Dataset]


def majority(inputs: Inputs, *, size: int = 5) -> xr.Dataset:
    """The commonest class of a window, the least of several; over the box without its halo."""
    (dataset,) = inputs.values()
    array = dataset["classification"]
    half, nodata = size // 2, array.attrs["nodata"]
    rows, cols = (array.sizes[axis] - 2 * half for axis in ("y", "x"))
    known = [1, 2, 3]
    counts = np.zeros((len(known), rows, cols), int)
    for i in range(size):
        for j in range(size):
            part = array.values[i : i + rows, j : j + cols]
            counts += np.stack([part == value for value in known])
    found = np.array(known, np.uint8)[counts.argmax(axis=0)]
    found[counts.sum(axis=0) == 0] = nodata
    inner = array.isel(y=slice(half, -half), x=slice(half, -half))
    found[inner.values == nodata] = nodata
    return xr.Dataset({"majority": inner.copy(data=found)})


def distance(inputs: Inputs, *, most: int) -> xr.Dataset:
    """Pixels to the next one of class 1, as far as ``most``; over the box and its halo."""
    array = next(iter(inputs.values()))["classification"]
    pixels = distance_transform_edt(array.values != 1)
    found = np.minimum(pixels, most).astype(np.float32)
    return xr.Dataset({"distance": (("y", "x"), found)})


def years(inputs: Inputs) -> xr.Dataset:
    """In how many periods a pixel is of class 1; and of each class, along an axis."""
    array = inputs["map"]["classification"]
    each = [(array == value).sum("time").astype("uint8") for value in (1, 2, 3)]
    of_class = xr.concat(each, xr.DataArray([1, 2, 3], dims="value"))
    return xr.Dataset({"ones": each[0], "each": of_class})


def differs(inputs: Inputs) -> xr.Dataset:
    """Where two inputs differ."""
    one, other = (inputs[name]["classification"] for name in ("a", "b"))
    return xr.Dataset({"differs": (one != other).astype("uint8")})


def brightness(inputs: Inputs) -> xr.Dataset:
    """Mean of composites over bands and time windows; and how often each pixel was seen."""
    composite = inputs["s2"]["composite"]
    assert isinstance(composite.data, np.ndarray)
    assert np.isnan(composite.attrs["nodata"])
    observations = composite["observations"].sum("time").astype("uint8")
    mean = composite.mean(["time", "band"])
    return xr.Dataset({"brightness": mean.astype("float32"), "observations": observations})


def same(inputs: Inputs) -> xr.Dataset:
    """Its input."""
    (dataset,) = inputs.values()
    return dataset[["classification"]]


def fails_while_there(inputs: Inputs, *, mark: str, x: float) -> xr.Dataset:
    """Its input; while a file is there, an error on the tile whose columns hold an easting."""
    (dataset,) = inputs.values()
    if Path(mark).exists() and abs(dataset.x.values - x).min() < 5:
        raise KeyError("no such luck")
    return dataset[["classification"]]


def raises(inputs: Inputs) -> xr.Dataset:
    raise ZeroDivisionError(f"of {len(inputs)}\n inputs")


def wrong_type(inputs: Inputs) -> xr.Dataset:
    return same(inputs).astype("float64")


def wrong_shape(inputs: Inputs) -> xr.Dataset:
    return same(inputs).isel(y=slice(1, None))


def wrong_layer(inputs: Inputs) -> xr.Dataset:
    return same(inputs).rename(classification="clasification")


def no_dataset(inputs: Inputs) -> xr.Dataset:
    return same(inputs)["classification"]  # type: ignore[return-value]


def process(inputs: Inputs) -> xr.Dataset:
    """The number of the process that computes it."""
    array = same(inputs)["classification"]
    return xr.Dataset(
        {
            "process": array.astype("int16").copy(
                data=np.full(array.shape, os.getpid() % 30000, np.int16)
            )
        }
    )


def first_window(inputs: Inputs) -> xr.Dataset:
    """The composite of the first time window, a layer for each band; NaN where nothing was seen."""
    composite = next(iter(inputs.values()))["composite"].isel(time=0)
    bands = [str(name) for name in composite["band"].values]
    return xr.Dataset(
        {
            band: (("y", "x"), np.asarray(composite.sel(band=band).values, "float32"))
            for band in bands
        }
    )
