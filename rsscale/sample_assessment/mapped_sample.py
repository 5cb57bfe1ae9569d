"""What the map says of a sample: classes at its units, and hectares of the whole and of regions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rsscale.estimation.estimate import MappedClasses
from rsscale.reference.zones import Zones
from rsscale.runs.run import Run
from rsscale.sample_assessment.layers_of_run import MapLayers, area_tiles, change_layer
from rsscale.sample_assessment.sample_file import SampleFile
from rsscale.survey_estimators.units import Floats

# Hectares of the counted map and of the design may differ by rounding alone.
_SAME = 1e-6


def mapped_hectares(
    maps: MapLayers, file: SampleFile, period: str, zones: Zones | None, *, is_same: bool
) -> Floats:
    """Mapped hectares ``(1 + Z, K + 1)``; by the design, where its strata are the classes."""
    record = file.record
    names = {land_class.value: land_class.name for land_class in maps.classes}
    if record is not None and zones is None and is_same and not maps.is_change:
        strata = {stratum.value: stratum for stratum in record.design.strata}
        drawn_from = (record.step, record.layer, record.span)
        is_same_map = drawn_from == (maps.step.step, maps.layer.name, period)
        if is_same_map and all(
            names.get(value) == stratum.name for value, stratum in strata.items()
        ):
            known = [strata[v].hectares if v in strata else 0.0 for v in names]
            return np.array([[*known, 0.0]])
    return maps.of(period).hectares(zones, area_tiles(maps.plan))


def mapped_sample(
    run: Run, maps: MapLayers, file: SampleFile, hectares: Mapping[str, Floats], total: float
) -> MappedClasses:
    """The maps at the units, and hectares of their classes.

    Parameters
    ----------
    run : Run
    maps : MapLayers
    file : SampleFile
    hectares : mapping of period to float64 array (1 + Z, K + 1)
        As :func:`mapped_hectares` counts them.
    total : float
        Hectares of the population that was sampled: only where a map covers just this may it
        assist.
    """

    def is_whole(counted: Floats) -> bool:
        return abs(float(counted[:-1].sum()) - total) <= _SAME * total

    change, of_change = {}, {}
    for before, after in zip(list(hectares), list(hectares)[1:], strict=False):
        span = f"{before}-{after}"
        layer = change_layer(run, maps.plan, maps.step.step, span)
        if layer is not None:
            change[span] = layer.at(file.row, file.col)
            of_change[span] = layer.hectares(None, area_tiles(maps.plan))[0]
    counted = {p: table[0] for p, table in hectares.items()}
    return MappedClasses(
        {p: maps.of(p).at(file.row, file.col) for p in hectares},
        {p: known(table) for p, table in counted.items()},
        change,
        {span: known(table) for span, table in of_change.items()},
        frozenset(name for name, table in (counted | of_change).items() if is_whole(table)),
    )


def known(counted: Floats) -> Floats:
    """Hectares of classes; pixels without one are not of the population that was drawn from."""
    kept = counted.copy()
    kept[-1] = 0.0
    return kept
