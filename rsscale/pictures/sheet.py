"""Lay out a quicklook: maps to the pixel, a legend by area, a scale bar, north and a note."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass
from rsscale.legend.values import unknown_values
from rsscale.pictures.charts import GREY, INK, LINE, written
from rsscale.text.wording import hectares, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAPER = "#ffffff"
PALER = 0.45
"""Part of a colour that is left where its class is inferred."""
UNNAMED = "#ff00ff"
"""What values are drawn in that are no class."""
# A point is a pixel, so that all sizes are in pixels.
_DPI = 72
_MARGIN, _GAP, _GUTTER = 36, 28, 36
_TITLE, _HEADING, _BODY, _SMALL = 34, 22, 20, 16
_TITLE_ROW, _HEADING_ROW, _ROW, _SWATCH = 58, 36, 34, 22
_ENLARGED = 800  # a small map is enlarged to about so many pixels
_SHORTEST_BAR = 70
_NAME_CHARACTERS = 30
_MOST_SHARES, _MOST_VALUES = 3, 4
_NONE = "–"  # noqa: RUF001 -- a dash as in tables
_PLEASANT = 2.0  # width over height of all panels together, as wide as screens are


@dataclass(frozen=True)
class Inferred:
    """Pixels of a map in which nothing was observed, whose class other times tell.

    Attributes
    ----------
    where : bool array (rows, cols)
        Thinned, as the values of the panel.
    counts : int64 array (256,)
        How often each value is inferred in the whole map.
    """

    where: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]


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
    hectares : float64 array (256,) or None
        Of each value; None where pixels have no size on the ground.
    classes : tuple of LandClass
    inferred : Inferred or None
        Drawn paler.
    """

    title: str
    values: npt.NDArray[np.uint8]
    counts: npt.NDArray[np.int64]
    hectares: npt.NDArray[np.float64] | None
    classes: tuple[LandClass, ...]
    inferred: Inferred | None = None

    @property
    def unnamed(self) -> tuple[int, ...]:
        """Values that are no class."""
        return tuple(unknown_values({int(v): 1 for v in np.flatnonzero(self.counts)}, self.classes))

    def share(self, values: Sequence[int]) -> float:
        """Share of values in the pixels that are mapped."""
        mapped = self.counts.sum() - self.counts[NODATA]
        return float(self.counts[list(values)].sum() / mapped) if mapped else 0.0

    def inferred_share(self) -> float:
        """Share of what is inferred in the pixels that are mapped."""
        mapped = self.counts.sum() - self.counts[NODATA]
        return float(self.inferred.counts.sum() / mapped) if self.inferred and mapped else 0.0

    def inferred_hectares(self) -> float | None:
        """Area of what is inferred; None where pixels have no size on the ground."""
        if self.hectares is None:
            return None
        counts = 0 if self.inferred is None else self.inferred.counts
        return float((self.hectares * counts / np.maximum(self.counts, 1)).sum())


@dataclass(frozen=True)
class Ground:
    """Size of a pixel of the map on the ground, and where north is.

    Attributes
    ----------
    meters : float or None
        Its width; None where it is not known.
    aspect : float
        Its height over its width.
    note : str
        What to print below the maps.
    north : float or None
        Degrees from up to true north, clockwise; None where there is none.
    """

    meters: float | None
    aspect: float
    note: str
    north: float | None = None

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


def draw(
    panels: list[Panel], columns: int, ground: Ground, title: str, max_px: int, *, by_area: bool
) -> Figure:
    """Put panels of one shape, legend, scale bar and note on a page.

    A small map is enlarged until all panels together are ``max_px`` wide or high. Classes of the
    first panels stand ``by_area`` in the legend, or in their own order.
    """
    from matplotlib.transforms import Affine2D

    rows = math.ceil(len(panels) / columns)
    wide, high = panels[0].values.shape[1], panels[0].values.shape[0] * ground.aspect
    room = min(max_px / max(wide * columns, high * rows), _ENLARGED / max(wide, high))
    zoom = max(math.floor(room), 1)
    width, height = wide * zoom, max(round(high * zoom), 1)
    heading = _HEADING_ROW if any(panel.title for panel in panels) else 0
    across, down = width + _GAP, heading + height + _GAP
    block = columns * across - _GAP, rows * down - _GAP
    page = _Page(*block)
    for k, panel in enumerate(panels):
        left, top = k % columns * across, k // columns * down + heading
        page.text(left, top - 12, panel.title, _HEADING)
        page.map(left, top, width, height, panel)
    place = Affine2D()
    size = _legend(page, panels, place, by_area=by_area)
    if len(panels) < rows * columns and size[0] <= width - _GAP and size[1] <= height:
        # In the free corner.
        place.translate(len(panels) % columns * across + _GAP, block[1] - height)
    else:
        place.translate(block[0] + _GUTTER, heading)
    _footer(page, ground, zoom, width)
    page.text(0, 26 - _TITLE_ROW, title, _TITLE, weight="bold")
    return page.figure


