"""Confusion matrix and accuracies of a map, with intervals that take blocks as the sample.

Matrices have the map's classes in rows and the reference's in columns, as in Olofsson et al.
(2014), "Good practices for estimating area and assessing accuracy of land change", Remote
Sensing of Environment 148, https://doi.org/10.1016/j.rse.2014.02.015. (scikit-learn's are the
other way round.) Reference pixels that the map leaves without a class are counted as wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.accuracy.accuracy_html import accuracy_html
from rsscale.accuracy.evaluation_blocks import cluster_interval, count_pairs
from rsscale.errors import ModelError
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass
from rsscale.legend.values import listed, same_classes

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Accuracy of a map on reference pixels, kept by spatial block so that it can be pooled.

    ``a + b`` pools two of them, e.g. of two years. A class is given by its name, or by
    its position in ``classes``.

    Attributes
    ----------
    classes : tuple of LandClass
        K classes.
    cells : int64 array (B, 2)
        Row and column of each block in the lattice of blocks.
    blocks : int64 array (B, K, K)
        A confusion matrix for each block: rows map, columns reference.
    unmapped : int64 array (B, K)
        Reference pixels of each class where the map has no class; they count as wrong.
    areas : float64 array (B, K + 1, K)
        Square metres on the ground of what is counted: the last row where the map has no class.
    block : float
        Width of a block, metres.
    is_sample : bool
        Whether the reference is single pixels drawn by a design that is not known. Then each of
        them counts alike, and there are neither intervals nor areas: those of a stratified
        sample need its weights.
    maps : int
        How many maps were measured and pooled. Areas are those of one map only.
    notes : tuple of str
        What was left out and why, and what else a reader must know.
    """

    classes: tuple[LandClass, ...]
    cells: npt.NDArray[np.int64]
    blocks: npt.NDArray[np.int64]
    unmapped: npt.NDArray[np.int64]
    areas: npt.NDArray[np.float64]
    block: float
    is_sample: bool = False
    maps: int = 1
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count, blocks = len(self.classes), len(self.cells)
        shapes = (self.cells.shape, self.blocks.shape, self.unmapped.shape, self.areas.shape)
        expected = ((blocks, 2), (blocks, count, count), (blocks, count))
        if shapes != (*expected, (blocks, count + 1, count)):
            raise ModelError(
                f"an accuracy of {count} classes has arrays of {shapes}; expected cells (B, 2), "
                "blocks (B, K, K), unmapped (B, K) and areas (B, K + 1, K)"
            )

    @property
    def matrix(self) -> npt.NDArray[np.int64]:
        """The confusion matrix (K, K): rows map, columns reference."""
        total: npt.NDArray[np.int64] = self.blocks.sum(axis=0)
        return total

    @property
    def pixels(self) -> int:
        """Reference pixels, mapped or not."""
        return int(self.blocks.sum() + self.unmapped.sum())

    @property
    def overall(self) -> float:
        """Share of reference pixels that are mapped right."""
        return _ratio(np.trace(self.matrix), self.pixels)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the overall accuracy, blocks taken as the sample.

        NaN where the reference is a sample whose design is not known.
        """
        return self._interval(np.trace(self.blocks, axis1=1, axis2=2), self._reference_by_block())

    @property
    def kappa(self) -> float:
        """Cohen's kappa; pixels without a class in the map are a row of their own."""
        matrix = np.vstack([self.matrix, self.unmapped.sum(axis=0)])
        total = matrix.sum()
        mapped, reference = matrix.sum(axis=1)[:-1], matrix.sum(axis=0)
        # Python's floats: the product of two counts of a country does not fit into int64.
        chance = _ratio(float(mapped.astype(float) @ reference.astype(float)), float(total) ** 2)
        return _ratio(self.overall - chance, 1 - chance)

    def users(self, which: str | int) -> float:
        """User's accuracy (precision): of what is mapped as the class, the share that is it."""
        k = self._index(which)
        return _ratio(self.matrix[k, k], self.mapped_pixels(k))

    def producers(self, which: str | int) -> float:
        """Producer's accuracy (recall): of what is the class, the share that is mapped as it."""
        k = self._index(which)
        return _ratio(self.matrix[k, k], self.reference_pixels(k))

    def f1(self, which: str | int) -> float:
        """Harmonic mean of user's and producer's accuracy of a class."""
        k = self._index(which)
        return _ratio(2 * self.matrix[k, k], self.mapped_pixels(k) + self.reference_pixels(k))

    def users_interval(self, which: str | int) -> tuple[float, float]:
        """95 % interval of the user's accuracy of a class."""
        k = self._index(which)
        return self._interval(self.blocks[:, k, k], self.blocks[:, k].sum(axis=1))

    def producers_interval(self, which: str | int) -> tuple[float, float]:
        """95 % interval of the producer's accuracy of a class."""
        k = self._index(which)
        return self._interval(self.blocks[:, k, k], self._reference_by_block(k))

    def _interval(
        self, part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]
    ) -> tuple[float, float]:
        return (math.nan, math.nan) if self.is_sample else cluster_interval(part, whole)

    def mapped_hectares(self, which: str | int) -> float:
        """Ground under the reference pixels mapped as a class; NaN of a sample or of many maps.

        It is the area of what was measured, not of the class in the map.
        """
        return self._hectares(self.areas[:, self._index(which)])

    def reference_hectares(self, which: str | int) -> float:
        """Ground under the reference pixels of a class; NaN of a sample or of several maps."""
        return self._hectares(self.areas[:, :, self._index(which)])

    def _hectares(self, areas: npt.NDArray[np.float64]) -> float:
        has_area = self.maps == 1 and not self.is_sample
        return float(areas.sum()) / 10_000 if has_area else math.nan

    def mapped_pixels(self, which: str | int) -> int:
        """Reference pixels of any class that are mapped as this one."""
        return int(self.blocks[:, self._index(which)].sum())

    def reference_pixels(self, which: str | int) -> int:
        """Reference pixels of a class, mapped or not."""
        return int(self._reference_by_block(self._index(which)).sum())

    def __add__(self, other: Accuracy) -> Accuracy:
        """Pool two accuracies over the pixels of both.

        A block that is in both stays one block: its pixels of two years are no more
        independent of each other than those of one.

        Raises
        ------
        ModelError
            When classes or the width of blocks differ.
        """
        if not same_classes(self.classes, other.classes) or self.block != other.block:
            raise ModelError(
                f"accuracies of the classes {listed(self.classes)} in blocks of {self.block:g} m, "
                f"and {listed(other.classes)} in blocks of {other.block:g} m, can't be pooled; "
                "measure both on the same grid with the same classes"
            )
        if self.classes != other.classes and [c.value for c in self.classes] != [
            c.value for c in other.classes
        ]:
            other = other.in_order_of(self.classes)
        cells, position = np.unique(
            np.concatenate([self.cells, other.cells]), axis=0, return_inverse=True
        )

        def summed(name: str) -> npt.NDArray[Any]:
            parts = np.concatenate([getattr(self, name), getattr(other, name)])
            sums = np.zeros((len(cells), *parts.shape[1:]), parts.dtype)
            np.add.at(sums, position, parts)
            return sums

        return Accuracy(
            self.classes,
            cells,
            summed("blocks"),
            summed("unmapped"),
            summed("areas"),
            self.block,
            self.is_sample or other.is_sample,
            self.maps + other.maps,
            tuple(dict.fromkeys([*self.notes, *other.notes])),
        )

    def in_order_of(self, classes: tuple[LandClass, ...]) -> Accuracy:
        """The same with its classes in another order."""
        own = [c.value for c in self.classes]
        order = [own.index(c.value) for c in classes]
        return replace(
            self,
            classes=classes,
            blocks=self.blocks[:, order][:, :, order],
            unmapped=self.unmapped[:, order],
            areas=self.areas[:, [*order, len(order)]][:, :, order],
        )

    def to_dict(self) -> dict[str, Any]:
        """The content of ``accuracy.json``: areas in hectares, None for ratios without a divisor.

        Areas are those of the pixels that were measured, not of the whole map; None of a sample,
        and of several maps together.
        """
        return {
            "overall": _json_number(self.overall),
            "interval": [_json_number(v) for v in self.interval],
            "kappa": _json_number(self.kappa),
            "pixels": self.pixels,
            "unmapped": int(self.unmapped.sum()),
            "blocks": len(self.blocks),
            "classes": {c.name: self._class_dict(k) for k, c in enumerate(self.classes)},
            "confusion_matrix": self.matrix.tolist(),
            "confusion_axes": ["map", "reference"],
            "is_sample_of_unknown_design": self.is_sample,
            "maps": self.maps,
            "notes": list(self.notes),
        }

    def _class_dict(self, k: int) -> dict[str, Any]:
        mapped, reference = self.mapped_pixels(k), self.reference_pixels(k)
        return {
            "value": self.classes[k].value,
            "users_accuracy": _json_number(self.users(k)),
            "users_interval": [_json_number(v) for v in self.users_interval(k)],
            "producers_accuracy": _json_number(self.producers(k)),
            "producers_interval": [_json_number(v) for v in self.producers_interval(k)],
            "f1": _json_number(self.f1(k)),
            "mapped_pixels": mapped,
            "reference_pixels": reference,
            "mapped_ha": _json_number(self.mapped_hectares(k)),
            "reference_ha": _json_number(self.reference_hectares(k)),
        }

    def __str__(self) -> str:
        width = max(5, *(len(c.name) for c in self.classes))
        lines = [self._summary(), f"{'class':<{width}}   user's  producer's     F1  {self._column}"]
        lines += [
            f"{name:<{width}}   {users:>6}  {producers:>10}  {f1:>5}  {area:>12}"
            for name, users, producers, f1, area in self._rows()
        ]
        return "\n".join([*lines, *self.notes])

    def _repr_html_(self) -> str:
        head = ("class", "user's", "producer's", "F1", self._column)
        unmapped = self.unmapped.sum(axis=0)
        return accuracy_html(
            self._summary(), classes=self.classes, figures=self._rows(), head=head,
            matrix=self.matrix, unmapped=unmapped, notes=self.notes,
        )  # fmt: skip

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("class")
        for heading in ("user's", "producer's", "F1", self._column):
            table.add_column(heading, justify="right")
        for row in self._rows():
            table.add_row(*map(Text, row))
        return Group(Text(self._summary()), table, *map(Text, self.notes))

    def _summary(self) -> str:
        counted = f"{self.pixels:,} pixels in {len(self.blocks):,} blocks"
        if self.is_sample:
            return (
                f"agreement {self.overall:.3f} with a sample of single pixels, each counted alike, "
                f"kappa {self.kappa:.3f}, {counted}"
            )
        low, high = self.interval
        return (
            f"overall accuracy {self.overall:.3f} (95 % interval {low:.3f} to {high:.3f}), "
            f"kappa {self.kappa:.3f}, {counted}"
        )

    @property
    def _column(self) -> str:
        """Heading of the last column: hectares where these are an area."""
        return "reference px" if self.is_sample or self.maps > 1 else "reference ha"

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        return [
            (
                c.name,
                _decimals(self.users(k)),
                _decimals(self.producers(k)),
                _decimals(self.f1(k)),
                f"{self.reference_pixels(k):,}"
                if self._column == "reference px"
                else f"{self.reference_hectares(k):,.1f}",
            )
            for k, c in enumerate(self.classes)
        ]

    def _index(self, which: str | int) -> int:
        names = [c.name for c in self.classes]
        if isinstance(which, str):
            if which not in names:
                raise ModelError(f"there is no class {which!r}; there are {names}")
            return names.index(which)
        return which

    def _reference_by_block(self, k: int | None = None) -> npt.NDArray[np.int64]:
        by_class = self.blocks.sum(axis=1) + self.unmapped  # (B, K)
        counts: npt.NDArray[np.int64] = by_class.sum(axis=1) if k is None else by_class[:, k]
        return counts


