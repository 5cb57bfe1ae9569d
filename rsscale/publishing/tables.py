"""Tables of a publication: areas of zones, objects, and what was measured, as it is."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from rsscale.errors import RunFolderError
from rsscale.geo.vector_file import VectorFileError, read_vector
from rsscale.object_files.export_objects import export_objects
from rsscale.object_files.step_objects import object_steps
from rsscale.objects.columns import GEOMETRY, object_schema
from rsscale.publishing import stac
from rsscale.publishing.finished_run import GATES, FinishedRun
from rsscale.publishing.target import Target, WrittenFile

# Of the run folder, where they are there: as they are, but for paths of this machine.
_DOCUMENTS = ("accuracy.json", "areas.json", GATES, "sample.geojson")
_TEXTS = ("areas.csv", "report.html")
_BYTES = ("areas.parquet", "provenance.parquet")
OBJECTS, OBJECT_ENDINGS = "objects", (".parquet", ".gpkg")
_GATE_PICTURE = re.compile(r"gates/[\w.\- ]+\.png")


def write_measured(finished: FinishedRun, target: Target) -> list[WrittenFile]:
    """Accuracy, official areas, gates, sample points and the report: those that there are."""
    storage = finished.folder.storage
    files = []
    for name in _DOCUMENTS:
        document = finished.document(name)
        if document is not None:
            files.append(target.put_json(name, document))
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


def write_objects(finished: FinishedRun, target: Target) -> list[WrittenFile]:
    """Objects of each step that holds some, as GeoParquet and GeoPackage: ``objects/<step>.…``.

    They are streamed through a file of this machine, so that memory does not grow with the area.
    """
    files = []
    for step in object_steps(finished.folder):
        with tempfile.TemporaryDirectory() as folder:
            for ending in OBJECT_ENDINGS:
                name = f"{OBJECTS}/{step}{ending}"
                path = Path(folder) / f"{step}{ending}"
                export_objects(finished.folder, path, step=step, partial=True)
                files.append(target.put_changed(name, path))
    return files


def object_asset(file: WrittenFile) -> dict[str, Any]:
    """The asset of a file of objects: what it is, and its columns."""
    step = file.name.rpartition("/")[2].rpartition(".")[0]
    columns = [
        {"name": field.name, "type": str(field.type)}
        for field in object_schema("EPSG:4326")
        if field.name != "bbox"
    ]
    table: dict[str, Any] = {"table:columns": columns, "table:primary_geometry": GEOMETRY}
    return stac.asset(file, title=f"Objects of {step}", roles=["data"], **table)


def _zone_steps(finished: FinishedRun) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Finished steps of kind zones, with their options."""
    given = finished.recipe.get("steps") or {}
    for name, described in finished.state["steps"].items():
        tiles = described["tiles"]
        is_zones = described["kind"] == "zones" and "gathered" in described and name in given
        if is_zones and tiles["done"] == tiles["total"]:
            yield name, given[name]


def _polygons(finished: FinishedRun, step: str, options: Mapping[str, Any]) -> Any:
    kept = finished.state["attachments"]
    found = (kept.get(step) or kept.get(f"{step}-tiles") or {}).get("zones")
    if not found:
        raise RunFolderError(
            f"{finished.folder.url} is damaged: it does not say where the zones of {step!r} are"
        )
    prefix = "/".join(found)
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
