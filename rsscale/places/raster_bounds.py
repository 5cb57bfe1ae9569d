"""Bounds of rasters in any CRS, from the fields of STAC's projection extension.

https://github.com/stac-extensions/projection
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from pyproj import Transformer
from pyproj.exceptions import ProjError

from rsscale.geo.antimeridian import box_on_globe, unwrap
from rsscale.places.stac_crs import crs_text, parse_crs

Floats = npt.NDArray[np.float64]
Fields = Mapping[str, Any]

WGS84 = "EPSG:4326"
EVERYWHERE = (-np.inf, -np.inf, np.inf, np.inf)
# How far a resampling kernel reaches beyond a raster's edge, in its own pixels.
_SUPPORT = 3
# Points a side at which a raster is projected. Between two of them a smooth curve strays from
# its chord by an eighth of the second difference; four times that is allowed for.
_SAMPLES = 9
_STRAY = 0.5
# Width and height that are assumed, in pixels, when metadata gives none.
_SOME_PIXELS = 100
# No CRS has coordinates, and no raster pixels, beyond; larger numbers overflow in products.
_LARGEST = 1e12
# Fields that belong together: an asset with one that differs from its item's does not take the
# other from the item.
_PARTNER = {"transform": "shape", "shape": "transform"}


@dataclass(frozen=True)
class RasterBounds:
    """Position of a raster: its CRS, transform and shape, as its metadata says.

    Attributes
    ----------
    crs : str
        Anything that pyproj reads.
    transform : tuple of 6 floats
        From (column, row) to (x, y), in the order of rasterio and STAC.
    shape : (height, width)
        Pixels.
    """

    crs: str
    transform: tuple[float, ...]
    shape: tuple[int, int]

    def centre_longitude(self) -> float:
        """Longitude of the middle, between -180 and 180; 0 where it cannot be projected."""
        west, _, east, _ = bounds_in([self], WGS84)[0]
        if not np.isfinite([west, east]).all():
            return 0.0
        return float(((west + east) / 2 + 180.0) % 360.0 - 180.0)

    def degrees_box(self) -> Any:
        """A box in degrees that holds the raster, as a shapely geometry; ``None`` if unknown."""
        return box_in_degrees(self)


@lru_cache(maxsize=65536)
def box_in_degrees(raster: RasterBounds) -> Any:
    """A box in EPSG:4326 around a raster; see :meth:`RasterBounds.degrees_box`."""
    west, south, east, north = bounds_in([raster], WGS84)[0]
    if not np.isfinite([west, east]).all():
        west, east = -180.0, 180.0
    if not np.isfinite([south, north]).any() and (west, east) == (-180.0, 180.0):
        return None
    return box_on_globe(west, max(south, -90.0), east, min(north, 90.0))


def bounds_in(rasters: Sequence[RasterBounds], crs: str) -> Floats:
    """Bounds of rasters in a CRS, with room for a resampling kernel.

    Parameters
    ----------
    rasters : sequence of RasterBounds
        Projected together, CRS by CRS.
    crs : str
        The target.

    Returns
    -------
    numpy.ndarray
        ``(N, 4)`` float64: left, bottom, right, top. In degrees, left and right of a raster
        across the antimeridian are not cut: they leave [-180, 180]. A raster around a pole
        has infinite bounds on that side and left and right. Where a raster leaves the
        domain of the CRS, or its own CRS cannot be read, all four are infinite.
    """
    bounds = np.tile(np.array(EVERYWHERE), (len(rasters), 1))
    by_crs: dict[str, list[int]] = {}
    for number, raster in enumerate(rasters):
        by_crs.setdefault(raster.crs, []).append(number)
    for source, numbers in by_crs.items():
        transformer, is_degrees = _transformer(source, crs)
        if transformer is None:
            continue
        corners = np.array([rasters[n].transform for n in numbers], np.float64)
        shapes = np.array([rasters[n].shape for n in numbers], np.float64)
        xs, ys = _sample_points(corners, shapes)
        if parse_crs(source).is_geographic:
            ys = np.clip(ys, -90.0, 90.0)  # the kernel's room may leave the globe
        xs, ys = transformer.transform(xs, ys, errcheck=False)
        bounds[numbers] = _bounds(np.asarray(xs), np.asarray(ys), is_degrees=is_degrees)
    return bounds


def is_degrees(crs: str) -> bool:
    """Whether x is a longitude, which repeats after 360 degrees."""
    return bool(parse_crs(crs).is_geographic)


def raster_of(own: Fields, common: Fields) -> RasterBounds | None:
    """The raster that ``proj:`` fields describe; ``None`` when they give no position.

    Parameters
    ----------
    own, common : mapping
        Fields of the asset, and properties of its item.
    """
    rasters = rasters_of(own, common)
    # A transform and a box that lie apart cannot both be right.
    if len(rasters) > 1 and not _overlap(*map(_extent, rasters)):
        return None
    return rasters[0] if rasters else None


def rasters_of(own: Fields, common: Fields) -> tuple[RasterBounds, ...]:
    """Every raster that ``proj:`` fields describe: by transform and shape, then by a box.

    Parameters
    ----------
    own, common : mapping
        Fields of the asset, and properties of its item.
    """
    crs = crs_text(own, common)
    if crs is None:
        return ()
    transform = _numbers(scope_of("transform", own, common).get("proj:transform"), (6, 9))
    shape = _shape(scope_of("shape", own, common).get("proj:shape"))
    rasters = [RasterBounds(crs, transform[:6], shape)] if transform and shape else []
    bbox = _bbox(own, common)
    if bbox is not None:
        left, bottom, right, top = bbox
        height, width = shape or (_SOME_PIXELS, _SOME_PIXELS)
        step_x, step_y = (right - left) / width, (top - bottom) / height
        rasters.append(RasterBounds(crs, (step_x, 0.0, left, 0.0, -step_y, top), (height, width)))
    return tuple(rasters)


def scope_of(name: str, own: Fields, common: Fields) -> Fields:
    """The fields in which a ``proj:`` field counts: the asset's, the item's, or none (empty)."""
    if own.get(f"proj:{name}") is not None:
        return own
    partner = _PARTNER.get(name)
    mine, theirs = (_leading(scope.get(f"proj:{partner}")) for scope in (own, common))
    return {} if partner and mine is not None and mine != theirs else common


def _leading(value: Any) -> list[float] | None:
    return list(value[:6]) if isinstance(value, (list, tuple)) else None


def _numbers(value: Any, lengths: tuple[int, ...]) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(number) for number in value)
    except (TypeError, ValueError, OverflowError):
        return None
    is_sound = len(numbers) in lengths and all(abs(number) <= _LARGEST for number in numbers)
    return numbers if is_sound else None  # NaN is not


def _shape(value: Any) -> tuple[int, int] | None:
    shape = _numbers(value, (2,))
    return (int(shape[0]), int(shape[1])) if shape and min(shape) >= 1 else None


def _bbox(own: Fields, common: Fields) -> tuple[float, ...] | None:
    """``proj:bbox``, else the bounds of ``proj:geometry``; left, bottom, right, top."""
    for scope in (own, common):
        bbox = _numbers(scope.get("proj:bbox"), (4, 6))
        if bbox:
            half = len(bbox) // 2
            return (*bbox[:2], *bbox[half : half + 2])
        geometry = scope.get("proj:geometry")
        if isinstance(geometry, Mapping):
            points = _points(geometry.get("coordinates"))
            if points.size:
                return (*points.min(axis=0), *points.max(axis=0))
    return None


def _points(coordinates: Any) -> Floats:
    """All (x, y) of nested GeoJSON coordinates, ``(N, 2)``; empty when they are broken."""
    points: list[tuple[float, ...]] = []
    pending = [coordinates]
    while pending:
        value = pending.pop()
        if not isinstance(value, (list, tuple)):
            continue
        point = _numbers(value[:2], (2,))
        if point:
            points.append(point)
        else:
            pending += value
    return np.array(points, np.float64).reshape(-1, 2)


def _extent(raster: RasterBounds) -> tuple[float, ...]:
    a, b, c, d, e, f = raster.transform
    height, width = raster.shape
    xs = [c, c + a * width, c + b * height, c + a * width + b * height]
    ys = [f, f + d * width, f + e * height, f + d * width + e * height]
    return min(xs), min(ys), max(xs), max(ys)


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two boxes (left, bottom, right, top) share some area."""
    return bool(a[0] < b[2] and a[2] > b[0] and a[1] < b[3] and a[3] > b[1])


