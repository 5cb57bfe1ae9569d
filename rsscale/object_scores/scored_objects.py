"""Objects that are scored: checked geometries, centres, areas and scores as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.errors import AreaError, RecipeError, nearest
from rsscale.geo.ground import ground_scales
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import geopandas as gpd

_Floats = npt.NDArray[np.float64]
_Indices = npt.NDArray[np.intp]

_POLYGONS, _POINT = (3, 6), 0  # shapely's numbers of types
_ROWS_NAMED = 3
SCORE = "score"  # as the rows of a run call it


@dataclass(frozen=True)
class ScoredObjects:
    """Predicted or true objects in one CRS.

    Attributes
    ----------
    shapes : object array (n,)
        Valid polygons with an area, or points.
    rows : intp array (n,)
        Of each in the table that it comes from.
    classes, images : intp arrays (n,)
        Positions in the names of classes and of images; -1 for a class that is not known.
    scores : float64 array (n,), optional
    centre : float64 array (n, 2)
        ``x, y``: the middle of the bounds, as the rows of a run have it.
    scale : float64 array (n, 2)
        Metres on the ground of a unit along x and y; 1 in pixel coordinates.
    """

    shapes: npt.NDArray[np.object_]
    rows: _Indices
    classes: _Indices
    images: _Indices
    scores: _Floats | None
    centre: _Floats
    scale: _Floats

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def are_points(self) -> bool:
        """Whether they have no outline."""
        return bool(len(self)) and bool((shapely.get_type_id(self.shapes) == _POINT).all())

    @property
    def areas(self) -> _Floats:
        """Square metres on the ground; square pixels in pixel coordinates."""
        areas: _Floats = shapely.area(self.shapes) * self.scale.prod(axis=1)
        return areas

    def take(self, kept: npt.NDArray[Any]) -> ScoredObjects:
        """Some of them, by mask or position."""
        return ScoredObjects(
            self.shapes[kept],
            self.rows[kept],
            self.classes[kept],
            self.images[kept],
            None if self.scores is None else self.scores[kept],
            self.centre[kept],
            self.scale[kept],
        )

    def without_duplicates(self) -> tuple[ScoredObjects, list[str]]:
        """Each object of a class once, and what is said of those that are there twice."""
        import pandas as pd

        keys = pd.DataFrame(
            {
                "shape": shapely.to_wkb(shapely.normalize(self.shapes)),
                "class": self.classes,
                "image": self.images,
            }
        )
        again = keys.duplicated().to_numpy()
        if not again.any():
            return self, []
        rows = self.rows[keys.duplicated(keep=False).to_numpy()]
        note = (
            f"{counted(int(again.sum()), 'true object')} with the outline and class of another, "
            f"{_rows(rows)}: each is counted once"
        )
        return self.take(~again), [note]


def scored_objects(
    frame: gpd.GeoDataFrame,
    subject: str,
    *,
    classes: _Indices,
    images: _Indices,
    score: str | None = None,
) -> tuple[ScoredObjects, list[str]]:
    """Check a table of objects, and take its columns as arrays.

    Parameters
    ----------
    frame : GeoDataFrame
        With polygons or points, in the CRS of the figures, or in pixel coordinates without one.
    subject : str
        For messages: ``"predicted"`` or ``"true"``.
    classes, images : intp arrays (n,)
    score : str, optional
        The column of scores; of the truth there is none.

    Returns
    -------
    (ScoredObjects, list of str)
        And what was left out or repaired.

    Raises
    ------
    RecipeError
        When a geometry is neither polygon nor point, both are mixed, all are unusable, or scores
        are not numbers.
    """
    shapes = shapely.force_2d(np.asarray(frame.geometry.to_numpy(), object))
    rows = np.arange(len(shapes))
    shapes, notes = _repaired(shapes, subject)
    kinds = shapely.get_type_id(shapes)
    _check_kinds(shapes, kinds, subject)
    has_area = (kinds == _POINT) | (shapely.area(shapes) > 0)
    kept = ~shapely.is_empty(shapes) & np.isfinite(shapely.bounds(shapes)).all(axis=1) & has_area
    lost = np.flatnonzero(~kept)
    if len(lost):
        noun = f"{subject} object"
        if not kept.any():
            raise RecipeError(
                f"none of {counted(len(shapes), noun)} has an area or is a point; expected "
                "polygons or points with coordinates"
            )
        notes.append(
            f"{counted(len(lost), noun)} without an area or a geometry, {_rows(lost)}: left out"
        )
    scores = None if score is None else _scores(frame, subject, score)
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    centre = np.stack([bounds[:, [0, 2]].mean(axis=1), bounds[:, [1, 3]].mean(axis=1)], axis=1)
    objects = ScoredObjects(shapes, rows, classes, images, scores, centre, np.ones_like(centre))
    objects = objects.take(kept)
    return replace(objects, scale=_scales(frame.crs, objects.centre)), notes


def _repaired(
    shapes: npt.NDArray[np.object_], subject: str
) -> tuple[npt.NDArray[np.object_], list[str]]:
    """Valid shapes; None becomes empty."""
    shapes = np.where(shapely.is_missing(shapes), shapely.Polygon(), shapes)
    invalid = np.flatnonzero(~shapely.is_valid(shapes))
    if not len(invalid):
        return shapes, []
    before, shapes = shapes, shapes.copy()
    shapes[invalid] = shapely.make_valid(shapes[invalid], method="structure", keep_collapsed=False)
    repaired = invalid[~shapely.is_empty(shapes[invalid])]  # the others have no area
    if not len(repaired):
        return shapes, []
    reason = shapely.is_valid_reason(before[repaired[0]])
    note = (
        f"{counted(len(repaired), f'{subject} object')} not valid, {_rows(repaired)} ({reason}): "
        "repaired by make_valid"
    )
    return shapes, [note]


def _check_kinds(shapes: npt.NDArray[np.object_], kinds: npt.NDArray[Any], subject: str) -> None:
    usable = shapely.is_empty(shapes) | np.isin(kinds, (*_POLYGONS, _POINT))
    if not usable.all():
        row = int(np.flatnonzero(~usable)[0])
        raise RecipeError(
            f"row {row} of the {subject} objects is a {shapes[row].geom_type}; expected polygons "
            "or points"
        )
    are_points = kinds[~shapely.is_empty(shapes)] == _POINT
    if are_points.any() and not are_points.all():
        points = int(are_points.sum())
        raise RecipeError(
            f"{subject} objects are {counted(points, 'point')} and "
            f"{counted(len(are_points) - points, 'polygon')}; expected one kind, give the others "
            "apart"
        )


def _scores(frame: gpd.GeoDataFrame, subject: str, column: str) -> _Floats | None:
    """The column of scores; None where it is missing or empty throughout."""
    if column not in frame.columns and column != SCORE:
        there = [str(name) for name in frame.columns]
        raise RecipeError(
            f"the {subject} objects have no column {column!r} of scores; they have "
            f"{there}{nearest(column, there)}"
        )
    if column not in frame.columns or not len(frame):
        return None
    try:
        scores = frame[column].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise RecipeError(
            f"the column {column!r} of the {subject} objects is of type {frame[column].dtype}; "
            "expected numbers"
        ) from None
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad) == len(scores) and np.isnan(scores).all():
        return None
    if len(bad):
        raise RecipeError(
            f"{counted(len(bad), f'{subject} object')} of {len(scores):,} without a finite score, "
            f"{_rows(bad)}; remove these objects, or the column for figures without scores"
        )
    return np.asarray(scores, np.float64)


def _scales(crs: Any, centre: _Floats) -> _Floats:
    if crs is None or not len(centre):
        return np.ones_like(centre)
    try:
        return np.stack(ground_scales(crs.to_wkt(), centre[:, 0], centre[:, 1]), axis=1)
    except AreaError as error:
        raise RecipeError(f"objects lie where {error}") from None


def _rows(rows: Sequence[int] | npt.NDArray[Any]) -> str:
    """``"row 4"``, ``"rows 4, 7, 9, …"``."""
    named = ", ".join(str(int(row)) for row in rows[:_ROWS_NAMED])
    more = ", …" if len(rows) > _ROWS_NAMED else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {named}{more}"
