"""What a pass is: one pure tile function, what it reads, and what it writes.

A run is a list of passes. The engine evaluates each for every (span, tile): it reads the
sources around the tile, calls :meth:`Pass.run`, and stores layers and rows with one ledger entry.
The names here are all that it knows; what a pass computes is its own affair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
import shapely

from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer, TileKey
from rsscale.memory import PROCESS_BYTES
from rsscale.recipe import Recipe, Reference, StepRecipe
from rsscale.steps.attachments import Attachment, Kept
from rsscale.steps.block import Block, Cost, NotReadyError, Resources, Result, Source, over_box
from rsscale.steps.options import Options

if TYPE_CHECKING:
    import pyarrow as pa


Fold = Literal["sum", "min", "max"]
"""How a fact of many tiles becomes one of the run."""

ALL = "all"
"""The span of a pass that looks at all periods at once."""


class Setup(Protocol):
    """Context that a step is opened with; the same in planning, on a worker, for a preview."""

    @property
    def recipe(self) -> Recipe:
        """The whole recipe."""

    @property
    def grid(self) -> Grid:
        """The grid of level 0."""

    @property
    def shape(self) -> shapely.Geometry:
        """The area in the grid's CRS."""

    @property
    def device(self) -> str:
        """Where networks compute: ``"cpu"`` or ``"cuda"``."""

    def periods(self) -> tuple[str, ...]:
        """The recipe's periods as spans."""

    def spans(self, reference: Reference) -> tuple[str, ...]:
        """The spans of an input, or of a step of this or another run."""

    def layers(self, reference: Reference) -> tuple[Layer, ...]:
        """The layers of a step of this or another run."""

    def source(
        self, reference: Reference | Pass, names: tuple[str, ...] = (), *, at: str = ""
    ) -> Source:
        """Composites of an input, or layers of a step: all, or some by name.

        A step that is opened together with the one that reads it is given itself.

        ``at`` fixes the span, or is ``"all"`` for all spans along ``time``; empty, it is the
        tile's own.
        """

    def gathered(self, step: Gather) -> Source:
        """The table of a gather, for a later step: a Dataset of its columns along ``row``."""

    def rows(self, step: Pass, *, at: str = "") -> Source:
        """The rows of a pass, of all tiles that a box touches: a Dataset along ``row``.

        The tile of each row is in ``ix`` and ``iy``. ``at`` fixes the span.
        """

    def level_below(self, step: Pass) -> Source:
        """For each level of a pass that writes overviews: the level below, of the same layers."""

    def attachment(self, step: str, name: str) -> Attachment | Kept:
        """A file of a step, by the name that :meth:`Pass.attachments` gave it."""

    def extent(self, level: int = 0) -> PixelBox:
        """All tiles of a level, in its pixels."""


