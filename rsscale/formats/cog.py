"""Write a layer as a Cloud Optimized GeoTIFF, window by window, with overviews by the layer's rule.

GDAL's own COG driver lays the file out; what it copies is a virtual raster over one plain GeoTIFF
for each level. So the overviews hold the values that rsscale gives them (GDAL's mode and average
mix in nodata or round otherwise), and memory does not grow with the area.
"""

from __future__ import annotations

import math
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio
import rasterio.shutil
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window

from rsscale import durable
from rsscale.errors import StorageError
from rsscale.layers import Layer
from rsscale.legend.flags import FlagClass, flag_classes
from rsscale.read.file_pool import bound_cache

BLOCK = 512
# A power of two: overviews of a window are those of the whole raster, up to level 11.
_WINDOW = 2048
_WINDOW_BYTES = 64 * 2**20
_GDAL_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "float32": "Float32",
}
_MOST_CATEGORIES = 4096

_Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Raster:
    """One layer of one period, as it is written to a file.

    Attributes
    ----------
    layer : Layer
        Type, nodata, scale, legend, rule for overviews.
    geobox : GeoBox
        North up.
    read : callable
        Gives the stored values ``(y, x)`` or ``(axis, y, x)`` of rows and columns.
    bands : tuple of str
        Description of each band; one, or as many as the axis has values.
    tags : mapping of str to str
        Metadata of the file.
    """

    layer: Layer
    geobox: GeoBox
    read: Callable[[slice, slice], _Array]
    bands: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def wkt(self) -> str:
        """The CRS as WKT2, which knows all that PROJ knows."""
        return pyproj.CRS.from_user_input(str(self.geobox.crs)).to_wkt()

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Height and width of each level, from fine to coarse: the last one fits a block."""
        shapes = [(int(self.geobox.shape[0]), int(self.geobox.shape[1]))]
        while max(shapes[-1]) > BLOCK and len(shapes) <= math.log2(_WINDOW):
            shapes.append(tuple(math.ceil(size / 2) for size in shapes[-1]))  # type: ignore[arg-type]
        return shapes if self.layer.overview != "none" else shapes[:1]

    def part(
        self, rows: slice, cols: slice, where: Callable[[slice, slice], _Array] | None = None
    ) -> Raster:
        """The same raster over some of its rows and columns.

        Parameters
        ----------
        rows, cols : slice
            Of this raster, with start and stop.
        where : callable, optional
            Takes rows and columns of the part, gives a bool array ``(y, x)``: nodata elsewhere.
        """

        def read(part_rows: slice, part_cols: slice) -> _Array:
            values = self.read(_shifted(part_rows, rows), _shifted(part_cols, cols))
            if where is None:
                return values
            nodata = self.layer.numpy_dtype.type(self.layer.nodata)
            return np.where(where(part_rows, part_cols), values, nodata)

        return replace(self, geobox=self.geobox[rows, cols], read=read)

    def windows(self) -> list[tuple[slice, slice]]:
        """Rows and columns that are read at a time."""
        side = _WINDOW
        while side > BLOCK and side * side * self.layer.pixel_bytes > _WINDOW_BYTES:
            side //= 2
        height, width = self.shapes[0]
        return [
            (slice(row, min(row + side, height)), slice(col, min(col + side, width)))
            for row in range(0, height, side)
            for col in range(0, width, side)
        ]


def _shifted(inner: slice, outer: slice) -> slice:
    return slice(inner.start + outer.start, inner.stop + outer.start)


def write_cog(
    raster: Raster,
    path: Path,
    halve: Callable[[_Array], _Array],
    on_window: Callable[[], None] = lambda: None,
) -> None:
    """Write a raster as a Cloud Optimized GeoTIFF: there whole, or not at all.

    Blocks of 512 px, DEFLATE. Classes get a colour table and, in ``PATH.aux.xml`` where GDAL
    and QGIS look for it, names and an attribute table. What was written is read again and compared.

    Parameters
    ----------
    raster : Raster
    path : Path
        Replaced if it is there. Its folder must have room for twice the file.
    halve : callable
        Takes values ``(…, 2 * y, 2 * x)`` of one level to ``(…, y, x)`` of the next.
    on_window : callable
        Called after each of ``raster.windows()``.

    Raises
    ------
    StorageError
        When the file can't be written.
    """
    # GDAL takes a twentieth of the machine's memory for blocks that are never asked for again.
    bound_cache()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{path.name}.", suffix=".partial", dir=path.parent
        ) as scratch:
            made = Path(scratch) / path.name
            sums = _write_levels(raster, Path(scratch), halve, on_window)
            (Path(scratch) / "all.vrt").write_bytes(_virtual(raster))
            rasterio.shutil.copy(
                Path(scratch) / "all.vrt", made, driver="COG", **_creation_options(raster)
            )
            _compare(raster, made, sums)
            _put(made, path)
    except (OSError, RasterioError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise StorageError(
            f"{path} can't be written: {reason}; free the disk or choose another --to"
        ) from error


def _creation_options(raster: Raster) -> dict[str, Any]:
    options = {
        "compress": "DEFLATE",
        "blocksize": BLOCK,
        "overviews": "FORCE_USE_EXISTING",
        "bigtiff": "IF_SAFER",
        "num_threads": "ALL_CPUS",
    }
    if raster.layer.overview == "mean":  # neighbours of classes are no numbers to subtract
        options["predictor"] = "YES"
    return options


def _write_levels(
    raster: Raster,
    folder: Path,
    halve: Callable[[_Array], _Array],
    on_window: Callable[[], None],
) -> list[int]:
    """Write a GeoTIFF for each level; returns the checksum of each window."""
    layer, shapes = raster.layer, raster.shapes
    files = [
        rasterio.open(
            folder / f"{level}.tif", "w", driver="GTiff", height=height, width=width,
            count=layer.depth, dtype=layer.dtype, crs=raster.wkt,
            transform=raster.geobox.affine @ Affine.scale(2**level), interleave="band",
            tiled=True, blockxsize=_block(level), blockysize=_block(level), compress="deflate",
            zlevel=1, bigtiff="IF_SAFER",
        )
        for level, (height, width) in enumerate(shapes)
    ]  # fmt: skip
    sums = []
    try:
        for rows, cols in raster.windows():
            values = raster.read(rows, cols)
            sums.append(_checksum(values))
            place = (rows.start, cols.start)
            for level, file in enumerate(files):
                if level:
                    values = halve(_even(values, layer))
                    place = (place[0] // 2, place[1] // 2)
                height, width = values.shape[-2:]
                file.write(
                    values.reshape(layer.depth, height, width),
                    window=Window(place[1], place[0], width, height),
                )
            on_window()
    finally:
        for file in files:
            file.close()
    return sums


def _block(level: int) -> int:
    """Each block of a level is written by one window, once."""
    return int(max(min(BLOCK, BLOCK >> level), 16))


def _even(values: _Array, layer: Layer) -> _Array:
    """With a row and a column of nodata where there would be half a pixel of the next level."""
    rows, cols = (size % 2 for size in values.shape[-2:])
    if not rows and not cols:
        return values
    padding = [(0, 0)] * (values.ndim - 2) + [(0, rows), (0, cols)]
    return np.pad(values, padding, constant_values=layer.numpy_dtype.type(layer.nodata))


def _compare(raster: Raster, path: Path, sums: list[int]) -> None:
    """Refuse a file that does not hold what was read: GDAL drops some errors when it closes one."""
    with rasterio.open(path) as file:
        for (rows, cols), known in zip(raster.windows(), sums, strict=True):
            values = file.read(window=Window.from_slices(rows, cols))
            if _checksum(values) != known:
                raise OSError("it does not hold what was written")


def _checksum(values: _Array) -> int:
    return zlib.crc32(np.ascontiguousarray(values).tobytes())


def _put(made: Path, path: Path) -> None:
    """Move the file to its place, with what GDAL writes beside it first."""
    beside = made.with_name(f"{made.name}.aux.xml")
    target = path.with_name(f"{path.name}.aux.xml")
    if beside.exists():
        durable.sync(beside)
        beside.replace(target)
    else:
        target.unlink(missing_ok=True)  # of an older file
    durable.sync(made)
    made.replace(path)
    durable.sync(path.parent)


def _virtual(raster: Raster) -> bytes:
    """GDAL's virtual raster (VRT) over the files of all levels, with all that people see.

    https://gdal.org/en/stable/drivers/raster/vrt.html
    """
    height, width = raster.shapes[0]
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    ET.SubElement(root, "SRS").text = raster.wkt
    transform = raster.geobox.affine.to_gdal()
    ET.SubElement(root, "GeoTransform").text = ", ".join(repr(float(v)) for v in transform)
    _metadata(root, raster.tags)
    for number, name in enumerate(raster.bands, start=1):
        _band(root, raster, number, name)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _band(root: ET.Element, raster: Raster, number: int, name: str) -> None:
    layer = raster.layer
    band = ET.SubElement(root, "VRTRasterBand", dataType=_GDAL_TYPES[layer.dtype], band=str(number))
    ET.SubElement(band, "Description").text = name
    _metadata(band, {k: _plain(v) for k, v in layer.attributes.items()})
    if "units" in layer.attributes:
        ET.SubElement(band, "UnitType").text = str(layer.attributes["units"])
    if layer.is_scaled:
        ET.SubElement(band, "Offset").text = repr(float(layer.offset))
        ET.SubElement(band, "Scale").text = repr(float(layer.scale))
    ET.SubElement(band, "NoDataValue").text = repr(float(layer.nodata))
    _classes(band, layer)
    for level in range(len(raster.shapes)):
        source = ET.SubElement(band, "Overview" if level else "SimpleSource")
        ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = f"{level}.tif"
        ET.SubElement(source, "SourceBand").text = str(number)


def _classes(band: ET.Element, layer: Layer) -> None:
    """Colour table, names by value, and an attribute table that says both."""
    classes = flag_classes(layer.attributes)
    if not classes:
        return
    values = [entry.value for entry in classes]
    by_value = {entry.value: entry for entry in classes}
    if layer.dtype == "uint8" and all(entry.color for entry in classes):
        ET.SubElement(band, "ColorInterp").text = "Palette"
        table = ET.SubElement(band, "ColorTable")
        for value in range(256):
            known = by_value.get(value)
            rgb = known.rgb if known else (0, 0, 0)
            parts = {f"c{k}": str(c) for k, c in enumerate((*rgb, 255 if known else 0), start=1)}
            ET.SubElement(table, "Entry", parts)
    if min(values) >= 0 and max(values) < _MOST_CATEGORIES:
        names = ET.SubElement(band, "CategoryNames")
        for value in range(max(values) + 1):
            known = by_value.get(value)
            ET.SubElement(names, "Category").text = known.name if known else ""
    band.append(_attribute_table(classes))


def _attribute_table(classes: Sequence[FlagClass]) -> ET.Element:
    # Types 0 integer, 2 text; usages 5 value, 2 name, 6 to 8 red, green, blue (GDALRATFieldUsage).
    columns = [("Value", 0, 5), ("Class", 2, 2)]
    is_coloured = all(entry.color for entry in classes)
    columns += [("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8)] if is_coloured else []
    table = ET.Element("GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(columns):
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(column, tag).text = str(text)
    for index, entry in enumerate(classes):
        row = ET.SubElement(table, "Row", index=str(index))
        for value in (entry.value, entry.name, *(entry.rgb if is_coloured else ())):
            ET.SubElement(row, "F").text = str(value)
    return table


def _metadata(parent: ET.Element, tags: Mapping[str, str]) -> None:
    if tags:
        metadata = ET.SubElement(parent, "Metadata")
        for key, value in tags.items():
            ET.SubElement(metadata, "MDI", key=key).text = value


def _plain(value: Any) -> str:
    if hasattr(value, "tolist"):
        value = value.tolist()
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
