"""The temporal model as a pass: classes of all years together, and what changed when.

Steps of one part of a recipe: ``NAME`` for the span of all years, ``NAME-years`` for each year;
before them those that estimate transitions (``NAME-sample``, ``NAME-transitions``), and
``NAME-path``, which has the classes of all years at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field, model_validator

from rsscale.change.hidden_markov import best_path, marginals
from rsscale.change.temporal_layers import (
    change_layers,
    change_values,
    path_layers,
    path_names,
    percent,
    year_layers,
)
from rsscale.change.transitions import matrix_of, pairs_of, shares_of, staying
from rsscale.change_passes.temporal_base import TemporalPass
from rsscale.change_passes.temporal_estimate import EVERY, estimating_steps, open_evidence
from rsscale.change_passes.temporal_labels import LabelFile, LabelOptions, counting_steps
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError
from rsscale.geo.lattice import PixelBox
from rsscale.layers import NODATA, Layer, TileKey
from rsscale.legend.classes import classes_from_attributes
from rsscale.model.outputs import CALIBRATION, NOT_KNOWN
from rsscale.recipe import Recipe, Reference, StepRecipe
from rsscale.steps.attachments import Attachment
from rsscale.steps.base import Block, Cost, Fold, PartPass, Resources, Result, Setup, Source, Step
from rsscale.steps.options import Options

_log = logging.getLogger("rsscale")
_NOT_CALIBRATED = (
    "the probabilities of the map's model are not known to be calibrated, and the temporal model "
    "takes them at their word: one that is too sure tells change that is none; train it with three "
    "places or more to test on (train.split)"
)


class TemporalOptions(Options):
    """``{kind: temporal-model, of: STEP, stay:, transitions:, forbidden:, prior:, from:, to:}``.

    ``of: {map: STEP, evidence: STEP}`` names layers of imagery beside the maps, such as the
    magnitudes of ``spectral-change``; of several pairs of years each by any name.

    Transitions are estimated from a sample of all tiles, beginning with ``stay``, the probability
    that a class is the same a year later; ``transitions: labels`` counts them from labels of the
    same places in several years, those of ``train`` or of ``labels``, beside ``pseudocount`` pixels
    of each class that become what ``stay`` says; ``transitions: stay`` takes it as it is, and a
    mapping of class names is the whole matrix. ``forbidden`` are pairs of names that never follow
    each other, ``prior`` the shares of classes that the model of the maps was trained on, equal
    when left out.
    """

    stay: float = Field(default=0.95, gt=0, lt=1)
    """Probability that a class is the same a year later, which estimating begins with."""
    transitions: Literal["estimate", "labels", "stay"] | dict[str, dict[str, float]] = "estimate"
    """`estimate` them from a sample of all tiles, count them from `labels`, take `stay` as it is,
    or give the whole matrix by class names."""
    labels: LabelOptions | None = None
    """Labels of the same places in several years, for `transitions: labels`; those of `train` when
    left out."""
    pseudocount: float = Field(default=500, gt=0)
    """Pixels of each class, beside those of labels, that become what `stay` says."""
    forbidden: tuple[tuple[str, str], ...] = ()
    """Pairs of class names that never follow each other."""
    sample_every: int = Field(default=EVERY, ge=1, le=64)
    """Rows and columns between pixels of the sample that is estimated from: less than 8 for areas
    of less than 64,000 pixels."""
    prior: dict[str, float] | None = None
    """Shares of classes that the model of the maps was trained on; equal when left out."""
    from_: int | None = Field(default=None, alias="from")
    """The earlier period that change is told of; the first when left out."""
    to: int | None = None
    """The later period; the last when left out."""
    years: bool = True
    """Also write the classes of each year, as a step of its own."""

    @model_validator(mode="after")
    def _labels_are_counted(self) -> Self:
        """Refuse what says how labels are counted where none are."""
        said = [key for key in self.model_fields_set if getattr(self, key) is not None]
        given = [key for key in ("labels", "pseudocount") if key in said]
        if given and self.transitions != "labels":
            raise ValueError(f"has {given[0]!r}, which is for 'transitions: labels'")
        return self


@dataclass(repr=False, kw_only=True)
class TemporalChangePass(TemporalPass):
    """What changed over all years: ``change``, its probability, ``from``, ``to``, and when."""

    Options: ClassVar[type[Options]] = TemporalOptions
    is_calibrated: bool = True  # whether the map's probabilities are known to be
    facts: ClassVar[Mapping[str, Fold]] = {"compared": "sum", "changed": "sum"}

    @classmethod
    def attachments(cls, options: Any, recipe: Recipe) -> list[Attachment]:
        """The labels that transitions are counted from."""
        if options.transitions != "labels":
            return []
        return [LabelFile.of(options.labels, recipe).attachment()]

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Step]:
        """The change over all years and the classes of each year; before them, the transitions."""
        reference, beside = _references(recipe)
        there = {layer.name: layer for layer in setup.layers(reference)}
        _check_layers(there)
        classes = classes_from_attributes(there["classification"].attributes)
        years = _years(setup.spans(reference), options)
        names = [land_class.name for land_class in classes]
        evidence = open_evidence(beside, years, setup)
        given: dict[str, Any] = {
            "sources": {
                str(year): setup.source(reference, ("probability",), at=str(year)) for year in years
            }
            | {evidence_layer.source: source for evidence_layer, source in evidence},
            "evidence": tuple(evidence_layer for evidence_layer, _ in evidence),
            "years": years,
            "classes": classes,
            "matrix": _matrix(options, names),
            "prior": _prior(options, names),
        }
        is_estimated = options.transitions == "estimate"
        opened: list[Step] = []
        if is_estimated or evidence:
            opened += estimating_steps(
                step, given, setup, transitions=is_estimated, every=options.sample_every
            )
        if options.transitions == "labels":
            labels = LabelFile.of(options.labels, setup.recipe)
            opened += counting_steps(step, labels, options.pseudocount, given, setup)
        layers = change_layers(classes, years)
        is_calibrated = there["probability"].attributes.get(CALIBRATION) != NOT_KNOWN
        opened.append(cls(step=step, layers=layers, is_calibrated=is_calibrated, **given))
        if options.years:
            opened += _steps_of_years(step, given, setup)
        return opened

    @classmethod
    def check_recipe(cls, options: Any, layers: Mapping[str, Sequence[str]]) -> None:
        """See :meth:`Pass.check_recipe`: it needs the probabilities of the map."""
        del options
        for of_step in layers.values():
            _check_layers(of_step)

    def spans(self) -> Sequence[str]:
        """The first to the last year."""
        return (f"{self.years[0]}-{self.years[-1]}",)

    def run(self, block: Block) -> Result:
        """Compute one tile."""
        layers = {
            layer.name: np.full(block.core.shape, layer.nodata, layer.numpy_dtype)
            for layer in self.layers
        }
        flat = {name: values.reshape(-1) for name, values in layers.items()}
        for part, likelihood, seen, chain in self.likelihoods(block):
            path = best_path(likelihood, chain)
            change = marginals(likelihood, chain, seen).change
            known = seen.sum(axis=0) > 1
            values = change_values(path, seen, change, self.classes, self.years)
            for name, of_layer in values.items():
                flat[name][part][known] = of_layer[known]
        change_map = layers["change"]
        facts = {
            "compared": int((change_map[block.where] != NODATA).sum()),
            "changed": int((change_map[block.where] == 1).sum()),
        }
        return Result(layers=block.dataset(self.layers, layers), facts=facts)

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """Share of the pixels seen in two years or more that changed; a doubt of the model's."""
        lines = [] if self.is_calibrated else [f"doubt     {_NOT_CALIBRATED}"]
        if facts.get("compared"):
            share = facts.get("changed", 0) / facts["compared"]
            lines.append(f"changed   {share:.2%} of the pixels that two years or more have")
        return lines

    def check(self, profile: NumericProfile) -> None:
        """Say so where the map's probabilities are not known to be calibrated."""
        super().check(profile)
        if not self.is_calibrated:
            _log.warning("step %r: %s", self.step, _NOT_CALIBRATED)


