"""Where a model was trained and validated, which says nothing of how well it finds objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely

from rsscale.errors import RecipeError
from rsscale.model.files import read_training
from rsscale.object_assessment.objects_of_step import AssessedStep
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import geopandas as gpd

_SEEN = ("training", "validation")
"""Places that the weights, or the score threshold, were learnt from; those of the test were not."""


@dataclass(frozen=True, eq=False)
class TrainedGround:
    """The ground that a step's model was trained and validated on.

    Attributes
    ----------
    model : str
        Digest; empty where the step has none.
    shape : shapely.Geometry, optional
        In the grid's CRS; None where it is not known, or nothing of it.
    places : int
        Of the training and the validation.
    notes : tuple of str
        What can't be said of it.
    """

    model: str = ""
    shape: shapely.Geometry | None = None
    places: int = 0
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, objects: AssessedStep) -> TrainedGround:
        """That of the detector of a step and span, by the record of its training.

        Raises
        ------
        ModelError
            When the record is damaged.
        """
        models = getattr(objects.step, "models", None)
        digest = models.get(objects.span, "") if isinstance(models, Mapping) else ""
        if not digest:
            return cls()
        training = read_training(objects.run.folder.model_path(digest))
        if training is None:
            return cls(digest, notes=(_NO_RECORD,))
        split = training.get("split", {})
        shapes = [
            shapely.geometry.shape(place["shape"])
            for place in split.get("places", ())
            if place.get("role") in _SEEN and place.get("shape")
        ]
        if not shapes or not split.get("crs"):
            return cls(digest, notes=(_NO_PLACE,))
        grid = objects.plan.grid
        shape = _in_crs(shapely.union_all(shapes), split["crs"], grid.crs)
        # An object whose centre lies on the line between two places was seen from both.
        return cls(digest, shapely.buffer(shape, grid.resolution / 2), len(shapes))

    def left_out(self, area: shapely.Geometry, truth: gpd.GeoDataFrame) -> shapely.Geometry:
        """An area without this ground.

        Raises
        ------
        RecipeError
            When no true object has its centre in what is left.
        """
        if self.shape is None:
            return area
        rest = shapely.difference(area, self.shape)
        if _inside(truth, area) and not _inside(truth, rest):
            raise RecipeError(
                f"all {_inside(truth, area):,} true objects lie where the model was trained or "
                f"validated ({counted(self.places, 'place')}), which measures nothing; give true "
                "objects elsewhere, or count them all the same with trained=True, on the command "
                "line --trained"
            )
        return rest

    def remarks(
        self, area: shapely.Geometry, truth: gpd.GeoDataFrame, *, counts: bool
    ) -> list[str]:
        """What is said of it beside the figures.

        Parameters
        ----------
        area : shapely.Geometry
            Where objects would count.
        truth : GeoDataFrame
            In the CRS of the grid.
        counts : bool
            Whether objects on this ground count.
        """
        if self.shape is None:
            return list(self.notes)
        here = _inside(truth, area) - _inside(truth, shapely.difference(area, self.shape))
        where = f"in {counted(self.places, 'place')} of the model's training and validation"
        if counts:
            return [f"figures are too good: {counted(here, 'true object')} lie {where}"]
        gone = f"{counted(here, 'true object')}, and what was detected there, lie {where}"
        return [f"{gone}, and are left out"]

    def record(self, *, counts: bool) -> dict[str, Any]:
        """For the file of the figures; empty where the step has no model."""
        if not self.model:
            return {}
        known = {"model": self.model, "places": self.places, "known": self.shape is not None}
        return {"training": {**known, "counts": counts or self.shape is None}}


_NO_RECORD = (
    "the run keeps no record of its model's training: objects that it was trained on may be among "
    "those that are scored, and make the figures too good; --within says where it was not"
)
_NO_PLACE = (
    "the record of the model's training does not say where it was: objects that it was trained on "
    "may be among those that are scored, and make the figures too good; --within says where it "
    "was not"
)


def _in_crs(shape: shapely.Geometry, crs: str, target: Any) -> shapely.Geometry:
    """A shape in another CRS, as long edges of squares stay straight enough."""
    if pyproj.CRS(crs) == pyproj.CRS(target):
        return shape
    change = pyproj.Transformer.from_crs(crs, target, always_xy=True).transform
    return shapely.make_valid(shapely.transform(shape, change, interleaved=False))


def _inside(truth: gpd.GeoDataFrame, area: shapely.Geometry) -> int:
    """How many objects have the middle of their bounds in an area."""
    x0, y0, x1, y1 = np.asarray(truth.bounds.to_numpy(), np.float64).reshape(-1, 4).T
    shapely.prepare(area)
    return int(shapely.intersects_xy(area, (x0 + x1) / 2, (y0 + y1) / 2).sum())
