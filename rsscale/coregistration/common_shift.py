"""The one shift of two dates, of what blocks of the grid tell; and whether they show one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.coregistration.shift import NOT_SEEN, Shift, find_shift
from rsscale.errors import RsscaleError

BLOCK = 256
"""Pixels, along rows and columns, of the blocks whose shifts are found, each by itself."""
BEYOND = 24
"""Pixels beyond the greatest shift that is accepted within which one is looked for."""
HALF = 0.5
"""Pixels: a greater shift gives false change along every edge, and is told."""
# Of pixels: shifts are told to so much, and no finer differences of machines decide values.
_ROUNDED = 3


@dataclass(frozen=True)
class CommonShift:
    """The shift of a second date against a first one, over all blocks.

    Attributes
    ----------
    dx, dy : float
        Pixels to the east and down, as :class:`~rsscale.coregistration.shift.Shift` has them: the
        median of the blocks that found one; 0 where none did.
    spread : float
        Pixels: the median distance of the blocks from it.
    peak : float
        The median correlation at the peak; NaN where no block found one.
    blocks : int
        Those with enough pixels seen at both dates, each found, of other places, or unclear.
    found : int
    other_place : int
        Both dates show something there, and not the same.
    unclear : int
        No shift stands out: of noise alone, as on open water, or of ground without edges.
    """

    dx: float
    dy: float
    spread: float
    peak: float
    blocks: int
    found: int
    other_place: int
    unclear: int

    @property
    def length(self) -> float:
        """Pixels."""
        return float(np.hypot(self.dx, self.dy))

    @classmethod
    def of(cls, shifts: Sequence[Shift]) -> CommonShift:
        """Of the shifts of blocks, each block once, in an order that is always the same."""
        seen = [shift for shift in shifts if shift != NOT_SEEN and np.isfinite(shift.dx)]
        good = [shift for shift in seen if shift.is_found]
        other = sum(shift.other_place for shift in seen)
        dx, dy, spread, peak = 0.0, 0.0, 0.0, float("nan")
        if good:
            dx, dy = (_middle([getattr(s, axis) for s in good]) for axis in ("dx", "dy"))
            spread = _middle([float(np.hypot(s.dx - dx, s.dy - dy)) for s in good])
            peak = _middle([s.peak for s in good])
        unclear = len(seen) - len(good) - other
        return cls(dx, dy, spread, peak, len(seen), len(good), other, unclear)

    def refuse(self, most: float, *, within: int, remedy: str) -> None:
        """Refuse two dates that most blocks know as different places, or that are too far apart.

        Parameters
        ----------
        most : float
            Pixels: the greatest shift, along rows or columns, that is accepted.
        within : int
            Pixels within which shifts were looked for.
        remedy : str
            Ends the message: how it can be gone on with.

        Raises
        ------
        RsscaleError
        """
        if self.other_place > self.found:
            raise RsscaleError(
                f"the two dates show different places: {self.other_place} of {self.blocks} blocks "
                f"of {BLOCK} px are alike at no shift within {within} px, expected is that most "
                f"are; check the georeference of the items, or {remedy}"
            )
        if max(abs(self.dx), abs(self.dy)) > most:
            raise RsscaleError(
                f"the second date is shifted by {self.place} px against the first, expected is at "
                f"most {most:g} px; check the georeference of the items, or {remedy}"
            )

    @property
    def place(self) -> str:
        """The shift as a message has it."""
        return f"({self.dx:.2f} east, {self.dy:.2f} down)"

    def warnings(self, *, corrected: bool) -> list[str]:
        """What a person should know: a shift that stays, blocks that do not agree."""
        warnings = []
        if self.length > HALF and not corrected:
            warnings.append(
                f"the second date is shifted by {self.place} px against the first, more than half "
                "a pixel: edges will look changed; register: correct takes it back"
            )
        if self.spread > HALF:
            warnings.append(
                f"the shifts of {self.found} blocks lie {self.spread:.2f} px from their median, "
                "more than half a pixel: one shift does not fit them all; look at the items"
            )
        if self.other_place:
            warnings.append(
                f"{self.other_place} of {self.blocks} blocks show different places at the two dates"
            )
        return warnings


def shift_of_block(before: npt.NDArray[Any], after: npt.NDArray[Any], most: int) -> Shift:
    """The shift of one block, rounded, of the window of time that tells it best.

    Parameters
    ----------
    before : float array (time, band, y, x)
        NaN where not seen.
    after : float array (time, band, y, x)
        With ``most`` pixels more on each side, or none.
    most : int
    """
    best = NOT_SEEN
    for image, moved in zip(before, after, strict=True):
        shift = find_shift(image, moved, most)
        if np.isfinite(shift.dx) and (best is NOT_SEEN or shift.distinct > best.distinct):
            best = shift
    if best is NOT_SEEN:
        return best
    rounded = {
        name: round(float(getattr(best, name)), _ROUNDED)
        for name in ("dx", "dy", "peak", "distinct", "overlap", "texture")
    }
    return Shift(**rounded, at_border=best.at_border)


def _middle(values: Sequence[float]) -> float:
    return round(float(np.median(values)), _ROUNDED)
