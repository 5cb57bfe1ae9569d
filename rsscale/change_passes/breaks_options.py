"""Options of breaks in series, and what they come to for a recipe."""

from __future__ import annotations

from datetime import date
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from rsscale.breaks.alerts import Monitoring
from rsscale.breaks.critical_values import CUMULATIVE, LEVELS, PERIODS, WINDOWS
from rsscale.breaks.harmonic import Season
from rsscale.breaks.monitor import Boundary
from rsscale.errors import ModelError, RecipeError, nearest
from rsscale.model.model_input import ModelInput
from rsscale.recipe import InputRecipe, Recipe, StepRecipe
from rsscale.runtimes.indices import SpectralIndices
from rsscale.steps.options import Options


class BreaksOptions(Options):
    """``{kind: series-breaks, of: INPUT, index: NDVI, history: [2019, 2021], monitor: 2022, …}``.

    ``of`` is an input with ``series``; ``band`` is one of its bands, or ``index`` a spectral index
    of them as spyndex calls it. ``monitor`` is the year or day that monitoring begins, ``history``
    the first and last year that the model is fitted to, up to that day: all before it when left
    out.
    """

    band: str | None = None
    """The band of the input that is watched; either this or `index`."""
    index: str | None = None
    """The spectral index that is watched, as spyndex calls it, such as NDVI."""
    history: tuple[int, int] | None = None
    """First and last year that the model is fitted to; all before `monitor` when left out."""
    monitor: int | date
    """The year or day that monitoring begins."""
    harmonics: int = Field(default=2, ge=0, le=6)
    """Waves a year."""
    trend: bool = True
    """Whether the level may drift."""
    robust: bool = True
    """Leave out observations of the history beyond 3.5 robust standard deviations, twice."""
    level: float = Field(default=0.05, ge=min(LEVELS), le=max(LEVELS))
    """Probability that a stable pixel raises an alert some time in all periods."""
    process: Literal["mosum", "cusum"] = "mosum"
    """Sums of the last `window` of observations (`mosum`), or of all (`cusum`)."""
    window: float = 0.25
    """Share of the history's number of observations that a moving sum has: 0.25, 0.5 or 1."""
    confirm: int = Field(default=3, ge=1, le=50)
    """Observations in a row off the model that confirm an alert; as many on it reject it."""
    limit: float = Field(default=2.0, gt=0)
    """Standard deviations of a forecast beyond which an observation is off the model."""
    observations: int | None = Field(default=None, ge=1)
    """Fewest of the history; twice the number of coefficients when left out."""
    range: tuple[float, float] | None = None
    """`[least, greatest]`: values outside are no observations."""

    @field_validator("window")
    @classmethod
    def _of_the_table(cls, value: float) -> float:
        known = [window for window in WINDOWS if window != CUMULATIVE]
        if value not in known:
            raise ValueError(f"is {value}; expected one of {known}, or process: cusum")
        return value

    @field_validator("range")
    @classmethod
    def _in_order(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError(f"is {list(value)}; expected the least and the greatest value")
        return value

    @property
    def start(self) -> date:
        """The first day that is monitored."""
        return date(self.monitor, 1, 1) if isinstance(self.monitor, int) else self.monitor


def series_input(recipe: StepRecipe, whole: Recipe) -> tuple[str, InputRecipe]:
    """The input that a step reads, by its name.

    Raises
    ------
    RecipeError
        When it is none, no series, or has two observations of a day.
    """
    references = list(recipe.references.values())
    name = references[0] if len(references) == 1 else None
    if not isinstance(name, str) or name not in whole.inputs:
        raise RecipeError(
            "needs 'of': one input whose series it reads; the recipe has the inputs "
            f"{', '.join(whole.inputs)}"
        )
    imagery = whole.inputs[name]
    if not imagery.series:
        raise RecipeError(
            f"the input {name!r} has composites, and a break is dated by observations; set "
            f"inputs.{name}.series: true in place of 'composite'"
        )
    if not imagery.merge_days:
        raise RecipeError(
            f"the input {name!r} has scenes of one day as several observations, which would "
            f"confirm each other; set inputs.{name}.merge_days: true"
        )
    return name, imagery


def wanted_values(options: BreaksOptions, imagery: InputRecipe) -> tuple[str, bool]:
    """The band or index that is watched, and whether it is an index.

    Raises
    ------
    RecipeError
        When it is not one of either, or can't be had of the input's bands.
    MissingExtraError
        For an index, when spyndex is not installed.
    """
    bands = imagery.bands
    if options.band is not None and options.index is not None:
        raise RecipeError(
            f"has the band {options.band!r} and the index {options.index!r}; choose one"
        )
    if options.index is not None:
        return _index_name(options.index, bands), True
    if options.band is None and len(bands) > 1:
        raise RecipeError(f"needs 'band', one of {', '.join(bands)}, or 'index', such as NDVI")
    band = bands[0] if options.band is None else options.band
    if band not in bands:
        raise RecipeError(
            f"has the band {band!r}; the input has {', '.join(bands)}{nearest(band, bands)}"
        )
    return band, False


def spectral_index(name: str, bands: tuple[str, ...]) -> SpectralIndices:
    """The index of observations, whose channels are the bands in physical units."""
    plain = (0.0,) * len(bands), (1.0,) * len(bands)
    return SpectralIndices([name], [ModelInput("series", bands, ("date",), *plain)], {})


def _index_name(name: str, bands: tuple[str, ...]) -> str:
    """The index as spyndex calls it: ``ndvi`` is ``NDVI``."""
    try:
        spectral_index(name, bands)
    except ModelError as first:
        if "there is no spectral index" in str(first) and name != name.upper():
            return _index_name(name.upper(), bands)
        said = str(first).partition("; name its bands")[0].replace("which no input has", "found")
        advice = "" if said == str(first) else "; call bands so: bands: [{nir: B08}, {red: B04}]"
        raise RecipeError(f"{said}{advice}") from None
    return name


def monitoring_of(options: BreaksOptions, periods: tuple[int, ...]) -> Monitoring:
    """How series over some periods are monitored.

    Raises
    ------
    RecipeError
        When monitoring does not begin within the periods, or history is none of them.
    """
    start, known = options.start, sorted(periods)
    if not date(known[0], 1, 1) < start <= date(known[-1], 12, 31):
        raise RecipeError(
            f"monitor is {start}, and the periods are {known}; monitoring begins after the first "
            "day of the first and not after the last of them"
        )
    before = [year for year in known if date(year, 1, 1) < start]
    first, last = options.history or (before[0], before[-1])
    if first not in before or last not in before or first > last:
        raise RecipeError(
            f"history is {[first, last]}, the periods are {known}, and monitoring begins on "
            f"{start}; expected the first and last year of a history among those before that"
        )
    begin, end = _day(date(first, 1, 1)), min(_day(date(last, 12, 31)), _day(start) - 1)
    columns = Season(options.harmonics, options.trend).columns
    fewest = 2 * columns if options.observations is None else options.observations
    if fewest <= columns:
        raise RecipeError(
            f"observations is {fewest}, and a model of {options.harmonics} harmonics has {columns} "
            f"coefficients; expected {columns + 1} or more"
        )
    watched = (_day(date(known[-1], 12, 31)) - _day(start) + 1) / (end - begin + 1)
    period = float(np.clip(1 + watched, PERIODS[0], PERIODS[-1]))
    window = CUMULATIVE if options.process == "cusum" else options.window
    return Monitoring(
        Season(options.harmonics, options.trend, (begin + end) / 2),
        (begin, end),
        _day(start),
        Boundary(options.level, window, period),
        options.confirm,
        options.limit,
        fewest,
        options.robust,
    )


def _day(day: date) -> int:
    return (day - date(1970, 1, 1)).days
