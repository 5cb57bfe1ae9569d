"""Objects counted by region as a pass: how many, how large, how many a square kilometre.

A tile gives rows of the objects that it holds and of the ground that its zones cover; a gather
sums them. Objects count by their centre, so that each counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.area_passes.area_counts import AreaCounts, table_of
from rsscale.area_passes.zone_pass import ZonePass
from rsscale.area_passes.zones_file import open_zones
from rsscale.errors import RecipeError
from rsscale.layers import TileKey
from rsscale.objects.columns import is_of_objects
from rsscale.recipe import StepRecipe
from rsscale.reference.zones import Zones
from rsscale.steps.base import Block, Gather, Pass, Result, Setup, Step
from rsscale.steps.options import Options

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import xarray as xr

ALL = "all"
"""The name of the rows of all classes together."""
# Areas of objects are summed in whole units, so that sums are the same however the work was cut.
_UNITS = 10_000  # in a square metre
_SUMS = ("objects", "units", "zone_units")


class ObjectCountsOptions(Options):
    """``{kind: object-counts, of: STEP, zones: FILE, zones_layer:, id: COLUMN}``."""

    zones: str
    """A file of polygons."""
    zones_layer: str | None = None
    """A layer of the file, where it has several."""
    id: str
    """The column of their id."""


@dataclass(repr=False, kw_only=True)
class ObjectCountsPass(ZonePass):
    """Rows of each tile: its objects by zone and class, and the ground of each zone.

    An object counts in each zone that holds its centre; on the line between zones in the first.
    """

    kind: ClassVar[str] = "object-counts"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = ObjectCountsOptions

    options: ObjectCountsOptions

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Step]:
        """The pass ``<step>-tiles``, and the gather of the step's name."""
        reference = recipe.only_reference("step whose objects are counted")
        counted = _step_of_objects(setup, reference)
        zones, digest = open_zones(step, options.zones, options.id, options.zones_layer, setup)
        tiles = cls(
            step=f"{step}-tiles",
            sources={"objects": setup.rows(counted)},
            schema=_tile_schema(),
            options=options,
            zones=zones,
            file=digest,
            times=tuple(counted.spans()),
        )
        total = ObjectCountsTotal(
            step=step,
            of=tiles.step,
            schema=counts_schema(),
            zones=zones.ids,
            times=tiles.times,
            units=AreaCounts(zones.grid).units,
        )
        return [tiles, total]

    def run(self, block: Block) -> Result:
        """Count the objects of a tile, and measure its zones."""
        rows = [*self._ground(block), *self._objects(block.inputs["objects"], block)]
        return Result(table=table_of(rows, self.schema))

    def _ground(self, block: Block) -> Iterator[tuple[Any, ...]]:
        """What each zone covers of the tile inside the area, in units."""
        counts = AreaCounts(self.zones.grid)
        nothing = np.zeros(block.core.shape, np.uint8)
        for zone, zone_rows in counts.by_zone(nothing, self.zones, block):
            for _, _, hectares in zone_rows:
                units = round(hectares * counts.units)
                yield zone, block.key.span, None, "", 0, 0, units

    def _objects(self, rows: xr.Dataset, block: Block) -> Iterator[tuple[Any, ...]]:
        import pandas as pd

        frame = pd.DataFrame(
            {
                "class": rows["class"].to_numpy(),
                "name": rows["name"].to_numpy(),
                "units": np.rint(rows["area_m2"].to_numpy() * _UNITS).astype(np.int64),
            }
        )
        objects, numbers = _zones_of(rows["x"].to_numpy(), rows["y"].to_numpy(), self.zones, block)
        zone_frame = frame.iloc[objects].assign(zone=numbers, objects=1)
        sums = zone_frame.groupby(["zone", "class", "name"])[["objects", "units"]].sum()
        for row in sums.reset_index().to_dict("records"):
            yield (
                self.zones.ids[row["zone"]], block.key.span, int(row["class"]), str(row["name"]),
                int(row["objects"]), int(row["units"]), 0,
            )  # fmt: skip


