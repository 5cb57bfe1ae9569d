"""Find by how much one image is shifted against another, to a fraction of a pixel.

The correlation of complex gradients (Tzimiropoulos, Argyriou & Stathaki 2011, "Subpixel
registration with gradient correlation", IEEE Trans. Image Processing 20(6)), normalised at each
shift by the pixels that both images have there (Padfield 2012, "Masked object registration in the
Fourier domain", ibid. 21(5)), its peak refined by an upsampled Fourier transform (Guizar-Sicairos,
Thurman & Fienup 2008, "Efficient subpixel image registration algorithms", Optics Letters 33(2)).
Gradients, since brightness differs between dates and edges stay; normalised, since clouds would
shift the peak towards where fewer pixels are hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.coregistration.gradients import Texture, gradients, interior
from rsscale.errors import RsscaleError

LEAST_DISTINCT = 8.0
"""How many times the spread of all other shifts a peak must rise above them."""
LEAST_OVERLAP = 0.1
"""Share of an image's pixels that must be seen in both."""
OTHER_PLACE = 0.1
"""Correlation of gradients below which nothing is alike: at most 0.04 of other land, 0.37 and more
of one place years apart."""
LEAST_TEXTURE = 0.12
"""Below it an image has no more than noise: below 0.07 noise alone, above 0.18 Landsat of land."""
# Bands that are looked at, at most: more tell little more.
_MOST_BANDS = 6
# Of the refined peak: steps of a pixel, and how far around the coarse peak.
_STEP = 0.05
_AROUND = 1.5

_Image = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Shift:
    """By how much a second image is shifted against a first one.

    What lies at ``(row, col)`` of the first lies at ``(row + dy, col + dx)`` of the second.

    Attributes
    ----------
    dx, dy : float
        Pixels: to the east (along columns) and down (along rows). NaN where nothing is seen twice.
    peak : float
        Correlation of the gradients at that shift, from -1 to 1; negative where what was dark is
        bright, as fields are before and after they are flooded.
    distinct : float
        How many times the spread of the correlation at other shifts the peak rises above them.
    overlap : float
        Share of the first image's pixels that both have.
    texture : float
        Correlation of gradients two pixels apart, of the image that has less of it: 0 of noise
        alone, as of open water.
    at_border : bool
        Whether the peak is at the greatest shift that was looked for.
    """

    dx: float
    dy: float
    peak: float
    distinct: float
    overlap: float
    texture: float = 0.0
    at_border: bool = False

    @property
    def length(self) -> float:
        """Pixels."""
        return float(np.hypot(self.dx, self.dy))

    @property
    def is_found(self) -> bool:
        """Whether both show the same place: one shift stands out from all others."""
        return self.distinct >= LEAST_DISTINCT and not self.at_border

    @property
    def other_place(self) -> bool:
        """Whether both show something, and no shift makes them alike.

        Noise is no other place, nor is what is too smooth to tell by how much it is shifted.
        """
        is_alike = abs(self.peak) >= OTHER_PLACE
        return not self.is_found and not is_alike and self.texture >= LEAST_TEXTURE


NOT_SEEN = Shift(float("nan"), float("nan"), 0.0, 0.0, 0.0)
"""Of two images that have too few pixels in common, or one of which is all of one value."""


def find_shift(before: _Image, after: _Image, most: int) -> Shift:
    """The shift of a second image against a first one.

    Parameters
    ----------
    before : float array (band, y, x)
        NaN where not seen.
    after : float array (band, y, x)
        Of the same pixels, or with ``most`` more on each side: then as much overlaps at every
        shift.
    most : int
        Pixels, along rows and along columns: the greatest shift that is looked for.

    Returns
    -------
    Shift
        Values depend on nothing but these pixels. :data:`NOT_SEEN` where fewer than a tenth of
        the first image's pixels are seen in both, or one of them has no texture.

    Raises
    ------
    RsscaleError
        When the images have other bands or sizes.
    """
    margin = _margin(before.shape, after.shape, most)
    bands = _some(before.shape[0])
    seen = [np.asarray(np.isfinite(image).all(axis=0)) for image in (before, after)]
    overlap = float((seen[0] & _inside(seen[1], margin)).mean())
    if overlap < LEAST_OVERLAP:
        return NOT_SEEN
    height, width = before.shape[1:]
    shape = tuple(_fast(size + 2 * max(margin, most)) for size in (height, width))
    masks = [interior(mask) for mask in seen]
    cross = np.zeros(shape, np.complex128)
    energy = [np.zeros(mask.shape) for mask in masks]
    textures = [Texture(), Texture()]
    for band in bands:
        fields = [gradients(i[band], m) for i, m in zip((before, after), masks, strict=True)]
        for texture, field in zip(textures, fields, strict=True):
            texture.add(field)
        for number, field in enumerate(fields):
            energy[number] += field.real**2 + field.imag**2
        cross += np.conj(_fft(fields[0], shape)) * _fft(fields[1], shape)
    places = _Places(shape, most, margin)
    spectra = [_fft(array.astype(np.float64), shape) for array in (*masks, *energy)]
    of_masks = places.near(np.conj(spectra[0]) * spectra[1])
    norm = [
        np.maximum(places.near(np.conj(a) * b), 0.0)
        for a, b in ((spectra[2], spectra[1]), (spectra[0], spectra[3]))
    ]
    enough = of_masks > LEAST_OVERLAP * masks[0].size / 2
    product = np.sqrt(norm[0] * norm[1])
    enough &= product > 1e-9 * max(float(product.max()), 1e-300)
    if not enough.any():
        return NOT_SEEN
    correlation = np.full(product.shape, -1.0)
    np.divide(places.near(cross), product, out=correlation, where=enough)
    shift = places.peak(correlation, enough, cross)
    return replace(shift, overlap=overlap, texture=min(t.value for t in textures))


