"""Gradients of images with gaps, and whether they are more than noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


def interior(seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels whose neighbours are seen: those that have a gradient."""
    inner = np.zeros_like(seen)
    inner[1:-1, 1:-1] = (
        seen[1:-1, 1:-1] & seen[:-2, 1:-1] & seen[2:, 1:-1] & seen[1:-1, :-2] & seen[1:-1, 2:]
    )
    return inner


def gradients(
    image: npt.NDArray[np.floating[Any]], inner: npt.NDArray[np.bool_]
) -> npt.NDArray[np.complex128]:
    """Complex gradients ``(y, x)``, 0 where there is none; the strong ones compressed.

    Else a few edges, of clouds' shadows and of what was built, outweigh all others.
    """
    values: npt.NDArray[np.float64] = np.nan_to_num(image.astype(np.float64), posinf=0, neginf=0)
    field = np.zeros(image.shape, np.complex128)
    field[1:-1, 1:-1] = (values[1:-1, 2:] - values[1:-1, :-2]) + 1j * (
        values[2:, 1:-1] - values[:-2, 1:-1]
    )
    field[~inner] = 0.0
    length = np.abs(field)
    of_all = length[inner]
    positive = of_all[of_all > 0]
    usual = float(np.median(positive)) if positive.size else 0.0
    if usual == 0:
        return np.zeros_like(field)
    compressed: npt.NDArray[np.complex128] = field / (length + usual)
    return compressed


@dataclass
class Texture:
    """Sums for the correlation of gradients two pixels apart, across their direction.

    White noise has none at any distance, noise that was resampled some from one pixel to the next.
    """

    product: float = 0.0
    square: float = 0.0

    def add(self, field: npt.NDArray[np.complex128]) -> None:
        """Count one band: its gradients along columns and along rows."""
        for along in (field.real, field.imag.T):
            gradient, other = along[2:], along[:-2]
            both = (gradient != 0) & (other != 0)
            self.product += float((gradient * other).sum())
            self.square += float(np.sqrt((gradient[both] ** 2).sum() * (other[both] ** 2).sum()))

    @property
    def value(self) -> float:
        """The correlation."""
        return self.product / self.square if self.square > 0 else 0.0
