"""The temporal model as a pass: classes of all years together, and what changed when.

Two steps of one part of a recipe: ``NAME`` for the span of all years, ``NAME-years`` for each year.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

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
from rsscale.change.transition_sample import estimate, some_pixels
from rsscale.change.transitions import matrix_of, over_years, pairs_of, shares_of, staying
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError
from rsscale.layers import NODATA, TileKey
from rsscale.legend.classes import LandClass, classes_from_attributes
from rsscale.processes import PROCESS_BYTES
from rsscale.recipe import StepRecipe
from rsscale.steps.base import Block, Cost, Fold, Gather, Pass, Result, Setup, Source, Step
from rsscale.steps.options import Options

if TYPE_CHECKING:
    import pyarrow as pa

# Pixels at once: of seven classes and ten years some 10 MB an array.
_AT_ONCE = 1 << 15
ESTIMATED = "transitions"
"""The source of the estimated matrix."""
EVERY = 8
"""Rows and columns between pixels of the sample that transitions are estimated from."""
# Of a probability: what rounds to 0 percent is mostly far below a half, and must not be impossible.
_LEAST = 0.0005


class TemporalOptions(Options):
    """``{kind: temporal-model, of: STEP, stay:, transitions:, forbidden:, prior:, from:, to:}``.

    Transitions are estimated from a sample of all tiles, beginning with ``stay``, the probability
    that a class is the same a year later; ``transitions: stay`` takes it as it is, and a mapping of
    class names is the whole matrix. ``forbidden`` are pairs of names that never follow each other,
    ``prior`` the shares of classes that the model of the maps was trained on, equal when left out.
    """

    stay: float = Field(default=0.95, gt=0, lt=1)
    transitions: Literal["estimate", "stay"] | dict[str, dict[str, float]] = "estimate"
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
    matrix: npt.NDArray[np.float64]
    prior: npt.NDArray[np.float64]

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Step]:
        """The change over all years and the classes of each year; before them, the transitions."""
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
            "matrix": _matrix(options, names),
            "prior": _prior(options, names),
        }
        opened: list[Step] = []
        if options.transitions == "estimate":
            opened = list(_estimating(step, given, setup))
        opened.append(TemporalChangePass(step=step, layers=change_layers(classes, years), **given))
        if options.years:
            opened.append(YearsPass(step=f"{step}-years", layers=year_layers(classes), **given))
        return opened

    def parameters(self) -> Mapping[str, Any]:
        """Classes, years and the model."""
        return {
            "classes": [[land_class.value, land_class.name] for land_class in self.classes],
            "years": list(self.years),
            "prior": self.prior.tolist(),
            "matrix": self.matrix.tolist(),
        }

    def chain(self, block: Block) -> Chain:
        """The model over the years: with the estimated transitions, or those that were given."""
        matrix = self.matrix
        if ESTIMATED in block.inputs:
            matrix = block.inputs[ESTIMATED]["probability"].to_numpy().reshape(matrix.shape)
        steps = [over_years(matrix, int(gap)) for gap in np.diff(self.years)]
        return Chain(np.full(len(matrix), 1 / len(matrix)), steps)

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
        flat = [self._stored(block, year).reshape(len(self.classes), -1) for year in self.years]
        for start in range(0, flat[0].shape[1], _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            values = np.stack([of_year[:, part] for of_year in flat])  # (T, K, P)
            yield part, *likelihood_of(values, self.prior)

    def _stored(self, block: Block, year: int) -> npt.NDArray[np.uint8]:
        """Percents ``(K, y, x)`` of a year over the tile."""
        stored: npt.NDArray[np.uint8] = block.inputs[str(year)]["probability"].values
        return stored[(..., *block.inside)]


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
        chain = self.chain(block)
        for part, likelihood, seen in self.likelihoods(block):
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
        """Share of the pixels seen in two years or more that changed."""
        if not facts.get("compared"):
            return []
        share = facts.get("changed", 0) / facts["compared"]
        return [f"changed   {share:.2%} of the pixels that two years or more have"]


@dataclass(repr=False, kw_only=True)
class TransitionSample(TemporalPass):
    """Rows of every eighth pixel of every eighth row: its probabilities of all years.

    A pixel is in it by its place on the grid, so that the sample is that of the whole area.
    """

    kind: ClassVar[str] = "temporal-model-sample"
    schema: pa.Schema

    def spans(self) -> Sequence[str]:
        """The first to the last year."""
        return (f"{self.years[0]}-{self.years[-1]}",)

    def run(self, block: Block) -> Result:
        """Take the sample of one tile."""
        import pyarrow as pa

        rows = np.arange(block.core.row0 + -block.core.row0 % EVERY, block.core.row1, EVERY)
        cols = np.arange(block.core.col0 + -block.core.col0 % EVERY, block.core.col1, EVERY)
        where = np.ix_(rows - block.core.row0, cols - block.core.col0)
        values = np.stack([[p[where] for p in self._stored(block, y)] for y in self.years])
        seen = ((values[:, 0] != NODATA).sum(axis=0) > 1) & block.where[where]
        row, col = np.nonzero(seen)
        percents = values[..., row, col].transpose(2, 0, 1).reshape(len(row), -1)  # (P, T·K)
        width = len(self.years) * len(self.classes)
        column = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(width), len(row), [None, pa.py_buffer(np.ascontiguousarray(percents))]
        )
        arrays = [pa.array(rows[row], pa.int64()), pa.array(cols[col], pa.int64()), column]
        return Result(table=pa.Table.from_arrays(arrays, schema=self.schema))


@dataclass(kw_only=True)
class EstimatedTransitions(Gather):
    """The transition matrix of a year, by expectation maximisation over the sample of all tiles.

    Attributes
    ----------
    classes : tuple of LandClass
    years : tuple of int
    matrix : float array (K, K)
        Where it begins.
    prior : float array (K,)
    """

    kind: ClassVar[str] = "temporal-model-transitions"
    version: ClassVar[str] = "1"

    step: str
    of: str
    schema: pa.Schema
    classes: tuple[LandClass, ...]
    years: tuple[int, ...]
    matrix: npt.NDArray[np.float64]
    prior: npt.NDArray[np.float64]

    def parameters(self) -> Mapping[str, Any]:
        """Years, prior and where it begins."""
        return {
            "years": list(self.years),
            "prior": self.prior.tolist(),
            "matrix": self.matrix.tolist(),
        }

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """A row for each pair of classes: ``from``, ``to``, ``probability``."""
        import pyarrow as pa

        count = len(self.classes)
        # In the order of places: sums are the same to the bit however the area was cut.
        sample = some_pixels(table for _, table in parts)
        buffers = sample["percents"].combine_chunks().buffers()
        flat = np.frombuffer(buffers[1], np.uint8) if len(sample) else np.zeros(0, np.uint8)
        values = flat.reshape(len(sample), len(self.years), count).transpose(1, 2, 0)
        likelihood, _ = likelihood_of(np.ascontiguousarray(values), self.prior)
        matrix = estimate(likelihood, self.years, self.matrix)
        names = [land_class.name for land_class in self.classes]
        columns = {
            "from": [name for name in names for _ in names],
            "to": names * count,
            "probability": matrix.ravel(),
        }
        return pa.Table.from_pydict(columns, schema=self.schema)


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
        chain = self.chain(block)
        for part, likelihood, seen in self.likelihoods(block):
            known = seen.any(axis=0)
            path = best_path(likelihood, chain)[time]
            classes = marginals(likelihood, chain).classes[time]
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


def _estimating(step: str, given: dict[str, Any], setup: Setup) -> Iterator[Step]:
    """The steps that estimate transitions; what is given for later steps reads their result."""
    import pyarrow as pa

    width = len(given["years"]) * len(given["classes"])
    place = [("row", pa.int64()), ("col", pa.int64())]
    sample = TransitionSample(
        step=f"{step}-sample",
        layers=(),
        schema=pa.schema([*place, ("percents", pa.binary(width))]),
        **given,
    )
    pairs = [("from", pa.string()), ("to", pa.string()), ("probability", pa.float64())]
    transitions = EstimatedTransitions(
        step=f"{step}-transitions",
        of=sample.step,
        schema=pa.schema(pairs),
        **{key: given[key] for key in ("classes", "years", "matrix", "prior")},
    )
    yield sample
    given["sources"] = {**given["sources"], ESTIMATED: setup.gathered(transitions)}
    yield transitions


def likelihood_of(
    percents: npt.NDArray[np.uint8], prior: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Likelihoods ``(T, K, P)`` of stored probabilities, 1 where not seen; and where seen."""
    seen = percents[:, 0] != NODATA  # (T, P)
    weight = (1 / (prior * len(prior))).astype(np.float32)[:, None]
    likelihood = np.maximum(percents.astype(np.float32) / 100, np.float32(_LEAST)) * weight
    likelihood.transpose(0, 2, 1)[~seen] = 1.0
    return likelihood, seen


def _prior(options: TemporalOptions, names: list[str]) -> npt.NDArray[np.float64]:
    if options.prior is None:
        return np.full(len(names), 1 / len(names))
    return shares_of(options.prior, names)
