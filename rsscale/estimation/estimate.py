"""Accuracies and areas from interpreted units: of one map or several, of change, by region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError
from rsscale.estimation.area_estimates import AreaEstimates
from rsscale.estimation.change_figures import ChangeFigures, change_figures
from rsscale.estimation.figures import MapFigures, map_figures
from rsscale.estimation.interpreters import Interpreters, compare_interpreters
from rsscale.estimation.sample_table import SampleTable, interpreted
from rsscale.legend.classes import LandClass
from rsscale.survey_estimators.area_estimator import area_estimator
from rsscale.survey_estimators.estimator import INTERVALS, Estimator, Intervals
from rsscale.survey_estimators.intervals import CONFIDENCE
from rsscale.survey_estimators.units import Floats, Ints, Units
from rsscale.text.wording import counted

# Both interpreters must have so many units in common.
_LEAST_COMMON = 2


@dataclass(frozen=True, eq=False)
class MappedClasses:
    """What the map says: of the units, and of all its pixels.

    Attributes
    ----------
    periods : mapping of str to int64 array (n,)
        Position of each unit's class; K where the map has none.
    hectares : mapping of str to float64 array (K + 1,)
        Of each class in the whole map, the last of none; empty where it was not counted.
    change : mapping of str to int64 array (n,)
        By span: 1 mapped as changed, 0 as unchanged, 2 where the map says nothing.
    change_hectares : mapping of str to float64 array (3,)
        Of the whole map, likewise.
    auxiliary : frozenset of str, optional
        Periods and spans whose hectares are those of the very population that the sample was drawn
        from, so that estimates may be assisted by them; all when None.
    """

    periods: Mapping[str, Ints]
    hectares: Mapping[str, Floats] = field(default_factory=dict)
    change: Mapping[str, Ints] = field(default_factory=dict)
    change_hectares: Mapping[str, Floats] = field(default_factory=dict)
    auxiliary: frozenset[str] | None = None

    def assists(self, span: str) -> bool:
        """Whether estimates of a period or span may be assisted by the map's hectares."""
        return self.auxiliary is None or span in self.auxiliary


@dataclass(frozen=True, eq=False)
class Region:
    """A part of the population that has figures of its own.

    Attributes
    ----------
    name : str
    inside : bool array (n,)
        Units in it.
    hectares : mapping of str to float64 array (K + 1,)
        What the map has of each class there, by period; empty where it was not counted.
    """

    name: str
    inside: npt.NDArray[np.bool_]
    hectares: Mapping[str, Floats] = field(default_factory=dict)


def estimate_areas(
    table: SampleTable,
    mapped: MappedClasses,
    classes: Sequence[LandClass],
    *,
    regions: Sequence[Region] = (),
    confidence: float = CONFIDENCE,
    intervals: Intervals = "adjusted",
    notes: Sequence[str] = (),
) -> AreaEstimates:
    """Estimate all that a sample tells.

    Parameters
    ----------
    table : SampleTable
    mapped : MappedClasses
        With the periods that the table has references of.
    classes : sequence of LandClass
        K classes.
    regions : sequence of Region
    confidence : float
    intervals : str
        Of areas: ``"adjusted"`` or ``"normal"``; see :class:`Estimator`.
    notes : sequence of str

    Raises
    ------
    RecipeError
        When no unit is interpreted, or a stratum is left without one.
    """
    if intervals not in INTERVALS or not 0 < confidence < 1:
        raise RecipeError(
            f"intervals are {intervals!r} with a confidence of {confidence}; expected one of "
            f"{INTERVALS}, and a confidence between 0 and 1, such as 0.95"
        )
    how = _Intervals(confidence, intervals)
    if not any(interpreted(reference).any() for reference in table.references.values()):
        raise RecipeError(
            f"none of the {len(table):,} units is interpreted; write the class's name or value "
            "into the reference column"
        )
    spans = list(zip(list(table.references), list(table.references)[1:], strict=False))
    of_map: dict[str, MapFigures] = {}
    by_region: dict[str, dict[str, MapFigures]] = {region.name: {} for region in regions}
    said = list(notes)
    for period, reference in table.references.items():
        if not interpreted(reference).any():
            said.append(f"{period}: no unit is interpreted")
            continue
        estimation = _OnePeriod(table, mapped, classes, period, how)
        of_map[period] = estimation.figures()
        for region in regions:
            by_region[region.name][period] = estimation.of_region(region)
    return AreaEstimates(
        design=table.design.kind,
        confidence=confidence,
        periods=of_map,
        change={
            f"{a}-{b}": change
            for a, b in spans
            if (change := _change(table, mapped, classes, (a, b), how)) is not None
        },
        regions={name: some for name, some in by_region.items() if some},
        interpreters=_two_interpreters(table, mapped, classes, how),
        used=int(np.any([interpreted(r) for r in table.references.values()], axis=0).sum()),
        drawn=len(table),
        left_out=tuple(_left_out(table)),
        notes=tuple(dict.fromkeys(said)),
    )


