"""Change without labels of two images in memory, as the step ``spectral-change`` tells it."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.change.post_classification import on_same_pixels
from rsscale.decorators.first_argument import COMPOSITE, first_is
from rsscale.errors import AreaError, BandError
from rsscale.geo.lattice import position_hash
from rsscale.layers import Layer
from rsscale.spectral_change.decision import change_layers, decide
from rsscale.spectral_change.histogram import Histogram
from rsscale.spectral_change.measures import SAMPLE, Method, Scale, measure
from rsscale.spectral_change.thresholds import (
    Groups,
    Rule,
    cut_at,
    find_threshold,
    stable_threshold,
)
from rsscale.spectral_change.vectors import shares_bands

_log = logging.getLogger(__name__)


@first_is(xr.DataArray, expected=COMPOSITE)
def detect_spectral_change(
    before: xr.DataArray,
    after: xr.DataArray,
    *,
    method: Method = "ir-mad",
    threshold: Rule | float | Literal["false-alarm"] = "kittler-illingworth",
    stable: xr.DataArray | npt.NDArray[np.bool_] | None = None,
    false_alarm: float = 0.01,
    scale: Scale = "band",
    least_shared: float = 1.0,
) -> xr.Dataset:
    """Tell change between two dates of imagery without labels.

    Parameters
    ----------
    before, after : DataArray
        ``(band, y, x)`` of the same pixels and bands: composites, or embeddings with their axis in
        place of ``band``. NaN, and what the attribute ``nodata`` says, is no value. Lazy ones are
        read: this is for images that memory holds; a country is the step ``spectral-change``.
    method : str
        ``"ir-mad"`` (Nielsen 2007), ``"change-vector"``, ``"spectral-angle"``,
        ``"embedding-distance"``.
    threshold : str or float
        ``"kittler-illingworth"``, ``"otsu"``, ``"false-alarm"``, or a number in the unit of the
        layer of magnitudes.
    stable : bool array (y, x), optional
        Where nothing changed, for ``"false-alarm"``.
    false_alarm : float
        Share of the stable pixels that may be called changed.
    scale : str
        Of change vectors: ``"band"`` brings each band of each date to the median 0 and the spread
        1, ``"none"`` takes values as they are.
    least_shared : float
        Share of the bands that both dates must have; below 1 of change vectors alone.

    Returns
    -------
    xarray.Dataset
        ``(y, x)``: ``change`` (uint8: 1 changed, 0 unchanged, 255 where either date has no value),
        ``magnitude`` or for IR-MAD ``chi_square`` (float32, NaN), and ``change_probability``
        (uint8, percent, 255): the posterior of the normal distributions on both sides of the
        threshold; none where that is a number. The attribute ``threshold`` of ``change`` says it in
        the unit of the layer of magnitudes. Scales and
        variates are of at most 200,000 pixels, chosen by their place.

    Raises
    ------
    AreaError
        When the dates do not lie on the same pixels.
    BandError
        When bands differ, do not vary, or are too few; when too few pixels have both dates; when
        the magnitudes have no threshold.
    """
    axis = _axis(before, after)
    after = on_same_pixels(before, after, subject="dates")
    arrays = [_values(image, axis) for image in (before, after)]
    if not (least_shared == 1 or (0 < least_shared < 1 and method == "change-vector")):
        raise BandError(
            f"least_shared is {least_shared} and the method {method!r}; expected a share of the "
            "bands above 0, of 'change-vector', or 1"
        )
    seen = shares_bands(arrays[0], arrays[1], least_shared)
    row, col = _sample(seen)
    measured = measure(method, len(arrays[0]), scale).estimate(*(a[:, row, col] for a in arrays))
    stored = np.where(seen, measured.values(*arrays), np.float32(np.nan))
    heights = measured.heights(np.where(np.isfinite(stored), stored, np.float32(0)))
    known = np.isfinite(stored)
    cut: Groups | float
    if isinstance(threshold, str):
        histogram = Histogram.of(heights[known])
        if threshold == "false-alarm":
            cut = cut_at(histogram, _of_stable(heights, known, stable, false_alarm))
        else:
            cut = find_threshold(histogram, threshold)
        if cut.cuts_through:
            _log.warning("%s", cut.doubt)
    else:
        cut = float(threshold)
    decided = decide(measured, stored, cut)
    layers = [
        *change_layers(probable="change_probability" in decided), measured.layer,
    ]  # fmt: skip
    result = _dataset({**decided, measured.layer.name: stored}, layers, before)
    height = cut.threshold if isinstance(cut, Groups) else cut
    is_root = isinstance(cut, Groups) and method == "ir-mad"
    result["change"].attrs["threshold"] = height**2 if is_root else height
    return result


def _axis(before: xr.DataArray, after: xr.DataArray) -> str:
    """The dimension of the bands."""
    for which, image in (("before", before), ("after", after)):
        if len(image.dims) != 3 or not {"y", "x"} <= set(image.dims):
            raise AreaError(
                f"{which} has the dimensions {list(map(str, image.dims))}; expected (band, y, x): "
                "choose one time by .isel(time=0)"
            )
    (axis,) = (str(dim) for dim in before.dims if dim not in ("y", "x"))
    if axis not in after.dims or before.sizes[axis] != after.sizes[axis]:
        raise BandError(
            f"the dates have {dict(before.sizes)} and {dict(after.sizes)}; compare the same bands"
        )
    if axis in before.coords and axis in after.coords:
        names, others = ([str(v) for v in image[axis].values] for image in (before, after))
        if names != others:
            raise BandError(
                f"the dates have the bands {', '.join(names)} and {', '.join(others)}; compare the "
                "same bands in the same order"
            )
    return axis


def _values(date: xr.DataArray, axis: str) -> npt.NDArray[np.float32]:
    """``(band, y, x)`` in memory, NaN for nodata."""
    stored = date.transpose(axis, "y", "x").to_numpy()
    values = stored.astype(np.float32)
    nodata = date.attrs.get("nodata", date.attrs.get("_FillValue"))
    if nodata is not None:
        values[stored == nodata] = np.nan
    return values


def _sample(seen: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    row, col = np.nonzero(seen)
    if len(row) > SAMPLE:
        chosen = np.sort(np.argpartition(position_hash(row, col), SAMPLE)[:SAMPLE])
        row, col = row[chosen], col[chosen]
    return row, col


def _of_stable(
    heights: npt.NDArray[np.float32],
    known: npt.NDArray[np.bool_],
    stable: xr.DataArray | npt.NDArray[np.bool_] | None,
    false_alarm: float,
) -> float:
    if stable is None:
        raise BandError("threshold is 'false-alarm'; say with 'stable' where nothing changed")
    if not 0 < false_alarm < 1:
        raise BandError(f"false_alarm is {false_alarm}; expected a share between 0 and 1")
    there = np.asarray(stable, dtype=bool)
    if there.shape != known.shape:
        raise AreaError(f"stable has the shape {there.shape}; expected {known.shape}, as the dates")
    return stable_threshold(Histogram.of(heights[known & there]), false_alarm)


def _dataset(
    values: dict[str, npt.NDArray[Any]], layers: list[Layer], like: xr.DataArray
) -> xr.Dataset:
    coords = {
        name: coord for name, coord in like.coords.items()
        if set(coord.dims) <= {"y", "x"} and name != "time"
    }  # fmt: skip
    arrays = {
        layer.name: (("y", "x"), values[layer.name], layer.cf_attributes()) for layer in layers
    }
    return xr.Dataset(arrays, coords)
