"""Layers of change over several years, and their values from the best sequence of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rsscale.change.comparison import CHANGE
from rsscale.change.comparison import change_layers as compared_layers
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass
from rsscale.model.outputs import ClassOutput

NEVER = 0
"""The year of change where there was none."""
# Red, green, blue of the first year, of a change in the middle, and of the last year.
_RAMP = ((253, 204, 138), (215, 48, 31), (92, 0, 22))


def change_layers(classes: tuple[LandClass, ...], years: Sequence[int]) -> tuple[Layer, ...]:
    """``change``, ``from``, ``to``, ``change_probability``, ``change_year`` and ``changes``."""
    year = Layer(
        "change_year",
        "uint16",
        65535,
        overview="mode",
        attributes={
            "long_name": "first year with the class of the latest change; 0 where there was none",
            "flag_values": [NEVER, *years[1:]],
            "flag_meanings": " ".join(["unchanged", *(f"since_{y}" for y in years[1:])]),
            "flag_colors": " ".join([CHANGE[0].color, *_colors(len(years) - 1)]),
        },
    )
    count = Layer("changes", overview="mean", attributes={"long_name": "number of changes"})
    compared = (
        _given_all_years(layer) if layer.name in ("from", "to") else layer
        for layer in compared_layers(classes, doubt=True)
    )
    return (*compared, year, count)


def _given_all_years(layer: Layer) -> Layer:
    """A layer of a class named as what it is: not always the class of that year's own map."""
    name = f"{layer.attributes['long_name']}, given all years"
    return replace(layer, attributes={**layer.attributes, "long_name": name})


def _colors(count: int) -> list[str]:
    """Colours of years, from a light one to a dark one; of one year alone, that of a change."""
    places = np.linspace(0, 1, count) if count > 1 else np.full(1, 0.5)
    channels = (np.interp(places, (0, 0.5, 1), channel) for channel in zip(*_RAMP, strict=True))
    rounded = (channel.round().astype(int) for channel in channels)
    return ["#{:02x}{:02x}{:02x}".format(*color) for color in zip(*rounded, strict=True)]


def year_layers(classes: tuple[LandClass, ...]) -> tuple[Layer, ...]:
    """``classification`` and ``confidence``, as a map has them."""
    label, confidence, *_ = ClassOutput().layers(classes)
    return (_given_all_years(label), _given_all_years(confidence))


def path_names(year: int) -> tuple[str, str]:
    """Names of the layers of the class and of its confidence, of a year of a path."""
    return f"classification_{year}", f"confidence_{year}"


def path_layers(years: Sequence[int]) -> tuple[Layer, ...]:
    """Two layers for each year, which the years' own are taken from: without overviews."""
    return tuple(Layer(name, overview="none") for year in years for name in path_names(year))


def change_values(
    path: npt.NDArray[np.uint8],
    seen: npt.NDArray[np.bool_],
    probability: npt.NDArray[np.float32],
    classes: Sequence[LandClass],
    years: Sequence[int],
) -> dict[str, npt.NDArray[np.uint8 | np.uint16]]:
    """Values of :func:`change_layers` for pixels.

    A change is never told of a year that was not seen: it is that of the first one that was after
    it, and there is none before the first or after the last.

    Parameters
    ----------
    path : uint8 array (T, P)
        Number of the class at each time.
    seen : bool array (T, P)
        At which of them something was seen.
    probability : float32 array (P,)
        That it is not the same at all times.
    classes : sequence of LandClass
    years : sequence of int
    """
    values = np.array([land_class.value for land_class in classes], np.uint8)
    path = _where_seen(path, seen)
    differs = path[1:] != path[:-1]  # (T - 1, P)
    changed = differs.any(axis=0)
    year = np.full(path.shape[1], NEVER, np.uint16)
    for number, of_year in enumerate(differs, start=1):
        year[of_year] = years[number]
    return {
        "change": changed.astype(np.uint8),
        "from": values[path[0]],
        "to": values[path[-1]],
        "change_probability": percent(probability),
        "change_year": year,
        "changes": differs.sum(axis=0).astype(np.uint8),
    }


def _where_seen(path: npt.NDArray[np.uint8], seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The class of the latest time that was seen until each time; before all, of the first one."""
    first = np.take_along_axis(path, seen.argmax(axis=0)[None], axis=0)[0]
    filled, latest = path.copy(), first
    for time in range(len(path)):
        latest = np.where(seen[time], path[time], latest)
        filled[time] = latest
    return filled


def percent(share: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """A share from 0 to 1 in whole percents."""
    return (share * 100).clip(0, 100).round().astype(np.uint8)
