"""Outlines of what a detector finds: polygons from masks and from boxes that are turned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine

from rsscale.errors import ModelError
from rsscale.geo.rasterize import raster_features
from rsscale.model.spec import ModelSpec
from rsscale.network.window_objects import WindowObjects


@dataclass(frozen=True)
class WindowShapes:
    """Boxes and outlines of some detections of a window, in its pixels.

    Attributes
    ----------
    boxes : float64 array (n, 4)
        ``x0, y0, x1, y1``, cut at the window's edge; undefined where flat or outside.
    outlines : object array (n,) of shapely.Polygon, optional
        The same.
    chosen : int array (n,)
        Positions among the detections.
    flat : bool array (n,)
        Those of no area.
    outside : bool array (n,)
        Those with nothing inside the window.
    no_mask : int
        Detections that have no outline, and are left out.
    """

    boxes: npt.NDArray[np.float64]
    outlines: npt.NDArray[np.object_] | None
    chosen: npt.NDArray[np.intp]
    flat: npt.NDArray[np.bool_]
    outside: npt.NDArray[np.bool_]
    no_mask: int = 0


def window_shapes(
    objects: WindowObjects, chosen: npt.NDArray[np.intp], spec: ModelSpec
) -> WindowShapes:
    """What some detections of a window look like, cut at its edge.

    Raises
    ------
    ModelError
        For corners that are not in order around their box.
    """
    output, size = spec.objects, spec.lattice.window
    if output.kind == "boxes":
        boxes = objects.boxes[chosen]
        inside, no_area = np.clip(boxes, 0, size), _has_no_area(boxes)
        return WindowShapes(inside, None, chosen, no_area, _has_no_area(inside) & ~no_area)
    if output.kind == "outlines":
        traced = mask_outlines(objects.masks, chosen, output.mask_threshold)
        has_one = np.array([outline is not None for outline in traced], bool)
        outlines = _objects([outline for outline in traced if outline is not None])
        none = np.zeros(len(outlines), bool)
        left_out = int((~has_one).sum())
        return WindowShapes(_bounds(outlines), outlines, chosen[has_one], none, none, left_out)
    polygons = oriented_outlines(objects, chosen, f"model {spec.name!r}")
    flat = _is_empty(polygons)
    cut = shapely.intersection(polygons, shapely.box(0, 0, size, size))
    return WindowShapes(_bounds(cut), cut, chosen, flat, _is_empty(cut) & ~flat)


def _has_no_area(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return np.asarray((boxes[:, 2:] <= boxes[:, :2]).any(axis=1), bool)


def _is_empty(polygons: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    return np.asarray(shapely.area(polygons) == 0, bool)


def _bounds(outlines: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    bounds: npt.NDArray[np.float64] = shapely.bounds(outlines).reshape(-1, 4)
    return bounds


def _objects(shapes: list[shapely.Geometry]) -> npt.NDArray[np.object_]:
    array = np.empty(len(shapes), object)
    array[:] = shapes
    return array


def mask_outlines(
    masks: Any, chosen: npt.NDArray[np.intp], threshold: float
) -> list[shapely.Polygon | None]:
    """The largest piece of each mask where it is above a threshold, along the pixels' edges.

    Pieces are of pixels that share an edge; holes stay. Crumbs beside the largest piece are what a
    mask of a window is unsure of.

    Parameters
    ----------
    masks : Tensor or array (n, H, W)
        0 to 1, or boolean.
    chosen : int array
        Which of them.
    threshold : float

    Returns
    -------
    list of shapely.Polygon or None
        ``x`` is the column, ``y`` the row, in pixels of the window; None of an empty mask.
    """
    outlines = []
    for number in chosen:  # one at a time: all of a window as numbers are large
        mask = masks[int(number)]
        inside = mask if str(mask.dtype).endswith("bool") else mask > threshold
        if hasattr(inside, "cpu"):
            inside = inside.cpu().numpy()
        outlines.append(_largest_piece(np.asarray(inside)))
    return outlines


def _largest_piece(mask: npt.NDArray[np.bool_]) -> shapely.Polygon | None:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    crop = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].astype(np.uint8)
    place = Affine.translation(int(cols[0]), int(rows[0]))
    traced = raster_features().shapes(crop, mask=crop > 0, connectivity=4, transform=place)
    pieces = [shapely.geometry.shape(geometry) for geometry, _ in traced]
    return _polygon(max(pieces, key=lambda piece: piece.area))


def _polygon(shape: shapely.Geometry) -> shapely.Polygon:
    """A valid polygon: rings that touch themselves at a corner are parted, the largest is kept."""
    if shape.is_valid:
        return shape
    parts = shapely.get_parts(shapely.make_valid(shape))
    polygons = [part for part in parts if part.geom_type == "Polygon"]
    return max(polygons, key=lambda part: part.area)


def oriented_outlines(
    objects: WindowObjects, chosen: npt.NDArray[np.intp], subject: str
) -> npt.NDArray[np.object_]:
    """Boxes that are turned as polygons, also beyond the window's edge.

    Parameters
    ----------
    objects : WindowObjects
        With ``boxes (n, 5)``, or corners.
    chosen : int array
        Which of them.
    subject : str
        What messages are about.

    Raises
    ------
    ModelError
        For corners that are not in order around their box.
    """
    if objects.corners is None:
        corners = oriented_corners(objects.boxes[chosen])
    else:
        corners = objects.corners[chosen]
    polygons: npt.NDArray[np.object_] = shapely.polygons(corners)
    crossed = ~shapely.is_valid(polygons) & (shapely.area(shapely.convex_hull(polygons)) > 0)
    if crossed.any():
        first = corners[np.flatnonzero(crossed)[0]].round(2).tolist()
        raise ModelError(
            f"{subject} returns corners that cross, such as {first}; expected the four corners of "
            "a box in order around it"
        )
    return polygons


def oriented_corners(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Corners ``(n, 4, 2)`` of boxes ``(n, 5)``: centre, width, height, degrees.

    Degrees are counted counterclockwise in the picture, whose rows grow downwards, as torchvision
    does it (``BoundingBoxFormat.CXCYWHR``).
    """
    x, y, width, height = boxes[:, :4].T
    angle = np.deg2rad(boxes[:, 4])
    cos, sin = np.cos(angle), np.sin(angle)
    along = np.array([-0.5, 0.5, 0.5, -0.5])[:, None] * width
    across = np.array([-0.5, -0.5, 0.5, 0.5])[:, None] * height
    corners: npt.NDArray[np.float64] = np.stack(
        [x + along * cos + across * sin, y + across * cos - along * sin], axis=-1
    )
    return corners.transpose(1, 0, 2)