@dataclass(frozen=True)
class _Intervals:
    """How intervals are made."""

    confidence: float
    intervals: Intervals

    def direct(self, units: Units) -> Estimator:
        """The direct estimator of some units."""
        return Estimator.direct(units, self.confidence, self.intervals)


class _OnePeriod:
    """The figures of one map, by the units that are interpreted for it."""

    def __init__(
        self,
        table: SampleTable,
        mapped: MappedClasses,
        classes: Sequence[LandClass],
        period: str,
        how: _Intervals,
    ) -> None:
        used = interpreted(table.references[period])
        self.period, self.classes, self.used = period, classes, used
        self.mapped = mapped.periods[period][used]
        self.reference = table.references[period][used]
        self.hectares = mapped.hectares.get(period)
        direct = how.direct(table.units(used))
        known = self.hectares if mapped.assists(period) else None
        self.chosen = area_estimator(direct, self.mapped, self.reference, known)

    def figures(self) -> MapFigures:
        """Of the whole map."""
        return map_figures(
            self.chosen.estimator,
            self.mapped,
            self.reference,
            self.classes,
            mapped_hectares=None if self.hectares is None else self.hectares[:-1].tolist(),
            by_difference=self.chosen.mapped_hectares is not None,
            name=self.chosen.name,
        )

    def of_region(self, region: Region) -> MapFigures:
        """Of a region: a domain of the same sample."""
        hectares = region.hectares.get(self.period)
        size = None if hectares is None else float(hectares.sum())
        how = (
            "total of the units in it"
            if size is None
            else "share of the units in it, times its size"
        )
        return map_figures(
            self.chosen.estimator,
            self.mapped,
            self.reference,
            self.classes,
            mapped_hectares=None if hectares is None else hectares[:-1].tolist(),
            domain=region.inside[self.used],
            domain_hectares=size,
            name=f"domain: {how}; {self.chosen.name}",
        )


def _change(
    table: SampleTable,
    mapped: MappedClasses,
    classes: Sequence[LandClass],
    pair: tuple[str, str],
    how: _Intervals,
) -> ChangeFigures | None:
    """Of two dates, by the units that are interpreted for both."""
    first, last = (table.references[period] for period in pair)
    used = interpreted(first, last)
    if not used.any():
        return None
    span = "-".join(pair)
    direct = how.direct(table.units(used))
    said, hectares = mapped.change.get(span), mapped.change_hectares.get(span)
    is_changed = (first[used] != last[used]).astype(np.int64)
    chosen = area_estimator(
        direct,
        np.zeros(len(is_changed), np.int64) if said is None else said[used],
        is_changed,
        hectares if said is not None and mapped.assists(span) else None,
    )
    return change_figures(
        chosen.estimator,
        first[used],
        last[used],
        classes,
        mapped_change=None if said is None else said[used],
        mapped_hectares=None if hectares is None else float(hectares[1]),
        by_difference=chosen.mapped_hectares is not None,
        name=chosen.name,
    )


def _two_interpreters(
    table: SampleTable, mapped: MappedClasses, classes: Sequence[LandClass], how: _Intervals
) -> Interpreters | None:
    """Of the last period that two interpreted."""
    for period in reversed(list(table.seconds)):
        used = interpreted(table.references[period], table.seconds[period])
        if int(used.sum()) >= _LEAST_COMMON:
            return compare_interpreters(
                how.direct(table.units(used)),
                mapped.periods[period][used],
                table.references[period][used],
                table.seconds[period][used],
                classes,
            )
    return None


def _left_out(table: SampleTable) -> list[str]:
    lines = []
    for period, reference in table.references.items():
        missing = ~interpreted(reference)
        if missing.any():
            some = ", ".join(str(i) for i in table.ids[missing][:5])
            more = ", …" if missing.sum() > 5 else ""
            lines.append(
                f"{period}: {int(missing.sum()):,} of {counted(len(table), 'unit')} not "
                f"interpreted ({some}{more}); the others of their stratum stand for them, as if "
                "they were missing at random"
            )
    return lines
