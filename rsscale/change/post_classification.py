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
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.accuracy.assess import Accuracy, Reference, assess
from rsscale.change.comparison import CHANGE, change_layers, compare
from rsscale.cluster.sealed import Sealed
from rsscale.decorators.first_argument import MAP, first_is
from rsscale.errors import AreaError, ModelError
from rsscale.geo.georeference import geobox_of
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass, classes_from_attributes
from rsscale.legend.values import (
    check_known,
    check_nodata,
    class_values,
    declared_nodata,
    listed,
    same_classes,
)

if TYPE_CHECKING:
    import geopandas as gpd
    import shapely

# Coordinates that differ by less, in pixels, are the same: files round them.
_SAME = 1e-3
_LAYERS = ("classification", "confidence", "probability")
Pixels = TypeVar("Pixels", xr.Dataset, xr.DataArray)


@first_is(xr.Dataset, expected=MAP)
def detect_change(before: xr.Dataset, after: xr.Dataset) -> xr.Dataset:
    """Compare two maps of the same area: which pixels changed, from which class to which.

    Parameters
    ----------
    before, after : Dataset
        ``(y, x)`` layers of :func:`rsscale.predict` or of a product at one time:
        ``classification``, and if both have it ``probability`` ``(class, y, x)`` or else
        ``confidence``, in percent. Same pixels, same names for the same values. Nodata is NaN,
        255, and what a layer's own ``nodata``, ``_FillValue`` or ``missing_value`` says.

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
        When their classes differ or are not known, or a map holds a value that is no class and
        no nodata: for a lazy map when it is computed.
    """
    before, after = _one_time(before), _one_time(after)
    after = on_same_pixels(before, after, subject="maps")
    classes = _common_classes(before, after)
    after = _in_order_of(before, after)
    names = [name for name in _LAYERS if name in before and name in after]
    layers = change_layers(classes, doubt=len(names) > 1)
    arrays = [ds[name] for ds in (before, after) for name in names]
    comparison = _Comparison(
        tuple(names),
        tuple(map(declared_nodata, arrays)),
        classes,
        tuple(change_layer.name for change_layer in layers),
    )
    outputs = xr.apply_ufunc(
        Sealed(partial(_compared, comparison)),
        *arrays,
        input_core_dims=[["class"] if "class" in array.dims else [] for array in arrays],
        output_core_dims=[[] for _ in layers],
        dask="parallelized",
        output_dtypes=[np.uint8 for _ in layers],
        # Classes may be cut into chunks of their own, as in a product.
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    change = xr.Dataset({layer.name: array for layer, array in zip(layers, outputs, strict=True)})
    for layer in layers:
        change[layer.name].attrs = {
            **layer.attributes,
            "nodata": NODATA,
            "grid_mapping": "spatial_ref",
        }
    return change


@dataclass(frozen=True)
class _Comparison:
    """How blocks of both maps are compared.

    Attributes
    ----------
    names : tuple of str
        Layers of each map.
    nodata : tuple of tuples of float
        What each layer of the first map, then of the second, declares.
    classes : tuple of LandClass
    layers : tuple of str
        What is given back.
    """

    names: tuple[str, ...]
    nodata: tuple[tuple[float, ...], ...]
    classes: tuple[LandClass, ...]
    layers: tuple[str, ...]

    def compared(self, values: Sequence[npt.NDArray[Any]]) -> tuple[npt.NDArray[np.uint8], ...]:
        """Blocks of all layers of both maps to blocks of the change."""
        count = len(self.names)
        before = self._maps(values[:count], self.nodata[:count], "the first map")
        after = self._maps(values[count:], self.nodata[count:], "the second map")
        arrays = compare(before, after, len(self.classes))
        return tuple(arrays[name] for name in self.layers)

    def _maps(
        self,
        values: Sequence[npt.NDArray[Any]],
        nodata: Sequence[tuple[float, ...]],
        which: str,
    ) -> dict[str, npt.NDArray[Any]]:
        """The layers of one map by name; classes come last, as apply_ufunc has them."""
        maps: dict[str, npt.NDArray[Any]] = {}
        for name, layer, none in zip(self.names, values, nodata, strict=True):
            maps[name] = np.moveaxis(layer, -1, 0) if name == "probability" else layer
            if name == "classification":
                maps[name] = class_values(layer, none, holder=which)
                check_known(maps[name], self.classes, holder=which)
        for name, layer in maps.items():
            if layer.dtype.kind == "f":  # NaN where there is no class, which has no integer
                maps[name] = np.where(maps["classification"] == NODATA, 0, layer)
        return maps


def _compared(
    comparison: _Comparison, *values: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.uint8], ...]:
    return comparison.compared(values)


