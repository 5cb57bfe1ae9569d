"""Read names and colours of a raster's classes, as GDAL and ArcGIS write them beside it.

GDAL writes category names, an attribute table and a colour table into ``file.tif.aux.xml``
(https://gdal.org/en/stable/user/raster_data_model.html), ArcGIS a table ``file.tif.vat.dbf``.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rsscale.errors import ModelError, nearest

# GDALRATFieldUsage: what a column of an attribute table is for.
_NAME, _VALUE, _RGB = 2, 5, (6, 7, 8)
_NAMED_VALUE = ("value", "code", "gridcode")
_NAMED_NAME = ("class", "class_name", "classname", "name", "label", "landcover", "land_cover")
_NAMED_RGB = ("red", "green", "blue")


@dataclass(frozen=True)
class RasterLegend:
    """Names and colours of a raster's values.

    Attributes
    ----------
    names : mapping of int to str
    colors : mapping of int to str
        ``"#rrggbb"``.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    colors: Mapping[int, str] = field(default_factory=dict)


def read_legend(path: Path, column: str | None = None) -> RasterLegend:
    """Read the names and colours that lie beside a raster file, of its first band.

    Parameters
    ----------
    path : Path
        A virtual raster (VRT) holds them itself.
    column : str, optional
        Column of the attribute table that holds the class name.

    Returns
    -------
    RasterLegend
        Empty where there are none.

    Raises
    ------
    ModelError
        When a column is named that no attribute table has.
    """
    band = _band(path)
    table = _attribute_rows(band) or _database_rows(path)
    if column is not None and (table is None or column not in table.columns):
        there = table.columns if table else []
        raise ModelError(
            f"{path} has no attribute table with the column {column!r}; there are {there}"
            f"{nearest(column, there)}; leave it out to take the values as they are"
        )
    names = _categories(band)
    colors: dict[int, str] = _color_table(band)
    if table is not None:
        names |= table.names(column)
        colors |= table.colors()
    return RasterLegend(names, colors)


@dataclass(frozen=True)
class _Table:
    """An attribute table; usages are 0 where they are not known."""

    columns: list[str]
    usages: list[int]
    rows: list[list[str]]

    def names(self, column: str | None) -> dict[int, str]:
        value = self._place((_VALUE,), _NAMED_VALUE)
        name = self.columns.index(column) if column else self._place((_NAME,), _NAMED_NAME)
        if value is None or name is None:
            return {}
        texts = {_whole(row[value]): row[name].strip() for row in self.rows}
        return {code: text for code, text in texts.items() if code is not None and text}

    def colors(self) -> dict[int, str]:
        value = self._place((_VALUE,), _NAMED_VALUE)
        places = [
            self._place((usage,), (name,)) for usage, name in zip(_RGB, _NAMED_RGB, strict=True)
        ]
        if value is None or None in places:
            return {}
        colors = {}
        for row in self.rows:
            code, rgb = _whole(row[value]), [_whole(row[p]) for p in places if p is not None]
            if code is not None:
                colors[code] = _color(rgb)
        return {code: color for code, color in colors.items() if color}

    def _place(self, usages: Sequence[int], names: Sequence[str]) -> int | None:
        """The column with a usage, else with a usual name."""
        for place, usage in enumerate(self.usages):
            if usage in usages:
                return place
        lower = [column.lower() for column in self.columns]
        return next((lower.index(name) for name in names if name in lower), None)


def _band(path: Path) -> ET.Element | None:
    """What GDAL's XML says of the first band."""
    file = path if path.suffix.lower() == ".vrt" else path.with_name(f"{path.name}.aux.xml")
    try:
        root = ET.parse(file).getroot()  # noqa: S314 -- a local file; expat bounds entities
    except (OSError, ET.ParseError):
        return None
    bands = [*root.iter("PAMRasterBand"), *root.iter("VRTRasterBand")]
    return next((band for band in bands if band.get("band", "1") == "1"), None)


def _categories(band: ET.Element | None) -> dict[int, str]:
    names = band.find("CategoryNames") if band is not None else None
    texts = enumerate((entry.text or "").strip() for entry in names) if names is not None else ()
    return {code: text for code, text in texts if text}


def _color_table(band: ET.Element | None) -> dict[int, str]:
    table = band.find("ColorTable") if band is not None else None
    entries = enumerate(table) if table is not None else ()
    colors = {
        code: _color([_whole(entry.get(f"c{k}", "")) for k in (1, 2, 3)])
        for code, entry in entries
        if entry.get("c4", "255") != "0"
    }
    return {code: color for code, color in colors.items() if color}


def _attribute_rows(band: ET.Element | None) -> _Table | None:
    table = band.find("GDALRasterAttributeTable") if band is not None else None
    if table is None:
        return None
    fields = sorted(table.findall("FieldDefn"), key=lambda f: int(f.get("index", "0")))
    columns = [field.findtext("Name") or "" for field in fields]
    usages = [_whole(field.findtext("Usage") or "0") or 0 for field in fields]
    rows = [[cell.text or "" for cell in row.findall("F")] for row in table.findall("Row")]
    return _Table(columns, usages, [row for row in rows if len(row) == len(columns)])


def _database_rows(path: Path) -> _Table | None:
    file = path.with_name(f"{path.name}.vat.dbf")
    if not file.exists():
        return None
    import geopandas as gpd

    frame = gpd.read_file(file)
    columns = [str(name) for name in frame.columns if name != "geometry"]
    rows = [
        ["" if cell is None else str(cell) for cell in row]
        for row in frame[columns].itertuples(index=False)
    ]
    return _Table(columns, [0] * len(columns), rows)


def _whole(text: str) -> int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _color(rgb: Sequence[int | None]) -> str | None:
    parts = [part for part in rgb if part is not None and 0 <= part <= 255]
    return "#{:02x}{:02x}{:02x}".format(*parts) if len(parts) == len(rgb) == 3 else None