@dataclass(kw_only=True)
class ObjectCountsTotal(Gather):
    """Objects of all tiles together, by zone, span and class; every zone has rows.

    ``zone``, ``span``, ``class`` and ``name`` (null and ``all``: of all classes together),
    ``objects``, ``area_ha`` (of the whole objects), ``zone_ha`` (true area of the zone inside the
    run's area) and ``per_km2``: objects a square kilometre of that, null where it is 0.

    Attributes
    ----------
    zones : tuple of str
        All ids, in the order that rows are to have.
    times : tuple of str
        All spans, likewise.
    units : int
        Of the ground, in a hectare.
    """

    kind: ClassVar[str] = "object-counts"
    version: ClassVar[str] = "1"

    step: str
    of: str
    schema: pa.Schema
    zones: tuple[str, ...]
    times: tuple[str, ...]
    units: int

    def parameters(self) -> Mapping[str, Any]:
        """Zones and spans, which decide the rows."""
        return {"zones": self.zones, "times": self.times}

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """Sums in order of zones and of time, all classes first; zeros where there is none."""
        import pandas as pd
        import pyarrow as pa

        keys = ["zone", "span", "class", "name"]
        sums = pd.DataFrame({name: [] for name in (*keys, *_SUMS)})
        for _, table in parts:
            rows = table.to_pandas().astype({"class": "Int32"})
            sums = pd.concat([sums, rows]) if len(sums) else rows
            sums = sums.groupby(keys, as_index=False, dropna=False)[list(_SUMS)].sum()
        return pa.Table.from_pylist(list(self._rows(sums)), schema=self.schema)

    def _rows(self, sums: pd.DataFrame) -> Iterator[dict[str, Any]]:
        ground: dict[tuple[str, str], int] = {}
        tallies: dict[tuple[str, str], dict[tuple[int, str], tuple[int, int]]] = {}
        for row in sums.to_dict("records"):
            place = (row["zone"], row["span"])
            if row["zone_units"]:
                ground[place] = ground.get(place, 0) + int(row["zone_units"])
            if row["objects"]:
                class_key = (int(row["class"]), str(row["name"]))
                tallies.setdefault(place, {})[class_key] = (int(row["objects"]), int(row["units"]))
        classes = sorted({value for each in tallies.values() for value in each})
        for zone in self.zones:
            for span in self.times:
                here = tallies.get((zone, span), {})
                hectares = ground.get((zone, span), 0) / self.units
                counts = [here.get(value, (0, 0)) for value in classes]
                total = (sum(n for n, _ in counts), sum(units for _, units in counts))
                for (value, name), (objects, units) in zip(
                    [(None, ALL), *classes], [total, *counts], strict=True
                ):
                    yield {
                        "zone": zone, "span": span, "class": value, "name": name,
                        "objects": objects, "area_ha": units / _UNITS / 10_000,
                        "zone_ha": hectares,
                        "per_km2": objects / hectares * 100 if hectares else None,
                    }  # fmt: skip


def counts_schema() -> pa.Schema:
    """Columns of the result; see :class:`ObjectCountsTotal`."""
    import pyarrow as pa

    return pa.schema(
        [
            ("zone", pa.string()),
            ("span", pa.string()),
            ("class", pa.int32()),
            ("name", pa.string()),
            ("objects", pa.int64()),
            ("area_ha", pa.float64()),
            ("zone_ha", pa.float64()),
            ("per_km2", pa.float64()),
        ]
    )


def _tile_schema() -> pa.Schema:
    import pyarrow as pa

    names = [("zone", pa.string()), ("span", pa.string()), ("class", pa.int32())]
    sums = [(name, pa.int64()) for name in _SUMS]
    return pa.schema([*names, ("name", pa.string()), *sums])


def _step_of_objects(setup: Setup, reference: Any) -> Pass:
    steps: Mapping[str, Any] = getattr(setup, "steps", {})
    step = steps.get(str(reference))
    if not isinstance(step, Pass) or not is_of_objects(step.schema):
        known = [n for n, s in steps.items() if isinstance(s, Pass) and is_of_objects(s.schema)]
        raise RecipeError(
            f"counts objects, and {str(reference)!r} holds none; the earlier steps that do: "
            f"{', '.join(known) or 'none'}"
        )
    return step


def _zones_of(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], zones: Zones, block: Block
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pairs of object and zone: those that hold the centre; on a line the first that touches it."""
    near = [number for number, _ in zones.near(block.core)]
    if not near or not len(x):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    tree = shapely.STRtree([zones.shapes[number] for number in near])
    points = shapely.points(x, y)
    objects, places = tree.query(points, predicate="within")
    lines, touched = tree.query(points, predicate="intersects")
    is_on_line = ~np.isin(lines, objects)
    order = np.lexsort((touched[is_on_line], lines[is_on_line]))
    on_line, first = np.unique(lines[is_on_line][order], return_index=True)
    pairs = np.concatenate([objects, on_line])
    return pairs, np.array(near)[np.concatenate([places, touched[is_on_line][order][first]])]
