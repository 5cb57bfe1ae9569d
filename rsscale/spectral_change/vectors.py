"""How far the values of pixels moved between two dates: change vectors, angles, embeddings.

The value of a pixel depends on that pixel alone, to the bit: bands are summed one after the other,
in double precision, whatever the shape of the arrays.
"""

from __future__ import annotations

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
        """The scales of a sample of pixels, ``(B, P)`` at each date, no NaN among them.

        Raises
        ------
        BandError
            When there are fewer than :data:`FEWEST` pixels, or no band varies at both dates.
        """
        if before.shape[1] < FEWEST:
            raise BandError(
                f"{before.shape[1]} pixels have values at both dates; scales of the bands need "
                f"{FEWEST} or more: look at clouds and nodata of both dates, or say 'scale: none'"
            )
        scales = cls(*_centre_and_spread(before), *_centre_and_spread(after))
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


def _centre_and_spread(values: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    low, centre, high = np.quantile(values.astype(np.float64), [0.25, 0.5, 0.75], axis=1)
    spread = (high - low) / _QUARTILES
    spread = np.where(spread > 0, spread, values.astype(np.float64).std(axis=1))
    # Deviations of one number are rounding, not 0.
    rounding = 1e-6 * np.abs(values).max(axis=1)
    return centre, np.where(spread > rounding, spread, 0.0)


def change_magnitude(
    before: npt.NDArray[Any], after: npt.NDArray[Any], scales: BandScales | None = None
) -> Floats:
    """The length of the change vectors of two dates (Malila 1980).

    Parameters
    ----------
    before, after : array (B, …)
    scales : BandScales, optional
        Each band of each date is brought to the median 0 and the spread 1 first, so that light,
        season and sensor count less, and no band more than another. The values themselves when
        left out, which must then be comparable: reflectances of the same season.

    Returns
    -------
    float64 array (…)
        In the unit of the values, or in spreads of the bands.
    """
    total = np.zeros(before.shape[1:])
    for band in range(len(before)):
        first, other = before[band].astype(np.float64), after[band].astype(np.float64)
        if scales is not None:
            if not scales.varies[band]:
                continue
            first = (first - scales.before_centre[band]) / scales.before_spread[band]
            other = (other - scales.after_centre[band]) / scales.after_spread[band]
        moved = other - first
        total += moved * moved
    return np.sqrt(total)


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
