"""The shift between two dates: of each block of the grid, and the one of all of them.

Blocks of 256 px lie on a lattice anchored to the grid, and are read whole, beyond a tile too: so
their shifts, and what a gather makes of them, are the same however the area was cut.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsscale.change_guards.dates import Dates
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.coregistration.common_shift import BLOCK, HALF, CommonShift, shift_of_block
from rsscale.coregistration.shift import Shift
from rsscale.errors import RecipeError
from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.memory import PROCESS_BYTES
from rsscale.recipe import StepRecipe
from rsscale.steps.base import Block, Cost, Fold, Gather, Pass, Result, Setup, Source, Step
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger("rsscale")
_NUMBERS = ("dx", "dy", "peak", "distinct", "overlap", "texture")


@dataclass(repr=False, kw_only=True)
class ShiftBlocks(Pass):
    """Rows of the blocks that a tile touches: the shift of the second date against the first.

    A row has ``row`` and ``col`` of the block's first pixel on the grid, ``dx`` and ``dy`` in
    pixels to the east and down (NaN where too little is seen twice), and what
    :class:`rsscale.coregistration.shift.Shift` has beside. A block on the border of two tiles is
    in the rows of both, alike.

    Attributes
    ----------
    dates : Dates
        Reads the two dates.
    span : str
    most : int
        Pixels within which a shift is looked for.
    corrected : bool
        Whether a later step takes the shift back.
    """

    kind: ClassVar[str] = "shift-blocks"
    version: ClassVar[str] = "1"
    facts: ClassVar[Mapping[str, Fold]] = {
        "blocks": "sum", "shifted": "sum", "other_place": "sum", "largest_shift": "max",
        "least_peak": "min",
    }  # fmt: skip

    step: str
    sources: Mapping[str, Source]
    schema: pa.Schema
    dates: Dates
    span: str
    most: int
    corrected: bool = False

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> Sequence[Step]:
        """Refused: it is part of steps that compare two dates."""
        del step, recipe, options, setup
        raise RecipeError(f"{cls.kind} is part of other steps; say register: warn there")

    def spans(self) -> Sequence[str]:
        """The two periods."""
        return (self.span,)

    def parameters(self) -> Mapping[str, Any]:
        """Where blocks lie, how far is looked, and which bands."""
        return {"block": BLOCK, "most": self.most, "bands": list(self.dates.bands)}

    def around(self, core: PixelBox) -> PixelBox:
        """Whole blocks, and the greatest shift around them."""
        return core.snap(BLOCK).pad(self.most)

    @property
    def reach(self) -> int:
        """A block but a pixel, and the greatest shift."""
        return BLOCK - 1 + self.most

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of a row of blocks of two dates, tiles side by side."""
        del profile
        rows = min(1.0, (BLOCK + 2 * self.most) / tile)
        return PROCESS_BYTES + int(TILES_AT_ONCE * 3 * cost.bytes * rows)

    def run(self, block: Block) -> Result:
        """Find the shifts of the blocks of one tile."""
        import pyarrow as pa

        shifts: list[tuple[PixelBox, Shift]] = []
        boxes = [box for box in block.core.blocks(BLOCK) if _is_inside(box, block)]
        for row in dict.fromkeys(box.row0 for box in boxes):
            of_row = [box for box in boxes if box.row0 == row]
            strip = PixelBox(row, of_row[0].col0, row + BLOCK, of_row[-1].col1).pad(self.most)
            before, after = self.dates.read(block, strip)
            for box in of_row:
                inner = (..., *box.slices(strip))
                outer = (..., *box.pad(self.most).slices(strip))
                shifts.append((box, shift_of_block(before[inner], after[outer], self.most)))
        columns: dict[str, Any] = {
            "row": [box.row0 for box, _ in shifts],
            "col": [box.col0 for box, _ in shifts],
            **{name: [getattr(shift, name) for _, shift in shifts] for name in _NUMBERS},
            "at_border": [shift.at_border for _, shift in shifts],
        }
        table = pa.Table.from_pydict(columns, schema=self.schema)
        return Result(table=table, facts=_facts([shift for _, shift in shifts]))

    def describe(self, facts: Mapping[str, float]) -> Iterable[str]:
        """How many blocks are shifted by more than half a pixel, and which show other places."""
        count = int(facts.get("blocks", 0))
        if not count:
            return
        largest, shifted = facts.get("largest_shift", 0.0), int(facts.get("shifted", 0))
        text = f"shift     {largest:.2f} px at most between the dates, in {counted(count, 'block')}"
        if self.corrected:
            text += ", taken back"
        elif shifted:
            text += f"; WARNING: {shifted} of them by more than {HALF:g} px (register: correct)"
        yield text
        if facts.get("other_place"):
            yield (
                f"place     WARNING: {int(facts['other_place'])} of {count} blocks show different "
                "places at the two dates"
            )


