"""Lay out a quicklook: panels of maps, a legend with shares, a scale bar and a note."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass
from rsscale.pictures.page import Page, paint, text_width

_EMPTY = "#ffffff"
_INK = "#262626"
_GREY = "#6f6f6b"
_LINE = "#c4c4c0"
# Pixels.
_MARGIN, _GAP, _GUTTER = 36, 28, 36
_TITLE, _HEADING, _BODY, _SMALL = 34, 22, 20, 16
_TITLE_ROW, _HEADING_ROW, _FOOTER = 58, 36, 48
_ROW, _SWATCH = 34, 22
_ENLARGED = 800  # a small map is enlarged to about so many pixels
_SHORTEST_BAR = 70
_NAME_CHARACTERS = 30
_MAX_SHARES = 3
_PLEASANT = 1.5  # width over height of all panels together


@dataclass(frozen=True)
class Panel:
    """One map of the picture.

    Attributes
    ----------
    title : str
        Above the map; may be empty.
    values : uint8 array (rows, cols)
        Class values, thinned, 255 nodata.
    counts : int64 array (256,)
        How often each value is in the whole map.
    classes : tuple of LandClass
    """

    title: str
    values: npt.NDArray[np.uint8]
    counts: npt.NDArray[np.int64]
    classes: tuple[LandClass, ...]

    def share(self, value: int) -> float:
        """Share of a class in the pixels that are mapped."""
        mapped = self.counts.sum() - self.counts[NODATA]
        return float(self.counts[value] / mapped) if mapped else 0.0


@dataclass(frozen=True)
class Ground:
    """Size of a pixel of the map on the ground.

    Attributes
    ----------
    meters : float or None
        Its width; None where it is not known.
    aspect : float
        Its height over its width.
    note : str
        What to print below the maps.
    """

    meters: float | None
    aspect: float
    note: str

    def columns(self, panels: int, shape: tuple[int, ...]) -> int:
        """Number of columns for panels of ``shape`` (rows, cols), for a well-proportioned page."""
        ratio = shape[1] / (shape[0] * self.aspect)

        def unpleasant(columns: int) -> float:
            rows = math.ceil(panels / columns)
            holes = rows * columns - panels
            return abs(math.log(ratio * columns / rows / _PLEASANT)) + holes

        return min(range(1, panels + 1), key=unpleasant)

    def factor(self, panels: int, shape: tuple[int, ...], columns: int, max_px: int) -> float:
        """Pixels of the map for each pixel of the picture, at least 1."""
        high = shape[0] * self.aspect * math.ceil(panels / columns)
        return max(max(shape[1] * columns, high) / max_px, 1.0)

    def thinned(self, factor: float) -> Ground:
        """The ground of a map thinned by a factor in each direction."""
        return replace(self, meters=None if self.meters is None else self.meters * factor)


def draw(panels: list[Panel], columns: int, ground: Ground, title: str, max_px: int) -> Page:
    """Put panels, legend, scale bar and note on a page.

    Parameters
    ----------
    panels : list of Panel
        Of one shape.
    columns : int
    ground : Ground
        Of the panels' pixels.
    title : str
        May be empty.
    max_px : int
        Largest width and height of all panels together to which a small map is enlarged.
    """
    rows = math.ceil(len(panels) / columns)
    wide, high = panels[0].values.shape[1], panels[0].values.shape[0] * ground.aspect
    room = min(max_px / max(wide * columns, high * rows), _ENLARGED / max(wide, high))
    zoom = max(math.floor(room), 1)
    width, height = wide * zoom, max(round(high * zoom), 1)
    heading = _HEADING_ROW if any(panel.title for panel in panels) else 0
    legend = _Legend(panels)

    top = _MARGIN + (_TITLE_ROW if title else 0)
    block_width = columns * (width + _GAP) - _GAP
    block_height = rows * (height + heading + _GAP) - _GAP
    corners = [
        (
            _MARGIN + k % columns * (width + _GAP),
            top + k // columns * (height + heading + _GAP) + heading,
        )
        for k in range(rows * columns)
    ]
    bar = _scale_bar(width, ground.meters and ground.meters / zoom)
    left = max(block_width, bar.width + text_width(ground.note, _SMALL))
    free = corners[len(panels) :]
    fits = free and legend.height <= height and legend.width <= left + _MARGIN - free[0][0] - _GAP
    legend_at = (
        (free[0][0] + _GAP, free[0][1]) if fits else (_MARGIN + left + _GUTTER, corners[0][1])
    )
    right = max(left + _MARGIN, legend_at[0] + legend.width)
    page = Page(
        max(right, _MARGIN + text_width(title, _TITLE, bold=True)) + _MARGIN,
        max(top + block_height + _FOOTER, legend_at[1] + legend.height) + _MARGIN,
    )
    page.text(_MARGIN, _MARGIN + 26, title, size=_TITLE, color=_INK, bold=True)
    for panel, corner in zip(panels, corners, strict=False):
        _put(page, panel, corner, (height, width))
    legend.put(page, *legend_at)
    below = top + block_height
    bar.put(page, _MARGIN, below + 30)
    page.text(_MARGIN + bar.width, below + 36, ground.note, size=_SMALL, color=_GREY)
    return page


def _put(page: Page, panel: Panel, corner: tuple[int, int], shape: tuple[int, int]) -> None:
    (x, y), (height, width) = corner, shape
    page.text(x, y - 12, panel.title, size=_HEADING, color=_INK)
    page.box(x - 1, y - 1, width + 2, height + 2, _LINE)
    colors = {c.value: c.color for c in panel.classes}
    page.image(x, y, paint(panel.values, colors, _EMPTY, shape))


class _Legend:
    """Swatches, names and shares of the classes; below them those of panels with other classes."""

    def __init__(self, panels: list[Panel]) -> None:
        maps = [p for p in panels if p.classes == panels[0].classes]
        # Of many dates the first and the last have their shares in the legend.
        self.shown = maps if len(maps) <= _MAX_SHARES else [maps[0], maps[-1]]
        self.rows = [self._row(c, self.shown, panels[0].classes) for c in panels[0].classes]
        self.others = [
            self._row(c, [panel], panel.classes)
            for panel in panels
            if panel.classes != panels[0].classes
            for c in panel.classes
        ]
        self.empty = any((panel.values == NODATA).any() for panel in panels)
        names = [line for lines, _, _ in self.rows + self.others for line in lines] + ["no data"]
        self.names = max(text_width(name, _BODY) for name in names)
        self.share = 22 + max(text_width(t, _BODY) for t in [p.title for p in panels] + ["100.0 %"])

    @staticmethod
    def _row(
        land_class: LandClass, panels: list[Panel], classes: tuple[LandClass, ...]
    ) -> tuple[list[str], str, list[str]]:
        name = land_class.name + _same_color(land_class, classes)
        lines = textwrap.wrap(name, _NAME_CHARACTERS) or [""]
        shares = [_percent(panel.share(land_class.value)) for panel in panels]
        return lines, land_class.color, shares

    @property
    def width(self) -> int:
        return _SWATCH + 14 + self.names + self.share * len(self.shown)

    @property
    def height(self) -> int:
        lines = sum(_height(names) for names, _, _ in self.rows + self.others)
        return lines + (_ROW // 2 if self.others else 0) + (_ROW if self.empty else 0)

    def put(self, page: Page, x: int, y: int) -> None:
        right = x + self.width
        for k, panel in enumerate(reversed(self.shown)):
            page.text(
                right - k * self.share, y - 12, panel.title, size=_BODY, color=_GREY, align="right"
            )
        for row in self.rows:
            y = self._put_row(page, x, y, row)
        y += _ROW // 2 if self.others else 0
        for row in self.others:
            y = self._put_row(page, x, y, row)
        if self.empty:
            self._put_row(page, x, y, (["no data"], _EMPTY, []))

    def _put_row(self, page: Page, x: int, y: int, row: tuple[list[str], str, list[str]]) -> int:
        names, color, shares = row
        page.box(x, y, _SWATCH, _SWATCH, _LINE)
        page.box(x + 1, y + 1, _SWATCH - 2, _SWATCH - 2, color)
        for k, name in enumerate(names):
            page.text(x + _SWATCH + 14, y + 18 + k * 26, name, size=_BODY, color=_INK)
        for k, share in enumerate(reversed(shares)):
            right = x + self.width - k * self.share
            page.text(right, y + 18, share, size=_BODY, color=_INK, align="right")
        return y + _height(names)


def _same_color(land_class: LandClass, classes: tuple[LandClass, ...]) -> str:
    """Says so where an earlier class of the legend is drawn in the same colour."""
    for other in classes:
        if other.value == land_class.value:
            return ""
        if other.color.lower() == land_class.color.lower():
            return f" (same colour as {other.name})"
    return ""


@dataclass(frozen=True)
class _Bar:
    """A scale bar: its length in pixels, 0 for none, and its label."""

    length: int
    text: str

    @property
    def width(self) -> int:
        """Width with its text and the space behind it, pixels."""
        return self.length + 10 + text_width(self.text, _SMALL) + 28 if self.length else 0

    def put(self, page: Page, x: int, y: int) -> None:
        if self.length:
            page.box(x, y - 2, self.length, 4, _INK)
            page.text(x + self.length + 10, y + 6, self.text, size=_SMALL, color=_INK)


def _scale_bar(width: int, meters: Any) -> _Bar:
    """A bar of a round length, about a quarter of a panel; ``meters`` is the width of a pixel."""
    if not meters:
        return _Bar(0, "")
    target = max(width / 4, _SHORTEST_BAR) * meters
    power = 10 ** math.floor(math.log10(target))
    length = max(m for m in (1, 2, 5) if m * power <= target * (1 + 1e-9)) * power
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    return _Bar(max(round(length / meters), 1), text)


def _height(lines: list[str]) -> int:
    return _ROW + 26 * (len(lines) - 1)


def _percent(share: float) -> str:
    """A share in per cent with one decimal; ``<0.1 %`` where that rounds to zero, a dash for 0."""
    if share == 0:
        return "–"  # noqa: RUF001 -- a dash as in tables
    return f"{100 * share:.1f} %" if share >= 0.0005 else "<0.1 %"
