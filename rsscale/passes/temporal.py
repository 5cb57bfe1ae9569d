"""The temporal model as a pass: classes of all years together, and what changed when.

Two steps of one part of a recipe: ``NAME`` for the span of all years, ``NAME-years`` for each year.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from rsscale.change.hidden_markov import Chain, best_path, marginals
from rsscale.change.temporal_layers import (
    change_layers,
    change_values,
    percent,
    year_layers,
)
from rsscale.change.transitions import matrix_of, over_years, pairs_of, shares_of, staying
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass, classes_from_attributes
from rsscale.processes import PROCESS_BYTES
from rsscale.recipe import StepRecipe
from rsscale.steps.base import Block, Cost, Fold, Pass, Result, Setup, Source
from rsscale.steps.options import Options

# Pixels at once: of seven classes and ten years some 10 MB an array.
_AT_ONCE = 1 << 15
# Of a probability: what rounds to 0 percent is mostly far below a half, and must not be impossible.
_LEAST = 0.0005


class TemporalOptions(Options):
    """``{kind: temporal-model, of: STEP, stay:, transitions:, forbidden:, prior:, from:, to:}``.

    ``stay`` is the probability that a class is the same a year later; ``transitions`` a whole
    matrix by class names in its place; ``forbidden`` pairs of names that never follow each other;
    ``prior`` the shares of classes that the model of the maps was trained on, equal when left out.
    """

    stay: float = Field(default=0.9, gt=0, lt=1)
    transitions: dict[str, dict[str, float]] | None = None
    forbidden: tuple[tuple[str, str], ...] = ()
    prior: dict[str, float] | None = None
    from_: int | None = Field(default=None, alias="from")
    to: int | None = None
    years: bool = True


@dataclass(repr=False, kw_only=True)
class TemporalPass(Pass):
    """Base of both steps: the probabilities of all years, and the model over them."""

    kind: ClassVar[str] = "temporal-model"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = TemporalOptions

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Any, ...]
    years: tuple[int, ...]
    classes: tuple[LandClass, ...]
    chain: Chain
    prior: npt.NDArray[np.float64]

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Pass]:
        """The change over all years, and the classes of each year."""
        if len(recipe.references) != 1:
            raise RecipeError("needs 'of': the one step whose yearly probabilities it takes")
        (reference,) = recipe.references.values()
        there = {layer.name: layer for layer in setup.layers(reference)}
        if "probability" not in there or "classification" not in there:
            raise RecipeError(
                f"needs the layers 'classification' and 'probability' of the step; it has "
                f"{', '.join(there)}: add probability to output.layers"
            )
        classes = classes_from_attributes(there["classification"].attributes)
        years = _years(setup.spans(reference), options)
        names = [land_class.name for land_class in classes]
        given: dict[str, Any] = {
            "sources": {
                str(year): setup.source(reference, ("probability",), at=str(year)) for year in years
            },
            "years": years,
            "classes": classes,
            "chain": _chain(options, names, years),
            "prior": _prior(options, names),
        }
        change = TemporalChangePass(step=step, layers=change_layers(classes, years), **given)
        if not options.years:
            return [change]
        return [change, YearsPass(step=f"{step}-years", layers=year_layers(classes), **given)]

    def parameters(self) -> Mapping[str, Any]:
        """Classes, years and the model."""
        return {
            "classes": [[land_class.value, land_class.name] for land_class in self.classes],
            "years": list(self.years),
            "prior": self.prior.tolist(),
            "first": self.chain.first.tolist(),
            "steps": [step.tolist() for step in self.chain.steps],
        }

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side: what is read, results, a part."""
        del profile
        written = tile * tile * sum(layer.pixel_bytes for layer in self.layers)
        working = 24 * len(self.years) * len(self.classes) * _AT_ONCE
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + 3 * written + working))

    def likelihoods(
        self, block: Block
    ) -> Iterator[tuple[slice, npt.NDArray[np.float32], npt.NDArray[np.bool_]]]:
        """Parts of a tile: which pixels, likelihoods ``(T, K, P)``, what is seen ``(T, P)``."""
        stored = [
            block.inputs[str(year)]["probability"].values[(..., *block.inside)]
            for year in self.years
        ]
        flat = [values.reshape(len(self.classes), -1) for values in stored]
        weight = (1 / (self.prior * len(self.prior))).astype(np.float32)[:, None]
        for start in range(0, flat[0].shape[1], _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            values = np.stack([of_year[:, part] for of_year in flat])  # (T, K, P)
            seen = values[:, 0] != NODATA
            likelihood = np.maximum(values.astype(np.float32) / 100, np.float32(_LEAST)) * weight
            likelihood.transpose(0, 2, 1)[~seen] = 1.0
            yield part, likelihood, seen


@dataclass(repr=False, kw_only=True)
class TemporalChangePass(TemporalPass):
    """What changed over all years: ``change``, its probability, ``from``, ``to``, and when."""

    facts: ClassVar[Mapping[str, Fold]] = {"compared": "sum", "changed": "sum"}

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
        for part, likelihood, seen in self.likelihoods(block):
            path = best_path(likelihood, self.chain)
            change = marginals(likelihood, self.chain).change
            known = seen.sum(axis=0) > 1
            values = change_values(path, change, self.classes, self.years)
            for name, of_layer in values.items():
                flat[name][part][known] = of_layer[known]
        change_map = layers["change"]
        facts = {
            "compared": int((change_map[block.where] != NODATA).sum()),
            "changed": int((change_map[block.where] == 1).sum()),
        }
        return Result(layers=block.dataset(self.layers, layers), facts=facts)

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """Share of the pixels seen in two years or more that changed."""
        if not facts.get("compared"):
            return []
        share = facts.get("changed", 0) / facts["compared"]
        return [f"changed   {share:.2%} of the pixels that two years or more have"]


@dataclass(repr=False, kw_only=True)
class YearsPass(TemporalPass):
    """Classes of each year, given all years: ``classification`` and ``confidence``."""

    def spans(self) -> Sequence[str]:
        """Each year."""
        return tuple(map(str, self.years))

    def run(self, block: Block) -> Result:
        """Compute one tile of one year."""
        time = self.years.index(int(block.key.span))
        values = np.array([land_class.value for land_class in self.classes], np.uint8)
        label, confidence = (np.full(block.core.shape, NODATA, np.uint8) for _ in range(2))
        for part, likelihood, seen in self.likelihoods(block):
            known = seen.any(axis=0)
            path = best_path(likelihood, self.chain)[time]
            classes = marginals(likelihood, self.chain).classes[time]
            of_path = np.take_along_axis(classes, path[None], axis=0)[0]
            label.reshape(-1)[part][known] = values[path][known]
            confidence.reshape(-1)[part][known] = percent(of_path)[known]
        layers = {"classification": label, "confidence": confidence}
        return Result(layers=block.dataset(self.layers, layers))


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


def _chain(options: TemporalOptions, names: list[str], years: Sequence[int]) -> Chain:
    forbidden = pairs_of(options.forbidden, names)
    if options.transitions is None:
        matrix = staying(len(names), options.stay, forbidden)
    else:
        if forbidden or "stay" in options.model_fields_set:
            raise RecipeError(
                "has 'transitions', and 'stay' or 'forbidden' beside it; write 0 into transitions"
            )
        matrix = matrix_of(options.transitions, names)
    gaps = np.diff(years)
    first = np.full(len(names), 1 / len(names))
    return Chain(first, [over_years(matrix, int(gap)) for gap in gaps])


def _prior(options: TemporalOptions, names: list[str]) -> npt.NDArray[np.float64]:
    if options.prior is None:
        return np.full(len(names), 1 / len(names))
    return shares_of(options.prior, names)
