"""Where scenes begin and end in a map: labels of what covers each pixel, from the frozen items.

The edges of scenes and orbits, and of the zones of their CRSs, are where radiometry, dates and
resampling change at once: so they are where a map is most likely to have a seam.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
from odc.geo.geom import Geometry

from rsscale.errors import AreaError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.rasterize import rasterize
from rsscale.inputs.windows import span as days_of
from rsscale.items.item_store import INDEX, RECORDS, FrozenItems, Lookup
from rsscale.layers import TileKey
from rsscale.recipe import InputRecipe, Recipe
from rsscale.steps.base import ALL, Cost, Resources
from rsscale.store.run_folder import RunFolder

Identity = tuple[str, str | None]


@dataclass(frozen=True)
class Imagery:
    """The frozen items of one input.

    Attributes
    ----------
    recipe : InputRecipe
    items : Lookup
    footprints : mapping of (id, collection) to bytes
        WKB in degrees, of the items as their catalogue has them.
    """

    recipe: InputRecipe
    items: Lookup
    footprints: Mapping[Identity, bytes]


@dataclass(frozen=True)
class SceneEdges:
    """For each span, labels of the scenes and of the zones that cover a pixel.

    Reads as a Dataset with ``scenes`` and ``zones`` ``(time, y, x)`` uint64: neighbours have
    different labels where a scene, or a zone's imagery, begins or ends between them.

    Attributes
    ----------
    inputs_by_name : mapping of str to Imagery
        Those that change with time.
    spans : tuple of str
    periods : tuple of int
        All of the run.
    grid : Grid
    version : str
        Hash of all frozen items.
    """

    inputs_by_name: Mapping[str, Imagery]
    spans: tuple[str, ...]
    periods: tuple[int, ...]
    grid: Grid
    version: str
    _projected: dict[bytes, shapely.Geometry | None] = field(
        default_factory=dict, repr=False, compare=False
    )

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """The labels over a box."""
        del key
        with resources.meter.working():
            labels = [self.labels(box, span) for span in self.spans]
        dims = ("time", "y", "x")
        return xr.Dataset(
            {
                "scenes": (dims, np.stack([scenes for scenes, _ in labels])),
                "zones": (dims, np.stack([zones for _, zones in labels])),
            }
        )

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Hash of the scenes that may touch the box."""
        del key
        geobox = self.grid.geobox_of(box)
        parts = [
            f"{name} {span} {imagery.items.digest(geobox, *self._days(imagery, span))}"
            for name, imagery in self.inputs_by_name.items()
            for span in self.spans
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """Names of the inputs."""
        del box, key
        return list(self.inputs_by_name)

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """Bytes of the labels, and of a scene that is burnt."""
        del key
        return Cost(box.shape[0] * box.shape[1] * (16 * len(self.spans) + 16))

    def labels(
        self, box: PixelBox, span: str
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Labels of the scenes, and of the zones, that cover each pixel of a box."""
        shapes: dict[bytes, shapely.Geometry] = {}
        alike: defaultdict[bytes, list[str]] = defaultdict(list)
        by_zone: defaultdict[str, list[shapely.Geometry]] = defaultdict(list)
        for name, crs, shape in self._scenes(box, span):
            outline = shapely.to_wkb(shape)
            shapes[outline] = shape
            alike[outline].append(name)
            by_zone[crs].append(shape)
        scenes = self._sum(box, ((shapes[o], ids) for o, ids in alike.items()))
        unions = ((shapely.union_all(parts), [crs]) for crs, parts in by_zone.items())
        zones = self._sum(box, unions if len(by_zone) > 1 else ())
        return scenes, zones

    def _sum(
        self, box: PixelBox, shapes: Iterable[tuple[shapely.Geometry, list[str]]]
    ) -> npt.NDArray[np.uint64]:
        """For each pixel, the sum of the numbers of the shapes that hold its centre."""
        labels = np.zeros(box.shape, np.uint64)
        around = self.grid.geobox_of(box).extent.geom
        for shape, names in shapes:
            if shape.covers(around) or not shape.intersects(around):
                continue  # no edge of it lies here
            inside = rasterize([(shape, 1)], self.grid, box, fill=0) == 1
            labels[inside] += np.uint64(sum(map(_number, names)) % 2**64)
        return labels

    def _scenes(self, box: PixelBox, span: str) -> Iterator[tuple[str, str, shapely.Geometry]]:
        """Name, CRS and footprint, in the grid's CRS, of each scene that may touch a box."""
        geobox = self.grid.geobox_of(box)
        for name, imagery in self.inputs_by_name.items():
            items = imagery.items
            rows = items.extents.rows(geobox, *self._days(imagery, span))
            for row, record in zip(rows, items.read(map(int, rows)), strict=True):
                crs = next((band.crs for band in record.bands if band.crs), "")
                shape = self._footprint(imagery.footprints.get(record.identity))
                if shape is None:
                    shape = shapely.box(*items.extents.bounds[row])
                yield f"{name}/{record.collection}/{record.id}", crs, shape

    def _footprint(self, wkb: bytes | None) -> shapely.Geometry | None:
        """A footprint in the grid's CRS; None where it can't be projected."""
        if not wkb:
            return None
        if wkb not in self._projected:
            try:
                shape = shapely.make_valid(shapely.from_wkb(wkb))
                self._projected[wkb] = self.grid.project(Geometry(shape, "EPSG:4326")).geom
            except (AreaError, shapely.errors.GEOSException):
                self._projected[wkb] = None
        return self._projected[wkb]

    def _days(self, imagery: Imagery, span: str) -> tuple[date, date]:
        ends = self.periods if span == ALL else tuple(map(int, span.split("-")))
        days = [days_of(imagery.recipe, period) for period in ends]
        return min(first for first, _ in days), max(last for _, last in days)


def scene_edges(
    folder: RunFolder, recipe: Recipe, spans: tuple[str, ...], grid: Grid
) -> SceneEdges | None:
    """Open the scenes that a run is made from; None where it is made of none."""
    edges, total = {}, hashlib.sha256()
    for name in folder.read_state()["items"]:
        if recipe.inputs[name].static:
            continue
        index, records = (folder.storage.local(f"items/{name}.{e}") for e in (INDEX, RECORDS))
        total.update(index.read_bytes())
        footprints = _footprints(folder, f"items/{name}.parquet")
        edges[name] = Imagery(recipe.inputs[name], FrozenItems(index, records), footprints)
    version = total.hexdigest()[:16]
    return SceneEdges(edges, spans, recipe.periods, grid, version) if edges else None


def _footprints(folder: RunFolder, file: str) -> dict[Identity, bytes]:
    """Footprints of frozen items; without them a scene is the box of its raster."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        path = folder.storage.local(file)
        table = pq.read_table(path, columns=["id", "collection", "geometry"])
    except (OSError, pa.ArrowInvalid):
        return {}
    columns = (table[name].to_pylist() for name in ("id", "collection", "geometry"))
    return {(name, collection): wkb for name, collection, wkb in zip(*columns, strict=True)}


def _number(name: str) -> int:
    """A number that no sum of others is likely to give."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
