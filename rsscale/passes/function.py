"""A user's function as a pass: layers out of layers and composites, with a halo, tile by tile."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import xarray as xr
from pydantic import Field, field_validator

from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.composites.strips import in_memory
from rsscale.errors import RecipeError, RunFolderError
from rsscale.functions.call import Function, UserFunction, check_call
from rsscale.functions.layers import LayerOptions
from rsscale.geo.lattice import PixelBox
from rsscale.importing.user_code import check_allowed, load
from rsscale.layers import Layer
from rsscale.memory import PROCESS_BYTES
from rsscale.recipe import Reference, StepRecipe
from rsscale.recipe.fields import short_form
from rsscale.steps.base import ALL, Block, Cost, Pass, Result, Setup, Source
from rsscale.steps.options import Options
from rsscale.steps.sources import InputSource

ALLOWED = "RSSCALE_FUNCTIONS"
"""Environment variable with the modules whose functions a recipe may name."""

NOTEBOOK = "__main__"
"""Module of a function that was given in a notebook: no worker can import it."""

# What threads hold of the scenes that they composite, each.
_READING = 450 * 2**20
# What a function holds beside what it is given, as a multiple of that: not known, so guessed.
_OWN = 2


class FunctionOptions(Options):
    """``{kind: function, of: STEP, function: module:name, layers: [{name: …}], halo: 8, …}``."""

    function: str
    """`module:name` of a function of yours, from a module that `RSSCALE_FUNCTIONS` allows."""
    version: str = Field(default="1", json_schema_extra=short_form({"type": "integer"}))
    """Raise it when the code changes what it computes."""
    layers: tuple[LayerOptions, ...] = Field(min_length=1)
    """The layers that it returns."""
    halo: int = Field(default=0, ge=0)
    """Pixels around a tile that a value depends on."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the function."""
    at: str | None = Field(default=None, json_schema_extra=short_form({"type": "integer"}))
    """This period only; `all` gives it every period at once, along `time`. Each period by itself
    when left out."""

    @field_validator("function")
    @classmethod
    def _address(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][\w.]*:\w[\w-]*", value):
            raise ValueError(f"is {value!r}; expected module:function")
        return value

    @field_validator("version", "at", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value


@dataclass(repr=False, kw_only=True)
class FunctionPass(Pass):
    """``f(inputs, **parameters) -> Dataset`` over each tile and its halo.

    Attributes
    ----------
    address : str
        ``module:name``; imported when it is first called, so that a run can be verified without.
    given : str
        The user's version of it.
    options : mapping
        Keyword arguments of the function.
    at : str
        The span that all sources are read at, ``"all"``, or empty for each tile's own.
    spans_of : tuple of str
    function : callable, optional
        Of a notebook, which no worker can import; see :class:`~rsscale.steps.base.ByValue`.
    """

    kind: ClassVar[str] = "function"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = FunctionOptions

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Layer, ...]
    halo: int
    address: str
    given: str
    options: Mapping[str, Any] = field(default_factory=dict)
    at: str = ""
    spans_of: tuple[str, ...]
    function: Function | None = None

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Pass]:
        """Open the sources; the function itself is not imported yet."""
        if not recipe.references:
            raise RecipeError("needs 'of': a step or an input that the function reads, or several")
        at = options.at or ""
        spans = _spans(recipe.references, at, setup)
        return [
            cls(
                step=step,
                sources={n: setup.source(r, at=at) for n, r in recipe.references.items()},
                layers=tuple(layer.build() for layer in options.layers),
                halo=options.halo,
                address=options.function,
                given=options.version,
                options=options.parameters,
                at=at,
                spans_of=spans,
            )
        ]

    def spans(self) -> Sequence[str]:
        """Those of the first source, or the one that all are read at."""
        return self.spans_of

    def parameters(self) -> Mapping[str, Any]:
        """Address, version, halo and arguments of the function, and the span that it reads."""
        return {
            "function": self.address,
            "version": self.given,
            "halo": self.halo,
            "parameters": dict(self.options),
            "at": self.at,
        }

    def check(self, profile: NumericProfile) -> None:
        """Import the function, and see whether it takes its arguments."""
        del profile
        if not self.is_of_notebook:
            check_call(f"steps.{self.step}: {self.address}", self._function(), self.options)

    def ready(self) -> None:
        """Refuse a function that is not here, or not allowed here."""
        self._function()

    @property
    def is_of_notebook(self) -> bool:
        """Whether its function was given by value."""
        return self.address.partition(":")[0] == NOTEBOOK

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of two tiles side by side, with twice as much again as the function reads."""
        height, width = self.around(PixelBox(0, 0, tile, tile)).shape
        read, reading = cost.bytes * self.overhead(tile), 0.0
        if channels := sum(map(_channels, self.sources.values())):
            reading = min(read, profile.threads * _READING)
            read = 4 * channels * height * width
        written = height * width * sum(layer.pixel_bytes for layer in self.layers)
        tiles = TILES_AT_ONCE * ((1 + _OWN) * read + 3 * written)
        return PROCESS_BYTES + int(reading + tiles)

    def run(self, block: Block) -> Result:
        """Read all inputs into memory, call the function, crop the halo."""
        inputs = {name: _in_memory(dataset, block) for name, dataset in block.inputs.items()}
        promised = UserFunction(
            self.address.partition(":")[2], self._function(), self.layers, self.halo, self.options
        )
        started = time.perf_counter()
        values = promised.values(inputs, block.core.shape, f"tile {block.key}")
        seconds = {"compute": time.perf_counter() - started}
        return Result(layers=block.dataset(self.layers, values), seconds=seconds)

    def _function(self) -> Function:
        if self.function is not None:
            return self.function
        if self.is_of_notebook:
            raise RunFolderError(
                f"the function of step {self.step!r} was given in a notebook, and a run folder "
                "keeps no code; to go on, call rs.apply again with the same arguments"
            )
        check_allowed(self.address, f"steps.{self.step}", ALLOWED)
        function: Function = load(self.address, f"steps.{self.step}")
        return function


def _spans(references: Mapping[str, Reference], at: str, setup: Setup) -> tuple[str, ...]:
    """The spans of a step; each source must have them."""
    first = next(iter(references.values()))
    spans = (at,) if at else tuple(setup.spans(first))
    for name, reference in references.items():
        known = setup.spans(reference)
        if at == ALL and isinstance(reference, str) and reference in setup.recipe.inputs:
            raise RecipeError(
                f"at: all, and {reference!r} is an input, whose composites are of one period "
                "each; read layers of a step at all periods"
            )
        missing = [span for span in spans if span not in known]
        if missing and at != ALL:
            raise RecipeError(f"{name!r} is not of {missing[0]}, it is of {', '.join(known)}")
    return spans


def _channels(source: Source) -> int:
    """Bands of the composites of an input, of all its time windows; none for layers."""
    from rsscale.inputs.windows import window_names

    if not isinstance(source, InputSource):
        return 0
    input_recipe = source.recipe.inputs[source.name]
    return len(input_recipe.bands) * len(window_names(input_recipe, source.recipe.periods[0]))


def _in_memory(dataset: xr.Dataset, block: Block) -> xr.Dataset:
    """The function's arguments in memory; composites use the profile's threads."""
    if not dataset.chunks:
        return dataset
    profile, meter = block.resources.profile, block.resources.meter
    arrays = in_memory(dataset.data_vars.values(), profile.threads or None, meter)
    variables = dict(zip(map(str, dataset.data_vars), arrays, strict=True))
    for array in variables.values():
        array.attrs.setdefault("nodata", float("nan"))
    return xr.Dataset(variables, attrs=dataset.attrs)
