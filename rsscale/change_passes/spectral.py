"""Change without labels, as a pass: what moved further between two dates than a threshold.

The steps of one part of a recipe, each only where it is needed: ``NAME-sample`` and
``NAME-estimate``, what a measure learns of a sample of all tiles; ``NAME-magnitude``, how much each
pixel changed; ``NAME-threshold``, found of the counts of all of them; and ``NAME``, the change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import shapely
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rsscale.change_passes.magnitude import (
    ESTIMATE,
    FoundThreshold,
    MagnitudePass,
    histogram_schema,
    of_row,
    threshold_schema,
    variates_layer,
)
from rsscale.change_passes.pair import PairOptions, PairSource
from rsscale.change_passes.pair_sample import EstimatedMeasure, PairSample, sample_schema
from rsscale.errors import AreaError, BandError, RecipeError, nearest
from rsscale.layers import NODATA, Layer
from rsscale.recipe import Recipe, StepRecipe
from rsscale.spectral_change.decision import change_layers, decide
from rsscale.spectral_change.measures import Measure, Method, Scale, measure
from rsscale.spectral_change.thresholds import BETWEEN, Rule
from rsscale.steps.attachments import Attachment
from rsscale.steps.base import Block, Fold, Gather, Pass, Result, Setup, Source, Step

MAGNITUDE, THRESHOLD = "magnitude", "threshold"
"""The sources of the last step."""


class FalseAlarm(BaseModel):
    """A threshold that a share of pixels is beyond which the user marks as stable."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    false_alarm: float = Field(gt=0, lt=1)
    """Share of the stable pixels whose magnitude is beyond the threshold."""
    stable: str
    """A file of places that did not change."""


class SpectralChangeOptions(PairOptions):
    """``{kind: spectral-change, of:, from:, to:, bands:, method:, threshold:, scale:, …}``.

    ``threshold`` is a rule, a number in the unit of the layer of magnitudes, or ``{false_alarm:
    0.01, stable: FILE}``. ``scale: none`` compares the values of change vectors as they are,
    ``least_shared`` tells change vectors of part of the bands; ``variates`` writes those of IR-MAD.
    """

    method: Method = "ir-mad"
    """How the distance between two dates is measured."""
    threshold: Rule | float | FalseAlarm = "kittler-illingworth"
    """What is change: a rule by name, a number in the unit of the layer of magnitudes, or
    `{false_alarm: 0.01, stable: FILE}`."""
    scale: Scale = "band"
    """What change vectors are divided by; `none` compares values as they are."""
    least_shared: float = Field(default=1.0, gt=0, le=1)
    """Share of the bands, of all time windows, that both dates must have for a change vector: of
    a pixel with some of them it is told by these."""
    variates: bool = False
    """Also write the variates of IR-MAD."""

    @field_validator("threshold", mode="before")
    @classmethod
    def _of_one_form(cls, value: Any) -> Any:
        """Before the forms are tried one by one: of all of them pydantic tells the first alone."""
        if isinstance(value, dict) and set(value) == {"false_alarm", "stable"}:
            rate, file = value["false_alarm"], value["stable"]
            if not isinstance(rate, int | float) or not 0 < rate < 1 or not isinstance(file, str):
                raise ValueError(
                    f"is {value}; expected a share between 0 and 1 and a file of polygons"
                )
        elif isinstance(value, bool) or (
            not isinstance(value, int | float | FalseAlarm) and value not in get_args(Rule)
        ):
            raise ValueError(
                f"is {value!r}; expected {', '.join(get_args(Rule))}, a number, or "
                f"{{false_alarm: 0.01, stable: FILE}}{nearest(str(value), get_args(Rule))}"
            )
        return value

    @model_validator(mode="after")
    def _of_its_method(self) -> SpectralChangeOptions:
        if self.variates and self.method != "ir-mad":
            raise ValueError(f"variates are those of ir-mad, and the method is {self.method}")
        if "scale" in self.model_fields_set and self.method != "change-vector":
            raise ValueError(f"scale is of change-vector, and the method is {self.method}")
        if self.least_shared < 1 and self.method != "change-vector":
            raise ValueError(
                f"least_shared is of change-vector, and the method is {self.method}, which needs "
                "all bands"
            )
        if isinstance(self.threshold, float) and not 0 <= self.threshold < np.inf:
            raise ValueError(f"threshold is {self.threshold}; expected a number of 0 or more")
        return self


