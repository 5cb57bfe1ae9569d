"""Which time windows a new recipe can have: by the dates of the scenes that a catalogue has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsscale.composites.time_windows import time_windows
from rsscale.errors import CatalogError
from rsscale.items.features import Item, moment

# A median of one scene is that scene with its clouds, and a mask leaves holes in it.
FEWEST_SCENES = 2


@dataclass(frozen=True)
class SeasonCounts:
    """Days on which a place was imaged, by season of each period.

    Attributes
    ----------
    seasons : tuple of str
        Names of the time windows, in order.
    days : dict of int to tuple of int
        Of each period, how many different days each of its seasons has.
    """

    seasons: tuple[str, ...]
    days: dict[int, tuple[int, ...]]

    @property
    def are_enough(self) -> bool:
        """Whether each season of each period has scenes to be told from others by."""
        return all(count >= FEWEST_SCENES for counts in self.days.values() for count in counts)

    def composite_line(self) -> str:
        """The line ``composite`` of an input, with the reason for its windows."""
        if self.are_enough:
            return "composite: {by: season, reducer: median}  # or year, month, windows of your own"
        return (
            "composite: {by: year, reducer: median}  # not by season, as scenes are too few: "
            f"{self._why()}"
        )

    def _why(self) -> str:
        """The period with the fewest scenes in any season."""
        period = min(self.days, key=lambda year: (min(self.days[year]), sum(self.days[year])))
        counts = zip(self.seasons, self.days[period], strict=True)
        return f"{period} has " + ", ".join(f"{count} in {name}" for name, count in counts)


def season_counts(
    find: Callable[[str], Iterable[Item]], periods: Sequence[int], cloud_cover: float
) -> SeasonCounts:
    """Count the days of each season on which items were taken.

    Parameters
    ----------
    find : callable
        Searches items around one place, of the dates ``"first/last"``; may raise CatalogError where
        there are none.
    periods : sequence of int
    cloud_cover : float
        Items that say that they have as many per cent of clouds, or more, do not count.
    """
    seasons = tuple(window.name for window in time_windows("season", 2000))
    days: dict[int, tuple[int, ...]] = {}
    for period in sorted(set(periods)):
        windows = time_windows("season", period)
        taken = _days(find, f"{windows[0].start}/{windows[-1].end}", cloud_cover)
        days[period] = tuple(int(window.holds(taken).sum()) for window in windows)
    return SeasonCounts(seasons, days)


def _days(
    find: Callable[[str], Iterable[Item]], dates: str, cloud_cover: float
) -> npt.NDArray[np.datetime64]:
    """Different days (UTC) of items that are not too cloudy."""
    try:
        items = list(find(dates))
    except CatalogError:  # a year to come may be named before it has scenes
        return np.array([], "datetime64[D]")
    covers = [item.properties.get("eo:cloud_cover") for item in items]
    moments = [
        np.datetime64(moment(item).date())
        for item, cover in zip(items, covers, strict=True)
        if not isinstance(cover, int | float) or cover < cloud_cover
    ]
    return np.unique(np.array(moments, "datetime64[D]"))
