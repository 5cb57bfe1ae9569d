"""The objects that a step of a run has stored, tile by tile: never all of them in memory."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyproj

from rsscale.errors import RecipeError, RunFolderError, nearest
from rsscale.layers import TileKey
from rsscale.object_files.hilbert import hilbert_order
from rsscale.objects.columns import is_of_objects
from rsscale.store.run_folder import RunFolder
from rsscale.store.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa


class HasFolder(Protocol):
    """A run: :class:`rsscale.Run`."""

    @property
    def folder(self) -> RunFolder:
        """Its files."""


RunLike = str | os.PathLike[str] | RunFolder | HasFolder
"""A run, its folder or address."""

Bounds = tuple[float, float, float, float]
"""West, south, east, north in the CRS of the grid."""

_ENTRY = re.compile(r"/([^/]+)/x(-?\d+)_y(-?\d+)\.json$")
# Footers that are read at a time: of files in a bucket, each waits for an answer.
_AT_ONCE = 16
# Bytes at the end of a file that hold the footer of a tile's table, but for rare ones.
_FOOTER = 2**16
_CORNERS = {f"bbox.{name}": n for n, name in enumerate(("xmin", "ymin", "xmax", "ymax"))}


@dataclass(frozen=True)
class StepObjects:
    """The tables of a step that holds objects: a GeoParquet file for each tile and span.

    Attributes
    ----------
    folder : RunFolder
    step : str
    """

    folder: RunFolder
    step: str

    @property
    def spans(self) -> tuple[str, ...]:
        """Those of which a tile is done, in order."""
        return tuple(self.keys)

    @cached_property
    def keys(self) -> dict[str, list[TileKey]]:
        """Tiles that are done, by span: along a Hilbert curve, so that neighbours follow."""
        places: dict[str, list[tuple[int, int]]] = {}
        for name in self.folder.storage.names(f"ledger/{self.step}"):
            if match := _ENTRY.search(name):
                places.setdefault(match[1], []).append((int(match[2]), int(match[3])))
        return {
            span: [
                TileKey(self.step, span, *tiles[n])
                for n in hilbert_order(np.array(tiles, np.float64))
            ]
            for span, tiles in sorted(places.items())
        }

    @cached_property
    def crs(self) -> pyproj.CRS:
        """That of the coordinates: the grid's."""
        return pyproj.CRS(str(self.folder.read_state()["grid"]["crs"]))

    @cached_property
    def schema(self) -> pa.Schema:
        """Of all tables, with the metadata of GeoParquet."""
        return _schema(self.folder.storage, next(self._names()))

    def table(
        self, key: TileKey, bounds: Bounds | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The objects of a tile.

        Parameters
        ----------
        key : TileKey
        bounds : Bounds, optional
            Only those whose bounding box touches it.
        columns : sequence of str, optional
            All when omitted.

        Raises
        ------
        RunFolderError
            When the file is damaged or lost.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        name = self.name(key)
        wanted = None if columns is None else [*columns, *(["bbox"] if bounds else [])]
        try:
            content = io.BytesIO(self.folder.storage.read(name))
            table = pq.read_table(content, columns=wanted)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._damaged(name, error) from None
        if bounds is None:
            return table
        near = table.filter(_touches(table["bbox"], bounds))
        return near if columns is None else near.select(list(columns))

    def near(self, span: str, bounds: Bounds) -> Iterator[TileKey]:
        """Tiles that hold an object whose bounding box touches some bounds, by their footers.

        An object belongs to the tile that holds its centre and may reach far into others, so that
        the place of a tile says too little; the statistics of its file say it exactly.
        """
        keys = self.keys[span]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            bounds_of = pool.map(lambda key: self._bounds(self.name(key)), keys)
            for key, tile_bounds in zip(keys, bounds_of, strict=True):
                if tile_bounds is not None and _overlap(tile_bounds, bounds):
                    yield key

    def name(self, key: TileKey) -> str:
        """Name of a tile's file in the run folder."""
        return f"tables/{self.step}/{key.span}/{key.tile}.parquet"

    def check_whole(self, spans: Sequence[str], *, partial: bool) -> None:
        """Refuse a step that is not done, unless it is asked for, and lost files always.

        Raises
        ------
        RunFolderError
        """
        described = self.folder.read_state()["steps"][self.step]
        tiles, url = described["tiles"], self.folder.url
        if tiles["done"] < tiles["total"] and not partial:
            raise RunFolderError(
                f"{url} is not finished: {tiles['done']} of {tiles['total']} tiles of step "
                f"{self.step!r} are done; go on with: rsscale resume {url}, or take what is there "
                "with --partial (partial=True)"
            )
        stored = set(self.folder.storage.names(f"tables/{self.step}"))
        for span in spans:
            done = len(self.keys[span])
            lost = done - sum(self.name(key) in stored for key in self.keys[span])
            if lost:
                raise RunFolderError(
                    f"{url} is damaged: {lost} of {done} tables of step {self.step!r} of {span} "
                    f"are lost; compute them again with: rsscale resume {url}"
                )

    def chosen(self, span: str | int | None) -> tuple[str, ...]:
        """The spans that are asked for; all when none is named.

        Raises
        ------
        RecipeError
            When there is no such span.
        """
        if span is None:
            return self.spans
        if str(span) not in self.spans:
            raise RecipeError(
                f"step {self.step!r} has no span {str(span)!r}; there are {', '.join(self.spans)}"
                f"{nearest(str(span), self.spans)}"
            )
        return (str(span),)

    def _names(self) -> Iterator[str]:
        return self.folder.storage.names(f"tables/{self.step}")

    def _bounds(self, name: str) -> Bounds | None:
        """Of all objects of a file, from its footer; None where it has none."""
        import pyarrow as pa

        try:
            footer = _footer(self.folder.storage, name)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._damaged(name, error) from None
        groups = [footer.row_group(n) for n in range(footer.num_row_groups)]
        corners = [_corners(group) for group in groups if group.num_rows]
        if not corners:
            return None
        low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        return float(low[0]), float(low[1]), float(high[2]), float(high[3])

    def _damaged(self, name: str, error: Exception) -> RunFolderError:
        url, reason = self.folder.url, str(error).partition("\n")[0]
        return RunFolderError(
            f"{url}/{name} is damaged ({reason}); compute it again with: rsscale resume {url}"
        )


def folder_of(run: RunLike) -> RunFolder:
    """The folder of a run."""
    if isinstance(run, RunFolder):
        return run
    return RunFolder.at(run) if isinstance(run, str | os.PathLike) else run.folder


def object_steps(folder: RunFolder) -> list[str]:
    """Names of the steps of a run that hold objects, in the run's order.

    A step is known by the columns of what it has stored; of one that has stored nothing yet
    nothing is known.
    """
    state = folder.read_state()
    steps = state["steps"]
    return [name for name in state.get("order") or steps if _holds_objects(folder, steps, name)]


def open_objects(folder: RunFolder, step: str | None = None) -> StepObjects:
    """The objects of a step of a run.

    Parameters
    ----------
    folder : RunFolder
    step : str, optional
        May be left out where only one step holds objects.

    Raises
    ------
    RunFolderError
        When there is no such step, it holds no objects, or several do and none was named.
    """
    steps = folder.read_state()["steps"]
    if step is not None and step not in steps:
        raise RunFolderError(f"{folder.url} has no step {step!r}{nearest(step, steps)}")
    if step is None or not _holds_objects(folder, steps, step):
        step_names = object_steps(folder)
        if step is not None:
            raise RunFolderError(
                f"step {step!r} of {folder.url} holds no objects"
                f"{_not_done(steps[step])}; those that do: {', '.join(step_names) or 'none'}"
            )
        if len(step_names) != 1:
            raise RunFolderError(
                f"{folder.url} has {len(step_names) or 'no'} steps that hold objects"
                + (f" ({', '.join(step_names)}); say which" if step_names else "")
            )
        step = step_names[0]
    return StepObjects(folder, step)


def _not_done(step: Mapping[str, Any]) -> str:
    return "" if step["tiles"]["done"] else " (none of its tiles is done)"


def _holds_objects(folder: RunFolder, steps: Mapping[str, Any], name: str) -> bool:
    if "gathered" in steps[name] or not steps[name]["tiles"]["done"]:
        return False  # a gather's rows are those of a pass before it
    first = next(folder.storage.names(f"tables/{name}"), None)
    if first is None:
        return False
    try:
        return is_of_objects(_schema(folder.storage, first))
    except (OSError, ValueError):
        return False


def _schema(storage: Storage, name: str) -> pa.Schema:
    return _footer(storage, name).schema.to_arrow_schema()


def _footer(storage: Storage, name: str) -> Any:
    """The footer of a Parquet file, without its rows."""
    import pyarrow.parquet as pq

    size, _ = storage.stat(name)
    last = storage.read_range(name, max(size - _FOOTER, 0), size)
    length = int.from_bytes(last[-8:-4], "little") + 8
    if length > len(last):
        last = storage.read_range(name, max(size - length, 0), size)
    return pq.read_metadata(io.BytesIO(last))


def _corners(group: Any) -> list[float]:
    """``xmin, ymin, xmax, ymax`` of a row group: lows of the lower, highs of the upper corner."""
    corners = [-np.inf, -np.inf, np.inf, np.inf]
    for number in range(group.num_columns):
        column = group.column(number)
        place = _CORNERS.get(column.path_in_schema)
        if place is not None and column.statistics is not None and column.statistics.has_min_max:
            corners[place] = column.statistics.min if place < 2 else column.statistics.max
    return corners


def _overlap(first: Bounds, other: Bounds) -> bool:
    return bool(
        first[0] <= other[2]
        and other[0] <= first[2]
        and first[1] <= other[3]
        and other[1] <= first[3]
    )


def _touches(bbox: Any, bounds: Bounds) -> Any:
    """Which boxes of a column touch some bounds."""
    import pyarrow.compute as pc

    west, south, east, north = bounds
    corner = {name: pc.struct_field(bbox, name) for name in ("xmin", "ymin", "xmax", "ymax")}
    across = pc.and_(pc.less_equal(corner["xmin"], east), pc.greater_equal(corner["xmax"], west))
    along = pc.and_(pc.less_equal(corner["ymin"], north), pc.greater_equal(corner["ymax"], south))
    return pc.and_(across, along)
