"""Which looks of a strip of pixels count, in the forms that reducers use."""

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
    """Valid looks of a strip, as terms to add and multiply.

    Arithmetic with these runs at memory speed; a masked fill costs as much as thirty
    comparators, and these are shared by all bands.

    Attributes
    ----------
    count : numpy.ndarray
        ``(pixels,)`` int16, number of valid looks.
    invalid : list of numpy.ndarray
        Per look, ``(pixels,)`` bool.
    device : torch.device
        Where the terms are needed.
    shared : dict
        Further terms, which a reducer makes once for all bands, by its own key.
    """

    count: npt.NDArray[np.int16]
    invalid: list[npt.NDArray[np.bool_]]
    device: torch.device
    shared: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        looks: Sequence[Sequence[npt.NDArray[Any]]],
        fill: float,
        pixels: int,
        device: torch.device,
    ) -> Validity:
        """Of looks, ``(pixels,)`` a band: valid where no band is nodata."""
        invalid = [invalid_pixels(look, fill) for look in looks]
        count = np.full(pixels, len(looks), "int16")
        for look in invalid:
            count -= look
        return cls(count, invalid, device)

    def without_blank(self, looks: Sequence[int]) -> tuple[list[int], Validity]:
        """Looks that are valid anywhere, and their validity.

        Which of them are left out depends on how pixels were cut into strips; no value does,
        since no reducer takes anything from an invalid look.
        """
        kept = [number for number, invalid in enumerate(self.invalid) if not invalid.all()]
        invalid = [self.invalid[number] for number in kept]
        return [looks[number] for number in kept], Validity(self.count, invalid, self.device)

    @property
    def is_complete(self) -> bool:
        """Whether every look is valid everywhere."""
        return bool(self.count.size) and int(self.count.min()) == len(self.invalid)

    @cached_property
    def missing(self) -> list[torch.Tensor]:
        """Per look, 0 where it is valid and infinity where not."""
        return [self.switch(look, np.inf, 0.0) for look in self.invalid]

    @cached_property
    def weight(self) -> list[torch.Tensor]:
        """Per look, 1 where it is valid and 0 where not."""
        return [self.switch(look, 0.0, 1.0) for look in self.invalid]

    @cached_property
    def first(self) -> list[torch.Tensor]:
        """Per look, 1 where it is the first valid one and 0 elsewhere."""
        taken = np.zeros(self.count.shape, bool)
        picks = []
        for invalid in self.invalid:
            picks.append(self.switch(taken | invalid, 0.0, 1.0))
            taken |= ~invalid
        return picks

    @cached_property
    def number(self) -> torch.Tensor:
        """Number of valid looks as float64, 1 where there is none: to divide by."""
        return torch.from_numpy(np.maximum(self.count, 1).astype("float64")).to(self.device)

    @cached_property
    def blank(self) -> torch.Tensor:
        """0, and NaN where no look is valid."""
        return self.switch(self.count == 0, np.nan, 0.0)

    def switch(self, where: npt.NDArray[np.bool_], yes: float, no: float) -> torch.Tensor:
        """One float32 number where a condition holds, else another, on the device."""
        return torch.from_numpy(either(where, np.float32(yes), np.float32(no))).to(self.device)


def either(where: npt.NDArray[np.bool_], yes: Any, no: Any) -> npt.NDArray[Any]:
    """One number where a condition holds, else another; both NumPy scalars of one type."""
    # By their bits: numpy's where takes six times as long.
    kind = f"int{8 * yes.itemsize}"
    one, other = np.array([yes, no]).view(kind)
    bits = where.view("int8").astype(kind)
    np.negative(bits, out=bits)  # all bits, or none
    bits &= one ^ other
    bits ^= other
    return bits.view(yes.dtype)


def invalid_pixels(
    look: Sequence[npt.NDArray[Any]] | npt.NDArray[Any], fill: float
) -> npt.NDArray[np.bool_]:
    """Where any band of a look is nodata: the fill, NaN or infinite."""
    invalid = np.zeros(look[0].shape, bool)
    for band in look:
        if band.dtype.kind == "f":
            invalid |= ~np.isfinite(band)
        if not np.isnan(fill):
            invalid |= band == band.dtype.type(fill)
    return invalid


def physical(
    numbers: npt.NDArray[Any], scale: np.float32, offset: np.float32, device: torch.device
) -> torch.Tensor:
    """Numbers of a file to float32 with scale and offset; what is not finite becomes 0 first.

    The one place where a composite's values get their scale: product and sum are rounded
    one after the other, on every device.
    """
    values = numbers.astype("float32")
    if numbers.dtype.kind == "f":  # what is not finite must not survive a product with zero
        np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    if device.type == "cpu":  # numpy is twice as fast as torch in one thread
        values *= scale
        values += offset
        return torch.from_numpy(values)
    return torch.from_numpy(values).to(device).mul_(float(scale)).add_(float(offset))
