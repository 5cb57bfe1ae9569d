"""The step and span of a run whose objects are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsscale.errors import RecipeError, nearest
from rsscale.legend.classes import LandClass
from rsscale.object_files.read_objects import frame_of
from rsscale.object_files.step_objects import Bounds, StepObjects
from rsscale.objects.columns import GEOMETRY, is_of_objects, object_schema
from rsscale.plans.plan import RunPlan
from rsscale.runs.run import Run
from rsscale.sample_assessment.layers_of_run import check_done
from rsscale.steps.base import Pass

if TYPE_CHECKING:
    import geopandas as gpd

# What scores need of the rows.
_COLUMNS = ("id", "class", "name", "score", "x", "y", GEOMETRY)


@dataclass(frozen=True, eq=False)
class AssessedStep:
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
    def open(cls, run: Run, name: str | None, span: str | int | None) -> AssessedStep:
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
        spans = [str(step_span) for step_span in step.spans()]
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
        classes = getattr(self.step, "classes", ())
        return tuple(land_class for land_class in classes if isinstance(land_class, LandClass))

    def read(self, bounds: Bounds | None = None) -> gpd.GeoDataFrame:
        """Those that touch a box, in the grid's CRS, by their ids: in one order for any tiles.

        Parameters
        ----------
        bounds : Bounds, optional
            ``x0, y0, x1, y1`` in the grid's CRS; all objects when omitted.
        """
        import pyarrow as pa

        stored = StepObjects(self.run.folder, self.step.step)
        keys = stored.keys[self.span] if bounds is None else stored.near(self.span, bounds)
        tables = [stored.table(key, bounds, _COLUMNS) for key in keys]
        none = object_schema(self.plan.grid.crs).empty_table().select(list(_COLUMNS))
        return frame_of(pa.concat_tables([none, *tables]).sort_by("id"), self.plan.grid.crs)
