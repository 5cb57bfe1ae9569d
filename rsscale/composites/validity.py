"""Valid observations of a strip of pixels, as the terms that reducers add and multiply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


@dataclass
class Validity:
    """Valid observations of a strip of pixels, as terms to add and multiply.

    Arithmetic with these runs at memory speed, while a masked fill costs as much as thirty
    comparators; and they are computed once for all bands.

    Attributes
    ----------
    count : numpy.ndarray
        ``(pixels,)`` int16, number of valid observations.
    invalid : list of numpy.ndarray
        Per observation, ``(pixels,)`` bool.
    device : torch.device
        Of the terms.
    shared : dict
        Cache of per-strip arrays that a reducer reuses for every band, by its own key.
    """

    count: npt.NDArray[np.int16]
    invalid: list[npt.NDArray[np.bool_]]
    device: torch.device
    shared: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        observations: Sequence[Sequence[npt.NDArray[Any]]],
        fill: float,
        pixels: int,
        device: torch.device,
    ) -> Validity:
        """From observations, ``(pixels,)`` a band: valid where no band is nodata."""
        invalid = [invalid_pixels(observation, fill) for observation in observations]
        count = np.full(pixels, len(observations), "int16")
        for one_invalid in invalid:
            count -= one_invalid
        return cls(count, invalid, device)

    def without_blank(self, scenes: Sequence[int]) -> tuple[list[int], Validity]:
        """Leave out scenes without a valid pixel in the strip: the others, and their validity.

        Which ones are left out depends on how pixels were cut into strips. No value does, since
        no reducer takes anything from an invalid observation.
        """
        kept = [number for number, invalid in enumerate(self.invalid) if not invalid.all()]
        invalid = [self.invalid[number] for number in kept]
        return [scenes[number] for number in kept], Validity(self.count, invalid, self.device)

    @property
    def is_complete(self) -> bool:
        """Whether all observations are valid at all pixels."""
        return bool(self.count.size) and int(self.count.min()) == len(self.invalid)

    @cached_property
    def penalty(self) -> list[torch.Tensor]:
        """Per observation, 0 where it is valid and infinity where not: to add."""
        return [self.switch(invalid, np.inf, 0.0) for invalid in self.invalid]

    @cached_property
    def weight(self) -> list[torch.Tensor]:
        """Per observation, 1 where it is valid and 0 where not: to multiply."""
        return [self.switch(invalid, 0.0, 1.0) for invalid in self.invalid]

    @cached_property
    def first(self) -> list[torch.Tensor]:
        """Per observation, 1 where it is the first valid one and 0 elsewhere."""
        taken = np.zeros(self.count.shape, bool)
        picks = []
        for invalid in self.invalid:
            picks.append(self.switch(taken | invalid, 0.0, 1.0))
            taken |= ~invalid
        return picks

    @cached_property
    def number(self) -> torch.Tensor:
        """Number of valid observations as float64, 1 where there is none: to divide by."""
        return torch.from_numpy(np.maximum(self.count, 1).astype("float64")).to(self.device)

    @cached_property
    def blank(self) -> torch.Tensor:
        """0 where an observation is valid, NaN where none is: to add."""
        return self.switch(self.count == 0, np.nan, 0.0)

    def switch(self, where: npt.NDArray[np.bool_], yes: float, no: float) -> torch.Tensor:
        """Choose between two float32 numbers by a condition, on the device."""
        return torch.from_numpy(either(where, np.float32(yes), np.float32(no))).to(self.device)


def either(where: npt.NDArray[np.bool_], yes: Any, no: Any) -> npt.NDArray[Any]:
    """Choose between two NumPy scalars of one type by a condition, as :func:`numpy.where`."""
    # By their bits: numpy.where takes six times as long.
    kind = f"int{8 * yes.itemsize}"
    yes_bits, no_bits = np.array([yes, no]).view(kind)
    bits = where.view("int8").astype(kind)
    np.negative(bits, out=bits)  # all bits, or none
    bits &= yes_bits ^ no_bits
    bits ^= no_bits
    return bits.view(yes.dtype)


def invalid_pixels(
    observation: Sequence[npt.NDArray[Any]] | npt.NDArray[Any], fill: float
) -> npt.NDArray[np.bool_]:
    """Pixels where any band of an observation is nodata: the fill, NaN or infinite."""
    invalid = np.zeros(observation[0].shape, bool)
    for band in observation:
        if band.dtype.kind == "f":
            invalid |= ~np.isfinite(band)
        if not np.isnan(fill):
            invalid |= band == band.dtype.type(fill)
    return invalid


def physical(
    numbers: npt.NDArray[Any], scale: np.float32, offset: np.float32, device: torch.device
) -> torch.Tensor:
    """Apply scale and offset to a file's numbers, in float32; not finite ones become 0 first.

    The only place where a composite's values are scaled: product and sum are rounded one after
    the other, on every device.
    """
    values = numbers.astype("float32")
    if numbers.dtype.kind == "f":  # what is not finite must not survive a product with zero
        np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    if device.type == "cpu":  # numpy is twice as fast as torch in one thread
        values *= scale
        values += offset
        return torch.from_numpy(values)
    return torch.from_numpy(values).to(device).mul_(float(scale)).add_(float(offset))
