"""How far the values of pixels moved between two dates: change vectors, angles, embeddings.

The value of a pixel depends on that pixel alone, to the bit: bands are summed one after the other,
in double precision, whatever the shape of the arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import BandError

Floats = npt.NDArray[np.float64]

FEWEST = 100
"""Pixels that scales are taken from, at least."""
# Between the quartiles of a normal distribution lie so many of its standard deviations.
_QUARTILES = 1.3489795003921634


@dataclass(frozen=True)
class BandScales:
    """Centre and spread of each band at both dates, of pixels that both dates have.

    The median, and the distance of the quartiles as a standard deviation: what changed, clouds and
    water among them, moves these little. Where more than half of the pixels have one value, the
    spread is the standard deviation itself.

    Attributes
    ----------
    before_centre, before_spread, after_centre, after_spread : float array (B,)
        A spread of 0: the band is constant, and does not count.
    """

    before_centre: Floats
    before_spread: Floats
    after_centre: Floats
    after_spread: Floats

    @classmethod
    def of(cls, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> BandScales:
        """The scales of a sample of pixels, ``(B, P)`` at each date.

        NaN is no value: the scale of a band is of the pixels that have it at both dates, and one of
        fewer than :data:`FEWEST` pixels does not count.

        Raises
        ------
        BandError
            When all bands have fewer pixels, or none varies at both dates.
        """
        shared = np.isfinite(before) & np.isfinite(after)
        pixels = shared.sum(axis=1)
        if pixels.max() < FEWEST:
            raise BandError(
                f"{pixels.max()} pixels have values at both dates; scales of the bands need "
                f"{FEWEST} or more: look at clouds and nodata of both dates, or say 'scale: none'"
            )
        enough = pixels >= FEWEST
        scales = cls(*_scales(before, shared, enough), *_scales(after, shared, enough))
        if not scales.varies.any():
            raise BandError(
                f"all of the {len(before)} bands are constant at one of the dates; change vectors "
                "need one that varies at both: look at what the dates show"
            )
        return scales

    @property
    def varies(self) -> npt.NDArray[np.bool_]:
        """Which bands vary at both dates; the others do not count."""
        return np.asarray((self.before_spread > 0) & (self.after_spread > 0))


def _scales(
    values: npt.NDArray[Any], shared: npt.NDArray[np.bool_], enough: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Centre and spread of each band ``(B,)``, of its pixels; 0 of one that has not enough."""
    scales = [
        _centre_and_spread(of_band[is_shared]) if is_enough else (0.0, 0.0)
        for of_band, is_shared, is_enough in zip(values, shared, enough, strict=True)
    ]
    centre, spread = np.array(scales, np.float64).T
    return centre, spread


def _centre_and_spread(values: npt.NDArray[Any]) -> tuple[float, float]:
    values = values.astype(np.float64)
    low, centre, high = np.quantile(values, [0.25, 0.5, 0.75])
    spread = (high - low) / _QUARTILES
    if spread <= 0:
        spread = values.std()
    # Deviations of one number are rounding, not 0.
    is_rounding = spread <= 1e-6 * np.abs(values).max()
    return float(centre), 0.0 if is_rounding else float(spread)


def shares_bands(
    before: npt.NDArray[Any], after: npt.NDArray[Any], least: float = 1.0
) -> npt.NDArray[np.bool_]:
    """Which pixels have the same bands at both dates, or a share of them.

    Parameters
    ----------
    before, after : float array (B, …)
        NaN is no value.
    least : float
        Share of the bands, above 0.

    Returns
    -------
    bool array (…)
    """
    wanted = math.ceil(least * len(before) - 1e-9)
    shared = np.zeros(before.shape[1:], np.uint16)
    for first, other in zip(before, after, strict=True):
        shared += np.isfinite(first) & np.isfinite(other)
    return np.asarray(shared >= wanted)


def change_magnitude(
    before: npt.NDArray[Any], after: npt.NDArray[Any], scales: BandScales | None = None
) -> Floats:
    """The length of the change vectors of two dates (Malila 1980).

    Of a pixel that lacks some of the bands at one of the dates it is that of the others, as long as
    all of them would be expected to make it: the root of the mean square, times that of the bands.

    Parameters
    ----------
    before, after : array (B, …)
        NaN is no value.
    scales : BandScales, optional
        Each band of each date is brought to the median 0 and the spread 1 first, so that light,
        season and sensor count less, and no band more than another. The values themselves when
        left out, which must then be comparable: reflectances of the same season.

    Returns
    -------
    float64 array (…)
        In the unit of the values, or in spreads of the bands; NaN where no band has both.
    """
    total = np.zeros(before.shape[1:])
    shared = np.zeros(before.shape[1:], np.uint16)
    bands = 0
    for band in range(len(before)):
        first, other = before[band].astype(np.float64), after[band].astype(np.float64)
        if scales is not None:
            if not scales.varies[band]:
                continue
            first = (first - scales.before_centre[band]) / scales.before_spread[band]
            other = (other - scales.after_centre[band]) / scales.after_spread[band]
        moved = other - first
        is_shared = np.isfinite(moved)
        total += np.where(is_shared, moved * moved, 0.0)
        shared += is_shared
        bands += 1
    lengths: Floats = np.sqrt(total * (bands / np.where(shared > 0, shared, np.nan)))
    return lengths


def spectral_angle(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Floats:
    """The angle between the spectra of two dates (Kruse et al. 1993), in degrees.

    It does not depend on how bright either date is. Haze, an offset, changes it: use reflectances.

    Parameters
    ----------
    before, after : array (B, …)
        At least two bands.

    Returns
    -------
    float64 array (…)
        0 to 180; NaN where all bands of a date are 0, which have no direction.
    """
    return np.degrees(_angle(before, after))


def embedding_distance(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Floats:
    """The cosine distance between the embeddings of two dates: ``1 - cos``, 0 to 2.

    Parameters
    ----------
    before, after : array (F, …)
        Features.

    Returns
    -------
    float64 array (…)
        NaN where all features of a date are 0.
    """
    half = np.sin(_angle(before, after) / 2)
    distance: Floats = 2 * half * half  # without the rounding of 1 - cos
    return distance


def _length(values: npt.NDArray[Any]) -> Floats:
    total = np.zeros(values.shape[1:])
    for band in values:
        total += band.astype(np.float64) ** 2
    return np.sqrt(total)


def _angle(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Floats:
    """The angle in radians by Kahan's formula, which is exact for small ones, too."""
    lengths = [_length(values) for values in (before, after)]
    apart, together = np.zeros(before.shape[1:]), np.zeros(before.shape[1:])
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is NaN: no direction
        for band_before, band_after in zip(before, after, strict=True):
            first, second = band_before / lengths[0], band_after / lengths[1]
            apart += (first - second) ** 2
            together += (first + second) ** 2
    angle: Floats = 2 * np.arctan2(np.sqrt(apart), np.sqrt(together))
    return angle
