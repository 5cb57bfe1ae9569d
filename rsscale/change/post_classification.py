"""Change between two maps by comparing them pixel by pixel (post-classification comparison).

Singh (1989), "Digital change detection techniques using remotely-sensed data", Int. J. Remote
Sensing 10(6). Its errors are those of both maps together: a class that is mapped with
user's accuracies of 0.9 in both years shows about a fifth of its pixels as false change.
Comparing the posterior probabilities, as Chen et al. (2011), "A posterior probability space
based change detection", IEEE GRSL 8(2), tells such pixels from those that both maps are sure
of: that is ``change_probability``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.accuracy.assess import Accuracy, Reference, assess
from rsscale.errors import AreaError, ModelError
from rsscale.geo.georeference import geobox_of
from rsscale.layers import NODATA
from rsscale.model.spec import LandClass, class_attributes, classes_from_attributes

if TYPE_CHECKING:
    import geopandas as gpd
    import shapely

_CHANGE = (LandClass(0, "unchanged", "#e4e4e0"), LandClass(1, "changed", "#d7301f"))
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
    old, new = before["classification"], after["classification"]
    seen = (old != NODATA) & (new != NODATA)
    nodata = np.uint8(NODATA)
    layers = {
        "change": (old != new).astype("uint8").where(seen, nodata),
        "from": old.where(seen, nodata),
        "to": new.where(seen, nodata),
    }
    same = _agreement(before, after, len(classes))
    if same is not None:
        percent = ((1 - same) * 100).clip(0, 100).round().astype("uint8")
        layers["change_probability"] = percent.where(seen, nodata)
    return _described(xr.Dataset(layers), classes)


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
    return assess(
        layer, reference, classes=_CHANGE, exclude=exclude, distance=distance, block=block
    )


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


def _agreement(before: xr.Dataset, after: xr.Dataset, classes: int) -> xr.DataArray | None:
    """Probability that the class is the same in both, 0 to 1; None where nothing tells it."""
    if "probability" in before and "probability" in after:
        return _same_class(before["probability"], after["probability"])
    if "confidence" not in before or "confidence" not in after:
        return None
    p, q = (ds["confidence"].astype("float32") / 100 for ds in (before, after))
    rest = max(classes - 1, 1)
    same_class = before["classification"] == after["classification"]
    # Mapped alike: both right, or both the same other class out of the rest.
    alike = p * q + (1 - p) * (1 - q) / rest
    # Mapped as a and b: really a in both, really b in both, or one of the other classes.
    unlike = (p * (1 - q) + (1 - p) * q) / rest + (1 - p) * (1 - q) * max(rest - 1, 0) / rest**2
    return alike.where(same_class, unlike)


def _same_class(before: xr.DataArray, after: xr.DataArray) -> xr.DataArray:
    """Sum over the classes of the product of two percentages, 0 to 1, float32."""
    same: xr.DataArray = xr.apply_ufunc(
        _sum_of_products,
        before,
        after,
        input_core_dims=[["class"], ["class"]],
        dask="parallelized",
        # Classes may be cut into chunks of their own, as in a product.
        dask_gufunc_kwargs={"allow_rechunk": True, "meta": np.empty((0, 0), np.float32)},
    )
    return same


def _sum_of_products(
    before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    # Class by class: the order of a sum over an axis, and so its last bit, is NumPy's to choose,
    # by the shape of the block.
    total = np.zeros(before.shape[:-1], np.float32)
    hundred = np.float32(100)
    for number in range(before.shape[-1]):
        total += (before[..., number] / hundred) * (after[..., number] / hundred)
    return total


def _described(dataset: xr.Dataset, classes: tuple[LandClass, ...]) -> xr.Dataset:
    flags = class_attributes(classes)
    attributes: dict[str, dict[str, Any]] = {
        "change": {"long_name": "change of class", **class_attributes(_CHANGE)},
        "from": {"long_name": "class before", **flags},
        "to": {"long_name": "class after", **flags},
        "change_probability": {"long_name": "probability of change", "units": "percent"},
    }
    for name, layer in dataset.data_vars.items():
        layer.attrs = attributes[str(name)] | {"nodata": NODATA, "grid_mapping": "spatial_ref"}
    return dataset


def _check_same_pixels(before: xr.Dataset, after: xr.Dataset) -> None:
    one_crs, other_crs = _crs(before), _crs(after)
    if one_crs != other_crs:
        names = [crs.proj.name if crs else "none" for crs in (one_crs, other_crs)]
        raise AreaError(f"the maps have the CRS {names}; compare maps of the same grid")
    for axis in ("y", "x"):
        one, other = before[axis].values, after[axis].values
        if one.shape != other.shape or not np.array_equal(one, other):
            raise AreaError(
                f"the maps differ in {axis}: {_span(one)} and {_span(other)}; compare maps of the "
                "same grid and area"
            )


def _crs(ds: xr.Dataset) -> Any:
    box = geobox_of(ds["classification"])
    return box.crs if box is not None else None


def _span(values: npt.NDArray[Any]) -> str:
    return f"{values.size} pixels from {values[0]:.10g} to {values[-1]:.10g}"
