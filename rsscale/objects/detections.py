"""Detections of one window or image, in pixels of the grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rsscale.errors import ModelError

if TYPE_CHECKING:
    import shapely


@dataclass(frozen=True)
class Detections:
    """Boxes with their classes and scores, of one window or image.

    Attributes
    ----------
    boxes : float64 array (n, 4)
        ``x0, y0, x1, y1`` in global pixels of the grid: ``x`` counts columns, ``y`` rows from the
        grid's origin, and a pixel of column 3 covers ``x`` from 3 to 4. ``x0 < x1``, ``y0 < y1``.
    scores : float32 array (n,)
        0 to 1.
    classes : int32 array (n,)
        Values of classes.
    outlines : tuple of shapely.Polygon or MultiPolygon, optional
        Of each detection, in the same coordinates; None where boxes are all that is known.
    """

    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int32]
    outlines: tuple[shapely.Geometry, ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.boxes)
        shapes = (self.boxes.shape, self.scores.shape, self.classes.shape)
        if shapes != ((count, 4), (count,), (count,)):
            raise ModelError(
                f"detections have boxes {shapes[0]}, scores {shapes[1]} and classes {shapes[2]}; "
                "expected (n, 4), (n,) and (n,)"
            )
        if self.outlines is not None and len(self.outlines) != count:
            raise ModelError(f"{count} detections have {len(self.outlines)} outlines")

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls) -> Detections:
        """No detections."""
        return cls(np.empty((0, 4)), np.empty(0, np.float32), np.empty(0, np.int32))

    def take(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Detections:
        """Some of them, by position or mask."""
        outlines = self.outlines
        if outlines is not None:
            outlines = tuple(outlines[i] for i in np.arange(len(self))[index])
        return Detections(self.boxes[index], self.scores[index], self.classes[index], outlines)
