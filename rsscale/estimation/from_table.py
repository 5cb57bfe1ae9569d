"""Accuracies and areas from a plain table, for people without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsscale.errors import RecipeError
from rsscale.estimation.area_estimates import AreaEstimates
from rsscale.estimation.estimate import MappedClasses, Region, estimate_areas
from rsscale.estimation.sample_table import read_sample_table
from rsscale.legend.class_codes import class_positions
from rsscale.legend.classes import LandClass
from rsscale.survey_estimators.estimator import Intervals
from rsscale.survey_estimators.intervals import CONFIDENCE
from rsscale.survey_estimators.units import DesignKind, SampleDesign, Stratum

if TYPE_CHECKING:
    import pandas as pd

_GREY = "#808080"
# Share by which the map's hectares and those of the sample's strata may differ by rounding.
_SAME = 0.01


def estimate(
    table: pd.DataFrame,
    *,
    strata: Mapping[Any, float] | None = None,
    hectares: float | None = None,
    pixels: Mapping[Any, float] | float | None = None,
    design: DesignKind | None = None,
    periods: Sequence[int | str] = (),
    mapped_hectares: Mapping[str, Mapping[Any, float]] | Mapping[Any, float] | None = None,
    region: str | None = None,
    classes: Sequence[str | LandClass] | None = None,
    confidence: float = CONFIDENCE,
    intervals: Intervals = "adjusted",
) -> AreaEstimates:
    """Estimate accuracies and areas from a table of sample units.

    Parameters
    ----------
    table : DataFrame
        A row a unit: ``map`` and ``reference``, the class by name; ``stratum``, ``cluster``,
        ``inclusion_probability`` where the design has them; ``x`` and ``y`` of a systematic
        sample; ``reference_second`` by a second interpreter. With ``periods``, the columns are
        ``map_2023``, ``reference_2023`` and so on.
    strata : mapping of stratum to hectares, optional
        The sizes of the strata, by what the column ``stratum`` holds. Any unit of area does;
        pixels, too.
    hectares : float, optional
        The size of the whole, without strata.
    pixels : mapping of stratum to number, or number, optional
        Units of the population in each stratum, or in the whole, for the finite population
        correction; as if they were infinitely many when omitted.
    design : str, optional
        ``"simple"``, ``"stratified"``, ``"systematic"`` or ``"two-stage"``; by the columns and
        ``strata`` when omitted.
    periods : sequence
        Of maps of several dates, in order; change is estimated between each and the next.
    mapped_hectares : mapping of class to hectares, optional
        What the map has of each class, for the model-assisted estimator; with periods, a mapping
        of each.
    region : str, optional
        A column of regions, each of which gets figures of its own.
    classes : sequence, optional
        In the order wanted; all that the table names when omitted.
    confidence : float
    intervals : str
        Of areas: ``"adjusted"``, or ``"normal"`` as in the papers, 1.96 standard errors.

    Returns
    -------
    AreaEstimates

    Raises
    ------
    RecipeError
        When the table is no probability sample: there are neither sizes nor probabilities.
    """
    if not hasattr(table, "columns"):
        raise TypeError(
            f"rs.estimate got {table!r} first; expected a pandas.DataFrame, a row for each sample "
            "unit: read a file first, as pandas.read_csv(path) does"
        )
    legend = _legend(table, periods, classes, mapped_hectares)
    columns = _Columns.of(periods)
    frame = table.copy()
    for column in columns.of_classes(table):
        frame[column] = [_name_of(value) for value in table[column]]
    units = read_sample_table(
        frame,
        _design(frame, strata, hectares, pixels, design),
        legend,
        references=columns.references,
        seconds={n: c for n, c in columns.seconds.items() if c in frame.columns},
        hectares=hectares,
        place=frame[["x", "y"]].to_numpy(float) if {"x", "y"} <= set(frame.columns) else None,
    )
    mapped = _mapped_classes(frame, columns, legend, units.ids.tolist())
    sizes = _sizes(mapped_hectares, legend, tuple(columns.maps), bool(periods))
    _check_whole(sizes, units.design.hectares)
    return estimate_areas(
        units,
        MappedClasses(mapped, sizes),
        legend,
        regions=_regions(frame, region),
        confidence=confidence,
        intervals=intervals,
    )


@dataclass(frozen=True)
class _Columns:
    """Columns of classes, by the name of a period; that of a table without periods is ``map``."""

    maps: Mapping[str, str]
    references: Mapping[str, str]
    seconds: Mapping[str, str]

    @classmethod
    def of(cls, periods: Sequence[int | str]) -> _Columns:
        """The columns ``map_2023`` and so on; without an ending where there are no periods."""
        endings = {str(period): f"_{period}" for period in periods} or {"map": ""}
        references = {name: f"reference{ending}" for name, ending in endings.items()}
        return cls(
            {name: f"map{ending}" for name, ending in endings.items()},
            references,
            {name: f"{reference}_second" for name, reference in references.items()},
        )

    def of_classes(self, table: pd.DataFrame) -> list[str]:
        """All of these columns that a table has."""
        columns = [*self.maps.values(), *self.references.values(), *self.seconds.values()]
        return [column for column in columns if column in table.columns]


def _mapped_classes(
    frame: pd.DataFrame, columns: _Columns, legend: Sequence[LandClass], ids: Sequence[Any]
) -> dict[str, np.ndarray[Any, Any]]:
    """Position of each unit's class by period; K where the map has none."""
    mapped = {}
    for name, column in columns.maps.items():
        if column not in frame.columns:
            raise RecipeError(f"the table has no column {column!r}; it has {list(frame.columns)}")
        positions = class_positions(frame[column].tolist(), legend, column=column, ids=ids)
        mapped[name] = np.where(positions < 0, len(legend), positions)
    return mapped