@dataclass(repr=False, kw_only=True)
class SpectralChangePass(Pass):
    """``change`` and ``change_probability`` of the magnitudes of an earlier step.

    Attributes
    ----------
    span : str
        ``"2000-2003"``: the two periods.
    measure : Measure
    threshold : float, optional
        In the unit of the layer of magnitudes; None where it is found.
    """

    kind: ClassVar[str] = "spectral-change"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[SpectralChangeOptions]] = SpectralChangeOptions
    facts: ClassVar[Mapping[str, Fold]] = {
        "compared": "sum", "changed": "sum", "threshold": "max", "distance": "max",
    }  # fmt: skip

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Layer, ...]
    span: str
    measure: Measure
    threshold: float | None

    @classmethod
    def attachments(cls, options: Any, recipe: Recipe) -> list[Attachment]:
        """The file of stable pixels."""
        if not isinstance(options.threshold, FalseAlarm):
            return []
        path = Path(recipe.path(options.threshold.stable))
        if not path.is_file():
            raise RecipeError(f"there is no file of stable pixels at {path}")
        return [Attachment("stable", (path,))]

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Step]:
        """The steps that are needed, the change itself last."""
        guards, pair = PairSource.open(recipe, options, setup).guarded(step, options, setup)
        pair = replace(pair, least_shared=options.least_shared)
        try:
            measured = measure(options.method, len(pair.names), options.scale)
        except BandError as error:
            raise RecipeError(f"{error}") from None
        estimating = _estimating(step, pair, measured) if measured.columns else ()
        given = options.threshold
        is_given = isinstance(given, float)
        stable, digest = None, ""
        if isinstance(given, FalseAlarm):
            stable, digest = _stable(step, given, setup)
        magnitude = MagnitudePass(
            step=f"{step}-magnitude",
            sources={**pair.sources, **_gathered(estimating, ESTIMATE, setup)},
            layers=(
                measured.layer,
                *((variates_layer(len(pair.names)),) if options.variates else ()),
            ),
            pair=pair,
            measure=measured,
            schema=None if is_given else histogram_schema(),
            stable=stable,
            stable_digest=digest,
        )
        finding = () if is_given else (_finding(step, magnitude, given),)
        sources = {MAGNITUDE: setup.source(magnitude, (measured.layer.name,))}
        change = cls(
            step=step,
            sources={**sources, **_gathered(finding, THRESHOLD, setup)},
            layers=change_layers(probable=not is_given),
            span=pair.span,
            measure=measured,
            threshold=given if is_given else None,
        )
        return [*guards, *estimating, magnitude, *finding, change]

    def spans(self) -> Sequence[str]:
        """The one pair of periods."""
        return (self.span,)

    def parameters(self) -> Mapping[str, Any]:
        """A threshold that is given; one that is found is a source."""
        return {"measure": type(self.measure).__name__, "threshold": self.threshold}

    def run(self, block: Block) -> Result:
        """Decide over one tile."""
        groups = of_row(block.inputs[THRESHOLD]) if THRESHOLD in block.inputs else None
        stored = block.inputs[MAGNITUDE][self.measure.layer.name].values
        arrays = decide(self.measure, stored, groups or float(self.threshold or 0))
        change = arrays["change"][block.where]
        facts = {
            "compared": int((change != NODATA).sum()),
            "changed": int((change == 1).sum()),
            "threshold": groups.threshold if groups else None,
            "distance": groups.distance if groups else None,
        }
        written = {layer.name: arrays[layer.name] for layer in self.layers}
        return Result(layers=block.dataset(self.layers, written), facts=facts)

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """Share of the pixels that both dates have that changed; a threshold to be doubted."""
        if not facts.get("compared"):
            return []
        share = facts.get("changed", 0) / facts["compared"]
        lines = [f"changed   {share:.2%} of the pixels that both dates have"]
        distance = facts.get("distance")
        if distance is not None and distance < BETWEEN:
            lines.append(
                f"doubtful  the threshold lies {distance:.1f} standard deviations above the mean "
                f"of the unchanged, expected are {BETWEEN:g}: it splits pixels that are alike"
            )
        return lines


def _estimating(
    step: str, pair: PairSource, measured: Measure
) -> tuple[PairSample, EstimatedMeasure]:
    """The steps that estimate what a measure needs to know."""
    import pyarrow as pa

    sample = PairSample(
        step=f"{step}-sample",
        sources=pair.sources,
        pair=pair,
        schema=sample_schema(len(pair.names)),
    )
    types = {"float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_()}
    estimate = EstimatedMeasure(
        step=f"{step}-estimate",
        of=sample.step,
        schema=pa.schema([(name, types[kind]) for name, kind in measured.columns.items()]),
        measure=measured,
        names=pair.names,
    )
    return sample, estimate


def _finding(step: str, magnitude: MagnitudePass, given: Rule | FalseAlarm) -> FoundThreshold:
    return FoundThreshold(
        step=f"{step}-threshold",
        of=magnitude.step,
        schema=threshold_schema(),
        rule=given.false_alarm if isinstance(given, FalseAlarm) else given,
    )


def _gathered(steps: Sequence[Step], name: str, setup: Setup) -> dict[str, Source]:
    """The table of the last of some steps as a source, where there are any."""
    return {name: setup.gathered(steps[-1])} if steps and isinstance(steps[-1], Gather) else {}


def _stable(step: str, given: FalseAlarm, setup: Setup) -> tuple[shapely.Geometry, str]:
    """Where nothing changed, in the grid's CRS, and the digest of its file."""
    from rsscale.geo.area import read_area

    kept = setup.attachment(step, "stable")
    path = kept.folder / Path(given.stable).name
    try:
        area = read_area(path)
    except AreaError as error:
        raise RecipeError(f"threshold.stable: {error}") from None
    shape = setup.grid.project(area).geom
    extent = setup.grid.geobox_of(setup.extent()).extent.geom
    if not shapely.intersects(shape, extent):
        raise RecipeError(
            f"threshold.stable: none of the polygons of {given.stable} touches the recipe's area; "
            "mark stable pixels inside it"
        )
    return shape, kept.digest
