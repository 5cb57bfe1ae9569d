"""A transition matrix as a picture: a heat map of all pairs, and the flows of what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.pictures.charts import (
    GREY,
    INK,
    LINE,
    PALE,
    name_ticks,
    new_figure,
    shortened,
    style,
    written,
)
from rsscale.reporting.transition_matrix import TransitionMatrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST = 16  # classes in a picture
_ROW = 34  # pixels of a class in the heat map
_BAR, _GAP = 0.025, 0.025  # of the width, and of the height all gaps together
_DARK = 0.6  # of the scale, from which on a number is white
_LINE = 20  # pixels from one name of the flows to the next
_LETTERS = 20
_UPRIGHT = 9  # classes whose names and numbers have room as they are


def transition_chart(matrix: TransitionMatrix) -> Figure:
    """A heat map of hectares, and flows from what was to what became.

    What stayed the same is no flow, and has no colour in the heat map: it is most of the land.

    Parameters
    ----------
    matrix : TransitionMatrix
        Of more than sixteen classes, those that changed least are drawn together.
    """
    matrix = matrix.largest(_MOST)
    count = len(matrix.classes)
    high, low = (180 if count > _UPRIGHT else 120) + _ROW * count, 90 + _flows_height(count)
    with style():
        figure = new_figure(1000, high + low + 70)
        above, below = figure.subplots(2, 1, height_ratios=[high, low])
        _draw_matrix(above, matrix)
        _draw_flows(below, matrix)
        place = f"{matrix.zone}, " if matrix.zone else ""
        total = matrix.hectares.sum()
        share = matrix.changed / total if total else 0
        title = (
            f"{place}{matrix.span.replace('-', ' to ')}: {_number(matrix.changed)} of "
            f"{_number(total)} ha became another class ({share:.1%}), by the map"
        )
        figure.suptitle(**_title(title))
    return figure


def _title(text: str) -> dict[str, Any]:
    parts = written(text, 100)
    return {"t": parts.pop("s"), **parts, "fontsize": 14, "color": INK}


def _draw_matrix(axes: Axes, matrix: TransitionMatrix) -> None:
    """Numbers of all pairs, on squares that are darker where more changed."""
    from matplotlib.colors import ListedColormap

    moved = matrix.hectares.copy()
    np.fill_diagonal(moved, np.nan)
    most = np.nanmax(moved, initial=0.0) or 1.0
    # By the square root: of areas that differ by a hundred the smaller is still seen.
    shade = np.sqrt(moved / most)
    stayed = np.where(np.eye(len(moved), dtype=bool), 1.0, np.nan)
    axes.imshow(stayed, cmap=ListedColormap([PALE]), aspect="auto")
    axes.imshow(np.where(moved > 0, shade, np.nan), cmap="YlOrRd", vmin=0, vmax=1.15, aspect="auto")
    for row, col in np.ndindex(*moved.shape):
        value = float(matrix.hectares[row, col])
        if not value:
            continue
        is_dark = row != col and shade[row, col] > _DARK
        ink = "white" if is_dark else GREY if row == col else INK
        text = _number(value) if len(moved) <= _UPRIGHT else _short(value)
        axes.text(col, row, text, ha="center", va="center", color=ink, fontsize=10)
    names = [shortened(land_class.name, _LETTERS) for land_class in matrix.classes]
    name_ticks(axes.yaxis, names)
    if len(names) > _UPRIGHT:
        name_ticks(axes.xaxis, names, rotation=40, ha="left", rotation_mode="anchor")
    else:
        name_ticks(axes.xaxis, names, 12)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0)
    axes.set_xlabel("became")
    axes.set_ylabel("was")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title("Hectares", loc="left", color=INK)


def _draw_flows(axes: Axes, matrix: TransitionMatrix) -> None:
    """Flows between two columns of classes, as wide as hectares."""
    flows = matrix.hectares - np.diag(np.diag(matrix.hectares))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(1.04, -0.06)
    axes.set_title("What changed", loc="left", color=INK)
    if not matrix.changed:
        axes.text(0.5, 0.5, "nothing", ha="center", va="center", color=GREY)
        return
    left, right = _columns(flows.sum(axis=1)), _columns(flows.sum(axis=0))
    scale = left["scale"]
    x0, x1 = 0.22, 0.76
    _draw_column(axes, matrix, left, x0 - _BAR, is_left=True)
    _draw_column(axes, matrix, right, x1, is_left=False)
    starts, ends = left["top"].copy(), right["top"].copy()
    for old, new in np.ndindex(*flows.shape):
        wide = flows[old, new] * scale
        if wide:
            _draw_flow(axes, (x0, starts[old]), (x1, ends[new]), wide, matrix.classes[new].color)
            starts[old] += wide
            ends[new] += wide


def _columns(sums: Any) -> dict[str, Any]:
    """Where the bars of a column begin, from the top, and what a hectare is high."""
    has = sums > 0
    scale = (1 - _GAP * (len(sums) - 1)) / sums.sum()
    high = sums * scale
    top = np.cumsum(high + _GAP * has) - high - _GAP * has
    return {"sums": sums, "top": top, "high": high, "scale": scale}


def _draw_column(
    axes: Axes, matrix: TransitionMatrix, column: dict[str, Any], x: float, *, is_left: bool
) -> None:
    from matplotlib.patches import Rectangle

    sums = column["sums"]
    drawn = np.flatnonzero(sums)
    middles = (column["top"] + column["high"] / 2)[drawn]
    line = _LINE / _flows_height(len(sums))
    for number, middle, y in zip(drawn, middles, _spread(middles, line), strict=True):
        land_class, top, high = (
            matrix.classes[number],
            column["top"][number],
            column["high"][number],
        )
        bar = Rectangle(
            (x, top), _BAR, high, facecolor=land_class.color, edgecolor=LINE, linewidth=0.6
        )
        axes.add_patch(bar)
        text = written(f"{shortened(land_class.name, _LETTERS)}  {_number(sums[number])} ha")
        edge, away, align = (x, -1, "right") if is_left else (x + _BAR, 1, "left")
        axes.text(edge + away * 0.012, y, ha=align, va="center", color=INK, **text)
        if abs(y - middle) > line / 4:
            axes.plot([edge, edge + away * 0.01], [middle, y], color=LINE, linewidth=1)


def _flows_height(count: int) -> int:
    """Pixels of the flows of so many classes."""
    return max(44 * count, 260)


def _spread(middles: npt.NDArray[np.float64], line: float) -> npt.NDArray[np.float64]:
    """Places of names, from the top: each beside its bar, or as near as there is room."""
    places = middles.copy()
    for k in range(1, len(places)):
        places[k] = max(places[k], places[k - 1] + line)
    limit = 1.03
    for k in range(len(places) - 1, -1, -1):
        places[k] = min(places[k], limit)
        limit = places[k] - line
    return places


def _draw_flow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], wide: float, color: str
) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    (x0, y0), (x1, y1) = start, end
    middle = (x0 + x1) / 2
    points = [
        (x0, y0), (middle, y0), (middle, y1), (x1, y1),
        (x1, y1 + wide), (middle, y1 + wide), (middle, y0 + wide), (x0, y0 + wide), (x0, y0),
    ]  # fmt: skip
    curve = [Path.CURVE4] * 3
    path = Path(points, [Path.MOVETO, *curve, Path.LINETO, *curve, Path.CLOSEPOLY])
    axes.add_patch(PathPatch(path, facecolor=color, alpha=0.6, linewidth=0))


def _number(hectares: float) -> str:
    """As many digits as are seen: 1,234 or 12 or 0.4."""
    if hectares >= 10 or not hectares:
        return f"{hectares:,.0f}"
    return f"{hectares:.1f}" if hectares >= 0.05 else "<0.1"


def _short(hectares: float) -> str:
    """In five letters at most: 62k."""
    return f"{hectares / 1000:,.0f}k" if hectares >= 9999.5 else _number(hectares)