@dataclass(frozen=True)
class _Places:
    """Shifts that are looked for, and where a correlation by Fourier transform has them.

    Attributes
    ----------
    shape : tuple of int
        Of the transforms.
    most : int
    margin : int
        Pixels that the second image has before the first one's.
    """

    shape: tuple[int, ...]
    most: int
    margin: int

    def near(self, spectrum: npt.NDArray[np.complex128]) -> npt.NDArray[np.float64]:
        """The real correlation at all shifts ``(2·most + 1, 2·most + 1)``, of its spectrum."""
        import scipy.fft

        every = scipy.fft.ifft2(spectrum).real
        shifts = np.arange(-self.most, self.most + 1) + self.margin
        correlation: npt.NDArray[np.float64] = every[
            np.ix_(shifts % self.shape[0], shifts % self.shape[1])
        ]
        return correlation

    def peak(
        self,
        correlation: npt.NDArray[np.float64],
        enough: npt.NDArray[np.bool_],
        cross: npt.NDArray[np.complex128],
    ) -> Shift:
        """The highest place of a normalised correlation, refined, and how it stands out."""
        known = correlation[enough]
        usual = float(np.median(known))
        # What was dark and is bright now lies where it lay all the same.
        sign = 1.0 if known.max() - usual >= usual - known.min() else -1.0
        signed = np.where(enough, sign * correlation, -np.inf)
        row, col = np.unravel_index(int(signed.argmax()), signed.shape)
        rest = enough.copy()
        rest[max(row - 4, 0) : row + 5, max(col - 4, 0) : col + 5] = False
        others = signed[rest]
        middle = float(np.median(others)) if others.size else 0.0
        spread = 1.4826 * float(np.median(np.abs(others - middle))) if others.size else 0.0
        top = float(signed[row, col])
        last = 2 * self.most
        return Shift(
            *self._refined(sign * cross, float(row) - self.most, float(col) - self.most),
            peak=sign * min(top, 1.0),
            distinct=(top - middle) / spread if spread > 0 else 0.0,
            overlap=0.0,
            at_border=bool(row in (0, last) or col in (0, last)),
        )

    def _refined(
        self, cross: npt.NDArray[np.complex128], dy: float, dx: float
    ) -> tuple[float, float]:
        """``dx, dy`` of the highest place within a pixel or two of a coarse peak."""
        steps = np.arange(-_AROUND, _AROUND + _STEP / 2, _STEP)
        rows, cols = (
            np.exp(2j * np.pi * np.outer(steps + at + self.margin, _frequencies(size)))
            for at, size in zip((dy, dx), self.shape, strict=True)
        )
        fine = (rows @ cross @ cols.T).real
        row, col = np.unravel_index(int(fine.argmax()), fine.shape)
        down = _vertex(fine[:, col], int(row))
        right = _vertex(fine[row], int(col))
        first = float(steps[0])
        return dx + first + right * _STEP, dy + first + down * _STEP


def _margin(before: tuple[int, ...], after: tuple[int, ...], most: int) -> int:
    if len(before) != 3 or len(after) != 3 or before[0] != after[0] or most < 1:
        raise RsscaleError(
            f"images of {before} and {after} can't be compared; expected two of (band, y, x) with "
            "the same bands, and shifts of one pixel or more to look for"
        )
    more = [a - b for a, b in zip(after[1:], before[1:], strict=True)]
    if more not in ([0, 0], [2 * most, 2 * most]):
        raise RsscaleError(
            f"images of {before[1:]} and {after[1:]} px can't be compared; expected are those of "
            "the same pixels: cut both to the same box"
        )
    return more[0] // 2


def _some(count: int) -> list[int]:
    """Numbers of the bands that are looked at, evenly from all."""
    return sorted({int(n) for n in np.linspace(0, count - 1, min(count, _MOST_BANDS)).round()})


def _inside(array: npt.NDArray[Any], margin: int) -> npt.NDArray[Any]:
    return array[margin : array.shape[0] - margin, margin : array.shape[1] - margin]


def _fast(size: int) -> int:
    import scipy.fft

    return int(scipy.fft.next_fast_len(size))


def _fft(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[np.complex128]:
    import scipy.fft

    spectrum: npt.NDArray[np.complex128] = scipy.fft.fft2(array, s=shape)
    return spectrum


def _frequencies(size: int) -> npt.NDArray[np.float64]:
    """Cycles a pixel of a Fourier transform."""
    return np.fft.fftfreq(size).astype(np.float64)


def _vertex(values: npt.NDArray[np.float64], at: int) -> float:
    """Where the parabola through three neighbours is highest, in steps from the first."""
    if not 0 < at < len(values) - 1:
        return float(at)
    left, top, right = values[at - 1 : at + 2]
    bend = left - 2 * top + right
    return at + float(0.5 * (left - right) / bend) if bend < 0 else float(at)