def _sample_points(transforms: Floats, shapes: Floats) -> tuple[Floats, Floats]:
    """Points of rasters and of a margin around them: x and y, ``(N, samples, samples)``."""
    at = np.linspace(0.0, 1.0, _SAMPLES)
    rows = (at * (shapes[:, :1] + 2 * _SUPPORT) - _SUPPORT)[:, :, None]
    cols = (at * (shapes[:, 1:] + 2 * _SUPPORT) - _SUPPORT)[:, None, :]
    a, b, c, d, e, f = transforms.T[:, :, None, None]
    return a * cols + b * rows + c, d * cols + e * rows + f


def _bounds(xs: Floats, ys: Floats, *, is_degrees: bool) -> Floats:
    """Bounds of projected sample points, ``(N, 4)``."""
    with np.errstate(invalid="ignore"):
        finite: npt.NDArray[np.bool_] = np.all(np.isfinite(xs) & np.isfinite(ys), axis=(1, 2))
        xs = np.where(finite[:, None, None], xs, 0.0)
        ys = np.where(finite[:, None, None], ys, 0.0)
        turn = np.zeros(len(xs))
        if is_degrees:
            turn = _turn(xs)
            xs = unwrap(xs)
            first = unwrap(xs[:, :, 0])
            xs = xs + (first - xs[:, :, 0])[:, :, None]
    x_stray, y_stray = _stray(xs), _stray(ys)
    bounds = np.stack(
        [
            xs.min(axis=(1, 2)) - x_stray,
            ys.min(axis=(1, 2)) - y_stray,
            xs.max(axis=(1, 2)) + x_stray,
            ys.max(axis=(1, 2)) + y_stray,
        ],
        axis=1,
    )
    around = np.abs(turn) > 180.0  # the raster holds a pole
    north = ys.mean(axis=(1, 2)) > 0
    bounds[around, 0], bounds[around, 2] = -np.inf, np.inf
    bounds[around & north, 3] = np.inf
    bounds[around & ~north, 1] = -np.inf
    bounds[~finite] = EVERYWHERE
    return bounds


def _turn(lons: Floats) -> Floats:
    """Change of longitude along the edge of sample points: 360 degrees around a pole."""
    edge = np.concatenate(
        [lons[:, 0, :], lons[:, 1:, -1], lons[:, -1, -2::-1], lons[:, -2::-1, 0]], axis=1
    )
    unwrapped = unwrap(edge)
    turned: Floats = unwrapped[:, -1] - unwrapped[:, 0]
    return turned


def _stray(values: Floats) -> Floats:
    """How far a projected edge may leave the straight line between its sample points."""
    bends = [np.abs(np.diff(values, 2, axis=axis)).max(axis=(1, 2)) for axis in (1, 2)]
    strays: Floats = _STRAY * np.maximum(*bends)
    return strays


@lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> tuple[Transformer | None, bool]:
    try:
        made = Transformer.from_crs(parse_crs(source), parse_crs(target), always_xy=True)
    except ProjError:
        return None, False
    return made, bool(parse_crs(target).is_geographic)
