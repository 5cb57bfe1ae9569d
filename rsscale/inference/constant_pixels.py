"""Count observations that hold the same extreme number in all bands: fill that nobody declared."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.cluster.sealed import Sealed

# Numbers that files are filled with: nothing, what is saturated, and usual nodata.
_NUMBERS = (0, 255, 65535, 32767, -32768, -9999)
_FEW = 0.02
LEAST_CONSTANT = 4
"""Fewer in a tile say nothing of it: in one that sees little a bright cloud is a third of all."""
# Of one band, such as a height, 0 is a value like any other.
_BANDS = 2
_NAME = "all_bands_{}"
_OF_RECIPE = "say nodata: {{BAND: {0}}} for one band of the input without true {0}"
_OF_CUBE = "load it with nodata={{BAND: {0}}} for a band without true {0}, or write NaN there"

SAMPLED_EVERY = 16
"""Rows and columns from one pixel that is looked at to the next."""

_log = logging.getLogger(__name__)
_told: set[str] = set()

CONSTANT_FACTS: Mapping[str, Literal["sum", "max"]] = {
    "sampled_observations": "sum",
    **{_NAME.format(number): "sum" for number in _NUMBERS},
    "most_constant": "max",
}
"""Facts of a tile that reads imagery, and how those of many tiles fold."""


class ConstantPixels:
    """Observations of a sample of pixels, and how many of them are constant over the bands.

    Threads may count at the same time.

    Attributes
    ----------
    sampled : int
        Observations that count: those which no band says are nodata.
    constant : dict of int to int
        Of these the ones that hold the number in all bands.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sampled = 0
        self.constant: dict[int, int] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """Unpickles as a new one: what another process reads is not counted here."""
        return type(self), ()

    def count(self, block: npt.NDArray[Any], fill: float) -> None:
        """Count a block ``(time, band, y, x)`` in the numbers of its files; ``fill`` is nodata."""
        sample = block[:, :, ::SAMPLED_EVERY, ::SAMPLED_EVERY]
        lowest, highest = sample.min(axis=1), sample.max(axis=1)  # NaN where a band is
        valid = np.isfinite(lowest) if np.isnan(fill) else (sample != fill).all(axis=1)
        same = lowest[valid & (lowest == highest)]
        counts = {number: int(np.count_nonzero(same == number)) for number in _NUMBERS}
        with self._lock:
            self.sampled += int(np.count_nonzero(valid))
            for number, pixels_of in counts.items():
                if pixels_of:
                    self.constant[number] = self.constant.get(number, 0) + pixels_of

    def facts(self) -> dict[str, float]:
        """Those of :data:`CONSTANT_FACTS`; none where no imagery was read."""
        if not self.sampled:
            return {}
        return {
            "sampled_observations": self.sampled,
            **{_NAME.format(number): count for number, count in self.constant.items()},
            "most_constant": round(self._most / self.sampled, 4),
        }

    @property
    def _most(self) -> int:
        """Observations of the number that most hold; none where these are too few to tell."""
        most = max(self.constant.values(), default=0)
        return most if most >= LEAST_CONSTANT else 0


def fold_constant(tiles: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The facts of several tiles, or chips, as one."""
    folded: dict[str, float] = {}
    for facts in tiles:
        for name, fold in CONSTANT_FACTS.items():
            if name in facts:
                known = folded.get(name, 0)
                both = known + facts[name] if fold == "sum" else max(known, facts[name])
                folded[name] = both
    return folded


def constant_counts(facts: Mapping[str, float]) -> dict[int, int]:
    """Observations of each number that some hold in all bands, of facts."""
    counts = {number: int(facts.get(_NAME.format(number), 0)) for number in _NUMBERS}
    return {number: count for number, count in counts.items() if count}


def constant_lines(facts: Mapping[str, float], remedy: str = _OF_RECIPE) -> list[str]:
    """What a person should know of the folded facts of tiles: a line for each number.

    Told where more than 2 % of the observations of a tile, and more than a few, are one number.
    ``remedy`` says what to do, with a place for the number.
    """
    most = facts.get("most_constant", 0.0)
    counts = constant_counts(facts)
    total = sum(counts.values())
    if not total or most <= _FEW:
        return []
    return [
        f"{count / facts['sampled_observations']:.1%} of the observations are {number} in all "
        f"bands, up to {most:.0%} in one place, and count as seen; if that is fill, "
        + remedy.format(number)
        for number, count in counts.items()
        if count >= total / 10
    ]


def warn_of_constant(inputs: Iterable[xr.DataArray], *, once: bool = False) -> None:
    """Log a warning where composites in memory hold what may be fill.

    Parameters
    ----------
    inputs : iterable of DataArray
        ``(time, band, y, x)``, NaN where nothing was seen. Fill that was scaled to another number
        is not known as such.
    once : bool
        Warn of each number once in this process: of tasks, of which a graph has many.
    """
    facts = []
    for array in inputs:
        if array.sizes["band"] >= _BANDS:
            counted = ConstantPixels()
            counted.count(array.values, float("nan"))
            facts.append(counted.facts())
    for line in constant_lines(fold_constant(facts), _OF_CUBE):
        number = line.partition(" are ")[2].partition(" ")[0]
        if not once or number not in _told:
            _log.warning("%s", line)
        _told.add(number)


def without_fill(sample: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Pixels but those of which all bands are the least or the greatest value: undeclared fill.

    A picture that is stretched by a sample is stretched by what else there is.

    Parameters
    ----------
    sample : float32 array (band, n)
        Without NaN.
    """
    if not sample.size:
        return sample
    edges = (sample.min(), sample.max())
    fill = np.any([(sample == edge).all(axis=0) for edge in edges], axis=0)
    return sample if fill.all() else sample[:, ~fill]


def noted_constant(cube: xr.DataArray, constant: ConstantPixels) -> xr.DataArray:
    """The same cube, lazily; what is computed of it is counted.

    Parameters
    ----------
    cube : xr.DataArray
        ``(time, band, y, x)`` in the numbers of its files, masked or not. One of fewer than two
        bands, or whose chunks part the bands, is not counted.
    constant : ConstantPixels
        Counts a sample of each chunk: a hundredth of the time of reading, at most.
    """
    data = cube.data
    if cube.sizes["band"] < _BANDS or not cube.chunks or data.numblocks[:2] != (1, 1):
        return cube
    counted = Sealed(partial(_counted, constant=constant, fill=float(cube.attrs["nodata"])))
    return cube.copy(data=data.map_blocks(counted, dtype=data.dtype, meta=data._meta))  # noqa: SLF001


def _counted(block: npt.NDArray[Any], *, constant: ConstantPixels, fill: float) -> Any:
    constant.count(block, fill)
    return block
