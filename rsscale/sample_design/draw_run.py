"""The run that draws a sample: it reads the run that is sampled, and lies beside the file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError, TilesFailedError
from rsscale.geo.area import read_area
from rsscale.geo.ground import scale_of
from rsscale.plans.plan import RunPlan, read_frozen
from rsscale.recipe import Recipe, read_recipe
from rsscale.runs.run import Run, RunOptions, carry_out
from rsscale.sample_design.sample_file import SampleFile
from rsscale.sample_passes.sample_options import SampleOptions
from rsscale.store.run_folder import AREA

STEP = "sample"
FILES = ("regions", "raster")
"""Options that name a file."""


@dataclass(frozen=True)
class DrawRun:
    """A run that is sampled, and where the draw's own run lies."""

    run: Run
    step: str
    to: Path
    before: SampleFile | None
    client: Any
    threads: int | None
    watch: RunOptions | None

    @property
    def folder(self) -> Path:
        """The run folder of the draw; that of the sample to add to, where it is there."""
        if self.before is not None:
            known = self.before.path.with_suffix(".draw")
            if known.is_dir():
                return known
        return self.to.with_suffix(".draw")

    @property
    def frozen(self) -> Recipe:
        """The recipe of the run that is sampled."""
        return read_frozen(self.run.folder, self.run.state)[0]

    def lattice(self, options: SampleOptions) -> tuple[int, int] | None:
        """Pixels of a spacing or a primary unit, by its metres on the ground amid the area."""
        metres = options.spacing if options.design == "systematic" else options.block
        if options.lattice is not None or metres is None:
            return options.lattice
        grid = self.frozen.grid.build()
        area = read_area(self.run.folder.storage.local(AREA))
        return scale_of(grid.geobox(area)).pixels(metres, grid.resolution)

    def carry_out(self, options: SampleOptions) -> Run:
        """Compute what is not done of the draw.

        Raises
        ------
        RecipeError
            When what was asked for can't be drawn, which the gather sees first.
        """
        recipe = self._recipe(options)
        try:
            return carry_out(
                recipe,
                self.folder,
                self.client,
                lambda machine: NumericProfile.on(machine, "cpu", self.threads),
                update=(self.folder / "run.json").exists(),
                watch=self.watch,
            )
        except TilesFailedError:
            for failure in Run(self.folder).state["failed"]:
                if f"{STEP}-cells" in str(failure["key"]):
                    raise RecipeError(str(failure["error"])) from None
            raise

    def _recipe(self, options: SampleOptions) -> Recipe:
        where = os.fspath(self.run.path)
        address = where if "://" in where else os.path.abspath(where)  # noqa: PTH100 -- keeps links
        given = options.model_dump(mode="json", exclude_defaults=True)
        content = {
            "name": f"{self.frozen.name}-{STEP}",
            "area": str(self.run.folder.storage.local(AREA)),
            "grid": self.frozen.grid.model_dump(mode="json"),
            "periods": list(self.frozen.periods),
            "steps": {STEP: {"kind": "sample", "of": {"run": address, "step": self.step}, **given}},
        }
        return read_recipe(content)


def counting_pass_of(run: Run) -> Any:
    """The pass that counted, as it was planned."""
    return RunPlan.read(run.folder).step(f"{STEP}-tiles")
