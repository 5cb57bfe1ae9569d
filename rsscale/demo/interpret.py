"""Fill in a sample as an interpreter would: with the classes that are true at its points."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio

from rsscale.errors import RecipeError
from rsscale.legend.classes import LandClass

_OF_A_YEAR = re.compile(r"reference_(\d{4})")


def interpret(
    sample: str | Path, truth: Mapping[int, Path], classes: Sequence[LandClass], year: int
) -> Path:
    """Write the true class into each unit of a sample, where interpreters of a country write it.

    Parameters
    ----------
    sample : path
        A GeoPackage of :func:`rsscale.design_sample`; it is written anew.
    truth : mapping of year to path
        Rasters of class values in the sample's CRS, as a simulated archive has them.
    classes : sequence of LandClass
        Names of the values.
    year : int
        That of a column ``reference`` without a year.

    Returns
    -------
    Path
        The sample.

    Raises
    ------
    RecipeError
        When a year has no truth, or a unit lies where it holds no class.
    """
    units = gpd.read_file(sample, layer="sample")
    years = {
        column: int(match.group(1)) if match else year
        for column in units.columns
        if (match := _OF_A_YEAR.fullmatch(column)) or column == "reference"
    }
    missing = sorted(set(years.values()) - set(truth))
    if missing:
        raise RecipeError(f"there is no truth of {missing}; of {sorted(truth)} there is")
    points = list(zip(units.geometry.x, units.geometry.y, strict=True))
    names = {one.value: one.name for one in classes}
    for column, of_year in years.items():
        units[column] = _names(_values(truth[of_year], points), names, of_year)
    units.to_file(sample, layer="sample", driver="GPKG")
    return Path(sample)


def _values(path: Path, points: Sequence[tuple[float, float]]) -> npt.NDArray[np.uint8]:
    with rasterio.open(path) as raster:
        return np.array([value[0] for value in raster.sample(points)], np.uint8)


def _names(values: npt.NDArray[np.uint8], names: Mapping[int, str], year: int) -> list[str]:
    unknown = sorted(set(values.tolist()) - set(names))
    if unknown:
        raise RecipeError(f"the truth of {year} holds {unknown} at units; expected {list(names)}")
    return [names[value] for value in values.tolist()]