@dataclass(frozen=True)
class OfSpan:
    """A source that is another one for each span.

    Attributes
    ----------
    sources : mapping of span to Source
    """

    sources: Mapping[str, Source]

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """See :class:`~rsscale.steps.base.Source`."""
        return self.sources[key.span].read(box, key, resources)

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """See :class:`~rsscale.steps.base.Source`."""
        return self.sources[key.span].digest(box, key)

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """See :class:`~rsscale.steps.base.Source`."""
        return self.sources[key.span].inputs(box, key)

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """See :class:`~rsscale.steps.base.Source`."""
        return self.sources[key.span].cost(box, key)


@dataclass(repr=False, kw_only=True)
class PathPass(TemporalPass):
    """The class of each year by the most probable sequence, and how probable it is that year.

    Once for all years: each depends on all others, and year by year it would be the work of all
    years for each of them.
    """

    kind: ClassVar[str] = "temporal-model-path"

    def spans(self) -> Sequence[str]:
        """The first to the last year."""
        return (f"{self.years[0]}-{self.years[-1]}",)

    def run(self, block: Block) -> Result:
        """Compute one tile."""
        values = np.array([land_class.value for land_class in self.classes], np.uint8)
        layers = {layer.name: np.full(block.core.shape, NODATA, np.uint8) for layer in self.layers}
        for part, likelihood, seen, chain in self.likelihoods(block):
            known = seen.any(axis=0)
            path, classes = best_path(likelihood, chain), marginals(likelihood, chain).classes
            for year, of_year, probability in zip(self.years, path, classes, strict=True):
                label, confidence = (layers[name].reshape(-1) for name in path_names(year))
                of_path = np.take_along_axis(probability, of_year[None], axis=0)[0]
                label[part][known] = values[of_year][known]
                confidence[part][known] = percent(of_path)[known]
        return Result(layers=block.dataset(self.layers, layers))


