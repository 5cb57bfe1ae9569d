"""The steps that count the transitions of the temporal model from labels of several years."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from rsscale.change.labelled_transitions import count_transitions, forbidden_in, matrix_from_counts
from rsscale.change_passes.temporal_base import ESTIMATED
from rsscale.change_passes.temporal_estimate import matrix_schema, matrix_table
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError
from rsscale.geo.vector_file import split_layer
from rsscale.layers import NODATA, TileKey
from rsscale.legend.classes import LandClass
from rsscale.memory import PROCESS_BYTES
from rsscale.recipe import Recipe
from rsscale.reference.grid_labels import GridLabels
from rsscale.reference.label_rules import LabelRules
from rsscale.reference.labels import Labels, read_labels
from rsscale.steps.attachments import Attachment
from rsscale.steps.base import Block, Cost, Fold, Gather, PartPass, Result, Setup, Source, Step
from rsscale.steps.options import Options
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger("rsscale")

LABELS = "labels"
"""What the step calls the file of labels."""
_NEEDS = "'transitions: labels' needs labels of the same places in two years or more"
_RASTERS = (".tif", ".tiff", ".vrt", ".img", ".jp2")
FEW = 100
"""Of fewer changed pixels than these it is told that the prior decides."""
# Of a pixel of a tile: labels, the latest ones and their years, codes of what is counted.
_PIXEL_BYTES = 32


class LabelOptions(Options):
    """``labels: {file:, class:, period_column:, layer:, merge:, ignore:}`` of a temporal model."""

    file: str
    """A vector file, a table or a raster of labels."""
    class_: str = Field(alias="class")
    """The column of the class."""
    period_column: str
    """The column of the year that a label is true for."""
    layer: str | None = None
    """The layer of the file, where it has several."""
    merge: dict[str, tuple[str | int, ...]] = Field(default_factory=dict)
    """Names or values of the labels that are one class."""
    ignore: tuple[str | int, ...] = ()
    """Names or values of the labels that are no class."""


@dataclass(frozen=True)
class LabelFile:
    """A file with labels of several years, and how it is read.

    Attributes
    ----------
    path : str
        May name its layer as QGIS does.
    class_column : str or None
    reading : mapping
        Further arguments of :func:`~rsscale.reference.labels.read_labels`.
    years : tuple of int or None
        Those that are counted; all that it has when None.
    """

    path: str
    class_column: str | None
    reading: Mapping[str, Any]
    years: tuple[int, ...] | None = None

    @classmethod
    def of(cls, options: LabelOptions | None, recipe: Recipe) -> Self:
        """The labels of the step, or those of the recipe's training.

        Raises
        ------
        RecipeError
            When there are none, or they are of one time, or of change.
        """
        if options is not None:
            rules = LabelRules(merge=options.merge, ignore=options.ignore)
            reading = {
                "period_column": options.period_column, "layer": options.layer, "rules": rules,
            }  # fmt: skip
            return cls(recipe.path(options.file), options.class_, reading)
        train = recipe.train
        ask = "give the step 'labels: {file: …, class: …, period_column: …}'"
        if train is None:
            raise RecipeError(f"{_NEEDS}, and there is no 'train'; {ask}")
        if train.period_column is None:
            kind = "of change" if train.change else "not of years, without 'period_column'"
            raise RecipeError(f"{_NEEDS}, and train.labels are {kind}; {ask}")
        reading = train.label_options()
        # Thinned, each year would keep other pixels, and few of them in both.
        reading["rules"] = replace(train.rules(), most_pixels=None)
        return cls(train.labels, train.class_, reading, train.periods)

    def attachment(self) -> Attachment:
        """The file, and of a shapefile those beside it.

        Raises
        ------
        RecipeError
            When it is not there, or a raster.
        """
        path = split_layer(self.path)[0]
        if not path.is_file():
            raise RecipeError(f"there are no labels at {path}")
        if path.suffix.lower() in _RASTERS:
            raise RecipeError(
                f"labels {path} are a raster, which is of one time; {_NEEDS}: polygons or points "
                "with a column of the year"
            )
        beside = path.parent.glob(f"{path.stem}.*") if path.suffix.lower() == ".shp" else ()
        return Attachment(LABELS, (path, *sorted(set(beside) - {path})))

    def read(self, folder: Path, classes: tuple[LandClass, ...], setup: Setup) -> Labels:
        """Read the labels of all years that reach into the area, as a run keeps them.

        Raises
        ------
        RecipeError
            When a class is none of the map, or fewer than two years have labels.
        """
        path, layer = split_layer(self.path)
        reading = dict(self.reading)
        reading["layer"] = reading.get("layer") or layer
        around = setup.grid.geobox_of(setup.extent()).extent.to_crs("EPSG:4326")
        labels = read_labels(
            folder / path.name, self.class_column, classes=classes, area=around, **reading
        )
        if self.years is not None:
            is_counted = labels.frame["period"].isin(self.years)
            labels = replace(labels, frame=labels.frame[is_counted])
        there = sorted(set(labels.frame["period"]))
        if len(there) < 2:
            asked = "" if self.years is None else f" among train.periods {list(self.years)}"
            raise RecipeError(
                f"labels {path} have the years {there} in the area{asked}; transitions are counted "
                "from labels of the same places in two years or more"
            )
        return labels


def counting_steps(
    step: str, labels: LabelFile, pseudocount: float, given: dict[str, Any], setup: Setup
) -> Iterator[Step]:
    """The steps that count transitions; what is given for later steps reads their result."""
    import pyarrow as pa

    kept = setup.attachment(step, LABELS)
    rows = [("years", pa.int32()), ("from", pa.int32()), ("to", pa.int32()), ("pixels", pa.int64())]
    tiles = LabelledPixels(
        step=f"{step}-labels",
        span=f"{given['years'][0]}-{given['years'][-1]}",
        labels=labels.read(kept.folder, given["classes"], setup),
        file=kept.digest,
        schema=pa.schema(rows),
    )
    transitions = LabelledTransitions(
        step=f"{step}-transitions",
        of=tiles.step,
        schema=matrix_schema(),
        pseudocount=pseudocount,
        **{key: given[key] for key in ("classes", "matrix")},
    )
    yield tiles
    given["sources"] = {**given["sources"], ESTIMATED: setup.gathered(transitions)}
    yield transitions


@dataclass(repr=False, kw_only=True)
class LabelledPixels(PartPass):
    """Rows of each tile: what labelled pixels became until they were labelled again.

    ``years`` between the two labels, class values ``from`` and ``to``, ``pixels``.

    Attributes
    ----------
    span : str
        Of the step: the labels may be of other years.
    labels : Labels
    file : str
        Digest of their file.
    """

    kind: ClassVar[str] = "temporal-model-labels"
    version: ClassVar[str] = "1"
    facts: ClassVar[Mapping[str, Fold]] = {"pairs": "sum", "differing": "sum"}

    step: str
    span: str
    labels: Labels
    file: str
    schema: pa.Schema
    sources: Mapping[str, Source] = field(default_factory=dict)

    def spans(self) -> Sequence[str]:
        """The first to the last year of the maps."""
        return (self.span,)

    def parameters(self) -> Mapping[str, Any]:
        """Classes, years and how labels become pixels; :meth:`digest` has the labels."""
        return {
            "classes": [[land_class.value, land_class.name] for land_class in self.labels.classes],
            "years": list(self.years),
            "rules": asdict(self.labels.rules),
        }

    def digest(self, span: str) -> str:
        """Hash of the file of labels."""
        del span
        return self.file

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side; labels are about as many as polygons."""
        del profile
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + tile**2 * _PIXEL_BYTES))

    @property
    def years(self) -> tuple[int, ...]:
        """Those that have labels, in order."""
        return tuple(sorted({int(year) for year in self.labels.frame["period"]}))

    def run(self, block: Block) -> Result:
        """Count the labelled pixels of one tile."""
        import pyarrow as pa

        values = np.array([land_class.value for land_class in self.labels.classes], np.uint8)
        of_years = (
            (year, np.where(block.where, labels.rasterize(block.core), np.uint8(NODATA)))
            for year, labels in self._on(block).items()
        )
        rows = [
            (gap, int(values[i]), int(values[j]), int(pixels[i, j]))
            for gap, pixels in sorted(count_transitions(of_years, values).items())
            for i, j in np.argwhere(pixels)
        ]
        columns = zip(*rows, strict=True) if rows else ((),) * 4
        table = pa.Table.from_arrays(
            [pa.array(c, f.type) for c, f in zip(columns, self.schema, strict=True)],
            schema=self.schema,
        )
        facts = {
            "pairs": sum(pixels for *_, pixels in rows),
            "differing": sum(pixels for _, before, after, pixels in rows if before != after),
        }
        return Result(table=table, facts=facts)

    def _on(self, block: Block) -> dict[int, GridLabels]:
        """The labels of each year on the grid, made once a process."""
        if "_on_grid" not in self.__dict__:
            self._on_grid = {year: self.labels.on(block.grid, year) for year in self.years}
        return self._on_grid

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """How many labels transitions are counted from, or that they are too few."""
        if "pairs" not in facts:
            return []
        pairs, differing = int(facts["pairs"]), int(facts["differing"])
        if differing < FEW:
            return [f"labels    {_too_few(pairs, differing)}"]
        line = (
            f"labels    transitions are counted from {counted(pairs, 'pixel')} with labels of two "
            f"years, {differing:,} of them with another class"
        )
        return [line]


