"""Export the objects of a step as one file: GeoParquet, GeoPackage, FlatGeobuf, GeoJSON, PMTiles.

Written tile by tile in the order of a Hilbert curve, so that memory does not grow with the area.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsscale.errors import RecipeError, StorageError
from rsscale.object_files.step_objects import RunLike, StepObjects, folder_of, open_objects
from rsscale.object_files.vector_formats import WRITERS, Feed
from rsscale.object_files.whole_file import replaced_whole
from rsscale.progress.bars import progress

if TYPE_CHECKING:
    import pyarrow as pa


def export_objects(
    run: RunLike,
    to: str | Path,
    *,
    step: str | None = None,
    span: str | int | None = None,
    partial: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write the objects of a step into one file.

    ``.parquet`` is GeoParquet 1.1 with covering boxes, its row groups along a Hilbert curve, so
    that readers fetch only what a place needs. ``.gpkg`` has a layer for each span, with a spatial
    index, and polygons as MultiPolygons. ``.fgb`` (FlatGeobuf) has an index that is read over HTTP
    by ranges. ``.geojson`` is in EPSG:4326 (RFC 7946). ``.pmtiles`` are vector tiles in EPSG:3857
    for web maps, whose shapes are simplified. All have all columns and say in their metadata, where
    the format has some, which run they come from.

    Parameters
    ----------
    run : Run, path or address
    to : path
        Its ending chooses the format. Written whole or not at all.
    step : str, optional
        May be left out where only one step holds objects.
    span : str or int, optional
        All when omitted.
    partial : bool
        Also where tiles are not done.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    Path
        A step without objects gives a file without rows.

    Raises
    ------
    RecipeError
        When the ending or span is not known, the file is there, or PMTiles would be empty.
    RunFolderError
        When the step is not done, holds no objects, or is damaged.
    StorageError
        When the file can't be written.
    """
    path = _checked(to, overwrite=overwrite)
    objects = open_objects(folder_of(run), step)
    spans = objects.chosen(span)
    objects.check_whole(spans, partial=partial)
    total = sum(len(objects.keys[each]) for each in spans)
    with progress("objects", total, "tiles") as bar:
        bar.note(path.name)

        def write(target: Path) -> None:
            WRITERS[path.suffix.lower()](feed_of(objects, spans, bar.advance), target)

        replaced_whole(path, write)
    return path


def feed_of(
    objects: StepObjects, spans: Sequence[str], advance: Callable[[], None] = lambda: None
) -> Feed:
    """The tables of some spans as a writer takes them, and what is said of them."""

    def tables(span: str) -> Iterator[pa.Table]:
        for key in objects.keys[span]:
            yield objects.table(key)
            advance()

    return Feed(
        step=objects.step,
        spans=tuple(spans),
        schema=objects.schema,
        crs=objects.crs,
        updated=str(objects.folder.read_state().get("updated", "")),
        metadata=_said_of(objects, spans),
        tables=tables,
    )


def _said_of(objects: StepObjects, spans: Sequence[str]) -> Mapping[str, str]:
    """Metadata of a file: where its objects come from; no path of this machine."""
    from rsscale.store.step_version import step_version

    state: Mapping[str, Any] = objects.folder.read_state()
    return {
        "step": objects.step,
        "spans": " ".join(spans),
        "version": step_version(objects.folder, objects.step),
        "plan": str(state.get("plan", "")),
        "computed": str(state.get("updated", "")),
        "software": json.dumps(state.get("versions", {}), sort_keys=True),
    }


def _checked(to: str | Path, *, overwrite: bool) -> Path:
    if "://" in os.fspath(to):
        raise RecipeError(f"{to} can't be written to; give a local file, and copy it")
    path = Path(to)
    if path.suffix.lower() not in WRITERS:
        ending = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise RecipeError(f"{path.name!r} {ending}; objects are written as {', '.join(WRITERS)}")
    if path.is_dir():
        raise RecipeError(f"{path} is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise RecipeError(f"{path} is there already; choose another name, or give --overwrite")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path.parent} can't be made: {error.strerror or error}") from None
    return path
