"""Read rasters of class values as labels: which codes they hold, and what each stands for."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import shapely
from odc.geo.geom import Geometry
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from rsscale.errors import ModelError, ReadError, RecipeError
from rsscale.geo.feature_place import check_area
from rsscale.geo.lattice import PixelBox
from rsscale.layers import NODATA
from rsscale.legend.attribute_table import read_legend
from rsscale.legend.classes import LandClass
from rsscale.legend.palette import class_palette
from rsscale.reference.class_column import class_text
from rsscale.reference.class_raster import RasterOnGrid, check_raster, lent_raster
from rsscale.reference.grid_labels import GridLabels, Values
from rsscale.reference.label_rules import LabelRules
from rsscale.reference.merged_classes import MergedClasses
from rsscale.reference.unused_labels import Reason, Unit, UnusedLabels
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import geopandas as gpd

_READ = 2048  # pixels a side of what is counted at a time
_MOST_CODES = 4096
_MOST_NAMED = 5


@dataclass(frozen=True)
class LabelRaster:
    """A raster of labels.

    Attributes
    ----------
    path : Path
    codes : mapping of int to int
        Class value of each code; others are no label.
    outline : GeoDataFrame
        A row with the part of the raster that is read, in the raster's CRS.
    classes : tuple of LandClass
    unused : UnusedLabels
        Pixels of the raster that are ignored.
    """

    path: Path
    codes: Mapping[int, int]
    outline: gpd.GeoDataFrame
    classes: tuple[LandClass, ...]
    unused: UnusedLabels


@dataclass(frozen=True, kw_only=True)
class GridRaster(GridLabels):
    """A raster of labels as pixels of a grid: each has the value nearest to its centre.

    Attributes
    ----------
    raster : LabelRaster
    """

    raster: LabelRaster

    def values(self, box: PixelBox) -> Values:
        """Class values of a box, ``(rows, cols)``, whatever the area; 255 where unlabelled."""
        return self._on_grid.read(box)

    def touched(self, size: int) -> list[PixelBox]:
        """Blocks of the global ``size`` px lattice that may hold a label, sorted."""
        shape = self._outline
        if shape.is_empty:
            return []
        return [
            block
            for block in self.grid.box(Geometry(shape, self.grid.crs)).blocks(size)
            if self.grid.overlaps(shape, block)
        ]

    def lost(self) -> dict[int, Reason]:
        """No feature is lost: a raster has none."""
        return {}

    @cached_property
    def _on_grid(self) -> RasterOnGrid:
        return RasterOnGrid(self.raster.path, self.grid, self.raster.codes)

    @cached_property
    def _outline(self) -> shapely.Geometry:
        """The raster's outline inside the area, in the grid's CRS."""
        outline = self.raster.outline
        shape = self.grid.project(Geometry(outline.geometry.iloc[0], outline.crs)).geom
        return shape if self.area is None else shape.intersection(self.area)


def is_raster(path: Path) -> bool:
    """Whether GDAL reads a file as a raster with a band.

    Raises
    ------
    RecipeError
        When it is a raster that can't be one of class values.
    """
    with warnings.catch_warnings():
        # A raster that lies nowhere is refused in one line, here and not by a warning.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as dataset:
                if dataset.count:
                    check_raster(dataset, path)
                return bool(dataset.count)
        except (RasterioError, OSError):
            return False


def read_label_raster(
    path: Path,
    column: str | None,
    classes: Sequence[LandClass] | None,
    rules: LabelRules,
    area: Geometry | None,
) -> LabelRaster:
    """Read which codes a raster holds in an area, and what each stands for.

    Parameters
    ----------
    path : Path
        One band of whole numbers of any size; nodata, NaN and 255 are no label.
    column : str or None
        Column of the raster's attribute table that holds the class name.
    classes : sequence of LandClass, optional
        By their names in the raster's own legend, or their values. Without them, and where they
        fit, codes are the values, with the names and colours of the legend.
    rules : LabelRules
    area : Geometry, optional
        In EPSG:4326; pixels outside its bounds are not read.

    Raises
    ------
    RecipeError
        When it is no raster of classes, lies outside the area, or has codes of no class.
    """
    source = f"labels {path}"
    rules.refuse_for_raster(source)
    merged = MergedClasses(rules, source)
    try:
        legend = read_legend(path, column)
        with lent_raster(path) as dataset:
            check_raster(dataset, path)
            window = _window(dataset, area, source)
            counts = _count_codes(dataset, window, source)
            outline = _outline(dataset, window)
            colors = legend.colors or _color_table(dataset)
    except ModelError as error:
        raise RecipeError(f"labels {error}") from None
    except (RasterioError, OSError, ReadError) as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"{source} can't be read as a raster: {reason}") from None
    if not counts:
        raise RecipeError(f"{source} hold no value here: all is nodata")
    names = {code: class_text(legend.names.get(code)) or str(code) for code in counts}
    ignored = {code for code, name in names.items() if merged.is_ignored(name, str(code))}
    unused = sum(
        (
            UnusedLabels.of_pixels({names[c]: counts[c]}, Reason.IGNORED, Unit.RASTER_PIXELS)
            for c in ignored
        ),
        UnusedLabels(),
    )
    kept = {code: number for code, number in counts.items() if code not in ignored}
    if not kept:
        raise RecipeError(f"{source}: all values {sorted(counts)} are listed in train.ignore")
    targets = {code: merged.name_of(names[code], str(code)) for code in kept}
    if classes is None:
        classes, codes = _own_classes(kept, names, targets, colors, source)
    else:
        merged.check_classes(classes)
        codes = _given_classes(kept, names, targets, classes, source)
    return LabelRaster(path, codes, outline, tuple(classes), unused)


def _window(dataset: rasterio.DatasetReader, area: Geometry | None, source: str) -> Window:
    """Pixels of the raster around the area; all of them where there is none."""
    whole = Window(0, 0, dataset.width, dataset.height)
    if area is None:
        return whole
    check_area(np.array([dataset.bounds]), dataset.crs.to_wkt(), area, source)
    try:
        step = max(area.boundingbox.span_x, area.boundingbox.span_y) / 256
        dense = Geometry(shapely.segmentize(area.geom, step), area.crs)
        west, south, east, north = dense.to_crs(dataset.crs.to_wkt()).boundingbox.bbox
    except ValueError:  # not finite: the area reaches further than the raster's CRS
        return whole
    corners = [~dataset.transform * (x, y) for x in (west, east) for y in (south, north)]
    cols, rows = np.array(corners).T
    if not np.isfinite(corners).all():
        return whole
    # One more on each side: the pixel nearest to a centre in the area.
    col0, row0 = (max(int(np.floor(v.min())) - 1, 0) for v in (cols, rows))
    col1 = min(int(np.ceil(cols.max())) + 1, dataset.width)
    row1 = min(int(np.ceil(rows.max())) + 1, dataset.height)
    if col1 <= col0 or row1 <= row0:
        return whole
    return Window(col0, row0, col1 - col0, row1 - row0)


def _count_codes(dataset: rasterio.DatasetReader, window: Window, source: str) -> Counter[int]:
    """Pixels of each code, nodata left out."""
    counts: Counter[int] = Counter()
    for part in _parts(window):
        values = dataset.read(1, window=part)
        values = values[dataset.read_masks(1, window=part) != 0]
        if values.dtype.kind not in "biuf":
            raise RecipeError(f"{source} hold {values.dtype}; expected whole numbers")
        if values.dtype.kind == "f":
            values = values[~np.isnan(values)]
            _refuse_fractions(values, source)
        codes, numbers = np.unique(values, return_counts=True)
        counts.update({int(c): int(n) for c, n in zip(codes, numbers, strict=True)})
        if len(counts) > _MOST_CODES:
            raise RecipeError(
                f"{source} hold more than {_MOST_CODES} different values; expected classes: is "
                "this a raster of a quantity?"
            )
    del counts[NODATA]
    return Counter(dict(sorted(counts.items())))


def _refuse_fractions(values: np.ndarray, source: str) -> None:
    is_fraction = ~(np.isfinite(values) & (values == np.rint(values)))
    if is_fraction.any():
        first = values[is_fraction][0]
        raise RecipeError(
            f"{source} hold {first:.6g} ({int(is_fraction.sum()):,} pixels are no whole numbers); "
            "expected class values: if it is a quantity, cut it into classes first"
        )


def _parts(window: Window) -> Iterator[Window]:
    right, bottom = window.col_off + window.width, window.row_off + window.height
    for row in range(window.row_off, bottom, _READ):
        for col in range(window.col_off, right, _READ):
            yield Window(col, row, min(_READ, right - col), min(_READ, bottom - row))


def _outline(dataset: rasterio.DatasetReader, window: Window) -> gpd.GeoDataFrame:
    import geopandas as gpd

    col0, row0 = window.col_off, window.row_off
    col1, row1 = col0 + window.width, row0 + window.height
    corners = [(col0, row0), (col1, row0), (col1, row1), (col0, row1)]
    shape = shapely.Polygon([dataset.transform * corner for corner in corners])
    return gpd.GeoDataFrame(
        {"value": [NODATA], "period": [-1]}, geometry=[shape], crs=dataset.crs.to_wkt()
    )


def _color_table(dataset: rasterio.DatasetReader) -> dict[int, str]:
    """Colours of a raster's own colour table; empty where it has none."""
    try:
        table = dataset.colormap(1)
    except ValueError:
        return {}
    return {code: "#{:02x}{:02x}{:02x}".format(*rgba[:3]) for code, rgba in table.items()}


