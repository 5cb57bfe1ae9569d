"""Candidates for objects as rows of a tile: what its windows see, decided as far as it can be."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.object_passes.candidate_rows import candidate_schema, candidate_table
from rsscale.objects.candidates import Candidates, together, window_candidates
from rsscale.objects.deciding import Rules, decide_tile, known_windows
from rsscale.objects.detections import Detections
from rsscale.steps.base import Block, Fold, PartPass, Result, Source

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class WindowView:
    """What one window detects.

    Attributes
    ----------
    core : PixelBox
        Of the window.
    detections : Detections
    seen : bool array (row, col), optional
        Which pixels of the window some sensor saw; all where left out.
    """

    core: PixelBox
    detections: Detections
    seen: npt.NDArray[np.bool_] | None = None


@dataclass(repr=False, kw_only=True)
class WindowsPass(PartPass):
    """``NAME-windows``: every window whose core touches the tile, inside the area, is looked at.

    A subclass says what a window detects, which must depend on nothing but the window. What is kept
    of it, and what tiles share, is :mod:`rsscale.objects.deciding`'s.

    Attributes
    ----------
    lattices : mapping of span to Lattice
        Of the windows.
    rules : Rules
    """

    kind: ClassVar[str] = "detect-windows"
    version: ClassVar[str] = "2"
    facts: ClassVar[Mapping[str, Fold]] = {
        "windows": "sum",
        "detections": "sum",
        "candidates": "sum",
        "shared": "sum",
    }

    step: str
    sources: Mapping[str, Source]
    lattices: Mapping[str, Lattice]
    rules: Rules
    schema: pa.Schema = field(default_factory=candidate_schema)

    @abstractmethod
    def views(self, block: Block, cores: Sequence[PixelBox]) -> tuple[list[WindowView], Result]:
        """What windows of a tile detect, one by one; facts and seconds of it, without rows."""

    def spans(self) -> Sequence[str]:
        """Those of the windows."""
        return tuple(self.lattices)

    def parameters(self) -> Mapping[str, Any]:
        """When two detections are one object, and the windows."""
        windows = sorted((lattice.stride, lattice.halo) for lattice in self._each_lattice)
        return {"iou": self.rules.iou, "agnostic": self.rules.agnostic, "windows": windows}

    def around(self, core: PixelBox) -> PixelBox:
        """All pixels that the windows with a core in the box read, of any span."""
        first, *others = (lattice.read_box(core) for lattice in self._each_lattice)
        for box in others:
            first = first | box
        return first

    @property
    def reach(self) -> int:
        """A whole window: the lattice may lie in any way beside the tile."""
        return max(lattice.window for lattice in self._each_lattice)

    @property
    def beside(self) -> int:
        """A window: objects of a box depend on what overlaps them, or goes on beside them."""
        return self.reach

    def overhead(self, tile: int) -> float:
        """Pixels that the model sees for each one of the map."""
        return max(lattice.redundancy(tile) for lattice in self._each_lattice)

    def run(self, block: Block) -> Result:
        """The rows of one tile."""
        lattice = self.lattices[block.key.span]
        cores = known_windows(block.core, block.where, lattice)
        views, done = self.views(block, cores)
        iou, agnostic = self.rules.iou, self.rules.agnostic
        parts = [
            window_candidates(v.detections, v.core, lattice, v.seen, iou=iou, agnostic=agnostic)
            for v in views
        ]
        candidates = together(parts) if parts else Candidates.none()
        said = decide_tile(candidates, cores, block.core, lattice, self.rules)
        facts = {
            "windows": len(cores),
            "detections": sum(len(view.detections) for view in views),
            "candidates": len(candidates),
            "shared": len(said.shared),
        }
        return Result(
            table=candidate_table(said), facts={**facts, **done.facts}, seconds=done.seconds
        )

    @property
    def _each_lattice(self) -> list[Lattice]:
        return list(dict.fromkeys(self.lattices.values()))
