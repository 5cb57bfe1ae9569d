"""Register one image in memory onto another of the same place, and relate their digital numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.coregistration.common_shift import (
    BEYOND,
    BLOCK,
    CommonShift,
    shift_of_block,
)
from rsscale.coregistration.radiometry import Radiometry, relative_radiometry
from rsscale.coregistration.resample import reach_of, translate
from rsscale.coregistration.shift import Shift
from rsscale.decorators.first_argument import COMPOSITE, first_is, made_by
from rsscale.errors import AreaError, BandError
from rsscale.geo.georeference import geobox_of

# Coordinates that differ by less, in pixels, are the same: files round them.
_SAME = 1e-3
# Pixels that radiometry is fitted to, at most; evenly from all.
_MOST_PIXELS = 200_000


@made_by("rs.coregister(before, after)")
@dataclass(frozen=True)
class Coregistered:
    """A second image as a first one would have it, and how it differed.

    Attributes
    ----------
    after : DataArray
        ``(y, x)`` or ``(band, y, x)`` float32 on the pixels of the first image; NaN where the
        second one is not known there.
    shift : CommonShift
        ``dx`` and ``dy`` in pixels to the east and down: what lies at ``(row, col)`` of the first
        image lay at ``(row + dy, col + dx)`` of the second. Beside it how far blocks of the image
        agree on it, and how many found none.
    radiometry : Radiometry, optional
        Gain and offset that brought its values to those of the first.
    """

    after: xr.DataArray
    shift: CommonShift
    radiometry: Radiometry | None = None


@first_is(xr.DataArray, expected=COMPOSITE)
def coregister(
    before: xr.DataArray, after: xr.DataArray, *, max_shift: int = 8, normalise: bool = False
) -> Coregistered:
    """Find the shift of a second image against a first one, and take it back.

    The shift is the median of those of blocks of 256 px, each the peak of a correlation of
    gradients to a fraction of a pixel (Tzimiropoulos et al. 2011); the second image is moved by
    cubic convolution, and what was not seen stays so. See docs/change-guards.md.

    Parameters
    ----------
    before, after : DataArray
        ``(y, x)`` or ``(band, y, x)`` of the same pixels; NaN where not seen. Read into memory.
    max_shift : int
        Pixels, along rows or columns: a greater shift is refused.
    normalise : bool
        Whether digital numbers of the second image are brought to those of the first as well, band
        by band, by the pixels that did not change (Canty & Nielsen 2008).

    Returns
    -------
    Coregistered
        Values of which no pixel that either image lacks is made up.

    Raises
    ------
    AreaError
        When the images have another CRS, size or place.
    BandError
        When they have other bands.
    RsscaleError
        When most blocks show different places, the shift is greater than ``max_shift``, or the
        images are not related enough to be normalised.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import rsscale as rs
    >>> field = np.random.default_rng(0).normal(size=(130, 130)).cumsum(0).cumsum(1)
    >>> one = xr.DataArray(field[:128, :128], dims=("y", "x"))
    >>> other = xr.DataArray(field[:128, 2:], dims=("y", "x"))  # what was in column 2 is in 0
    >>> found = rs.coregister(one, other)
    >>> round(found.shift.dx), round(found.shift.dy)
    (-2, 0)
    """
    _refuse_other_pixels(before, after)
    reference, other = _bands(before), _bands(after)
    if reference.shape[0] != other.shape[0] or _names(before) != _names(after):
        raise BandError(
            f"the first image has the bands {_names(before) or reference.shape[0]}, the second "
            f"{_names(after) or other.shape[0]}; give both the same ones"
        )
    most = max_shift + BEYOND
    common = CommonShift.of(_shifts(reference, other, most))
    common.refuse(max_shift, within=most, remedy="give a greater max_shift")
    moved = other
    if common.length > 0:
        margin = reach_of(common.dx, common.dy)
        padding = ((0, 0), (margin, margin), (margin, margin))
        around = np.pad(other, padding, constant_values=np.nan)
        moved = translate(around, common.dx, common.dy, margin)
    radiometry = _radiometry(reference, moved) if normalise else None
    if radiometry is not None:
        moved = radiometry.apply(moved)
    values = moved.reshape(before.shape)
    attributes = {"shift_x_px": common.dx, "shift_y_px": common.dy}
    coords = before.drop_vars([n for n, c in before.coords.items() if "time" in c.dims]).coords
    registered = xr.DataArray(
        values, dims=before.dims, coords=coords, attrs={**after.attrs, **attributes}
    )
    return Coregistered(registered, common, radiometry)


def _shifts(before: npt.NDArray[Any], after: npt.NDArray[Any], most: int) -> list[Shift]:
    """Shifts of blocks that an image is cut into, of about 256 px; a small one is a block."""
    padding = ((0, 0), (most, most), (most, most))
    around = np.pad(after, padding, constant_values=np.nan)
    rows, cols = (_cut(size) for size in before.shape[1:])
    return [
        shift_of_block(
            before[None, :, top:bottom, left:right],
            around[None, :, top : bottom + 2 * most, left : right + 2 * most],
            most,
        )
        for top, bottom in rows
        for left, right in cols
    ]


def _cut(size: int) -> list[tuple[int, int]]:
    count = max(round(size / BLOCK), 1)
    return list(pairwise(size * number // count for number in range(count + 1)))


def _radiometry(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Radiometry:
    seen = np.isfinite(before).all(axis=0) & np.isfinite(after).all(axis=0)
    reference, other = before[:, seen].T, after[:, seen].T
    every = max(-(-len(reference) // _MOST_PIXELS), 1)
    return relative_radiometry(reference[::every], other[::every])


def _bands(image: xr.DataArray) -> npt.NDArray[np.float32]:
    """Values ``(band, y, x)`` in memory."""
    if image.dims[-2:] != ("y", "x") or image.ndim not in (2, 3):
        raise AreaError(
            f"an image has the dimensions {tuple(image.dims)}; expected (y, x) or (band, y, x), of "
            "one time: select it by .isel(time=0)"
        )
    values = image.values.astype(np.float32)
    nodata = image.attrs.get("nodata", image.attrs.get("_FillValue"))
    if nodata is not None and not np.isnan(nodata):
        values[image.values == nodata] = np.nan
    return values if image.ndim == 3 else values[None]


def _names(image: xr.DataArray) -> list[str]:
    return (
        [str(name) for name in image["band"].values]
        if "band" in image.coords and (image["band"].ndim == 1)
        else []
    )


def _refuse_other_pixels(before: xr.DataArray, after: xr.DataArray) -> None:
    """Refuse images that do not lie on the same pixels."""
    crs = []
    for image in (before, after):
        box = geobox_of(image) if {"y", "x"} <= set(image.coords) else None
        crs.append(box.crs if box is not None else None)
    if crs[0] != crs[1]:
        names = [image_crs.proj.name if image_crs else "none" for image_crs in crs]
        raise AreaError(
            f"the images have the CRS {names}; expected is the same one: load both on one grid"
        )
    for axis in ("y", "x"):
        if before.sizes.get(axis) != after.sizes.get(axis):
            raise AreaError(
                f"the images have {before.sizes.get(axis)} and {after.sizes.get(axis)} pixels "
                f"along {axis}; expected are the same pixels: load both on one grid"
            )
        if axis not in before.coords or axis not in after.coords:
            continue
        ref, other = before[axis].values, after[axis].values
        pixel = abs(ref[1] - ref[0]) if ref.size > 1 else 1.0
        if not np.allclose(ref, other, rtol=0, atol=_SAME * pixel):
            raise AreaError(
                f"the images lie apart along {axis}: from {ref[0]:.12g} and from {other[0]:.12g}, "
                f"{(other[0] - ref[0]) / pixel:.3g} px; expected are the same pixels: load both on "
                "one grid"
            )