def _given_classes(
    counts: Mapping[int, int],
    names: Mapping[int, str],
    targets: Mapping[int, str | None],
    classes: Sequence[LandClass],
    source: str,
) -> dict[int, int]:
    """Class values of codes: by the class that they are merged into, their name, or themselves."""
    by_name = {class_text(c.name): c.value for c in classes}
    values = {c.value for c in classes}
    codes: dict[int, int] = {}
    for code in counts:
        value = by_name.get(targets[code] or names[code])
        if value is None and code in values:
            value = code
        if value is not None:
            codes[code] = value
    unknown = [code for code in counts if code not in codes]
    if unknown:
        most = sorted(unknown, key=lambda code: -counts[code])[:_MOST_NAMED]
        named = ", ".join(
            f"{_called(code, names)} ({counted(counts[code], 'pixel')})" for code in most
        )
        more = f" and {len(unknown) - len(most)} more" if len(unknown) > len(most) else ""
        listed = ", ".join(f"{c.value} {c.name!r}" for c in classes)
        raise RecipeError(
            f"{source} hold {named}{more}, not among the classes {listed}; list them in "
            "train.merge, train.ignore or train.classes"
        )
    return codes


def _own_classes(
    counts: Mapping[int, int],
    names: Mapping[int, str],
    targets: Mapping[int, str | None],
    colors: Mapping[int, str],
    source: str,
) -> tuple[tuple[LandClass, ...], dict[int, int]]:
    """The raster's own classes: codes are values where they fit, else numbered from 1."""
    members: dict[str, list[int]] = {}
    for code in sorted(counts):
        members.setdefault(targets[code] or names[code], []).append(code)
    negative = [code for code in counts if code < 0 and targets[code] is None]
    if negative:
        raise RecipeError(
            f"{source} hold {negative[0]} ({counted(counts[negative[0]], 'pixel')}), which is "
            "no class value; declare it as nodata, or list it in train.ignore"
        )
    if len(members) >= NODATA:
        raise RecipeError(
            f"{source} hold {len(members)} different values; at most 254 classes fit a map: merge "
            "them with train.merge"
        )
    # Of a class that several codes are merged into, the lowest that can be a value.
    firsts = [next((c for c in codes if 0 <= c < NODATA), None) for codes in members.values()]
    own_values = [code for code in firsts if code is not None]
    values = own_values if len(own_values) == len(firsts) else list(range(1, len(members) + 1))
    shown = [
        c if first is None else first
        for first, (c, *_) in zip(firsts, members.values(), strict=True)
    ]
    # Those of the file where each class has one of its own: a colour table that says nothing of a
    # value has it black.
    own = {color for code in shown if (color := colors.get(code))}
    drawn = [colors[c] for c in shown] if len(own) == len(members) else class_palette(list(members))
    classes = tuple(
        LandClass(value, name, color)
        for value, name, color in zip(values, members, drawn, strict=True)
    )
    by_code = zip(values, members.values(), strict=True)
    return classes, {code: value for value, codes in by_code for code in codes}


def _called(code: int, names: Mapping[int, str]) -> str:
    return str(code) if names[code] == str(code) else f"{code} {names[code]!r}"
