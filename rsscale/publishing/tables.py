"""Tables of a publication: zones and what they hold, objects, and what was measured, as it is."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from rsscale.errors import RunFolderError
from rsscale.finished_runs.finished_run import FinishedRun
from rsscale.formats.qml_polygons import write_polygon_qml
from rsscale.geo.vector_file import VectorFileError, read_vector
from rsscale.legend.flags import FlagClass
from rsscale.object_files.class_colors import class_colors, color_of
from rsscale.object_files.export_objects import export_objects
from rsscale.object_files.summary import ObjectSummary, summarise_objects
from rsscale.objects.columns import COLUMN_TEXTS, GEOMETRY, object_schema
from rsscale.publishing import stac
from rsscale.publishing.target import Target, WrittenFile
from rsscale.run_report.documents import ACCURACY, AREAS, GATES, OBJECTS_ACCURACY, REPORT
from rsscale.viewer.regions import AREAS as AREAS_OF_ZONES
from rsscale.viewer.regions import zone_steps

# Of the run folder, where they are there: as they are, but for paths of this machine.
_DOCUMENTS = (ACCURACY, AREAS, GATES, "sample.geojson")
_TEXTS = ("areas.csv", REPORT)
_BYTES = ("areas.parquet", "provenance.parquet")
MEASURED = (*_DOCUMENTS, OBJECTS_ACCURACY, *_TEXTS, *_BYTES)
"""Names of all of these that a publication may hold."""
OBJECTS, OBJECT_ENDINGS = "objects", (".parquet", ".gpkg")
_GATE_PICTURE = re.compile(r"gates/[\w.\- ]+\.png")


def write_measured(finished: FinishedRun, target: Target) -> list[WrittenFile]:
    """Accuracy, official areas, gates, sample points and the report: those that there are.

    Scores of objects are those of the steps that are published.
    """
    storage = finished.folder.storage
    documents = {name: finished.document(name) for name in _DOCUMENTS}
    documents[OBJECTS_ACCURACY] = finished.object_scores
    files = [
        target.put_json(name, document)
        for name, document in documents.items()
        if document is not None
    ]
    files += [
        target.put_text(name, storage.read(name).decode("utf-8", "replace"))
        for name in _TEXTS
        if storage.exists(name)
    ]
    pictures = [n for n in storage.names("gates") if _GATE_PICTURE.fullmatch(n)]
    others = [*(name for name in _BYTES if storage.exists(name)), *pictures]
    files += [target.put(name, storage.read(name)) for name in others]
    return files


def write_zones(finished: FinishedRun, target: Target) -> list[WrittenFile]:
    """Tables of zones: for each step a GeoParquet of polygons with areas, and all rows as CSV.

    The GeoParquet has a row for each polygon of the zones' file, in its CRS and with its columns,
    and for each period and class a column of hectares, ``2023 water``. The CSV has a row for each
    zone, period and class.
    """
    files = []
    for step, options in _zone_steps(finished):
        rows = finished.run.table(step).to_pandas()
        frame = _polygons(finished, step, options)
        files.append(target.put(f"tables/{step}.parquet", _geoparquet(frame, rows, options["id"])))
        text = rows.to_csv(index=False, lineterminator="\n")
        files.append(target.put_text(f"tables/{step}.csv", text))
    return files


def write_counts(finished: FinishedRun, target: Target) -> list[WrittenFile]:
    """Objects counted by region: for each step a GeoParquet of polygons, and all rows as CSV.

    The GeoParquet has a row for each polygon of the zones' file, in its CRS and with its columns;
    for each period and class columns of objects, their hectares and how many there are in a square
    kilometre, ``2023 pond``, ``2023 pond ha``, ``2023 pond per km2``, and those of ``all``. The
    CSV has a row for each zone, period and class.
    """
    files = []
    given = finished.recipe.get("steps") or {}
    for step in finished.counts:
        options = given[step]
        rows = finished.run.table(step).to_pandas()
        frame = _joined(_polygons(finished, step, options), _wide_counts(rows), options["id"])
        files.append(target.put(f"tables/{step}.parquet", frame))
        text = rows.astype({"class": "Int32"}).to_csv(index=False, lineterminator="\n")
        files.append(target.put_text(f"tables/{step}.csv", text))
    return files


@dataclass(frozen=True)
class PublishedObjects:
    """The objects of a step as they are published.

    Attributes
    ----------
    step : str
    summaries : tuple of ObjectSummary
        Of each span.
    files : tuple of WrittenFile
        GeoParquet, GeoPackage, style.
    crs : str
    """

    step: str
    summaries: tuple[ObjectSummary, ...]
    files: tuple[WrittenFile, ...]
    crs: str

    @property
    def rows(self) -> int:
        """Objects of all spans."""
        return sum(row.total for row in self.summaries)

    def assets(self, up: str = "./") -> dict[str, Any]:
        """The assets of its files, from a document that lies in ``up``."""
        of_table = {
            "table:columns": object_columns(),
            "table:primary_geometry": GEOMETRY,
            "table:row_count": self.rows,
            **stac.crs_fields(self.crs),
            "rsscale:step": self.step,
        }
        assets = {}
        for file in self.files:
            if file.name.endswith(".qml"):
                title = f"Style of the objects of {self.step} for QGIS"
                assets[file.name] = stac.asset(file, up=up, title=title, roles=["style"])
            else:
                title = f"Objects of {self.step}, all periods"
                assets[file.name] = stac.asset(file, up=up, title=title, roles=["data"], **of_table)
        return assets


def write_objects(finished: FinishedRun, target: Target) -> list[PublishedObjects]:
    """Objects of each step that holds some, as GeoParquet and GeoPackage: ``objects/<step>.…``.

    Beside them lies a style that QGIS applies to both. They are streamed through a file of this
    machine, so that memory does not grow with the area.
    """
    written_files = []
    measured = finished.object_scores
    for step in finished.objects:
        files = []
        with tempfile.TemporaryDirectory(prefix="rsscale-") as folder:
            for ending in OBJECT_ENDINGS:
                name = f"{OBJECTS}/{step}{ending}"
                path = Path(folder) / f"{step}{ending}"
                export_objects(finished.folder, path, step=step, partial=True)
                files.append(target.put_changed(name, path))
        summaries = tuple(summarise_objects(finished.folder, measured, step=step))
        style = write_polygon_qml(_legend(finished, step, summaries))
        files.append(target.put_text(f"{OBJECTS}/{step}.qml", style))
        crs = str(finished.grid.crs)
        written_files.append(PublishedObjects(step, summaries, tuple(files), crs))
    return written_files


def object_columns() -> list[dict[str, str]]:
    """Columns of files of objects, as the extension ``table`` has them."""
    return [
        {"name": field.name, "type": str(field.type), "description": COLUMN_TEXTS[field.name]}
        for field in object_schema("EPSG:4326")
    ]


def _legend(
    finished: FinishedRun, step: str, summaries: Sequence[ObjectSummary]
) -> list[FlagClass]:
    """Classes of the objects of a step in all periods, with the colours that the viewer has."""
    colors = class_colors(finished.folder, step)
    classes = sorted({(row.value, row.name) for summary in summaries for row in summary.rows})
    return [FlagClass(value, name, color_of(colors, value, name)) for value, name in classes]


def _zone_steps(finished: FinishedRun) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Finished steps of kind zones, with their options; not of a map that is left out."""
    given = finished.recipe.get("steps") or {}
    for name, of, kind in zone_steps(finished.folder, finished.state):
        if kind == AREAS_OF_ZONES and name in given and not finished.leaves_out(of):
            yield name, given[name]


