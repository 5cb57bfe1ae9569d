"""How objects are written in each format: a stream of batches goes to GDAL, or to Parquet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely

from rsscale.errors import RecipeError, StorageError
from rsscale.object_files.hilbert import hilbert_order
from rsscale.objects.columns import GEOMETRY

if TYPE_CHECKING:
    import pyarrow as pa

_COVERING = "bbox"
# Rows of a row group: GeoParquet's guide has 50,000 to 150,000.
_GROUP = 65_536
# Rows that GDAL is given at a time.
_BATCH = 8_192
_gdal_options = threading.Lock()  # those of the process


@dataclass(frozen=True)
class Feed:
    """Objects as they are written: tables in order, and what is said of them.

    Attributes
    ----------
    step : str
    spans : tuple of str
    schema : pyarrow.Schema
    crs : pyproj.CRS
    updated : str
        When the run last changed: files that have a date have this one.
    metadata : mapping of str to str
    tables : callable
        Gives the tables of a span, one after another.
    """

    step: str
    spans: tuple[str, ...]
    schema: pa.Schema
    crs: pyproj.CRS
    updated: str
    metadata: Mapping[str, str]
    tables: Callable[[str], Iterator[pa.Table]]

    def all_tables(self) -> Iterator[pa.Table]:
        """Those of all spans."""
        for span in self.spans:
            yield from self.tables(span)


def write_parquet(feed: Feed, path: Path) -> None:
    """Write GeoParquet 1.1 with row groups that hold neighbours, and their boxes."""
    import pyarrow.parquet as pq

    schema = feed.schema.with_metadata(
        {**(feed.schema.metadata or {}), **{f"rsscale:{k}": v for k, v in feed.metadata.items()}}
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for span in feed.spans:  # row groups of one span each: readers skip the others
            for group in _grouped(feed.tables(span)):
                writer.write_table(group.cast(schema), row_group_size=_GROUP)


def write_geopackage(feed: Feed, path: Path) -> None:
    """Write a GeoPackage with a layer for each span, and a spatial index of each."""
    for span in feed.spans:
        _write(
            replace(feed, spans=(span,)), path, "GPKG", layer=f"{feed.step}_{span}",
            geometry_type="MultiPolygon", layer_metadata=dict(feed.metadata),
        )  # fmt: skip


def write_flatgeobuf(feed: Feed, path: Path) -> None:
    """Write a FlatGeobuf with an index."""
    _write(feed, path, "FlatGeobuf", layer=feed.step, geometry_type="MultiPolygon")


def write_geojson(feed: Feed, path: Path) -> None:
    """Write GeoJSON by RFC 7946: in degrees of EPSG:4326, to seven digits."""
    options = {"RFC7946": "YES"}
    _write(feed, path, "GeoJSON", layer=feed.step, layer_options=options)


def write_pmtiles(feed: Feed, path: Path) -> None:
    """Write vector tiles, from the zoom at which an object has some pixels to all of it."""
    if all(table.num_rows == 0 for table in feed.all_tables()):
        raise RecipeError(
            "there are no objects, and PMTiles can't be empty; write another format, such as "
            f"{path.with_suffix('.fgb').name}"
        )
    options = {"MINZOOM": "6", "MAXZOOM": "15"}
    _write(feed, path, "PMTiles", layer=feed.step, dataset_options=options)


WRITERS: dict[str, Callable[[Feed, Path], None]] = {
    ".parquet": write_parquet,
    ".gpkg": write_geopackage,
    ".fgb": write_flatgeobuf,
    ".geojson": write_geojson,
    ".pmtiles": write_pmtiles,
}
"""By the ending of a file's name."""


def stream_to_gdal(
    path: Path,
    driver: str,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    *,
    crs: pyproj.CRS,
    updated: str = "",
    **options: Any,
) -> None:
    """Write batches of rows, with WKB in ``geometry``, by a driver of GDAL.

    Raises
    ------
    StorageError
        When GDAL can't write.
    """
    import pyarrow as pa
    import pyogrio

    options.setdefault("geometry_type", "Unknown")
    failed: list[BaseException] = []

    def watched() -> Iterator[pa.RecordBatch]:
        """GDAL says that a stream failed, and not why."""
        try:
            yield from batches
        except BaseException as error:
            failed.append(error)
            raise

    with _gdal_options:
        before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
        # The same rows give the same bytes, whenever they are written.
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _date(updated)})
        try:
            pyogrio.write_arrow(
                pa.RecordBatchReader.from_batches(schema, watched()), path, driver=driver,
                geometry_name=GEOMETRY, crs=crs.to_wkt(), **options,
            )  # fmt: skip
        except (
            pyogrio.errors.DataSourceError,
            pyogrio.errors.DataLayerError,
            RuntimeError,
        ) as error:
            if failed:
                raise failed[0] from None
            raise StorageError(f"{path.name} can't be written: {error}") from None
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})


def _write(feed: Feed, path: Path, driver: str, **options: Any) -> None:
    import pyarrow as pa

    keep = [field for field in feed.schema if field.name != _COVERING]
    schema = pa.schema(keep)
    as_multi = options.get("geometry_type") == "MultiPolygon"
    cast = partial(_batches, schema=schema, as_multi=as_multi)
    batches = (batch for table in feed.all_tables() for batch in cast(table))
    stream_to_gdal(path, driver, schema, batches, crs=feed.crs, updated=feed.updated, **options)


def _batches(table: pa.Table, schema: pa.Schema, *, as_multi: bool) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    rows = table.select(schema.names).cast(schema)
    if as_multi and rows.num_rows:
        shapes = shapely.from_wkb(rows[GEOMETRY].to_numpy(zero_copy_only=False))
        multi = pa.array(shapely.to_wkb(_multi(shapes)), pa.binary())
        rows = rows.set_column(rows.column_names.index(GEOMETRY), GEOMETRY, multi)
    yield from rows.combine_chunks().to_batches(max_chunksize=_BATCH)


def _multi(shapes: Any) -> Any:
    """Polygons as MultiPolygons, so that a layer has one type, as its readers expect."""
    is_single = shapely.get_type_id(shapes) == 3
    polygons = shapes.copy()
    polygons[is_single] = [shapely.MultiPolygon([shape]) for shape in shapes[is_single]]
    return polygons


def _grouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables joined until there are rows enough, and the rows of each in Hilbert's order."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for table in tables:
        if table.num_rows:
            waiting.append(table)
        if sum(table.num_rows for table in waiting) >= _GROUP:
            yield _ordered(pa.concat_tables(waiting))
            waiting = []
    if waiting:
        yield _ordered(pa.concat_tables(waiting))


def _ordered(table: pa.Table) -> pa.Table:
    return table.take(hilbert_order(np.column_stack([table["x"], table["y"]])))


def _date(updated: str) -> str | None:
    """As GDAL's ``OGR_CURRENT_DATE`` has it."""
    return f"{updated[:19]}.000Z" if len(updated) >= 19 else None