@dataclass(kw_only=True)
class ShiftOfDates(Gather):
    """The one shift of two dates; refused where most blocks show different places.

    Attributes
    ----------
    accepted : int
        Pixels: the greatest shift that is gone on with.
    most : int
        Pixels within which shifts were looked for.
    corrected : bool
    """

    kind: ClassVar[str] = "shift-of-dates"
    version: ClassVar[str] = "1"
    instead = "give it as shift: [dx, dy], px to the east and down, or say register: off"

    step: str
    of: str
    schema: pa.Schema
    accepted: int
    most: int
    corrected: bool = False

    def parameters(self) -> Mapping[str, Any]:
        """What is refused."""
        return {"accepted": self.accepted}

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """One row: ``dx``, ``dy``, ``spread``, ``peak``, and numbers of blocks."""
        import pyarrow as pa

        shifts: dict[tuple[int, int], Shift] = {}
        for _, table in parts:
            for row in table.to_pylist():
                place = row.pop("row"), row.pop("col")
                shifts.setdefault(place, Shift(**row))
        common = CommonShift.of([shifts[place] for place in sorted(shifts)])
        remedy = (
            f"accept a greater one by max_shift, or say register: off (max_shift is "
            f"{self.accepted})"
        )
        common.refuse(self.accepted, within=self.most, remedy=remedy)
        for warning in common.warnings(corrected=self.corrected):
            _log.warning("%s: %s", self.step, warning)
        values = {name: [getattr(common, name)] for name in self.schema.names}
        return pa.Table.from_pydict(values, schema=self.schema)


def block_schema() -> pa.Schema:
    """Schema of the rows of :class:`ShiftBlocks`."""
    import pyarrow as pa

    place = [("row", pa.int64()), ("col", pa.int64())]
    numbers = [(name, pa.float64()) for name in _NUMBERS]
    return pa.schema([*place, *numbers, ("at_border", pa.bool_())])


def shift_schema() -> pa.Schema:
    """Schema of the one row of :class:`ShiftOfDates`."""
    import pyarrow as pa

    numbers = [(name, pa.float64()) for name in ("dx", "dy", "spread", "peak")]
    counts = ("blocks", "found", "other_place", "unclear")
    return pa.schema([*numbers, *((name, pa.int64()) for name in counts)])


def _is_inside(box: PixelBox, block: Block) -> bool:
    """Whether a block has pixels of the tile inside the area."""
    part = box & block.core
    return bool(block.where[part.slices(block.core)].any())


def _facts(shifts: Sequence[Shift]) -> dict[str, float | None]:
    good = [shift for shift in shifts if shift.is_found]
    seen = [shift for shift in shifts if np.isfinite(shift.dx)]
    return {
        "blocks": len(seen),
        "shifted": sum(shift.length > HALF for shift in good),
        "other_place": sum(shift.other_place for shift in seen),
        "largest_shift": max((shift.length for shift in good), default=None),
        "least_peak": min((shift.peak for shift in good), default=None),
    }