def _regions(frame: pd.DataFrame, column: str | None) -> list[Region]:
    if column is None:
        return []
    return [
        Region(str(name), (frame[column] == name).to_numpy())
        for name in sorted(frame[column].dropna().unique())
    ]


def _legend(
    table: pd.DataFrame,
    periods: Sequence[int | str],
    classes: Sequence[str | LandClass] | None,
    mapped_hectares: Any,
) -> tuple[LandClass, ...]:
    if classes is None:
        columns = [
            f"{head}{end}"
            for head in ("map", "reference")
            for end in ([f"_{period}" for period in periods] or [""])
        ]
        there = [table[c].dropna() for c in columns if c in table.columns]
        named = {_name_of(value) for some in there for value in some}
        # A class may be mapped, and have no unit.
        given = (mapped_hectares or {}).values() if periods else [mapped_hectares or {}]
        named |= {_name_of(name) for sizes in given if isinstance(sizes, Mapping) for name in sizes}
        classes = sorted(named - {""})
    return tuple(
        land_class if isinstance(land_class, LandClass) else LandClass(k, land_class, _GREY)
        for k, land_class in enumerate(classes)
    )


def _name_of(value: Any) -> str:
    """A class as text, empty where there is none; codes beside gaps are no decimals."""
    import pandas as pd

    if value is None or value is pd.NA or value != value:  # noqa: PLR0124 -- NaN
        return ""
    is_whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if is_whole else str(value).strip()


def _design(
    frame: pd.DataFrame,
    strata: Mapping[Any, float] | None,
    hectares: float | None,
    pixels: Mapping[Any, float] | float | None,
    kind: DesignKind | None,
) -> SampleDesign | None:
    """The design of a table; its strata become numbers in the frame. None: by its columns."""
    if strata is not None:
        return _stratified_design(frame, strata, pixels, kind)
    has_probability = "inclusion_probability" in frame.columns
    if hectares is None or (kind is None and has_probability):
        return None
    if kind == "stratified":
        raise RecipeError("a stratified sample needs strata: the hectares of each stratum")
    if isinstance(pixels, Mapping):
        raise RecipeError("pixels are given by stratum, and hectares of the whole; give strata")
    count = np.inf if pixels is None else float(pixels)
    return SampleDesign(kind or "simple", (Stratum(0, "all", count, float(hectares)),))


def _stratified_design(
    frame: pd.DataFrame,
    strata: Mapping[Any, float],
    pixels: Mapping[Any, float] | float | None,
    kind: DesignKind | None,
) -> SampleDesign:
    """The design by the strata's sizes; they become numbers in the frame."""
    if "stratum" not in frame.columns:
        raise RecipeError("strata are given, and the table has no column 'stratum'")
    unknown = [value for value in frame["stratum"].unique() if value not in strata]
    if unknown:
        raise RecipeError(
            f"the table has units in the stratum {unknown[0]!r}, of which no size is given; there "
            f"are {list(strata)}"
        )
    if pixels is not None and not isinstance(pixels, Mapping):
        raise RecipeError(f"pixels is {pixels:g}, and there are strata; give the number of each")
    counts = pixels or {}
    unknown = [name for name in counts if name not in strata]
    if unknown:
        raise RecipeError(
            f"pixels are given of the stratum {unknown[0]!r}; there are {list(strata)}"
        )
    numbers = {name: number for number, name in enumerate(strata, start=1)}
    frame["stratum"] = frame["stratum"].map(numbers)
    return SampleDesign(
        kind or "stratified",
        tuple(
            Stratum(numbers[name], str(name), float(counts.get(name, np.inf)), float(size))
            for name, size in strata.items()
        ),
    )


def _sizes(
    given: Any, legend: Sequence[LandClass], names: Sequence[str], by_period: bool
) -> dict[str, np.ndarray[Any, Any]]:
    if given is None:
        return {}
    areas = {}
    for name in names:
        some = {str(k): v for k, v in given.items()}.get(name) if by_period else given
        if some is not None:
            sizes = {_name_of(k): float(v) for k, v in some.items()}
            strange = sorted(set(sizes) - {land_class.name for land_class in legend})
            if strange:
                raise RecipeError(
                    f"mapped_hectares names {strange[0]!r}, which is no class; there are "
                    f"{[land_class.name for land_class in legend]}"
                )
            areas[name] = np.array(
                [*(sizes.get(land_class.name, 0.0) for land_class in legend), 0.0]
            )
    return areas


def _check_whole(sizes: Mapping[str, np.ndarray[Any, Any]], hectares: float) -> None:
    """Refuse hectares of a map that is not the population of the sample, or in another unit."""
    for name, some in sizes.items():
        mapped = float(some.sum())
        if abs(mapped - hectares) > _SAME * hectares:
            raise RecipeError(
                f"mapped_hectares of {name!r} are {mapped:,.1f} together, and the sample is of "
                f"{hectares:,.1f}: give all classes, in the unit of strata or hectares"
            )
