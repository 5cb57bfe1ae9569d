"""Counts of a map for its quality gates, as a pass: rows of each tile, for all periods at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError
from rsscale.gate_rules.rows import (
    CONFIDENCE,
    COUNT,
    FACT,
    OBSERVATIONS,
    READABLE,
    RING,
    SEGMENT,
    TILE,
    rows_schema,
)
from rsscale.gate_rules.seam_counts import REACH, SUMS, Layers, Segments, count_segments
from rsscale.inference.constant_pixels import CONSTANT_FACTS
from rsscale.memory import PROCESS_BYTES
from rsscale.plans.plan import read_frozen
from rsscale.quality.gather import QualityGates
from rsscale.quality.map_source import MapSource, class_layer_of, map_source
from rsscale.quality.scene_edges import SceneEdges, scene_edges
from rsscale.recipe import RunReference, StepRecipe
from rsscale.recipe.gates_recipe import GatesRecipe
from rsscale.steps.base import ALL, Block, Cost, Pass, Result, Setup, Source, Step
from rsscale.steps.options import Options
from rsscale.store.run_folder import RunFolder

if TYPE_CHECKING:
    import pyarrow as pa

# Of a pixel, of all that is looked at beside what is read.
_WORKING_BYTES = 80
_RING_WIDTH = 4


class QualityOptions(Options):
    """``{kind: quality-counts, of: {run:, step:}, windows: {span: px}, gates: {…}}``.

    ``windows`` are the distances of the model's windows, where they are known.
    """

    windows: dict[str, int] = Field(default_factory=dict)
    """Distance between the model's windows by span, pixels, where it is known."""
    gates: GatesRecipe = GatesRecipe()
    """Thresholds, as in the recipe's own `gates`."""