@dataclass(kw_only=True)
class LabelledTransitions(Gather):
    """The transition matrix of a year, counted from the labels of all tiles.

    Attributes
    ----------
    classes : tuple of LandClass
    matrix : float array (K, K)
        The mean of the prior.
    pseudocount : float
        Its weight: pixels of each class beside those that are labelled.
    """

    kind: ClassVar[str] = "temporal-model-label-transitions"
    version: ClassVar[str] = "1"
    instead: str = "say 'transitions: stay', or give the whole matrix"

    step: str
    of: str
    schema: pa.Schema
    classes: tuple[LandClass, ...]
    matrix: npt.NDArray[np.float64]
    pseudocount: float

    def parameters(self) -> Mapping[str, Any]:
        """The prior."""
        return {"matrix": self.matrix.tolist(), "pseudocount": self.pseudocount}

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """A row for each pair of classes: ``from``, ``to``, ``probability``, ``count``.

        ``count`` is how often it happened among the labels, in pixels and years.
        """
        number = {land_class.value: n for n, land_class in enumerate(self.classes)}
        shape = (len(self.classes), len(self.classes))
        counts: dict[int, npt.NDArray[np.int64]] = {}
        for _, table in parts:
            for row in table.to_pylist():
                of_gap = counts.setdefault(row["years"], np.zeros(shape, np.int64))
                of_gap[number[row["from"]], number[row["to"]]] += row["pixels"]
        matrix, made = matrix_from_counts(counts, self.matrix, self.pseudocount)
        self._warn_of_labels(counts)
        return matrix_table(self.classes, matrix, made, self.schema)

    def _warn_of_labels(self, counts: Mapping[int, npt.NDArray[np.int64]]) -> None:
        pairs = sum(int(pixels.sum()) for pixels in counts.values())
        differing = pairs - sum(int(np.trace(pixels)) for pixels in counts.values())
        if differing < FEW:
            _log.warning("step %r: %s", self.step, _too_few(pairs, differing))
        for of, to, pixels in forbidden_in(counts, self.matrix):
            _log.warning(
                "step %r: %s became %r of %r, which 'forbidden' says never happens; not counted",
                self.step, counted(pixels, "labelled pixel"), self.classes[to].name,
                self.classes[of].name,
            )  # fmt: skip


def _too_few(pairs: int, differing: int) -> str:
    return (
        f"{counted(pairs, 'pixel')} with labels of two years, {differing:,} of them with another "
        f"class, and {FEW:,} or more are wanted; transitions mostly follow `stay` of the step"
    )