def confusion_matrix(
    mapped: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8], classes: Sequence[LandClass]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count pixels by mapped and reference class.

    Parameters
    ----------
    mapped, reference : uint8 arrays of one shape
        Class values; 255 is no value. Pixels whose reference is no class are left out.
    classes : sequence of LandClass
        K classes.

    Returns
    -------
    (int64 array (K, K), int64 array (K,))
        Rows map, columns reference; and reference pixels that have no class in the map, by
        class.

    Raises
    ------
    ModelError
        When the arrays are not uint8 of one shape.
    """
    check_values(mapped, reference)
    values = tuple(c.value for c in classes)
    _, counts, _ = count_pairs(mapped, reference, np.zeros(mapped.shape, np.int64), values)
    total = counts.sum(axis=0)
    return total[:-1], total[-1]


def check_values(mapped: npt.NDArray[Any], reference: npt.NDArray[Any]) -> None:
    """Raise ModelError unless both are uint8 arrays of one shape."""
    if mapped.dtype != np.uint8 or reference.dtype != np.uint8 or mapped.shape != reference.shape:
        raise ModelError(
            f"map and reference are {mapped.dtype} {mapped.shape} and {reference.dtype} "
            f"{reference.shape}; expected uint8 class values of one shape, {NODATA} for none"
        )


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else math.nan


def _json_number(value: float) -> float | None:
    """The value rounded to six decimals; None for NaN, which JSON does not have."""
    return round(float(value), 6) if math.isfinite(value) else None


def _decimals(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