@dataclass(repr=False, kw_only=True)
class YearsPass(PartPass):
    """Classes of each year, given all years: ``classification`` and ``confidence``."""

    kind: ClassVar[str] = "temporal-model-years"
    version: ClassVar[str] = "2"

    step: str
    sources: Mapping[str, OfSpan]
    layers: tuple[Layer, ...]

    def spans(self) -> Sequence[str]:
        """Each year."""
        return tuple(self.sources["path"].sources)

    def parameters(self) -> Mapping[str, Any]:
        """None: the path decides."""
        return {}

    def run(self, block: Block) -> Result:
        """Take one tile of one year."""
        names = path_names(int(block.key.span))
        arrays = [block.inputs["path"][name].values[block.inside] for name in names]
        layers = dict(zip(("classification", "confidence"), arrays, strict=True))
        return Result(layers=block.dataset(self.layers, layers))


def _steps_of_years(step: str, given: Mapping[str, Any], setup: Setup) -> list[Step]:
    """The path of all years, and the layers of each, which are parts of it."""
    years, classes = given["years"], given["classes"]
    path = PathPass(step=f"{step}-path", layers=path_layers(years), **given)
    by_year = {
        str(year): setup.source(path, path_names(year), at=path.spans()[0]) for year in years
    }
    each = YearsPass(
        step=f"{step}-years", layers=year_layers(classes), sources={"path": OfSpan(by_year)}
    )
    return [path, each]


def _references(recipe: StepRecipe) -> tuple[Reference, dict[str, Reference]]:
    """The step of the maps, and those of evidence by name."""
    references = recipe.references
    if len(references) < 2 or "map" not in references:
        description = "step whose yearly probabilities it takes"
        if references:
            description += ", or with evidence {map: STEP, evidence: STEP}"
        return recipe.only_reference(description), {}
    return references["map"], {name: of for name, of in references.items() if name != "map"}


def _check_layers(names: Iterable[str]) -> None:
    missing = {"classification", "probability"} - set(names)
    if missing:
        raise RecipeError(
            "needs the layers 'classification' and 'probability' of the step; it has "
            f"{', '.join(names)}: add {' and '.join(sorted(missing))} to output.layers"
        )


def _years(spans: Sequence[str], options: TemporalOptions) -> tuple[int, ...]:
    """The years from the first to the last that is asked for."""
    every = sorted(int(span) for span in spans if span.isdecimal())
    for key, year in (("from", options.from_), ("to", options.to)):
        if year is not None and year not in every:
            raise RecipeError(f"{key} is {year}, and the step is of {every}")
    first, last = options.from_ or min(every, default=0), options.to or max(every, default=0)
    years = tuple(year for year in every if first <= year <= last)
    if len(years) < 2:
        raise RecipeError(
            f"from {first} to {last} there are the years {list(years)} of {every}; a change needs "
            "two or more, the earlier one first"
        )
    return years


def _matrix(options: TemporalOptions, names: list[str]) -> npt.NDArray[np.float64]:
    """The matrix that is given, or that estimation begins with."""
    forbidden = pairs_of(options.forbidden, names)
    if isinstance(options.transitions, str):
        return staying(len(names), options.stay, forbidden)
    if forbidden or "stay" in options.model_fields_set:
        raise RecipeError(
            "has a matrix of 'transitions', and 'stay' or 'forbidden' beside it; write 0 into it"
        )
    return matrix_of(options.transitions, names)


def _prior(options: TemporalOptions, names: list[str]) -> npt.NDArray[np.float64]:
    if options.prior is None:
        return np.full(len(names), 1 / len(names))
    return shares_of(options.prior, names)