def _polygons(finished: FinishedRun, step: str, options: Mapping[str, Any]) -> Any:
    kept = finished.state["attachments"]
    zones = (kept.get(step) or kept.get(f"{step}-tiles") or {}).get("zones")
    if not zones:
        raise RunFolderError(
            f"{finished.folder.url} is damaged: it does not say where the zones of {step!r} are"
        )
    prefix = "/".join(zones)
    name = f"{prefix}/{Path(str(options['zones'])).name}"
    for other in finished.folder.storage.names(prefix):
        finished.folder.storage.local(other)  # such as the parts of a shapefile
    try:
        return read_vector(finished.folder.storage.local(name), options.get("zones_layer"))
    except (VectorFileError, FileNotFoundError) as error:
        raise RunFolderError(f"{finished.folder.url} is damaged: {name}: {error}") from None


def _geoparquet(frame: Any, rows: pd.DataFrame, column: str) -> bytes:
    name = rows["name"].where(rows["name"].notna(), "no class")
    wide = rows.assign(column=rows["span"] + " " + name).pivot_table(
        index="zone", columns="column", values="hectares", aggfunc="sum", fill_value=0.0, sort=False
    )
    total = rows.groupby("zone", sort=False)["hectares"].sum() / max(rows["span"].nunique(), 1)
    wide.insert(0, "hectares", total)
    return _joined(frame, wide, column)


def _wide_counts(rows: pd.DataFrame) -> pd.DataFrame:
    """Counts of objects with a row for each zone, in order of periods and classes."""
    kinds = {"objects": "", "area_ha": " ha", "per_km2": " per km2"}
    parts = [
        rows.assign(column=rows["span"] + " " + rows["name"] + ending)
        .pivot_table(
            index="zone", columns="column", values=value, aggfunc="first", sort=False, dropna=False
        )
        .reindex(columns=list(dict.fromkeys(rows["span"] + " " + rows["name"] + ending)))
        for value, ending in kinds.items()
    ]
    ground = rows.groupby("zone", sort=False)["zone_ha"].max()
    return pd.concat([ground, *parts], axis=1)


def _joined(frame: Any, wide: pd.DataFrame, column: str) -> bytes:
    """Polygons with their columns, and those of a table by zone: GeoParquet."""
    ids = frame[column].astype(str)
    joined = frame[[column, *(c for c in frame.columns if c not in (column, frame.geometry.name)),
                    frame.geometry.name]].copy()  # fmt: skip
    for title in wide.columns:
        joined[title] = ids.map(wide[title]).to_numpy()
    file = io.BytesIO()
    joined.to_parquet(file, index=False, compression="zstd")
    return _without_author(file.getvalue())


def _without_author(content: bytes) -> bytes:
    """The same table without what pandas says of itself: it is for every reader."""
    table = pq.read_table(io.BytesIO(content))
    metadata = {k: v for k, v in (table.schema.metadata or {}).items() if k == b"geo"}
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), file, compression="zstd")
    return file.getvalue()
