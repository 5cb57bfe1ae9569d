"""Measures of change without labels: what each estimates of a sample, and the number of a pixel.

A new one is a class here and a line in :data:`MEASURES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from rsscale.errors import BandError
from rsscale.layers import Layer
from rsscale.spectral_change.irmad import CanonicalVariates, irmad, sum_of_squares
from rsscale.spectral_change.vectors import (
    BandScales,
    change_magnitude,
    embedding_distance,
    spectral_angle,
)

SAMPLE = 200_000
"""Pixels that a measure is estimated from, at most."""

Method = Literal["change-vector", "ir-mad", "spectral-angle", "embedding-distance"]
Scale = Literal["band", "none"]

Columns = Mapping[str, npt.NDArray[Any]]


class Measure(Protocol):
    """How much a pixel changed, as one number.

    Attributes
    ----------
    layer : Layer
        What the number of a pixel is stored as.
    columns : mapping of str to dtype
        Of the table of what is estimated of a sample; empty for a measure that needs none.
    """

    layer: ClassVar[Layer]

    @property
    def columns(self) -> Mapping[str, str]:
        """Names and types of the columns of :meth:`table`."""

    def estimate(self, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Self:
        """The measure with what it needs to know of a sample of pixels, ``(B, P)`` each."""

    def table(self) -> Columns:
        """What was estimated, as columns."""

    def read(self, table: Columns) -> Self:
        """The measure with what :meth:`table` gave."""

    def values(self, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """What is stored of each pixel ``(…)``; NaN where bands have no value."""

    def heights(self, stored: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What a threshold is found of, rising with what is stored."""


class _Plain:
    """What measures have in common that need no sample, and store what is cut."""

    @property
    def columns(self) -> Mapping[str, str]:
        return {}

    def estimate(self, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Self:
        del before, after
        return self

    def table(self) -> Columns:
        return {}

    def read(self, table: Columns) -> Self:
        del table
        return self

    def heights(self, stored: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return stored


def _magnitude(long_name: str, units: str = "1") -> Layer:
    return Layer(
        "magnitude", "float32", overview="mean",
        attributes={"long_name": long_name, "units": units},
    )  # fmt: skip


@dataclass(frozen=True)
class ChangeVector(_Plain):
    """The length of the change vector, of bands at the same scale unless ``scale`` is none."""

    layer: ClassVar[Layer] = _magnitude("length of the change vector")

    bands: int
    scale: Scale = "band"
    scales: BandScales | None = None

    @property
    def columns(self) -> Mapping[str, str]:
        """A row for each band."""
        names = [field.name for field in fields(BandScales)]
        return {} if self.scale == "none" else dict.fromkeys(names, "float64")

    def estimate(self, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Self:
        """Medians and spreads of the bands."""
        return self if self.scale == "none" else replace(self, scales=BandScales.of(before, after))

    def table(self) -> Columns:
        """Columns of the scales."""
        return {name: getattr(self.scales, name) for name in self.columns}

    def read(self, table: Columns) -> Self:
        """With scales that were estimated."""
        if self.scale == "none":
            return self
        return replace(self, scales=BandScales(**{name: table[name] for name in self.columns}))

    def values(self, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Lengths."""
        return change_magnitude(before, after, self.scales).astype(np.float32)


@dataclass(frozen=True)
class IrMad(_Plain):
    """The chi-square statistic of the MAD variates; its root is what is cut."""

    layer: ClassVar[Layer] = Layer(
        "chi_square", "float32", overview="mean",
        attributes={"long_name": "sum of the squared MAD variates", "units": "1"},
    )  # fmt: skip

    bands: int
    variates: CanonicalVariates | None = None

    @property
    def columns(self) -> Mapping[str, str]:
        """A row for each variate and band."""
        return {
            "variate": "int64", "band": "int64", "correlation": "float64",
            "before_mean": "float64", "after_mean": "float64", "before": "float64",
            "after": "float64", "iterations": "int64", "converged": "bool",
        }  # fmt: skip

    def estimate(self, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Self:
        """Canonical variates, by iteration."""
        return replace(self, variates=irmad(before, after))

    def table(self) -> Columns:
        """Coefficients, variate by variate."""
        variates = self.known
        count = len(variates.bands)
        return {
            "variate": np.repeat(np.arange(1, count + 1), count),
            "band": np.tile(np.array(variates.bands), count),
            "correlation": np.repeat(variates.correlations, count),
            "before_mean": np.tile(variates.before_mean, count),
            "after_mean": np.tile(variates.after_mean, count),
            "before": variates.before.ravel(),
            "after": variates.after.ravel(),
            "iterations": np.full(count**2, variates.iterations),
            "converged": np.full(count**2, variates.converged),
        }

    def read(self, table: Columns) -> Self:
        """With variates that were estimated."""
        count = int(table["variate"].max())
        square = (count, count)
        variates = CanonicalVariates(
            bands=tuple(int(band) for band in table["band"][:count]),
            before_mean=table["before_mean"][:count],
            after_mean=table["after_mean"][:count],
            before=table["before"].reshape(square),
            after=table["after"].reshape(square),
            correlations=table["correlation"][::count],
            iterations=int(table["iterations"][0]),
            converged=bool(table["converged"][0]),
        )
        return replace(self, variates=variates)

    @property
    def known(self) -> CanonicalVariates:
        """The variates that were estimated."""
        if self.variates is None:
            raise BandError("IR-MAD has no variates yet; estimate them of a sample of pixels first")
        return self.variates

    def values(self, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Chi-square."""
        return self.known.chi_square(before, after).astype(np.float32)

    def split(
        self, before: npt.NDArray[Any], after: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Chi-square ``(…)``, and the MAD variates ``(B, …)``: NaN for those that are not used."""
        parts = self.known.variates(before, after)
        every = np.full((self.bands, *parts.shape[1:]), np.nan, np.float32)
        every[: len(parts)] = parts
        return sum_of_squares(parts).astype(np.float32), every

    def heights(self, stored: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The root of chi-square: a length, as the other measures have it."""
        return np.sqrt(stored)


@dataclass(frozen=True)
class SpectralAngle(_Plain):
    """The angle between both spectra."""

    layer: ClassVar[Layer] = _magnitude("angle between the spectra", "degree")

    bands: int

    def values(self, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Degrees."""
        return spectral_angle(before, after).astype(np.float32)


@dataclass(frozen=True)
class EmbeddingDistance(_Plain):
    """The cosine distance of both embeddings."""

    layer: ClassVar[Layer] = _magnitude("cosine distance of the embeddings")

    bands: int

    def values(self, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """0 to 2."""
        return embedding_distance(before, after).astype(np.float32)


MEASURES: dict[str, type[Any]] = {
    "change-vector": ChangeVector,
    "ir-mad": IrMad,
    "spectral-angle": SpectralAngle,
    "embedding-distance": EmbeddingDistance,
}
"""The measure of each method."""


def measure(method: Method, bands: int, scale: Scale = "band") -> Measure:
    """The measure of a method, for so many bands.

    Raises
    ------
    BandError
        When the method needs more bands.
    """
    if method in ("spectral-angle", "embedding-distance") and bands < 2:
        raise BandError(
            f"there is {bands} band, and the method {method!r} measures a direction, which needs "
            "two or more; name more bands, or use change-vector"
        )
    if method == "change-vector":
        return ChangeVector(bands, scale)
    measure_of_method: Measure = MEASURES[method](bands)
    return measure_of_method
