"""One input of a model: bands, times, scaling, and what the network takes beside its values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rsscale.errors import ModelError, nearest

TensorLayout = Literal["channels", "series", "mapping"]
"""How a network takes its inputs; see :class:`rsscale.ModelSpec`."""

ANY_WINDOW = "*"
"""The one time window of a model that does not say which: of any name."""

Missing = Literal["mean", "nan"]
"""What a network is given where a value is missing; see :class:`rsscale.ModelSpec`."""

Seen = Literal["any", "all"]
"""Which inputs must have seen a pixel for it to be mapped; see :class:`rsscale.ModelSpec`."""

DAYS, VALID = "days", "valid"
"""What a network may take beside the values of an input: days of the year, and what is known."""


@dataclass(frozen=True)
class ModelInput:
    """One named input of a model: time windows of composites, or a series of observations.

    Attributes
    ----------
    name : str
        The input's name in the recipe, e.g. ``"s2"``.
    bands : tuple of str
        Bands in channel order.
    times : tuple of str
        Names of the composite's time windows in order, e.g. ``("spring", "summer")``; empty for a
        series.
    mean, std : tuple of float
        Per band, in the units of the composite (reflectance): ``(x - mean) / std``.
    series : int
        Observations that the network takes of a series, at most: those of a window, whenever they
        were made, in the order of their dates, then blanks. 0 for time windows.
    takes : tuple of str
        What the network takes beside the values: ``"days"``, the day of the year of each time, 1
        to 366, as ``NAME.days`` ``(N, T)`` float32; ``"valid"``, where all bands are known, as
        ``NAME.valid`` ``(N, T, H, W)`` bool. Both are 0 for blanks.
    clip : tuple of (float, float)
        Range of each band, to which values are clipped before they are scaled; infinite where it
        is open. Empty for none.
    """

    name: str
    bands: tuple[str, ...]
    times: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    series: int = 0
    takes: tuple[str, ...] = ()
    clip: tuple[tuple[float, float], ...] = ()

    @property
    def is_scaled(self) -> bool:
        """Whether values are scaled at all: others are given as they are."""
        return any(self.mean) or any(std != 1 for std in self.std)

    def __post_init__(self) -> None:
        for name in ("mean", "std"):  # NumPy's numbers can't be written into an item
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        if not self.bands or bool(self.times) == bool(self.series) or self.series < 0:
            raise ModelError(
                f"model input {self.name!r} has no bands or no time windows: {len(self.bands)} "
                f"bands, {len(self.times)} time windows, {self.series} observations of a series; "
                "expected bands, and either time windows or a series"
            )
        if not len(self.mean) == len(self.std) == len(self.bands):
            raise ModelError(
                f"model input {self.name!r} has {len(self.bands)} bands, {len(self.mean)} means "
                f"and {len(self.std)} standard deviations; expected one of each per band"
            )
        if not all(math.isfinite(m) for m in self.mean) or not all(
            0 < s < math.inf for s in self.std
        ):
            raise ModelError(
                f"model input {self.name!r}: means must be finite and standard deviations positive"
            )
        if self.clip and (
            len(self.clip) != len(self.bands) or any(not low <= high for low, high in self.clip)
        ):
            raise ModelError(
                f"model input {self.name!r} is clipped to {list(self.clip)}; expected a range, "
                "from low to high, for each band"
            )
        for extra in self.takes:
            if extra not in (DAYS, VALID):
                raise ModelError(
                    f"model input {self.name!r} takes {extra!r}; expected 'days' or 'valid'"
                    f"{nearest(extra, (DAYS, VALID))}"
                )

    @property
    def length(self) -> int:
        """Times: windows of a composite, or places for observations."""
        return self.series or len(self.times)

    @property
    def channels(self) -> int:
        """Times times bands."""
        return self.length * len(self.bands)