def save_options(figure: Figure) -> dict[str, Any]:
    """What to give ``savefig``: all that is drawn, and a margin; edges lie on whole pixels."""
    from matplotlib.transforms import Bbox

    canvas: Any = figure.canvas
    box = figure.get_tightbbox(canvas.get_renderer())
    low = np.floor(box.min * _DPI) - _MARGIN
    # A hundredth more, so that rounding never loses the last pixel.
    high = np.ceil(box.max * _DPI) + _MARGIN + 0.01
    return {"bbox_inches": Bbox([low / _DPI, high / _DPI]), "dpi": _DPI}


class _Page:
    """A figure whose places are pixels, counted right and down from the corner of the maps."""

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.transforms import Affine2D

        self.size = width, height
        self.figure = Figure((width / _DPI, height / _DPI), dpi=_DPI, facecolor=_PAPER)
        FigureCanvasAgg(self.figure)
        scaled = Affine2D().scale(1 / width, -1 / height).translate(0, 1)
        self.pixels: Any = scaled + self.figure.transFigure

    def text(self, x: float, y: float, text: str, size: int, at: Any = None, **style: Any) -> Any:
        """A line with its baseline at ``y``; ``at`` moves it."""
        place = self.pixels if at is None else at + self.pixels
        part = written(text)
        style = {"color": INK, "va": "baseline", **style, "fontfamily": part["fontfamily"]}
        return self.figure.text(x, y, part["s"], transform=place, fontsize=size, **style)

    def add(self, patch: Any, at: Any = None) -> None:
        """A patch, in pixels."""
        patch.set_transform(self.pixels if at is None else at + self.pixels)
        self.figure.add_artist(patch)

    def width(self, text: Any) -> float:
        """Of a text."""
        canvas: Any = self.figure.canvas
        return float(text.get_window_extent(canvas.get_renderer()).width)

    def map(self, x: int, y: int, width: int, height: int, panel: Panel) -> None:
        """A map in a frame of one pixel."""
        colors = {
            NODATA: _PAPER,
            **{land_class.value: land_class.color for land_class in panel.classes},
        }
        painted = paint(panel.values, colors, (height, width))
        if panel.inferred is not None:
            where = panel.inferred.where[np.ix_(*_nearest(panel.values.shape, (height, width)))]
            painted[where] = _paler(painted[where])
        framed = np.empty((height + 2, width + 2, 3), np.uint8)
        framed[:] = _rgb(LINE)
        framed[1:-1, 1:-1] = painted
        across, down = self.size
        place = ((x - 1) / across, 1 - (y + height + 1) / down, (width + 2) / across,
                 (height + 2) / down)  # fmt: skip
        axes = self.figure.add_axes(place)
        axes.imshow(framed, interpolation="nearest", aspect="auto")
        axes.set_axis_off()


def _legend(page: _Page, panels: list[Panel], at: Any, *, by_area: bool) -> tuple[float, float]:
    """Swatches, names, shares and hectares at the origin; its width and height."""
    from matplotlib.patches import Rectangle

    maps = [panel for panel in panels if panel.classes == panels[0].classes]
    # Of many dates the first and the last have their shares in the legend.
    maps = maps if len(maps) <= _MOST_SHARES else [maps[0], maps[-1]]
    heads = [panel.title for panel in maps]
    if maps[-1].hectares is not None:
        heads.append(", ".join(part for part in (maps[-1].title, "ha") if part))
    columns = [[page.text(0, -12, head, _BODY, at, color=GREY, ha="right")] for head in heads]
    names, y = [], 0
    for name, color, cells in _legend_rows(panels, maps, by_area=by_area):
        lines = textwrap.wrap(name, _NAME_CHARACTERS)
        if not lines:
            y += _ROW // 2
            continue
        box = Rectangle((0.5, y + 0.5), _SWATCH - 1, _SWATCH - 1, facecolor=color, edgecolor=LINE)
        page.add(box, at)
        for k, line in enumerate(lines):
            names.append(page.text(_SWATCH + 14, y + 18 + 26 * k, line, _BODY, at))
        for column, cell in zip(reversed(columns), reversed(cells), strict=False):
            column.append(page.text(0, y + 18, cell, _BODY, at, ha="right"))
        y += _ROW + 26 * (len(lines) - 1)
    right = _SWATCH + 14 + max(map(page.width, names))
    for column in columns:
        right = math.ceil(right + 22 + max(map(page.width, column)))
        for text in column:
            text.set_x(right)
    return right, y


