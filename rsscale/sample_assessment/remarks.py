"""What a reader of area estimates must know; and what is said of no probability sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rsscale.estimation.estimate import MappedClasses
from rsscale.estimation.sample_table import PROBABILITY, interpreted
from rsscale.legend.class_codes import class_positions
from rsscale.reference.zones import Zones
from rsscale.sample_assessment.design_record import DesignRecord
from rsscale.sample_assessment.layers_of_run import MapLayers
from rsscale.sample_assessment.regions import zones_of
from rsscale.sample_assessment.sample_file import SampleFile
from rsscale.text.wording import counted

# Share by which two sizes may differ and nothing is said.
_NOTED = 1e-4


def remarks(
    file: SampleFile,
    zones: Zones | None,
    mapped: MappedClasses,
    *,
    map_changed: bool,
) -> Sequence[str]:
    """Lines on how the sample was taken, and on units without a class or a region."""
    notes = []
    for period, positions in mapped.periods.items():
        none = int((positions == len(mapped.hectares[period]) - 1).sum())
        if none:
            notes.append(
                f"{period}: {counted(none, 'unit lies', 'units lie')} where the map has no class, "
                "which counts as wrong"
            )
    if file.record is None:
        notes.append(
            "there is no design record: strata, clusters and their sizes are taken from the "
            f"sample's columns, and sizes are sums of 1 / {PROBABILITY}"
        )
    if file.record is not None:
        notes += not_sampled(file.record)
        sampled = file.record.design.hectares
        for period, hectares in mapped.hectares.items():
            with_class = float(hectares[:-1].sum())
            if abs(sampled - with_class) > _NOTED * with_class:
                notes.append(
                    f"{period}: the sample's strata have {sampled:,.1f} ha, and the map "
                    f"{with_class:,.1f} ha with a class: areas are those of the strata"
                )
    if map_changed:
        notes.append(
            "the sample was drawn from another version of the map (--map-changed): strata are "
            "those of that map, and the figures of this one are by ratios of totals"
        )
    if zones is not None:
        some = list(zones_of(file.place, zones).values())
        outside = int((~np.any(some, axis=0)).sum())
        if outside:
            notes.append(f"{outside:,} of {len(file.frame):,} units lie in no region")
    return notes


def not_sampled(record: DesignRecord) -> Iterator[str]:
    """A line for land that no unit could be drawn from: no figure is of it."""
    sampled = record.design.hectares
    area = sampled + record.unmapped + record.left_out
    for hectares, why in (
        (record.unmapped, "had no class in the map that the sample was drawn from"),
        (record.left_out, "were left out of the sample"),
    ):
        if hectares > _NOTED * area:
            yield (
                f"{hectares:,.0f} of the area's {area:,.0f} ha ({hectares / area:.1%}) {why}: "
                f"areas and accuracies are of the {sampled:,.0f} ha that were sampled"
            )


def no_probability_sample(file: SampleFile, maps: MapLayers, references: Mapping[str, str]) -> str:
    """What is said of points that are no probability sample, with what they do tell."""
    period, column = list(references.items())[-1]
    ids = file.ids.tolist()
    reference = class_positions(file.frame[column].tolist(), maps.classes, column=column, ids=ids)
    used = interpreted(reference)
    mapped = maps.of(period).at(file.row, file.col)
    agree = int((mapped[used] == reference[used]).sum())
    share = f"{agree:,} of {int(used.sum()):,}" + (
        f" ({agree / used.sum():.3f})" if used.any() else ""
    )
    return (
        f"{file.path.name} is no probability sample: beside it lies no design record "
        f"({file.path.name}.design.json), and it has no column {PROBABILITY!r}, so that nobody "
        "knows what each unit stands for; there are no areas, no accuracies of the map and no "
        "intervals. "
        f"What may be told is the agreement of these units: {share} have the class of the map of "
        f"{period}. Draw a sample with rsscale design"
    )
