"""Read labels: polygons and points of vector files and tables, or rasters of class values."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from odc.geo.geom import Geometry

from rsscale.errors import RecipeError, nearest
from rsscale.geo.feature_place import check_area, check_coordinates
from rsscale.geo.grid import Grid
from rsscale.geo.vector_file import split_layer
from rsscale.layers import AFTER, BEFORE, Period, YearPair, year_of
from rsscale.legend.classes import LandClass
from rsscale.reference.class_column import class_text, classes_in, values_in, years_in
from rsscale.reference.grid_features import GridFeatures
from rsscale.reference.grid_labels import GridLabels
from rsscale.reference.label_raster import GridRaster, LabelRaster, is_raster, read_label_raster
from rsscale.reference.label_rules import LabelRules
from rsscale.reference.label_table import is_table, read_points
from rsscale.reference.merged_classes import MergedClasses
from rsscale.reference.unused_labels import BLANK, Reason, UnusedLabels
from rsscale.reference.vector_file import geometry_problem, read_vector_file

__all__ = [
    "GridLabels",
    "LabelRules",
    "Labels",
    "class_names",
    "read_columns",
    "read_frame",
    "read_labels",
]

if TYPE_CHECKING:
    import geopandas as gpd

_log = logging.getLogger(__name__)

_ALWAYS = -1
SINCE = "since"
"""Column of labels of change: the year before."""
# A straight line of this length is bent by a projection by less than a metre or so.
_LONGEST_DEGREES = 0.05
_LONGEST_METRES = 5000.0


@dataclass(frozen=True)
class Labels:
    """Labelled features, or a raster of labels.

    Attributes
    ----------
    frame : GeoDataFrame
        In its own CRS; columns ``value`` (class value), ``period`` (a year, or -1 for all),
        ``since`` of labels of change (the year before), ``geometry``. Of a raster one row with its
        outline, and no class.
    classes : tuple of LandClass
    source : str
        Where they come from, for messages.
    rules : LabelRules
        How they become pixels.
    area : Geometry or None
        In EPSG:4326: labels outside are not used.
    unused : UnusedLabels
        What reading left out: blank and ignored classes, and features outside the area.
    raster : LabelRaster or None
    """

    frame: gpd.GeoDataFrame
    classes: tuple[LandClass, ...]
    source: str
    rules: LabelRules = field(default_factory=LabelRules)
    area: Geometry | None = None
    unused: UnusedLabels = field(default_factory=UnusedLabels)
    raster: LabelRaster | None = None

    @property
    def names(self) -> dict[int, str]:
        """Names of the classes by value."""
        return {land_class.value: land_class.name for land_class in self.classes}

    def of(self, period: Period) -> Labels:
        """The labels of a year, or of change between two."""
        is_of = self.frame["period"].isin([_ALWAYS, year_of(period, AFTER)])
        if SINCE in self.frame:
            is_of &= self.frame[SINCE] == year_of(period, BEFORE)
        return replace(self, frame=self.frame[is_of])

    @property
    def pairs(self) -> tuple[YearPair, ...]:
        """Between which years there are labels of change, where their file says it."""
        if SINCE not in self.frame:
            return ()
        years = set(zip(self.frame[SINCE], self.frame["period"], strict=True))
        return tuple(YearPair(int(since), int(until)) for since, until in sorted(years))

    def on(self, grid: Grid, period: Period | None = None) -> GridLabels:
        """The labels of a year (of all years when None), or of change between two, on a grid."""
        area = None if self.area is None else grid.project(self.area).geom
        if self.raster is not None:
            return GridRaster(grid, area, self.rules.most_pixels, raster=self.raster)
        frame = (self if period is None else self.of(period)).frame
        # Long edges are bent where the grid's CRS bends them; short ones are left as they are.
        step = _LONGEST_DEGREES if frame.crs.is_geographic else _LONGEST_METRES
        frame = frame.set_geometry(shapely.segmentize(frame.geometry.values, step), crs=frame.crs)
        frame = frame.to_crs(grid.crs)
        if not frame.empty and not np.isfinite(frame.bounds.to_numpy()).all():
            row = frame.index[~np.isfinite(frame.bounds).all(axis=1)][0]
            raise RecipeError(
                f"labels {self.source}: row {row} cannot be projected to {grid.crs}; "
                "choose a CRS that covers the labels"
            )
        by_name = {name: value for value, name in self.names.items()}
        return GridFeatures(
            grid,
            area,
            self.rules.most_pixels,
            shapes=tuple(zip(frame.geometry, frame["value"].astype(int), strict=True)),
            all_touched=self.rules.all_touched,
            priority=tuple(by_name[name] for name in self.rules.priority),
            overlap=self.rules.overlap,
            edge=self.rules.edge,
        )

    def unused_in(self, by_period: Mapping[Period, GridLabels]) -> UnusedLabels:
        """All labels that are not used, by class and reason.

        Parameters
        ----------
        by_period : mapping of year, or pair of years, to GridLabels
            What :meth:`on` gives for each year that is trained on. A feature that gives pixels in
            one of them is used.
        """
        total = sum((some.unused_pixels(self.names) for some in by_period.values()), self.unused)
        if self.raster is not None:
            return total
        lost: dict[Any, Reason] = {}
        used: set[Any] = set()
        for period, some in by_period.items():
            rows, reasons = self.of(period).frame.index, some.lost()
            lost |= {rows[place]: reason for place, reason in reasons.items()}
            used |= {row for place, row in enumerate(rows) if place not in reasons}
        names = self.frame["value"].map(self.names)
        for reason in dict.fromkeys(lost.values()):
            rows = [row for row, why in lost.items() if why is reason and row not in used]
            total += UnusedLabels.of(names[rows], reason)
        others = ~self.frame.index.isin([*lost, *used])
        return total + UnusedLabels.of(names[others], Reason.OTHER_PERIOD)


def read_labels(
    path: str | Path,
    class_column: str | None,
    *,
    period_column: str | tuple[str, str] | None = None,
    classes: Sequence[LandClass] | None = None,
    layer: str | None = None,
    coordinates: Sequence[str] | None = None,
    crs: str | None = None,
    rules: LabelRules | None = None,
    area: Geometry | None = None,
) -> Labels:
    """Read labels: polygons or points of a vector file or table, or a raster of class values.

    Parameters
    ----------
    path : path
        Any vector file that GDAL reads, or GeoParquet, which must say its CRS; CSV or Parquet
        with coordinates; any raster of one band that GDAL reads.
    class_column : str or None
        The column of the class name or value, of any type: ``3``, ``3.0`` and ``"03"`` are the
        class with the value 3. Of a raster a column of its attribute table, or None.
    period_column : str or (str, str), optional
        The column of the year that a label is true for; without it they are true for all. Of labels
        of change the columns of the years from and to.
    classes : sequence of LandClass, optional
        Values, names and colours. Without them codes from 0 to 254 are the values; names are
        sorted and numbered from 1. A raster has those of its own legend.
    layer : str, optional
        Which layer of the file; needed where it has several, else they are listed.
    coordinates : (str, str), optional
        Columns of x and y, or longitude and latitude, of a table.
    crs : str, optional
        Of a table's coordinates.
    rules : LabelRules, optional
        Classes to merge and to ignore, and how labels become pixels.
    area : Geometry, optional
        In EPSG:4326: labels outside are left out and counted.

    Raises
    ------
    RecipeError
        When the file, the column, a class or the CRS is missing, a geometry is not valid, or no
        label is in the area; the message names the row.
    """
    rules = rules or LabelRules()
    file = split_layer(path)[0]
    if file.exists() and not (is_table(file) or _has_layers(file)) and is_raster(file):
        of_periods = "period_column" if isinstance(period_column, str) else "change.columns"
        _refuse_for_raster(
            path, labels_layer=layer, coordinates=coordinates, labels_crs=crs,
            **{of_periods: period_column},
        )  # fmt: skip
        raster = read_label_raster(file, class_column, classes, rules, area)
        return Labels(raster.outline, raster.classes, str(path), rules, area, raster.unused, raster)
    if class_column is None:
        raise RecipeError(
            f"labels {path}: say with train.class which column holds the class name; there are "
            f"{read_columns(path)}"
        )
    frame = read_frame(path, layer, coordinates, crs)
    names = _column(frame, class_column, path)
    problem = geometry_problem(frame)
    if problem:
        raise RecipeError(f"labels {path}: {problem}")
    check_coordinates(frame.bounds.to_numpy(), frame.crs, f"labels {path}")
    frame = frame[["geometry"]].assign(**_periods(frame, period_column, path))
    texts, unused = class_names(names, rules, f"labels {path}")
    frame = frame.assign(name=texts)[texts.notna()]
    frame, unused_outside = _in_area(frame, area, path)
    texts = frame["name"]
    if classes is None:
        classes = classes_in(texts, f"labels {path}")
    else:
        MergedClasses(rules, f"labels {path}").check_classes(classes)
    frame = frame.assign(value=values_in(texts, classes, f"labels {path}")).drop(columns="name")
    _check_priority(rules.priority, classes, path)
    labels = Labels(frame, tuple(classes), str(path), rules, area, unused + unused_outside)
    _warn_of_single(labels)
    return labels


def _refuse_for_raster(path: str | Path, **keys: Any) -> None:
    for key, value in keys.items():
        if value is not None:
            raise RecipeError(
                f"labels {path} are a raster, and {key} is for polygons, points and tables; leave "
                "it out"
            )


def _in_area(
    frame: gpd.GeoDataFrame, area: Geometry | None, path: str | Path
) -> tuple[gpd.GeoDataFrame, UnusedLabels]:
    """Features that reach into the area, and how many of each class do not."""
    if area is None:
        return frame, UnusedLabels()
    check_area(frame.bounds.to_numpy(), frame.crs, area, f"labels {path}")
    degrees = frame.geometry.to_crs("EPSG:4326")
    shapely.prepare(area.geom)
    # What can't be projected is refused where it is put on the grid, by its row.
    is_near = shapely.intersects(area.geom, degrees.values) | ~np.isfinite(
        degrees.bounds.to_numpy()
    ).all(axis=1)
    unused = UnusedLabels.of(frame["name"][~is_near], Reason.OUTSIDE_AREA)
    if not is_near.any():
        raise RecipeError(f"labels {path} have nothing in the area: {'; '.join(unused.lines())}")
    return frame[is_near], unused


def class_names(column: Any, rules: LabelRules, source: str) -> tuple[Any, UnusedLabels]:
    """Class names of features, those that are merged by their new one; None where not used."""
    import pandas as pd

    merged = MergedClasses(rules, source)
    texts = [class_text(value) for value in column]
    counts = Counter(texts)
    merged.check_known(text for text in counts if text is not None)
    ignored = {text for text in counts if text is not None and merged.is_ignored(text)}
    targets = {
        text: None if text is None or text in ignored else merged.name_of(text) or text
        for text in counts
    }
    if not any(targets.values()):
        reason = "are listed in train.ignore" if ignored else "have no class"
        raise RecipeError(f"{source}: all {len(texts)} features {reason}")
    unused = UnusedLabels.of([BLANK] * counts[None], Reason.BLANK) + UnusedLabels.of(
        [text for text in texts if text in ignored and text is not None], Reason.IGNORED
    )
    return pd.Series([targets[text] for text in texts], column.index, object), unused


def _check_priority(
    priority: Sequence[str], classes: Sequence[LandClass], path: str | Path
) -> None:
    names = [land_class.name for land_class in classes]
    for name in priority:
        if name not in names:
            raise RecipeError(
                f"labels {path}: 'priority' names {name!r}, which is no class; there are "
                f"{names}{nearest(name, names)}"
            )


def _warn_of_single(labels: Labels) -> None:
    """Warn of classes with one feature: what is measured of it is not the accuracy of a class."""
    counts = Counter(labels.frame["value"])
    single = [name for value, name in labels.names.items() if counts[value] == 1]
    if single:
        _log.warning(
            "labels %s: a single feature of %s; add more, since one place says little of a class: "
            "it is learnt or measured there alone",
            labels.source,
            ", ".join(map(repr, single)),
        )


def read_columns(path: str | Path) -> list[str]:
    """Names of the columns of a vector file."""
    frame = read_frame(path)
    return [str(name) for name in frame.columns if name != "geometry"]


def read_frame(
    given: str | Path,
    layer: str | None = None,
    coordinates: Sequence[str] | None = None,
    crs: str | None = None,
) -> gpd.GeoDataFrame:
    """Read a vector file or table, its geometry flat and in the column ``geometry``.

    Parameters
    ----------
    given : path
        May name its layer as QGIS does.
    layer : str, optional
        Needed where the file has several.
    coordinates : (str, str), optional
    crs : str, optional
        Of a table; see :func:`rsscale.reference.label_table.read_points`.

    Raises
    ------
    RecipeError
    """
    path, named = split_layer(given)
    if not path.exists():
        raise RecipeError(f"there are no labels at {path}")
    if is_table(path):
        if layer or named:
            raise RecipeError(f"labels {path} are a table, which has no layers; leave it out")
        return read_points(path, coordinates, crs)
    if coordinates is not None or crs is not None:
        key = "coordinates" if coordinates is not None else "labels_crs"
        raise RecipeError(
            f"labels {path} are a vector file, which says where they lie; leave train.{key} out"
        )
    frame = read_vector_file(
        path, f"labels {path}", layer or named, key="layer (labels_layer in a recipe)"
    )
    frame = frame.rename_geometry("geometry") if frame.geometry.name != "geometry" else frame
    return frame.set_geometry(frame.geometry.force_2d())


def _has_layers(path: Path) -> bool:
    """Whether a file holds vector layers, as a GeoPackage may beside rasters."""
    import pyogrio

    try:
        return len(pyogrio.list_layers(path)) > 0
    except Exception:  # noqa: BLE001 -- pyogrio and GDAL each raise their own
        return False


def _column(frame: gpd.GeoDataFrame, column: str, path: str | Path) -> Any:
    columns = [str(c) for c in frame.columns if c != "geometry"]
    if column not in columns:
        raise RecipeError(
            f"labels {path} have no column {column!r}; "
            f"there are {columns}{nearest(column, columns)}"
        )
    return frame[column]


def _periods(
    frame: gpd.GeoDataFrame, columns: str | tuple[str, str] | None, path: str | Path
) -> dict[str, Any]:
    """Columns of the years that labels are true for."""
    if columns is None:
        return {"period": _ALWAYS}
    if isinstance(columns, str):
        return {"period": years_in(_column(frame, columns, path), path)}
    since, until = (years_in(_column(frame, column, path), path) for column in columns)
    for row, (first, last) in enumerate(zip(since, until, strict=True)):
        if first >= last:
            raise RecipeError(
                f"labels {path}: row {row} is a change from {first} to {last}; expected a year and "
                f"a later one in the columns {columns[0]!r} and {columns[1]!r}"
            )
    return {"period": until, SINCE: since}