def _legend_rows(
    panels: list[Panel], maps: list[Panel], *, by_area: bool
) -> Iterator[tuple[str, str, list[str]]]:
    """Name, colour and cells of each row; a row without a name is a gap."""
    last = maps[-1]
    order = (lambda land_class: -int(last.counts[land_class.value])) if by_area else (lambda _: 0)
    for land_class in sorted(last.classes, key=order):
        yield (
            land_class.name + _same_color(land_class, last.classes),
            land_class.color,
            _cells([land_class.value], maps),
        )
    if any(panel.inferred_share() for panel in maps):
        most = max(last.classes, key=lambda land_class: int(last.counts[land_class.value]))
        red, green, blue = _paler(_rgb(most.color))
        name = "paler: not observed then, told by other times"
        shares = [panel.inferred_share() for panel in maps]
        yield name, f"#{red:02x}{green:02x}{blue:02x}", _shares(shares, last.inferred_hectares())
    unnamed = sorted({value for panel in maps for value in panel.unnamed})
    if unnamed:
        more = f" and {len(unnamed) - _MOST_VALUES} more" * (len(unnamed) > _MOST_VALUES)
        name = f"no class: {', '.join(map(str, unnamed[:_MOST_VALUES]))}{more}"
        yield name, UNNAMED, _cells(unnamed, maps)
    for panel in panels:
        if panel.classes != last.classes:
            yield "", "", []
            for land_class in panel.classes:
                yield land_class.name, land_class.color, _cells([land_class.value], [panel])
    if any((panel.values == NODATA).any() for panel in panels):
        yield "no data", _PAPER, []


def _cells(values: list[int], maps: list[Panel]) -> list[str]:
    """Shares in each map, and hectares in the last where they are known; a dash for none."""
    sizes = maps[-1].hectares
    area = None if sizes is None else float(sizes[values].sum())
    return _shares([panel.share(values) for panel in maps], area)


def _shares(shares: Sequence[float], area: float | None) -> list[str]:
    """Shares, and an area where it is known; a dash for none."""
    cells = [percent(share) if share else _NONE for share in shares]
    return cells if area is None else [*cells, hectares(area) if area else _NONE]


def _same_color(land_class: LandClass, classes: tuple[LandClass, ...]) -> str:
    """Says so where an earlier class is drawn in the same colour."""
    for other in classes:
        if other.value == land_class.value:
            return ""
        if other.color.lower() == land_class.color.lower():
            return f" (same colour as {other.name})"
    return ""


def _footer(page: _Page, ground: Ground, zoom: int, width: int) -> None:
    """Scale bar, north arrow and note, one after another below the maps."""
    from matplotlib.patches import Polygon, Rectangle
    from matplotlib.transforms import Affine2D

    y, x = page.size[1] + 30, 0.0
    length, text = scale_bar(width, ground.meters and ground.meters / zoom)
    if length:
        page.add(Rectangle((0, y - 2), length, 4, facecolor=INK, linewidth=0, snap=True))
        label = page.text(length + 10, y + 6, text, _SMALL)
        x = length + 10 + page.width(label) + 28
    if ground.north is not None:
        dart = Polygon([(0, -13), (7, 11), (0, 6), (-7, 11)], facecolor=INK, linewidth=0)
        page.add(dart, Affine2D().rotate_deg(ground.north).translate(x + 8, y))
        x += 20 + page.width(page.text(x + 20, y + 6, "N", _SMALL)) + 28
    page.text(x, y + 6, ground.note, _SMALL, color=GREY)


def scale_bar(width: int, meters: Any) -> tuple[int, str]:
    """Pixels and label of a bar of a round length, about a quarter of a panel; 0 for none."""
    if not meters:
        return 0, ""
    target = max(width / 4, _SHORTEST_BAR) * meters
    power = 10 ** math.floor(math.log10(target))
    length = max(m for m in (1, 2, 5) if m * power <= target * (1 + 1e-9)) * power
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    return max(round(length / meters), 1), text


def paint(
    values: npt.NDArray[np.uint8], colors: dict[int, str], shape: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Class values as an RGB image of another shape ``(height, width, 3)``, by the nearest pixel.

    Values without a colour are painted in :data:`UNNAMED`.
    """
    named = [colors.get(value, UNNAMED) for value in range(256)]
    table = np.array([_rgb(color) for color in named])
    painted: npt.NDArray[np.uint8] = table[values[np.ix_(*_nearest(values.shape, shape))]]
    return painted


def _rgb(color: str) -> npt.NDArray[np.uint8]:
    """Of ``#rrggbb``."""
    return np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)], np.uint8)


def _nearest(have: tuple[int, ...], wanted: tuple[int, int]) -> list[npt.NDArray[np.int64]]:
    """Rows and columns to take, for a picture of another shape by the nearest pixel."""
    return [np.arange(wide) * size // wide for wide, size in zip(wanted, have, strict=True)]


def _paler(colors: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Colours mixed with that of the paper."""
    return (255 - (255 - colors.astype(np.float32)) * PALER).round().astype(np.uint8)
