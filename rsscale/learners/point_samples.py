"""Labelled series at points as samples: targets as numbers of classes, or as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError
from rsscale.geo.sample_groups import GroupShapes
from rsscale.layers import Layer
from rsscale.learners.base import Task
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.points.series_table import SeriesInput, SeriesTable
from rsscale.reference.class_column import classes_in, values_in
from rsscale.reference.unused_labels import UnusedLabels


@dataclass(frozen=True, eq=False)
class PointSamples:
    """Series at points with their targets.

    Attributes
    ----------
    table : SeriesTable
    targets : int64 array (N,), or float64 array (N, Q)
        Numbers of classes from 0, or values.
    """

    table: SeriesTable
    targets: npt.NDArray[Any]

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """The place of each sample."""
        return self.table.groups

    @property
    def places(self) -> GroupShapes | None:
        """Where the groups lie."""
        return self.table.places

    @property
    def unused(self) -> UnusedLabels:
        """Labels that are in no sample."""
        return self.table.unused

    def __len__(self) -> int:
        return len(self.targets)

    def counts(self, task: Task) -> npt.NDArray[np.int64]:
        """1 for each sample ``(N, K)`` in the column of its class; one column for quantities."""
        if not task.classes:
            return np.ones((len(self), 1), np.int64)
        columns: npt.NDArray[np.int64] = np.eye(len(task.classes), dtype=np.int64)[self.targets]
        return columns

    def subset(self, keep: npt.NDArray[np.bool_]) -> PointSamples:
        """Some of the samples."""
        return replace(self, table=self.table.subset(keep), targets=self.targets[keep])


def point_samples(
    table: SeriesTable,
    classes: Sequence[LandClass] | None = None,
    quantities: Sequence[Layer] | None = None,
) -> tuple[Task, PointSamples]:
    """What is to be learnt from a table, and its samples.

    Parameters
    ----------
    table : SeriesTable
    classes : sequence of LandClass, optional
        Those of the table when omitted.
    quantities : sequence of Layer, optional
        Of the names of the table's values; float32 when omitted.

    Raises
    ------
    RecipeError
        When a class has no sample, or the layers are not the table's values.
    """
    if table.quantities:
        layers = quantities or [
            Layer(name, dtype="float32", overview="mean") for name in table.quantities
        ]
        if [layer.name for layer in layers] != list(table.quantities):
            raise RecipeError(
                f"the layers {[layer.name for layer in layers]} are not the table's values "
                f"{list(table.quantities)}"
            )
        return Task(quantities=tuple(layers)), PointSamples(table, table.targets)
    known = tuple(classes or classes_in(table.targets, "the samples"))
    number = {land_class.value: index for index, land_class in enumerate(known)}
    values = values_in(table.targets, known, "the samples")
    codes = np.array([number[value] for value in values], np.int64)
    missing = [c.name for k, c in enumerate(known) if not (codes == k).any()]
    if missing or len(known) < 2:
        lack = f"class {missing[0]!r} has no sample" if missing else "there is one class"
        raise RecipeError(f"{lack}; a model tells at least two classes apart, add samples")
    return Task(classes=known), PointSamples(table, codes)


def table_input(
    part: SeriesInput, observations: int | None, takes: tuple[str, ...] = ()
) -> ModelInput:
    """The input of a contract that a part of a table is, its statistics not known yet."""
    count = len(part.bands)
    length = 0 if part.times else max(observations or 0, part.values.shape[1])
    unknown = (0.0,) * count, (1.0,) * count
    return ModelInput(part.name, part.bands, part.times, *unknown, length, takes)


def with_point_statistics(empty: ModelInput, part: SeriesInput) -> ModelInput:
    """The input with mean and standard deviation of each band over all valid observations.

    Raises
    ------
    RecipeError
        When there is none.
    """
    values = part.values[part.valid]  # (observations, B)
    if not len(values):
        raise RecipeError(
            f"input {part.name!r} has no observation with a value of all of {list(part.bands)} in "
            "the training; check nodata and bands"
        )
    mean, std = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    # Six digits, for readable contracts.
    rounded = [tuple(float(f"{v:.6g}") for v in some) for some in (mean, np.maximum(std, 1e-6))]
    return replace(empty, mean=rounded[0], std=rounded[1])
