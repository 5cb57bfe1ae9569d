"""The objects of a step and span of a run."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import shapely

from rsscale.errors import RecipeError, nearest
from rsscale.legend.classes import LandClass
from rsscale.objects.columns import GEOMETRY, is_of_objects, object_schema
from rsscale.runs.plan import RunPlan
from rsscale.runs.run import Run
from rsscale.sample_assessment.layers_of_run import check_done
from rsscale.steps.base import Pass
from rsscale.store.table_store import decode

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

# What scores need of the rows.
_COLUMNS = ("class", "name", "score", "x", "y", GEOMETRY)


@dataclass(frozen=True, eq=False)
class StepObjects:
    """A finished step that writes objects.

    Attributes
    ----------
    run : Run
    plan : RunPlan
    step : Pass
    span : str
    notes : tuple of str
    """

    run: Run
    plan: RunPlan
    step: Pass
    span: str
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, run: Run, name: str | None, span: str | int | None) -> StepObjects:
        """A step by its name, or the only one that writes objects; the last span.

        Raises
        ------
        RecipeError
            When no step writes objects, several do and none is named, or the span is not there.
        RunFolderError
            When the step is not there or not done.
        """
        plan = RunPlan.read(run.folder)
        steps = plan.setup.steps
        known = [n for n, s in steps.items() if isinstance(s, Pass) and is_of_objects(s.schema)]
        if name is None:
            if len(known) != 1:
                raise RecipeError(
                    f"name the step whose objects are measured: {known}"
                    if known
                    else f"no step of {run.folder.url} writes objects; it has {list(steps)}"
                )
            name = known[0]
        check_done(run, name)
        if name not in known:
            raise RecipeError(
                f"step {name!r} writes no objects; those that do are {known}{nearest(name, known)}"
            )
        step = steps[name]
        if not isinstance(step, Pass):  # known are
            raise TypeError(name)
        spans = [str(one) for one in step.spans()]
        chosen = spans[-1] if span is None else str(span)
        if chosen not in spans:
            raise RecipeError(f"step {name!r} has no span {chosen!r}; it has {spans}")
        notes: tuple[str, ...] = ()
        if span is None and len(spans) > 1:
            notes = (f"the objects are those of {chosen}, the last of {', '.join(spans)}",)
        return cls(run, plan, step, chosen, notes)

    @property
    def classes(self) -> tuple[LandClass, ...]:
        """All classes that the objects may have; empty where the step does not say."""
        found = getattr(self.step, "classes", ())
        return tuple(one for one in found if isinstance(one, LandClass))

    def read(self, bounds: Sequence[float] | None = None) -> gpd.GeoDataFrame:
        """Those that touch a box, in the grid's CRS; one file of a tile is read at a time.

        Parameters
        ----------
        bounds : sequence of float, optional
            ``x0, y0, x1, y1`` in the grid's CRS; all objects when omitted.
        """
        import geopandas as gpd
        import pyarrow as pa

        storage, name = self.run.folder.storage, f"tables/{self.step.step}/{self.span}"
        tables = [_touching(decode(storage.read(one)), bounds) for one in storage.names(name)]
        none = object_schema(self.plan.grid.crs).empty_table()
        table = pa.concat_tables([_touching(none, None), *tables])
        frame = table.drop_columns([GEOMETRY]).to_pandas()
        shapes = shapely.from_wkb(table[GEOMETRY].to_numpy(zero_copy_only=False))
        return gpd.GeoDataFrame(frame, geometry=shapes, crs=self.plan.grid.crs)


def _touching(rows: pa.Table, bounds: Sequence[float] | None) -> pa.Table:
    """The rows whose box touches a box."""
    import pyarrow.compute as pc

    if bounds is not None:
        x0, y0, x1, y1 = bounds
        corner = {
            name: pc.struct_field(rows["bbox"], name) for name in ("xmin", "ymin", "xmax", "ymax")
        }
        beside = [
            pc.less_equal(corner["xmin"], x1),
            pc.less_equal(corner["ymin"], y1),
            pc.greater_equal(corner["xmax"], x0),
            pc.greater_equal(corner["ymax"], y0),
        ]
        rows = rows.filter(functools.reduce(pc.and_, beside))
    return rows.select(list(_COLUMNS))