@dataclass(repr=False, kw_only=True)
class QualityCounts(Pass):
    """Rows of a tile: condition, pixels by value, facts, segments of lines; see :mod:`.rows`.

    Attributes
    ----------
    map : MapSource
    edges : SceneEdges, optional
        None for a map that is not made of scenes.
    windows : mapping of span to int
    """

    kind: ClassVar[str] = "quality-counts"
    version: ClassVar[str] = "2"
    Options: ClassVar[type[Options]] = QualityOptions

    step: str
    sources: Mapping[str, Source]
    schema: pa.Schema
    map: MapSource
    edges: SceneEdges | None
    windows: Mapping[str, int]
    halo: int = REACH

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Step]:
        """The pass ``<step>-tiles``, and the gather of the step's name."""
        reference = recipe.only_reference("step of a run that is checked, {run:, step:}")
        if not isinstance(reference, RunReference):
            raise RecipeError("checks another run, which is finished: of: {run: FOLDER, step: map}")
        if setup.grid.tile < REACH:
            raise RecipeError(
                f"the tiles are {setup.grid.tile} px wide; quality gates look {REACH} px around "
                "one, and need tiles as wide at least"
            )
        folder = RunFolder.at(setup.recipe.path(reference.run))
        frozen, _ = read_frozen(folder, folder.read_state())
        layers = map_source(folder, reference.step)
        edges = scene_edges(folder, frozen, layers.spans, setup.grid)
        counts = cls(
            step=f"{step}-tiles",
            sources={"map": layers} | ({} if edges is None else {"edges": edges}),
            schema=rows_schema(),
            map=layers,
            edges=edges,
            windows=options.windows,
        )
        gates = QualityGates(
            step=step,
            of=counts.step,
            gates=options.gates,
            layers=tuple(layers.layer(name) for name in layers.names),
            spans=layers.spans,
            grid=setup.grid,
            has_windows=bool(options.windows),
            has_scenes=edges is not None,
        )
        return [counts, gates]

    def spans(self) -> Sequence[str]:
        """One: a tile is compared with itself in other periods."""
        return (ALL,)

    def parameters(self) -> Mapping[str, Any]:
        """Distance of the windows, and which items there are: a worker keeps both opened."""
        items = "" if self.edges is None else self.edges.version
        return {"windows": dict(self.windows), "items": items}

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side."""
        del profile
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + tile**2 * _WORKING_BYTES))

    def run(self, block: Block) -> Result:
        """Count the pixels of a tile, period after period."""
        rows: list[dict[str, Any]] = []
        for number, span in enumerate(self.map.spans):
            condition = self.map.condition(block.key, span)
            inside = int(block.where.sum())
            rows.append({"what": TILE, "span": span, "key": int(condition), "pixels": inside})
            rows += _fact_rows(self.map.imagery_facts(block.key, span), span)
            if condition not in READABLE:
                continue
            arrays = {name: block.inputs["map"][name].to_numpy()[number] for name in self.map.names}
            rows += self._counts(arrays, span, block)
            rows += self._segments(arrays, span, number, block)
        return Result(table=_table(rows, self.schema))

    def _counts(
        self, arrays: Mapping[str, npt.NDArray[Any]], span: str, block: Block
    ) -> Iterator[dict[str, Any]]:
        """Pixels of the area by the value of each layer."""
        classes = class_layer_of([self.map.layer(name) for name in self.map.names])
        for name, array in arrays.items():
            inside = array[block.inside][block.where]
            if name == OBSERVATIONS:  # seen or not
                layer = self.map.layer(name)
                inside = np.where(layer.is_valid(inside), inside > 0, int(layer.nodata))
            values, pixels = np.unique(inside, return_counts=True)
            for value, count in zip(values.tolist(), pixels.tolist(), strict=True):
                yield {"what": COUNT, "span": span, "name": name, "key": value, "pixels": count}
            if classes is not None and name == classes.name:
                known = values[values != classes.nodata]
                if len(known) == 1:
                    yield from _ring(array, int(known[0]), int(classes.nodata), span, block)

    def _segments(
        self, arrays: Mapping[str, npt.NDArray[Any]], span: str, number: int, block: Block
    ) -> Iterator[dict[str, Any]]:
        classes = class_layer_of([self.map.layer(name) for name in self.map.names])
        if classes is None:
            return
        valid = classes.is_valid(arrays[classes.name])
        confidence = arrays.get(CONFIDENCE)
        if confidence is not None:
            valid &= self.map.layer(CONFIDENCE).is_valid(confidence)
        edges = {
            name: block.inputs["edges"][name].to_numpy()[number]
            for name in ("zones", "scenes")
            if self.edges is not None
        }
        layers = Layers(
            block.around,
            arrays[classes.name].astype(np.int64),
            valid,
            None if confidence is None else confidence.astype(np.int64),
            edges,
        )
        for segments in count_segments(layers, block.core, block.grid.tile, self.windows.get(span)):
            yield from _segment_rows(segments, span)


def _segment_rows(segments: Segments, span: str) -> Iterator[dict[str, Any]]:
    common = {
        "what": SEGMENT,
        "span": span,
        "name": segments.family,
        "key": int(segments.is_horizontal),
    }
    for number in range(len(segments.rows)):
        yield {
            **common,
            "row": int(segments.rows[number]),
            "col": int(segments.cols[number]),
            "owned": bool(segments.owned[number]),
            **{name: int(segments.sums[name][number]) for name in SUMS},
        }


def _fact_rows(facts: Mapping[str, float], span: str) -> Iterator[dict[str, Any]]:
    for name, value in facts.items():
        if CONSTANT_FACTS[name] == "sum":
            yield {"what": FACT, "span": span, "name": name, "pixels": int(value)}


def _ring(
    classes: npt.NDArray[Any], value: int, nodata: int, span: str, block: Block
) -> Iterator[dict[str, Any]]:
    """Pixels just outside a tile of one class that have this class, or another."""
    ring = np.zeros(block.around.shape, bool)
    outer = block.core.pad(_RING_WIDTH) & block.around
    ring[outer.slices(block.around)] = True
    ring[block.inside] = False
    around = classes[ring]
    around = around[around != nodata]
    for other in (0, 1):
        count = int(((around != value) == other).sum())
        yield {"what": COUNT, "span": span, "name": RING, "key": other, "pixels": count}


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    empty = {"what": "", "span": "", "name": "", "owned": False}
    columns = {
        field.name: [row.get(field.name, empty.get(field.name, 0)) for row in rows]
        for field in schema
    }
    return pa.Table.from_pydict(columns, schema=schema)
