"""Simulate clouds, their shadows and haze over a scene, and an imperfect scene classification."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from rsscale.simulation.noise import fractal_noise, value_noise
from rsscale.simulation.scenes import Weather
from rsscale.simulation.tiles import TileGrid

Array = npt.NDArray[Any]

# Codes of Sen2Cor's scene classification.
SHADOW, VEGETATION, BARE, WATER, UNCLASSIFIED = 3, 4, 5, 6, 7
CLOUD_MEDIUM, CLOUD_HIGH, CIRRUS = 8, 9, 10

# Opacity from which a cloud, or a shadow, counts as one.
CLOUDY = 0.2
_RIM = 0.05

_CLOUD = np.array((0.66, 0.67, 0.68, 0.72, 0.46, 0.36), np.float32)
_DIFFUSE = np.array((0.46, 0.40, 0.36, 0.33, 0.27, 0.25), np.float32)
_HAZE = np.array((1.0, 0.72, 0.55, 0.28, 0.08, 0.04), np.float32)


@dataclass(frozen=True)
class Sky:
    """Opacity of clouds, shadows and haze over a window, ``(row, col)`` float32.

    Attributes
    ----------
    cloud : array
        Opacity, 0 to 1.
    thin : array
        The part of it that is cirrus.
    shadow : array
        Share of the direct light that is missing.
    relief : array
        Brightness of the cloud tops, around 1.
    """

    cloud: npt.NDArray[np.float32]
    thin: npt.NDArray[np.float32]
    shadow: npt.NDArray[np.float32]
    relief: npt.NDArray[np.float32]


def sky(weather: Weather, tile: TileGrid, window: Window, extent: float) -> Sky:
    """The sky over a window of a tile.

    Parameters
    ----------
    weather : Weather
    tile : TileGrid
    window : Window
    extent : float
        Half the width of the archive, metres: over it the cover is what the weather says.
    """
    down, right = weather.shadow
    wide = Window(window.col_off, window.row_off, window.width + right, window.height + down)
    x, y = tile.world_xy(wide)
    density = _density(weather, x, y)
    opacity = _smoothstep((density - _threshold(weather, extent)) / _RIM)
    height, width = window.height, window.width
    here = (slice(0, height), slice(0, width))
    x, y = x[here], y[here]
    thin = np.zeros((height, width), np.float32)
    if weather.cirrus:
        streaks = fractal_noise(x / 3, y + 0.4 * x, 1600, 3, weather.salt + 301)
        thin = np.float32(weather.cirrus) * _smoothstep((streaks - 0.42) / 0.35)
    heap = opacity[here]
    return Sky(
        cloud=np.maximum(heap, thin),
        thin=np.where(heap < thin, thin, 0),
        shadow=np.float32(0.92) * opacity[down:, right:],
        relief=(0.78 + 2.2 * np.clip(density[here] - _threshold(weather, extent), 0, 0.16)),
    )


def _density(weather: Weather, x: Array, y: Array) -> npt.NDArray[np.float32]:
    sheets = fractal_noise(x, y, 6400, 5, weather.salt + 101, gain=0.48)
    heaps = fractal_noise(x, y, 1300, 5, weather.salt + 201, gain=0.55)
    part = np.float32(weather.cumulus)
    return (1 - part) * sheets + part * heaps


@lru_cache(maxsize=256)
def _threshold(weather: Weather, extent: float) -> np.float32:
    """The density that a given share of the sky exceeds, over a grid of points."""
    steps = np.linspace(-1.0, 1.0, 72)
    x, y = np.meshgrid(extent * steps, 0.6 * extent * steps)
    density = _density(weather, x, y)
    return np.float32(np.quantile(density, 1.0 - weather.cover) - 0.3 * _RIM)


def _smoothstep(t: Array) -> npt.NDArray[np.float32]:
    t = np.clip(t, 0.0, 1.0).astype(np.float32)
    out: npt.NDArray[np.float32] = t * t * (3 - 2 * t)
    return out


def observe(surface: npt.NDArray[np.float32], above: Sky, weather: Weather) -> Array:
    """Reflectance at the sensor, ``(band, row, col)`` float32."""
    shape = (-1, 1, 1)
    lit = surface * (1 - above.shadow * (1 - _DIFFUSE.reshape(shape)))
    top = _CLOUD.reshape(shape) * above.relief
    seen = lit + above.cloud * (top - lit)
    seen += np.float32(weather.haze) * _HAZE.reshape(shape)
    return seen * np.asarray(weather.gain, np.float32).reshape(shape)


def classify(
    seen: npt.NDArray[np.float32], above: Sky, weather: Weather, x: Array, y: Array
) -> npt.NDArray[np.uint8]:
    """The scene classification, with its usual errors.

    Rims of clouds are missed, some thin clouds too, bright roofs are taken for clouds and
    dark water for shadow.
    """
    blue, green, red, nir, swir, _ = seen
    ndvi = (nir - red) / np.maximum(nir + red, np.float32(1e-3))
    codes = np.full(blue.shape, UNCLASSIFIED, np.uint8)
    codes[swir > 0.13] = BARE
    codes[ndvi > 0.35] = VEGETATION
    codes[(nir < 0.085) & (green > nir)] = WATER
    clumps = value_noise(x, y, 140, weather.salt + 401)
    codes[(codes == WATER) & (clumps > 0.86)] = SHADOW
    codes[above.shadow > 0.28] = SHADOW
    codes[above.thin > 0.09] = CIRRUS
    thick = above.cloud * (above.thin == 0)
    codes[(thick > 0.30) & ((thick > 0.6) | (clumps > 0.14))] = CLOUD_MEDIUM
    codes[thick > 0.70] = CLOUD_HIGH
    codes[((blue + green + red) > 0.60) & (clumps > 0.45) & (thick == 0)] = CLOUD_MEDIUM
    return codes