def _common_classes(before: xr.Dataset, after: xr.Dataset) -> tuple[LandClass, ...]:
    classes, others = (
        classes_from_attributes(ds["classification"].attrs) for ds in (before, after)
    )
    if not same_classes(classes, others):
        raise ModelError(
            f"the maps have the classes {listed(classes)} and {listed(others)}; compare maps that "
            "give the same names to the same values"
        )
    for which, ds in (("first", before), ("second", after)):
        nodata = declared_nodata(ds["classification"])
        check_nodata(nodata, classes, holder=f"the {which} map")
    return classes


def _in_order_of(before: xr.Dataset, after: xr.Dataset) -> xr.Dataset:
    """The second map with its probabilities in the order of the first map's classes."""
    if "probability" not in before or "probability" not in after:
        return after
    order, others = _class_order(before), _class_order(after)
    if order == others:
        return after
    if sorted(order) != sorted(others):
        raise ModelError(
            f"the maps have probabilities of the classes {order} and {others}; compare maps of "
            "the same classes"
        )
    turned = after.isel({"class": [others.index(value) for value in order]})
    return turned.drop_vars("class", errors="ignore").assign_coords(
        {"class": before["class"]} if "class" in before.coords else {}
    )


def _class_order(ds: xr.Dataset) -> list[int]:
    """Values along the axis of the probabilities: its coordinate, else the legend's order."""
    if "class" in ds.coords:
        return [int(value) for value in ds["class"].values]
    return [c.value for c in classes_from_attributes(ds["classification"].attrs)]


def change_accuracy(
    change: xr.Dataset | xr.DataArray,
    reference: Reference,
    *,
    exclude: shapely.Geometry | gpd.GeoDataFrame | None = None,
    distance: float = 1000.0,
    block: float = 1000.0,
    design: Literal["random"] | None = None,
) -> Accuracy:
    """Compare a change map with a reference of change.

    Changed pixels are few, so that overall accuracy says little: look at ``f1("changed")``,
    ``users("changed")`` (precision), ``producers("changed")`` (recall) and ``kappa``.

    Parameters
    ----------
    change : Dataset or DataArray
        Of :func:`detect_change`, or its ``change`` layer ``(y, x)``: 1 changed, 0 unchanged.
    reference : callable, DataArray or path
        1 changed, 0 unchanged, 255 not known; see :func:`rsscale.accuracy.assess.assess`. Any
        other value is refused: a reference of land cover is none of change.
    exclude, distance, block, design
        As in :func:`rsscale.accuracy.assess.assess`.

    Returns
    -------
    Accuracy
        Of the two classes ``unchanged`` and ``changed``.
    """
    layer = change["change"] if isinstance(change, xr.Dataset) else change
    layer = layer.squeeze("time", drop=True) if layer.sizes.get("time") == 1 else layer
    return assess(
        layer,
        reference,
        classes=CHANGE,
        exclude=exclude,
        distance=distance,
        block=block,
        design=design,
        unknown="refuse",
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


def on_same_pixels(before: Pixels, after: Pixels, *, subject: str) -> Pixels:
    """The second of two maps with the coordinates of the first, from which rounding parts it.

    Raises
    ------
    AreaError
        When they do not lie on the same pixels; ``what`` they are begins the message.
    """
    one_crs, other_crs = _crs(before), _crs(after)
    if one_crs != other_crs:
        names = [crs.proj.name if crs else "none" for crs in (one_crs, other_crs)]
        raise AreaError(f"the {subject} have the CRS {names}; compare {subject} of the same grid")
    for axis in ("y", "x"):
        coords, other = before[axis].values, after[axis].values
        pixel = abs(coords[1] - coords[0]) if coords.size > 1 else 1.0
        if coords.shape != other.shape or not np.allclose(
            coords, other, rtol=0, atol=_SAME * pixel
        ):
            shift = (other[0] - coords[0]) / pixel
            apart = "" if abs(shift) > 1 else f", {shift:.3g} of a pixel apart"
            raise AreaError(
                f"the {subject} differ in {axis}: {_span(coords)} and {_span(other)}{apart}; "
                f"compare {subject} of the same grid and area"
            )
    return after.assign_coords(y=before["y"], x=before["x"])


def _crs(pixels: xr.Dataset | xr.DataArray) -> Any:
    array = pixels if isinstance(pixels, xr.DataArray) else pixels["classification"]
    box = geobox_of(array)
    return box.crs if box is not None else None


def _span(values: npt.NDArray[Any]) -> str:
    return f"{values.size} pixels from {values[0]:.12g} to {values[-1]:.12g}"
