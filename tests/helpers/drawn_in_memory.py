"""A sample drawn by the passes and gathers themselves, from an array of classes, without a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from rsscale.cluster.profile import NumericProfile
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer, TileKey
from rsscale.legend.classes import LandClass, class_attributes
from rsscale.sample_passes.counting_pass import CountingPass, count_schema
from rsscale.sample_passes.drawing_pass import (
    CELLS,
    CellPlan,
    DrawingPass,
    Drawn,
    cell_schema,
    drawn_schema,
    pixel_schema,
)
from rsscale.sample_passes.population import Population
from rsscale.sample_passes.sample_options import SampleOptions
from rsscale.steps.base import Block, Resources

GRID = Grid("EPSG:32631", 10, tile=64)
CLASSES = (LandClass(1, "water", "#0000ff"), LandClass(2, "forest", "#00ff00"))
LAYER = Layer("classification", attributes=class_attributes(CLASSES))
UNITS = 1_000_000


class Draws:
    """Draws from one population, which is counted once.

    Parameters
    ----------
    classes : uint8 array (rows, cols)
        255 is no part of the population.
    options
        Of :class:`SampleOptions`.
    """

    def __init__(self, classes: np.ndarray, **options: Any) -> None:
        self.options = SampleOptions(**options)
        self.box = PixelBox(0, 0, *classes.shape)
        self.inputs = {"map": xr.Dataset({"classification": (("y", "x"), classes)})}
        self.given: dict[str, Any] = {
            "population": Population(
                places=(("map", "classification"),),
                layer=LAYER,
                names={one.value: one.name for one in CLASSES},
                raster_names={},
            ),
            "span": "2024",
            "files": (),
            "lattice": self.options.lattice if self.options.design == "two-stage" else None,
        }
        counting = CountingPass(step="tiles", sources={}, schema=count_schema(), **self.given)
        self.counts = [(self.key, counting.run(self.block({})).table)]

    key = TileKey("sample", "2024", 0, 0)

    def block(self, more: dict[str, xr.Dataset]) -> Block:
        where = np.ones(self.box.shape, bool)
        inputs = {**self.inputs, **more}
        resources = Resources(NumericProfile("cpu", 1))
        return Block(self.key, GRID, self.box, self.box, inputs, where, resources)

    def __call__(self, seed: int) -> pd.DataFrame:
        """The rows of a step ``sample``."""
        options = self.options.model_copy(update={"seed": seed})
        plan = CellPlan(
            step="cells", of="tiles", schema=cell_schema(), options=options, units=UNITS,
            population=self.given["population"],
        )  # fmt: skip
        cells = plan.fold(self.counts)
        columns = {name: ("row", cells[name].to_numpy()) for name in cells.column_names}
        drawing = DrawingPass(
            step="pixels", sources={}, schema=pixel_schema(), options=options, **self.given
        )
        found = drawing.run(self.block({CELLS: xr.Dataset(columns)})).table
        drawn = Drawn(
            step="sample", of="pixels", schema=drawn_schema(),
            is_systematic=options.design == "systematic",
        )  # fmt: skip
        return drawn.fold([(self.key, found)]).to_pandas()
