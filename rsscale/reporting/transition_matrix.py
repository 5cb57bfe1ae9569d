"""The transition matrix of a run: hectares from each class to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.decorators.first_argument import made_by
from rsscale.errors import RecipeError, RunFolderError, nearest
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass
from rsscale.legend.transitions import CLASSES, paired_classes
from rsscale.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

_OTHERS = LandClass(NODATA - 1, "other classes", "#9a9a95")


@made_by("rs.transition_matrix(run)")
@dataclass(frozen=True, eq=False)
class TransitionMatrix:
    """Hectares of an area by class before and class after.

    Attributes
    ----------
    classes : tuple of LandClass
    hectares : float64 array (K, K)
        Rows: the class before, columns: the class after.
    unknown : float
        Hectares without a class before or after.
    zone : str
        Empty for the whole area.
    span : str
        ``"2023-2024"``.
    """

    classes: tuple[LandClass, ...]
    hectares: npt.NDArray[np.float64]
    unknown: float
    zone: str
    span: str

    @property
    def changed(self) -> float:
        """Hectares that became another class."""
        return float(self.hectares.sum() - np.trace(self.hectares))

    def table(self) -> pd.DataFrame:
        """A row for each class before, a column for each class after; sums around them."""
        import pandas as pd

        names = [land_class.name for land_class in self.classes]
        table = pd.DataFrame(self.hectares, index=pd.Index(names, name="from \\ to"), columns=names)
        table["total before"] = table.sum(axis=1)
        table.loc["total after"] = table.sum(axis=0)
        return table

    def largest(self, most: int) -> TransitionMatrix:
        """So many classes at most: those that changed most, the others together."""
        if len(self.classes) <= most:
            return self
        moved = self.hectares.sum(axis=0) + self.hectares.sum(axis=1)
        moved -= 2 * np.diag(self.hectares)
        kept = np.sort(np.argsort(-moved, kind="stable")[: most - 1])
        place = np.full(len(self.classes), most - 1)
        place[kept] = np.arange(most - 1)
        hectares = np.zeros((most, most))
        np.add.at(hectares, (place[:, None], place[None, :]), self.hectares)
        classes = (*(self.classes[k] for k in kept), _OTHERS)
        return TransitionMatrix(classes, hectares, self.unknown, self.zone, self.span)


def transition_matrix(
    run: Run | str | Path, step: str = "transitions", zone: str = ""
) -> TransitionMatrix:
    """Read the hectares from each class to each other that a step ``transitions`` has counted.

    They are those of the map, with its errors: no reference sample has adjusted them.

    Parameters
    ----------
    run : Run or path
    step : str
    zone : str
        The id of a polygon; empty for the whole area.

    Returns
    -------
    TransitionMatrix
        Hectares ``(class before, class after)``, float64.

    Raises
    ------
    RecipeError
        When the run has no such step of this kind, or no such zone.
    RunFolderError
        When it is not done.
    """
    run = run if isinstance(run, Run) else Run(run)
    classes = _classes(run, step)
    rows = rows_of(run, step)
    of_zone = rows[rows["zone"] == zone]
    if of_zone.empty:
        there = [str(zone) for zone in rows["zone"].unique() if zone]
        some = ", ".join(there[:9]) + (", …" if len(there) > 9 else "")
        raise RecipeError(
            f"step {step!r} has no zone {zone!r}; it has {some or 'the whole area alone'}"
            f"{nearest(zone, there)}"
        )
    place = {land_class.value: number for number, land_class in enumerate(classes)}
    hectares = np.zeros((len(classes), len(classes)))
    known = of_zone[of_zone["from"] != NODATA]
    hectares[known["from"].map(place), known["to"].map(place)] = known["hectares"]
    unknown = float(of_zone["hectares"].sum() - known["hectares"].sum())
    return TransitionMatrix(classes, hectares, unknown, zone, str(rows["span"].iloc[0]))


def rows_of(run: Run, step: str) -> pd.DataFrame:
    """The rows of a step ``transitions``; see :func:`transition_matrix`."""
    _classes(run, step)
    tiles = run.state["steps"][step]["tiles"]
    if tiles["done"] < tiles["total"]:
        raise RunFolderError(
            f"{run.folder.url} is not finished: {tiles['done']} of {tiles['total']} tiles of step "
            f"{step!r} are done; go on with: rsscale resume {run.folder.url}"
        )
    table: pd.DataFrame = run.table(f"{step}-hectares").to_pandas()
    return table


def _classes(run: Run, step: str) -> tuple[LandClass, ...]:
    steps: Mapping[str, Any] = run.state["steps"]
    # Overviews of them have the same layer, in the same store.
    own = [
        name
        for name, step in steps.items()
        if step.get("store") == name and _attributes(step).get(CLASSES)
    ]
    if step not in own:
        raise RecipeError(
            f"{run.folder.url} has no step {step!r} of kind transitions; those that it has are "
            f"{', '.join(own) or 'none: add one to the recipe, and run it again'}"
            f"{f'; choose it by --step {own[0]}' if len(own) == 1 else ''}"
        )
    return paired_classes(_attributes(steps[step]))


def _attributes(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of the first layer of a step, as ``run.json`` describes it."""
    layers = described.get("layers") or [{}]
    attributes: Mapping[str, Any] = layers[0].get("attributes", {})
    return attributes
