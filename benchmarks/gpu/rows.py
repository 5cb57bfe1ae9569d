"""A row of the table: one path of the device against the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One path, compared and timed.

    Attributes
    ----------
    name : str
    agreement : float
        Share of values that are equal, or of labels.
    largest : float
        Largest difference of a value, in ``unit``.
    unit : str
    allowed : (float, float)
        The least agreement and the largest difference that are right.
    cpu_s, device_s : float
        Seconds; 0 where not measured.
    note : str
    """

    name: str
    agreement: float
    largest: float
    unit: str
    allowed: tuple[float, float]
    cpu_s: float = 0.0
    device_s: float = 0.0
    note: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it differs by no more than it may; NaN never is."""
        return self.agreement >= self.allowed[0] and self.largest <= self.allowed[1]

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "is_right": self.is_right}

    def __str__(self) -> str:
        ratio = f"{self.cpu_s / self.device_s:6.1f} x" if self.device_s and self.cpu_s else " " * 8
        right = "" if self.is_right else "  WRONG"
        return (
            f"{self.name:<34} {self.agreement:9.5f} {self.largest:9.3g} {self.unit:<8} {ratio} "
            f" {self.note}{right}"
        )


def header() -> str:
    """Names of the columns."""
    return f"{'':<34} {'equal':>9} {'largest':>9} {'':<8} {'faster':>8}"


def timed(compute: Callable[[], T], device: str, repeats: int = 1) -> tuple[T, float]:
    """What is computed, and the least seconds of the repeats after a first time, or of that."""
    seconds = []
    for _ in range(1 + repeats):
        _wait(device)
        started = time.perf_counter()
        result = compute()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return result, min(seconds[1:] or seconds)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def compared_arrays(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> tuple[float, float]:
    """Share of equal values, NaN being equal to NaN, and the largest difference of all."""
    same = (ours == theirs) | ((ours != ours) & (theirs != theirs))  # noqa: PLR0124 -- NaN
    far = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
    largest = float(np.max(far[~same], initial=0.0))
    return float(same.mean()), np.inf if np.isnan(largest) else largest


def compared_maps(ours: xr.Dataset, theirs: xr.Dataset) -> tuple[float, float]:
    """The least share of equal values of any layer, and the largest difference beside labels."""
    agreements = {
        str(name): compared_arrays(ours[name].values, theirs[name].values) for name in theirs
    }
    agreement = agreements.get("classification", min(agreements.values()))[0]
    others = [largest for name, (_, largest) in agreements.items() if name != "classification"]
    return agreement, max(others, default=0.0)
