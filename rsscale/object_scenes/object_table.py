"""The objects of a table, checked: outlines, classes, and what is not used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.errors import RecipeError, nearest
from rsscale.legend.classes import LandClass
from rsscale.reference.class_column import classes_in, values_in
from rsscale.reference.label_rules import LabelRules
from rsscale.reference.labels import class_names
from rsscale.reference.merged_classes import MergedClasses
from rsscale.reference.unused_labels import Reason, UnusedLabels
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import geopandas as gpd

ONE_CLASS = LandClass(1, "object", "#e6194b")
"""What objects are where no column says it."""
_POLYGONS = (3, 6)  # shapely's numbers of types
_MOST_ROWS = 3
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ObjectTable:
    """Objects with an outline and a class.

    Attributes
    ----------
    shapes : array of shapely.Polygon or MultiPolygon (n,)
        Valid, with an area, in the coordinates of the table.
    classes : int64 array (n,)
        Numbers of their classes in the legend, from 0.
    rows : int64 array (n,)
        Of the table, from 0.
    legend : tuple of LandClass
    unused : UnusedLabels
        What is left out.
    notes : tuple of str
        What was done to the others, a line each.
    """

    shapes: npt.NDArray[np.object_]
    classes: Ids
    rows: Ids
    legend: tuple[LandClass, ...]
    unused: UnusedLabels = field(default_factory=UnusedLabels)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.shapes)

    def take(self, kept: npt.NDArray[Any]) -> ObjectTable:
        """Some of them, by mask or position."""
        return replace(
            self, shapes=self.shapes[kept], classes=self.classes[kept], rows=self.rows[kept]
        )

    def names(self) -> list[str]:
        """Class name of each."""
        return [self.legend[number].name for number in self.classes.tolist()]


def object_table(
    frame: gpd.GeoDataFrame,
    column: str | None,
    source: str,
    *,
    legend: Sequence[LandClass] | None = None,
    rules: LabelRules | None = None,
    years: Ids | None = None,
) -> ObjectTable:
    """Check the objects of a table.

    Objects without a geometry, area or class, of a class to ignore, and those that are there twice
    are left out and counted.

    Parameters
    ----------
    frame : GeoDataFrame
        A row for each object.
    column : str or None
        Of the class; without it all are of one, ``object``.
    source : str
        The table in messages, in the plural: ``"labels ponds.gpkg"``.
    legend : sequence of LandClass, optional
        Values, names and colours; as labels of pixels are numbered when left out.
    rules : LabelRules, optional
        Classes to merge and to ignore.
    years : int64 array (n,), optional
        What each row is true for: an object that is there in two years is not there twice.

    Raises
    ------
    RecipeError
        When the column is missing, a class is none of the legend, a geometry is no polygon or not
        valid, or nothing is left.
    """
    shapes = np.asarray(shapely.force_2d(np.asarray(frame.geometry.to_numpy(), object)), object)
    _check_shapes(shapes, source)
    names, unused = _names(frame, column, source, rules or LabelRules())
    has_area = shapely.area(shapes) > 0  # NaN of what is missing is not
    is_known = np.array([name is not None for name in names], bool)
    unused += UnusedLabels.of(
        [
            str(n)
            for n, ok, known in zip(names, has_area, is_known, strict=True)
            if known and not ok
        ],
        Reason.NO_AREA,
    )
    kept = np.flatnonzero(has_area & is_known)
    of_years = [0] * len(kept) if years is None else years[kept].tolist()
    again = _repeated(shapes[kept], [names[row] for row in kept], of_years)
    unused += UnusedLabels.of([str(names[row]) for row in kept[again]], Reason.TWICE)
    kept = kept[~again]
    texts = [str(names[row]) for row in kept]
    if not texts:
        raise RecipeError(f"{source} hold no object to learn from: {'; '.join(unused.lines())}")
    classes = _legend(texts, column, source, legend, rules or LabelRules())
    values = np.asarray(values_in(_series(texts), classes, source), np.int64)
    number_of = {c.value: number for number, c in enumerate(classes)}
    numbers = np.array([number_of[int(value)] for value in values], np.int64)
    return ObjectTable(shapes[kept], numbers, kept.astype(np.int64), classes, unused)


def _check_shapes(shapes: npt.NDArray[np.object_], source: str) -> None:
    """Refuse what is no polygon, not valid, or of no finite coordinates, by its row."""
    there = np.flatnonzero(~(shapely.is_missing(shapes) | shapely.is_empty(shapes)))
    kinds = shapely.get_type_id(shapes[there])
    others = there[~np.isin(kinds, _POLYGONS)]
    if len(others):
        verb = "is a" if len(others) == 1 else "are of type"
        raise RecipeError(
            f"{source}: {_rows(others)} of {len(shapes):,} {verb} {shapes[others[0]].geom_type}; a "
            "detector learns from boxes and polygons: give points a size with buffer, or leave "
            "them out"
        )
    far = there[~np.isfinite(shapely.bounds(shapes[there])).all(axis=1)]
    if len(far):
        raise RecipeError(f"{source}: {_rows(far)} with coordinates that are no finite numbers")
    invalid = there[~shapely.is_valid(shapes[there]) & (shapely.area(shapes[there]) > 0)]
    if len(invalid):
        more = f" ({len(invalid)} rows in all)" if len(invalid) > 1 else ""
        raise RecipeError(
            f"{source}: row {invalid[0]} is not valid: "
            f"{shapely.is_valid_reason(shapes[invalid[0]])}{more}; repair it, e.g. with "
            "shapely.make_valid"
        )


def _rows(rows: npt.NDArray[Any]) -> str:
    """``"row 4"``, ``"5 rows (4, 7, 9, …)"``."""
    named = ", ".join(str(int(row)) for row in rows[:_MOST_ROWS])
    if len(rows) == 1:
        return f"row {named}"
    return f"{counted(len(rows), 'row')} ({named}{', …' if len(rows) > _MOST_ROWS else ''})"


def _names(
    frame: gpd.GeoDataFrame, column: str | None, source: str, rules: LabelRules
) -> tuple[list[str | None], UnusedLabels]:
    """Class names of objects, None of those that are not used."""
    if column is None:
        return [ONE_CLASS.name] * len(frame), UnusedLabels()
    columns = [str(name) for name in frame.columns if name != frame.geometry.name]
    if column not in columns:
        raise RecipeError(
            f"{source} have no column {column!r}; there are {columns}{nearest(column, columns)}"
        )
    texts, unused = class_names(frame[column].reset_index(drop=True), rules, source)
    return [None if text is None else str(text) for text in texts], unused


def _repeated(
    shapes: npt.NDArray[np.object_], names: Sequence[str | None], years: Sequence[int]
) -> npt.NDArray[np.bool_]:
    """Which objects have the outline, class and year of one before."""
    outlines = [bytes(wkb) for wkb in shapely.to_wkb(shapely.normalize(shapes))]
    keys = list(zip(outlines, names, years, strict=True))
    seen: set[tuple[bytes, str | None, int]] = set()
    again = []
    for key in keys:
        again.append(key in seen)
        seen.add(key)
    return np.array(again, bool)


def _legend(
    texts: Sequence[str],
    column: str | None,
    source: str,
    legend: Sequence[LandClass] | None,
    rules: LabelRules,
) -> tuple[LandClass, ...]:
    if column is None:
        return tuple(legend) if legend else (ONE_CLASS,)
    if legend is None:
        return tuple(classes_in(_series(texts), source))
    MergedClasses(rules, source).check_classes(legend)
    return tuple(legend)


def _series(texts: Sequence[str]) -> Any:
    import pandas as pd

    return pd.Series(list(texts), dtype=object)
