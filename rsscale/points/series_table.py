"""Series at points with what is known there: a class, or values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.decorators.first_argument import made_by
from rsscale.errors import RecipeError
from rsscale.geo.sample_groups import GroupShapes
from rsscale.reference.unused_labels import UnusedLabels


@dataclass(frozen=True, eq=False)
class SeriesInput:
    """Observations of one input, such as a sensor, at all samples.

    Attributes
    ----------
    name : str
    bands : tuple of str
    values : float32 array (N, T, B)
        In the units of imagery that is to be mapped; NaN where there is none. An observation
        counts where all its bands have a value.
    days : float32 array (N, T)
        Day of the year, 1 to 366; 0 where there is no observation.
    times : tuple of str
        Names of the time windows of composites, in order; empty for observations as they were made.
    """

    name: str
    bands: tuple[str, ...]
    values: npt.NDArray[np.float32]
    days: npt.NDArray[np.float32]
    times: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.values.shape
        if len(shape) != 3 or shape[2] != len(self.bands) or self.days.shape != shape[:2]:
            raise RecipeError(
                f"input {self.name!r} has values {shape}, days {self.days.shape} and "
                f"{len(self.bands)} bands; expected (N, T, B), (N, T) and B"
            )
        if self.times and len(self.times) != shape[1]:
            raise RecipeError(
                f"input {self.name!r} has {shape[1]} times, and {len(self.times)} names of time "
                f"windows: {list(self.times)}"
            )

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Observations ``(N, T)`` with a value of all bands."""
        return np.asarray(np.isfinite(self.values).all(axis=2))

    def padded(self, length: int) -> SeriesInput:
        """The same with places for as many observations, the last ones blank."""
        more = length - self.values.shape[1]
        if not more:
            return self
        if more < 0 or self.times:
            raise RecipeError(
                f"input {self.name!r} has {self.values.shape[1]} times, the model takes {length}; "
                "use a model for as many, or the table that it was made for"
            )
        values = np.pad(self.values, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)
        return replace(self, values=values, days=np.pad(self.days, ((0, 0), (0, more))))