class Pass(ABC):
    """One pure tile function with its sources and what it writes.

    Subclass it; an instance is one step of one run. Attributes that do not depend on options are
    class variables. See ``docs/design.md`` for a whole one.

    Attributes
    ----------
    kind : str
        What recipes call it: ``steps: {name: {kind: …}}``.
    version : str
        Of the algorithm: raise it whenever values change. Part of every fingerprint.
    Options : type
        The keys that a recipe may give it, as a subclass of
        :class:`rsscale.steps.options.Options`.
    step : str
        Name of the step, which names its store.
    sources : mapping of str to Source
        By the names that ``Block.inputs`` has them.
    halo : int
        Pixels around a tile that a value depends on.
    layers : tuple of Layer
        What it writes to a Zarr store; none for a pass that writes rows only.
    schema : pyarrow.Schema, optional
        Of the rows that it writes.
    facts : mapping of str to {"sum", "min", "max"}
        Numbers of a tile that are kept, and how those of many tiles fold. ``pixels`` (those inside
        the area) is counted by the engine for every pass.
    masked : bool
        Whether the engine writes nodata into all layers outside the area; not needed where what
        is read has it already, and wrong for overviews, whose pixels lie across its border.
    """

    kind: ClassVar[str]
    version: ClassVar[str]
    Options: ClassVar[type[Options]] = Options
    step: str
    sources: Mapping[str, Source]
    halo: int = 0
    layers: tuple[Layer, ...] = ()
    schema: pa.Schema | None = None
    facts: ClassVar[Mapping[str, Fold]] = {}
    masked: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> Sequence[Step]:
        """Make the step, or the steps, that a part of a recipe describes.

        Parameters
        ----------
        step : str
            Its name.
        recipe : StepRecipe
            Its part of the recipe; ``recipe.references`` says what it reads.
        options : Options
            The recipe's options, checked: an instance of ``cls.Options``.
        setup : Setup
            Gives sources, layers and spans of earlier steps, and files.

        Raises
        ------
        RecipeError
            For what can't work; told with the name of the step.
        """

    @classmethod
    def attachments(cls, options: Any, recipe: Recipe) -> Sequence[Attachment]:
        """Files that the step is made from, which the run is to keep."""
        del options, recipe
        return ()

    @classmethod
    def check_recipe(cls, options: Any, layers: Mapping[str, Sequence[str]]) -> None:
        """Refuse, before a model is trained, what could not work with the map that it will make.

        Parameters
        ----------
        options : Options
            As for :meth:`open`.
        layers : mapping of step to names of layers
            Of the maps that it reads.

        Raises
        ------
        RecipeError
        """
        del options, layers

    @abstractmethod
    def run(self, block: Block) -> Result:
        """Compute one tile; a value must depend on nothing but the pixels within the halo."""

    @abstractmethod
    def spans(self) -> Sequence[str]:
        """Spans of time it is computed for, in order: ``["2023", "2024"]``, ``["2023-2024"]``."""

    @abstractmethod
    def parameters(self) -> Mapping[str, Any]:
        """All options that decide values, as JSON: part of every fingerprint.

        One that is left out changes no fingerprint: tiles would keep the values of another option.
        """

    def digest(self, span: str) -> str:
        """Hash of what else decides the values of a span, such as a model's weights."""
        del span
        return ""

    def around(self, core: PixelBox) -> PixelBox:
        """The pixels that the sources are read over."""
        return core.pad(self.halo)

    def depends_on(self, core: PixelBox) -> PixelBox:
        """The pixels that values of a tile can depend on: what changes elsewhere changes none.

        At most :meth:`around`, and less where more is read than matters.
        """
        return self.around(core)

    def levels(self) -> Sequence[int]:
        """Levels that it is computed at, in order; each after the one before."""
        return (0,)

    @property
    def reach(self) -> int:
        """Greatest distance beyond a tile at which its sources are read, px."""
        return self.halo

    @property
    def beside(self) -> int:
        """Pixels beside a box that a preview of rows computes too, since these depend on them."""
        return 0

    @property
    def store(self) -> str:
        """The step whose store the layers are written into: its own, but for overviews."""
        return self.step

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Peak bytes of a worker that computes tiles of ``tile`` px, two side by side, about."""
        del profile
        written = tile * tile * sum(layer.pixel_bytes for layer in self.layers)
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + 3 * written))

    def overhead(self, tile: int) -> float:
        """Pixels that are read for each one that is written."""
        height, width = self.around(PixelBox(0, 0, tile, tile)).shape
        return height * width / tile**2

    def check(self, profile: NumericProfile) -> None:
        """Refuse, when a run is planned, what could only fail on its tiles."""
        del profile

    def ready(self) -> None:  # noqa: B027 -- most steps need nothing
        """Refuse to go on with a run where something is not here that no run folder can hold.

        Asked of each step before tiles are computed, but for one that is completed by value: see
        :class:`ByValue`. ``verify`` and ``status`` need not be ready.
        """

    def declared_facts(self) -> Mapping[str, Fold]:
        """:attr:`facts`, and others whose names depend on the recipe."""
        return self.facts

    def describe(self, facts: Mapping[str, float]) -> Iterable[str]:
        """Lines on the folded facts of a run, for people: ``"name  text"``."""
        del facts
        return ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.step!r})"


class PartPass(Pass):
    """A pass that the pass of another kind opens; no recipe names it."""

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> Sequence[Step]:
        """Refuse: what a recipe names opens it.

        Raises
        ------
        RecipeError
        """
        del recipe, options, setup
        raise RecipeError(f"steps.{step}: {cls.kind!r} is a part of another kind of step")


class Gather(ABC):
    """Folds the tables of all tiles of a pass into one: it sees their rows, never their pixels.

    Attributes
    ----------
    kind, version, step
        As for :class:`Pass`.
    previews : bool
        Whether a preview may fold the rows of its box alone: where what lies far away matters
        little. Otherwise a step that reads the gather has no preview.
    instead : str
        What a recipe is to say for a preview, which has no rows of all tiles.
    of : str
        The step whose tables are folded.
    schema : pyarrow.Schema
        Of the result, which must stay small.
    place : (str, str), optional
        Columns that say where a row is: ``x`` and ``y`` in global pixels. Rows are to come near
        their neighbours. A tile that reads the gather is given those of its box alone, of its own
        span where there is a column ``span`` of text, and is computed again when one of these has
        changed. Otherwise a tile is given all rows, and depends on all of them.
    """

    kind: ClassVar[str]
    version: ClassVar[str]
    previews: ClassVar[bool] = False
    place: ClassVar[tuple[str, str] | None] = None
    instead: str = "say in the step what it would find out"
    step: str
    of: str
    schema: pa.Schema

    @abstractmethod
    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """One table from those of all tiles, which come in order of their keys."""

    def parameters(self) -> Mapping[str, Any]:
        """All options that decide values, as JSON."""
        return {}


Step = Pass | Gather


class ByValue(Protocol):
    """Part of a step that no run folder can hold, such as a function of a notebook.

    Only what is given travels with the tasks, pickled: a worker opens the step from the run folder
    and completes it, so that a task stays small however much sources and ledgers hold.
    """

    @property
    def step(self) -> str:
        """Name of the step."""

    def complete(self, opened: Step) -> Step:
        """The step with what it lacked."""


def span_time(span: str, periods: Sequence[int]) -> np.datetime64:
    """The time coordinate of a span: the start of its last period."""
    last = str(periods[-1]) if span == ALL else span.rpartition("-")[2]
    return np.datetime64(f"{int(last):04d}-01-01", "ns")


__all__ = [
    "ALL",
    "Block",
    "ByValue",
    "Cost",
    "Fold",
    "Gather",
    "NotReadyError",
    "PartPass",
    "Pass",
    "Resources",
    "Result",
    "Setup",
    "Source",
    "Step",
    "over_box",
    "span_time",
]
