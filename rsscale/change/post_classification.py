"""Change between two maps by comparing them pixel by pixel (post-classification comparison).

Singh (1989), "Digital change detection techniques using remotely-sensed data", Int. J. Remote
Sensing 10(6). Its errors are those of both maps together: a class that is mapped with
user's accuracies of 0.9 in both years shows about a fifth of its pixels as false change.
Comparing the posterior probabilities, as Chen et al. (2011), "A posterior probability space
based change detection", IEEE GRSL 8(2), tells such pixels from those that both maps are sure
of: that is ``change_probability``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.accuracy.assess import Accuracy, Reference, assess
from rsscale.change.comparison import CHANGE, change_layers, compare
from rsscale.errors import AreaError, ModelError
from rsscale.geo.georeference import geobox_of
from rsscale.layers import NODATA
from rsscale.model.spec import classes_from_attributes

if TYPE_CHECKING:
    import geopandas as gpd
    import shapely

_LAYERS = ("classification", "confidence", "probability")


def detect_change(before: xr.Dataset, after: xr.Dataset) -> xr.Dataset:
    """Compare two maps of the same area.

    Parameters
    ----------
    before, after : Dataset
        ``(y, x)`` layers of :func:`rsscale.predict` or of a product at one time:
        ``classification``, and if both have it ``probability`` ``(class, y, x)`` or else
        ``confidence``, in percent. Same pixels, same classes.

    Returns
    -------
    xarray.Dataset
        ``(y, x)`` uint8, 255 where either map is nodata: ``change`` (1 changed, 0 unchanged),
        ``from`` and ``to`` (class values), and ``change_probability`` in percent. With the
        probabilities ``p`` of all classes, and errors of the two maps taken as independent,
        it is ``1 - sum_k p_before(k) p_after(k)``. With the confidence of the mapped class
        alone, the rest is spread evenly over the other classes. Maps with neither give no
        ``change_probability``. Lazy when a map is: then nothing is computed here, and the values
        are those of maps in memory, however they are cut into chunks.

    Raises
    ------
    AreaError
        When the maps do not lie on the same pixels, or are not of one time each.
    ModelError
        When their classes differ or are not known.
    """
    before, after = _one_time(before), _one_time(after)
    _check_same_pixels(before, after)
    classes = classes_from_attributes(before["classification"].attrs)
    others = classes_from_attributes(after["classification"].attrs)
    if [(c.value, c.name) for c in classes] != [(c.value, c.name) for c in others]:
        raise ModelError(
            f"the maps have the classes {[(c.value, c.name) for c in classes]} and "
            f"{[(c.value, c.name) for c in others]}; compare maps of the same classes"
        )
    names = [name for name in _LAYERS if name in before and name in after]
    layers = change_layers(classes, doubt=len(names) > 1)
    arrays = [ds[name] for ds in (before, after) for name in names]
    found = xr.apply_ufunc(
        partial(_compared, names=names, classes=len(classes), layers=[one.name for one in layers]),
        *arrays,
        input_core_dims=[["class"] if "class" in array.dims else [] for array in arrays],
        output_core_dims=[[] for _ in layers],
        dask="parallelized",
        output_dtypes=[np.uint8 for _ in layers],
        # Classes may be cut into chunks of their own, as in a product.
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    change = xr.Dataset({one.name: array for one, array in zip(layers, found, strict=True)})
    for one in layers:
        change[one.name].attrs = {
            **one.attributes,
            "nodata": NODATA,
            "grid_mapping": "spatial_ref",
        }
    return change


def _compared(
    *values: npt.NDArray[np.uint8], names: Sequence[str], classes: int, layers: Sequence[str]
) -> tuple[npt.NDArray[np.uint8], ...]:
    """Blocks of both maps to blocks of the change; classes come last, as apply_ufunc has them."""
    first = [np.moveaxis(v, -1, 0) if n == "probability" else v
             for n, v in zip([*names, *names], values, strict=True)]  # fmt: skip
    before = dict(zip(names, first[: len(names)], strict=True))
    after = dict(zip(names, first[len(names) :], strict=True))
    found = compare(before, after, classes)
    return tuple(found[name] for name in layers)


def change_accuracy(
    change: xr.Dataset | xr.DataArray,
    reference: Reference,
    *,
    exclude: shapely.Geometry | gpd.GeoDataFrame | None = None,
    distance: float = 1000.0,
    block: float = 1000.0,
) -> Accuracy:
    """Compare a change map with a reference of change.

    Changed pixels are few, so that overall accuracy says little: look at ``f1("changed")``,
    ``users("changed")`` (precision), ``producers("changed")`` (recall) and ``kappa``.

    Parameters
    ----------
    change : Dataset or DataArray
        Of :func:`detect_change`, or its ``change`` layer ``(y, x)``: 1 changed, 0 unchanged.
    reference : callable, DataArray or path
        1 changed, 0 unchanged, 255 not known; see :func:`rsscale.accuracy.assess.assess`.
    exclude, distance, block
        As in :func:`rsscale.accuracy.assess.assess`.

    Returns
    -------
    Accuracy
        Of the two classes ``unchanged`` and ``changed``.
    """
    layer = change["change"] if isinstance(change, xr.Dataset) else change
    layer = layer.squeeze("time", drop=True) if layer.sizes.get("time") == 1 else layer
    return assess(layer, reference, classes=CHANGE, exclude=exclude, distance=distance, block=block)


def _one_time(ds: xr.Dataset) -> xr.Dataset:
    """The layers that are compared, without the date: it is another one in each map."""
    ds = ds[[name for name in _LAYERS if name in ds]]
    if "classification" not in ds:
        raise ModelError("a map has no layer 'classification'; use one of rsscale.predict or a run")
    ds = ds.squeeze("time") if ds.sizes.get("time") == 1 else ds
    if "time" in ds.dims:
        raise AreaError(
            f"a map has {ds.sizes['time']} times; choose one of each with .isel(time=...)"
        )
    keep = {"y", "x", "spatial_ref", "class"}
    return ds.drop_vars([name for name in ds.coords if name not in keep])


def _check_same_pixels(before: xr.Dataset, after: xr.Dataset) -> None:
    one_crs, other_crs = _crs(before), _crs(after)
    if one_crs != other_crs:
        names = [crs.proj.name if crs else "none" for crs in (one_crs, other_crs)]
        raise AreaError(f"the maps have the CRS {names}; compare maps of the same grid")
    for axis in ("y", "x"):
        one, other = before[axis].values, after[axis].values
        if one.shape != other.shape or not np.array_equal(one, other):
            if one.shape == other.shape and np.allclose(one, other, rtol=1e-9, atol=0):
                raise AreaError(
                    f"the maps differ in {axis} by rounding, at most "
                    f"{np.abs(one - other).max():.3g}; give one the coordinates of the other: "
                    f"after.assign_coords({axis}=before.{axis})"
                )
            raise AreaError(
                f"the maps differ in {axis}: {_span(one)} and {_span(other)}; compare maps of the "
                "same grid and area"
            )


def _crs(ds: xr.Dataset) -> Any:
    box = geobox_of(ds["classification"])
    return box.crs if box is not None else None


def _span(values: npt.NDArray[Any]) -> str:
    return f"{values.size} pixels from {values[0]:.10g} to {values[-1]:.10g}"
