"""The file of a sample: points with references, and where they lie on a run's grid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.vector_file import split_layer
from rsscale.reference.vector_file import read_vector_file
from rsscale.sample_assessment.design_record import DesignRecord
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import geopandas as gpd

REFERENCE = "reference"
_OF_PERIOD = re.compile(rf"{REFERENCE}_(\d{{4,}})")
_SECOND = "_2"


@dataclass(frozen=True, eq=False)
class SampleFile:
    """A sample as it lies in its file.

    Attributes
    ----------
    path : Path
    frame : GeoDataFrame
        In the grid's CRS.
    record : DesignRecord, optional
        How it was drawn.
    row, col : int64 arrays (n,)
        Global pixels of the grid.
    """

    path: Path
    frame: gpd.GeoDataFrame
    record: DesignRecord | None
    row: npt.NDArray[np.int64]
    col: npt.NDArray[np.int64]

    @property
    def ids(self) -> npt.NDArray[Any]:
        """Of each unit; the number of its row where the file has none."""
        frame = self.frame
        values = frame["id"] if "id" in frame.columns else frame.index.to_series()
        ids: npt.NDArray[Any] = values.to_numpy()
        return ids

    @property
    def place(self) -> npt.NDArray[np.float64]:
        """X and y of each unit ``(n, 2)``, in the grid's CRS."""
        coordinates: npt.NDArray[np.float64] = shapely.get_coordinates(
            self.frame.geometry.to_numpy()
        )
        return coordinates

    def references(self, periods: Sequence[str], period: str | None) -> dict[str, str]:
        """The column of the reference of each period, in order.

        Parameters
        ----------
        periods : sequence of str
            Of the run.
        period : str, optional
            Which one the column ``reference`` is for; what the design record says, or the last,
            when omitted.

        Raises
        ------
        RecipeError
            When there is no such column, or it is of a period that the run does not have.
        """
        columns = list(map(str, self.frame.columns))
        of_period = {m[1]: m[0] for c in columns if (m := _OF_PERIOD.fullmatch(c))}
        unknown = sorted(set(of_period) - set(periods))
        if unknown:
            raise RecipeError(
                f"the sample {self.path.name} has references of {unknown}; the run has maps of "
                f"{list(periods)}"
            )
        if period is not None and of_period:
            of_period = {name: c for name, c in of_period.items() if name == period}
        if of_period:
            return {name: of_period[name] for name in periods if name in of_period}
        if REFERENCE not in columns:
            raise RecipeError(
                f"the sample {self.path.name} has no column {REFERENCE!r}, nor one of a period, "
                f"such as '{REFERENCE}_{periods[-1]}'; it has {columns}"
            )
        drawn_for = self.record.periods if self.record else ()
        chosen = period or (drawn_for[-1] if drawn_for else periods[-1])
        if chosen not in periods:
            raise RecipeError(f"the run has no map of {chosen}; it has {list(periods)}")
        return {chosen: REFERENCE}

    def seconds(self, references: dict[str, str]) -> dict[str, str]:
        """Columns of a second interpreter, by period."""
        return {
            period: column + _SECOND
            for period, column in references.items()
            if column + _SECOND in self.frame.columns
        }


def read_sample_file(path: Path, grid: Grid) -> SampleFile:
    """Read a sample and its design record.

    Parameters
    ----------
    path : Path
        GeoPackage, GeoParquet, GeoJSON or another format of GDAL.
    grid : Grid
        Of the run.

    Raises
    ------
    RecipeError
        When it is not there, or holds no points.
    """
    file, layer = split_layer(path)
    if not file.exists():
        raise RecipeError(f"there is no sample at {path}")
    frame = read_vector_file(file, f"sample {file.name}", layer or _layer(file))
    shapes: Any = frame.geometry.to_numpy()
    wrong = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    wrong |= shapely.get_type_id(shapes) != 0
    if wrong.any():
        raise RecipeError(
            f"{counted(int(wrong.sum()), 'unit')} of the sample {file.name} can't be used, such "
            f"as that of row {int(np.flatnonzero(wrong)[0]) + 1}: expected points, each at the "
            "centre of a pixel"
        )
    frame = frame.to_crs(grid.crs)
    x, y = shapely.get_coordinates(frame.geometry.to_numpy()).T
    far = ~(np.isfinite(x) & np.isfinite(y))
    if far.any():
        raise RecipeError(
            f"{counted(int(far.sum()), 'unit')} of the sample {file.name} can't be projected to "
            f"the run's {grid.crs}; is its CRS the right one?"
        )
    return SampleFile(
        file,
        frame,
        DesignRecord.beside(file),
        np.floor((grid.origin[1] - y) / grid.resolution).astype(np.int64),
        np.floor((x - grid.origin[0]) / grid.resolution).astype(np.int64),
    )


def _layer(file: Path) -> str | None:
    """The layer ``sample``, where the file has one of that name.

    Raises
    ------
    RecipeError
        When the file has several layers.
    """
    if file.suffix.lower() != ".gpkg":
        return None
    import pyogrio

    try:
        names = [str(name) for name, _ in pyogrio.list_layers(file)]
    except pyogrio.errors.DataSourceError:
        return None  # said where it is read
    if len(names) > 1:
        # What a GIS or geopandas saves into the file may go into a layer of another name.
        raise RecipeError(
            f"the sample {file.name} has the layers {', '.join(names)}, and which one is "
            "interpreted is not known; leave one, or write it to a file of its own"
        )
    return "sample" if "sample" in names else None