@made_by("rs.read_series_table(path, bands=[...])")
@dataclass(frozen=True, eq=False)
class SeriesTable:
    """Samples to learn from: series at points, what is there, and what lies together.

    Attributes
    ----------
    inputs : tuple of SeriesInput
    targets : array (N,), or float64 array (N, Q)
        Names or codes of classes; or values, one column for each of ``quantities``.
    groups : int array (N,)
        Samples of one group, such as a block of land, are never parted between training and test.
    quantities : tuple of str
        Names of the values; empty for classes.
    notes : tuple of str
        What was left out, and why; and how samples are grouped.
    places : GroupShapes, optional
        Where the groups lie.
    unused : UnusedLabels
        Labels that are in no sample, as numbers.
    """

    inputs: tuple[SeriesInput, ...]
    targets: npt.NDArray[Any]
    groups: npt.NDArray[np.int64]
    quantities: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    places: GroupShapes | None = None
    unused: UnusedLabels = field(default_factory=UnusedLabels)

    def __post_init__(self) -> None:
        if not self.inputs:
            raise RecipeError("a table of series needs at least one input with bands")
        count = len(self.inputs[0].values)
        expected = (count, len(self.quantities)) if self.quantities else (count,)
        lengths = {series.name: len(series.values) for series in self.inputs}
        if {*lengths.values(), len(self.groups)} != {count} or self.targets.shape != expected:
            raise RecipeError(
                f"a table has {lengths} samples by input, targets {self.targets.shape} and "
                f"{len(self.groups)} groups; expected {expected} targets and a group for each"
            )
        if self.quantities and not np.isfinite(self.targets).all():
            bad = int((~np.isfinite(self.targets)).any(axis=1).sum())
            raise RecipeError(
                f"{bad} samples have no number as their {' or '.join(self.quantities)}; leave them "
                "out"
            )

    @classmethod
    def of_arrays(
        cls,
        values: npt.ArrayLike,
        dates: npt.ArrayLike,
        targets: npt.ArrayLike,
        *,
        bands: Sequence[str],
        valid: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
        quantities: Sequence[str] = (),
        times: Sequence[str] = (),
        name: str = "series",
    ) -> SeriesTable:
        """A table of one input from arrays.

        Parameters
        ----------
        values : array (N, T, B)
        dates : array (T,) or (N, T)
            Of datetimes, or numbers that are days of the year.
        targets : array (N,) or (N, Q)
            Classes, or values with the names ``quantities``.
        bands : sequence of str
        valid : bool array (N, T), optional
            Which observations count; those without NaN when omitted.
        groups : array (N,), optional
            Of any type; each sample is a group of its own when omitted.
        quantities : sequence of str
        times : sequence of str
            Names of time windows, for composites.
        name : str
            Of the input.
        """
        array = np.array(values, np.float32)
        if valid is not None:
            array[~np.asarray(valid, bool)] = np.nan
        days = np.broadcast_to(day_of_year(np.asarray(dates)), array.shape[:2])
        codes, notes = group_codes(groups, len(array))
        series = SeriesInput(name, tuple(bands), array, days.astype(np.float32), tuple(times))
        target_values = np.asarray(targets, np.float64 if quantities else None)
        return cls((series,), target_values, codes, tuple(quantities), notes).seen

    @property
    def observed(self) -> dict[str, dict[str, float]]:
        """Share of the samples that each time window of an input has values of; none of series."""
        return {
            series.name: dict(
                zip(series.times, series.valid.mean(axis=0).round(4).tolist(), strict=True)
            )
            for series in self.inputs
            if series.times
        }

    @property
    def seen(self) -> SeriesTable:
        """The same without samples that have no valid observation of any input."""
        if not len(self):
            raise RecipeError("a table of series has no sample")
        seen = np.logical_or.reduce([series.valid.any(axis=1) for series in self.inputs])
        if seen.all():
            return self
        note = f"{int((~seen).sum())} samples without a valid observation are left out"
        if not seen.any():
            raise RecipeError(
                "no sample has an observation with a value of all bands; check nodata and bands"
            )
        return replace(self.subset(seen), notes=(*self.notes, note))

    def __len__(self) -> int:
        return len(self.targets)

    def subset(self, keep: npt.NDArray[Any]) -> SeriesTable:
        """Some of the samples, by a mask or their numbers."""
        inputs = tuple(
            replace(series, values=series.values[keep], days=series.days[keep])
            for series in self.inputs
        )
        return replace(self, inputs=inputs, targets=self.targets[keep], groups=self.groups[keep])

    def images(self, lengths: Mapping[str, int]) -> npt.NDArray[np.float32]:
        """Samples as images of one pixel ``(N, C, 1, 1)``, with so many times of each input."""
        parts = [series.padded(lengths[series.name]).values for series in self.inputs]
        flat = [
            part.reshape(len(part), part.shape[1] * part.shape[2]) for part in parts
        ]  # (N, T·B): time by time
        return np.concatenate(flat, axis=1)[:, :, None, None]

    def days(self, lengths: Mapping[str, int]) -> dict[str, npt.NDArray[np.float32]]:
        """Day of the year ``(N, T)`` of each input."""
        return {series.name: series.padded(lengths[series.name]).days for series in self.inputs}


def day_of_year(dates: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Days of the year of datetimes, 0 for NaT; numbers are taken as such days."""
    if dates.dtype.kind == "M":
        days = (dates.astype("datetime64[D]") - dates.astype("datetime64[Y]")).astype(np.float64)
        return np.where(np.isnat(dates), 0.0, days + 1).astype(np.float32)
    try:
        numbers = dates.astype(np.float32)
    except (TypeError, ValueError):
        numbers = np.full(1, np.nan, np.float32)
    if not ((numbers >= 0) & (numbers <= 366)).all():
        raise RecipeError(
            f"dates are {dates.ravel()[:1].tolist()} …; expected datetimes, or days of the year "
            "from 1 to 366, and 0 for blanks"
        )
    return numbers


def group_codes(
    groups: npt.ArrayLike | None, count: int
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Groups of any type as numbers, and what a reader must know of them."""
    if groups is None:
        note = (
            "samples are not grouped: neighbours may lie on both sides of a split, and accuracy "
            "is then too high; give groups, or blocks with coordinates"
        )
        return np.arange(count), (note,)
    codes = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64).ravel()
    return codes, ()
