"""Where objects count: one CRS for both tables, areas of truth, regions, sizes, blocks, images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.errors import RecipeError, nearest
from rsscale.object_scores.scored_objects import ScoredObjects
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import geopandas as gpd

_Indices = npt.NDArray[np.intp]

NOWHERE = -1
_COCO = (32.0**2, 96.0**2)  # square pixels


@dataclass(frozen=True)
class Groups:
    """Objects in groups: regions, sizes or blocks.

    Attributes
    ----------
    names : tuple of str
    predicted, truth : intp arrays
        Positions in the names; -1 of none.
    """

    names: tuple[str, ...]
    predicted: _Indices
    truth: _Indices


@dataclass(frozen=True)
class SizeRange:
    """A range of areas: ``low <= area < high``; of COCO's, as pycocotools has it, ``<= high``."""

    name: str
    low: float
    high: float
    closed: bool = False

    def holds(self, areas: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Whether areas are in the range."""
        return (areas >= self.low) & (areas <= self.high if self.closed else areas < self.high)


def in_one_crs(
    predicted: gpd.GeoDataFrame, truth: gpd.GeoDataFrame, *, has_images: bool
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """The truth in the CRS of the predictions.

    Raises
    ------
    RecipeError
        When one has no CRS, both have none and are not of images, or they lie apart.
    """
    _check_geometry(predicted, "predicted")
    _check_geometry(truth, "true")
    if predicted.crs is None and truth.crs is not None and not len(predicted):
        predicted = predicted.set_crs(truth.crs)
    if truth.crs is None and predicted.crs is not None and not len(truth):
        truth = truth.set_crs(predicted.crs)
    if predicted.crs is None and truth.crs is None:
        if not has_images:
            raise RecipeError(
                "neither table has a CRS; set it with set_crs, or name with image the column of "
                "images in whose pixels the coordinates are"
            )
        return predicted, truth
    if predicted.crs is None or truth.crs is None:
        kind, there = ("predicted", truth) if predicted.crs is None else ("true", predicted)
        raise RecipeError(
            f"the {kind} objects have no CRS, and the others are in {_name(there.crs)}; set "
            "it with set_crs"
        )
    if truth.crs != predicted.crs:
        truth = truth.to_crs(predicted.crs)
    if not has_images:
        _check_near(predicted, truth)
    return predicted, truth


def _check_geometry(frame: Any, subject: str) -> None:
    import geopandas as gpd

    if not isinstance(frame, gpd.GeoDataFrame) or frame.active_geometry_name is None:
        raise RecipeError(
            f"the {subject} objects are a {type(frame).__name__} without geometry; expected a "
            "GeoDataFrame with polygons or points"
        )


def _check_near(predicted: gpd.GeoDataFrame, truth: gpd.GeoDataFrame) -> None:
    a, b = (np.asarray(frame.total_bounds, float) for frame in (predicted, truth))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return  # one is empty; geometries that can't be projected are reported with their rows
    reach = max(*(a[2:] - a[:2]), *(b[2:] - b[:2]))  # detections may all lie beside the truth
    if (a[:2] - reach > b[2:]).any() or (b[:2] - reach > a[2:]).any():
        raise RecipeError(
            f"predicted objects lie in {_bounds(a)} and true ones in {_bounds(b)} of "
            f"{_name(predicted.crs)}: far apart; is the CRS of one of them wrong?"
        )


def _name(crs: Any) -> str:
    """``EPSG:32631``, or the name of a CRS without such a code."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.name)


def _bounds(bounds: npt.NDArray[np.float64]) -> str:
    x0, y0, x1, y1 = (f"{value:.8g}" for value in bounds)
    return f"x {x0} to {x1}, y {y0} to {y1}"


def image_numbers(
    predicted: gpd.GeoDataFrame, truth: gpd.GeoDataFrame, column: str | None
) -> tuple[tuple[str, ...], _Indices, _Indices]:
    """Names of images, and the number of each object's; one image without a column.

    Raises
    ------
    RecipeError
        When a table has no such column, or a row no image.
    """
    if column is None:
        return ("",), np.zeros(len(predicted), np.intp), np.zeros(len(truth), np.intp)
    values = []
    for frame, kind in ((predicted, "predicted"), (truth, "true")):
        if column not in frame.columns:
            if len(frame):
                there = [str(name) for name in frame.columns]
                raise RecipeError(
                    f"the {kind} objects have no column {column!r} of images; they have "
                    f"{there}{nearest(column, there)}"
                )
            values.append(np.empty(0, object))
            continue
        if missing := int(frame[column].isna().sum()):
            raise RecipeError(f"{counted(missing, f'{kind} object')} without {column!r}, the image")
        values.append(frame[column].to_numpy(object))
    try:
        names = sorted(set(values[0]) | set(values[1]))
    except TypeError:
        raise RecipeError(f"the column {column!r} mixes numbers and text; expected one") from None
    number = {name: k for k, name in enumerate(names)}
    p, t = (np.array([number[name] for name in some], np.intp) for some in values)
    return tuple(map(str, names)), p, t


def inside(objects: ScoredObjects, within: Any, crs: Any) -> npt.NDArray[np.bool_]:
    """Whether the centre of each object lies in areas, or on their border.

    Parameters
    ----------
    objects : ScoredObjects
    within : GeoDataFrame or shapely geometry, optional
        A geometry is in the CRS of the objects; None is everywhere.
    crs : CRS
        Of the objects.
    """
    if within is None:
        return np.ones(len(objects), bool)
    if isinstance(within, shapely.Geometry):
        shape = within
    else:
        if within.crs is None:
            raise RecipeError("the areas in which objects count have no CRS; set it with set_crs")
        shape = shapely.union_all(within.to_crs(crs).geometry.to_numpy())
    if shape.is_empty or shapely.area(shape) <= 0:
        raise RecipeError("the areas in which objects count are empty; expected polygons")
    shapely.prepare(shape)
    is_inside: npt.NDArray[np.bool_] = shapely.intersects_xy(
        shape, objects.centre[:, 0], objects.centre[:, 1]
    )
    return is_inside


def region_groups(
    predicted: ScoredObjects,
    truth: ScoredObjects,
    regions: gpd.GeoDataFrame,
    column: str | None,
    crs: Any,
) -> Groups:
    """The region of each object: of those that hold its centre, the first.

    Raises
    ------
    RecipeError
        When no column is named, or it is not there, or names a region twice.
    """
    if column is None:
        raise RecipeError("say which column of the regions names them, with region_id")
    if column not in regions.columns:
        there = [str(name) for name in regions.columns]
        raise RecipeError(
            f"the regions have no column {column!r}; they have {there}{nearest(column, there)}"
        )
    if regions.crs is None:
        raise RecipeError("the regions have no CRS; set it with set_crs")
    names = regions[column].astype(str).tolist()
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RecipeError(f"region {twice[0]!r} is there more than once; dissolve its polygons")
    tree = shapely.STRtree(regions.to_crs(crs).geometry.to_numpy())

    def of(objects: ScoredObjects) -> _Indices:
        groups = np.full(len(objects), len(names), np.intp)
        point, region = tree.query(shapely.points(objects.centre), predicate="intersects")
        np.minimum.at(groups, point, region)
        return np.where(groups < len(names), groups, NOWHERE)

    return Groups(tuple(names), of(predicted), of(truth))


def size_ranges(
    sizes: Sequence[float] | Literal["coco"] | None, resolution: float | None, *, in_pixels: bool
) -> tuple[SizeRange, ...]:
    """Ranges of areas by their borders.

    Parameters
    ----------
    sizes : sequence of float, "coco" or None
        Borders in m², ascending; COCO's 32² and 96² pixels.
    resolution : float, optional
        Metres of a pixel, for COCO's.
    in_pixels : bool
        Whether areas are in square pixels.

    Raises
    ------
    RecipeError
        When borders do not ascend, or a pixel has no size.
    """
    if sizes is None:
        return ()
    unit = "px²" if in_pixels else "m²"
    if isinstance(sizes, str):
        if sizes != "coco":
            raise RecipeError(f"sizes is {sizes!r}; expected borders in m², or 'coco'")
        if not in_pixels and resolution is None:
            raise RecipeError(
                "sizes 'coco' are in pixels; say with resolution how many metres a pixel is"
            )
        small, large = (border * (resolution or 1.0) ** 2 for border in _COCO)
        return (
            SizeRange(f"small (to {small:,.6g} {unit})", 0.0, small, closed=True),
            SizeRange(f"medium (to {large:,.6g} {unit})", small, large, closed=True),
            SizeRange(f"large (from {large:,.6g} {unit})", large, np.inf, closed=True),
        )
    borders = [float(border) for border in sizes]
    if not borders or borders != sorted(set(borders)) or not 0 < borders[0] <= borders[-1] < np.inf:
        raise RecipeError(
            f"sizes are {list(sizes)}; expected borders in {unit} that ascend from above 0"
        )
    middle = pairwise(borders)
    return (
        SizeRange(f"below {borders[0]:,.6g} {unit}", 0.0, borders[0]),
        *(SizeRange(f"{low:,.6g} to {high:,.6g} {unit}", low, high) for low, high in middle),
        SizeRange(f"from {borders[-1]:,.6g} {unit}", borders[-1], np.inf),
    )


def block_groups(predicted: ScoredObjects, truth: ScoredObjects, metres: float) -> Groups:
    """Square blocks of the plane, counted from the origin of the CRS; only those with objects.

    A metre is that at the middle of the objects.
    """
    if not metres > 0:
        raise RecipeError(f"block is {metres:g}; expected metres above 0")
    centre = np.concatenate([predicted.centre, truth.centre])
    if not len(centre):
        none = np.empty(0, np.intp)
        return Groups((), none, none)
    scale = np.median(np.concatenate([predicted.scale, truth.scale]), axis=0)
    cells = np.floor(centre * scale / metres).astype(np.int64)
    unique, number = np.unique(cells, axis=0, return_inverse=True)
    number = number.reshape(-1)
    count = len(predicted)
    return Groups(tuple(f"{x} {y}" for x, y in unique.tolist()), number[:count], number[count:])


def image_groups(names: tuple[str, ...], predicted: ScoredObjects, truth: ScoredObjects) -> Groups:
    """Images as blocks."""
    return Groups(names, predicted.images, truth.images)
