"""The split of a training as a map: its places, what each was for, and the classes it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import shapely.geometry

from rsscale.pictures.charts import (
    BLUE,
    GREY,
    INK,
    LINE,
    ORANGE,
    PALE,
    name_ticks,
    new_figure,
    shortened,
    style,
    written,
)
from rsscale.text.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DOTTED = 0.012  # of the map's width: narrower places are drawn as squares of one size
_MARGIN = 0.05
_LEGEND_LETTERS = 18
_MOST_NAMED = 24  # classes in the legend
_ROW = 24  # pixels of a class in the table
_WIDE, _LOWEST, _HIGHEST = 730, 320, 600  # pixels of the map


@dataclass(frozen=True)
class Part:
    """What places were for: a role or a fold, and how it is drawn.

    Attributes
    ----------
    name : str
    face, edge : str
        Colours.
    hatch : str
        So that parts are told apart without colours.
    """

    name: str
    face: str
    edge: str
    hatch: str = ""


_ROLES = {
    "training": Part("training", PALE, "#a3a39e"),
    "validation": Part("validation", "#cfe3f1", BLUE, "////"),
    "test": Part("test", "#fbdcc4", ORANGE, "...."),
}
# Paul Tol's "pale" scheme (https://personal.sron.nl/~pault/): dots are seen on each.
_FOLDS = ("#bbccee", "#eeeebb", "#ffcccc", "#ccddaa", "#cceeff", "#dddddd")
_NO_FOLD = Part("untested", "#ffffff", "#a3a39e", "xx")


def split_chart(training: Mapping[str, Any]) -> Figure:
    """A map of the places in the grid's CRS, and the classes that each holds.

    Places that are narrower than can be seen are squares of one size. Where it is not known where
    places lie, the table of classes is drawn alone.

    Parameters
    ----------
    training : mapping
        The content of ``training.json``.
    """
    split = training["split"]
    parts = parts_of(split)
    places = sorted(split["places"], key=lambda p: (list(parts).index(_key(p, split)), p["id"]))
    names = [c["name"] for c in training["classes"]] or ["samples"]
    has_map = any(place["shape"] for place in places)
    table = 150 + _ROW * len(names)
    with style():
        high = _map_height(split) if has_map else 0
        figure = new_figure(1000, table + 70 + high)
        if has_map:
            above, below = figure.subplots(2, 1, height_ratios=[high, table])
            _draw_map(above, training, places, parts)
        else:
            below = figure.subplots()
        _draw_table(below, training, places, names, parts)
        figure.suptitle("Split of the labels by place", x=0.012, ha="left", fontsize=15,
                        fontweight="bold")  # fmt: skip
        figure.axes[0].set_title(**_subtitle(training), fontsize=11, color=GREY, pad=10)
    return figure


def parts_of(split: Mapping[str, Any]) -> dict[Any, Part]:
    """How each part is drawn: of a cross-validation the folds, else the roles that occur.

    Places of a cross-validation that no fold tests have the key ``None``.
    """
    if not split["folds"]:
        there = {place["role"] for place in split["places"]}
        return {role: part for role, part in _ROLES.items() if role in there}
    folds: dict[Any, Part] = {
        number: Part(
            f"fold {number}",
            _FOLDS[(number - 1) % len(_FOLDS)],
            "#8c8c88",
            "////" if (number - 1) // len(_FOLDS) % 2 else "",
        )
        for number in range(1, split["folds"] + 1)
    }
    # A place that holds all of a class is trained on in each fold, and tested in none.
    untested = any(place["fold"] is None for place in split["places"])
    return folds | ({None: _NO_FOLD} if untested else {})


def _key(place: Mapping[str, Any], split: Mapping[str, Any]) -> Any:
    return place["fold"] if split["folds"] else place["role"]


def _subtitle(training: Mapping[str, Any]) -> dict[str, Any]:
    split = training["split"]
    count = len(split["places"])
    folds = f", {split['folds']} folds" if split["folds"] else ""
    total = sum(training["labels"]["used"].values())
    used = f"{total:,} {training['unit']}; all labels of a place are in one part"
    text = f"{counted(count, 'place')} ({split['groups']}){folds}, {used}"
    parts = written(text, 104)
    return {"label": parts["s"], "fontfamily": parts["fontfamily"]}


def _extent(split: Mapping[str, Any]) -> tuple[tuple[float, ...], float]:
    """Bounds of all places, and how much longer a unit along y is on the ground than along x."""
    shapes = [shapely.geometry.shape(p["shape"]) for p in split["places"] if p["shape"]]
    west, south, east, north = map(float, shapely.total_bounds(shapes))
    ratio = split["metres"][1] / split["metres"][0] if split["metres"] else 1.0
    return (west, south, east, north), ratio


def _map_height(split: Mapping[str, Any]) -> int:
    """Pixels that the map needs, as wide as it may be."""
    (west, south, east, north), ratio = _extent(split)
    high = _WIDE * (north - south) * ratio / max(east - west, 1e-9)
    return round(min(max(high, _LOWEST), _HIGHEST)) + 70


def _draw_map(
    axes: Axes, training: Mapping[str, Any], places: Sequence[Any], parts: Mapping[Any, Part]
) -> None:
    split = training["split"]
    shapes = [shapely.geometry.shape(p["shape"]) if p["shape"] else None for p in places]
    (west, south, east, north), high_by_wide = _extent(split)
    width = max(east - west, (north - south) * high_by_wide, 1e-9)
    for key, part in parts.items():
        own = [
            s
            for p, s in zip(places, shapes, strict=True)
            if s is not None and _key(p, split) == key
        ]
        _draw_part(axes, own, part, width)
    if split["folds"]:
        _write_folds(axes, places, shapes, width)
    _draw_points(axes, training)
    pad = _MARGIN * width
    axes.set_xlim(west - pad, east + pad)
    axes.set_ylim(south - 1.6 * pad / high_by_wide, north + pad / high_by_wide)
    axes.set_aspect(high_by_wide)
    axes.set_anchor("NW")
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(LINE)
    axes.tick_params(length=3, color=LINE, labelsize=9)
    axes.locator_params(nbins=4)
    unit = f" ({split['unit']})" if split["unit"] else ""
    axes.set_xlabel(f"x{unit}, {split['crs'] or 'CRS not known'}", fontsize=10)
    axes.set_ylabel(f"y{unit}", fontsize=10)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    if split["metres"]:
        _draw_scale_bar(axes, split["metres"][0], width)
    _draw_legend(axes, training, parts)


def _draw_part(axes: Axes, shapes: Sequence[Any], part: Part, width: float) -> None:
    """The places of a role or fold: filled shapes, or squares where these could not be seen."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    small = [s for s in shapes if math.sqrt(max(s.area, 0.0)) < _DOTTED * width]
    if small:
        centers = shapely.get_coordinates(shapely.centroid(small))
        axes.scatter(centers[:, 0], centers[:, 1], s=70, marker="s", facecolor=part.face,
                     edgecolor=part.edge, hatch=part.hatch, linewidths=1.0, zorder=1)  # fmt: skip
    patches = [
        PathPatch(Path.make_compound_path(*(Path(ring) for ring in _rings(s))))
        for s in shapes
        if math.sqrt(max(s.area, 0.0)) >= _DOTTED * width
    ]
    drawn = PatchCollection(
        patches, facecolor=part.face, edgecolor=part.edge, hatch=part.hatch, linewidth=1.0, zorder=1
    )
    drawn.set_label(part.name)
    axes.add_collection(drawn)


def _rings(shape: Any) -> list[Any]:
    """Outlines of polygons, holes too."""
    polygons = [p for p in shapely.get_parts(shape) if p.geom_type == "Polygon"]
    return [np.asarray(r.coords)[:, :2] for p in polygons for r in (p.exterior, *p.interiors)]


def _write_folds(axes: Axes, places: Sequence[Any], shapes: Sequence[Any], width: float) -> None:
    """The number of its fold in each place that has room for it, over its labels."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3.5, foreground="white")]
    for place, shape in zip(places, shapes, strict=True):
        tested = shape is not None and place["fold"] is not None
        if not tested or math.sqrt(max(shape.area, 0.0)) < 2.5 * _DOTTED * width:
            continue
        inside = shape.representative_point()
        axes.annotate(
            str(place["fold"]),
            (inside.x, inside.y),
            fontsize=12,
            ha="center",
            va="center",
            fontweight="bold",
            zorder=5,
            path_effects=halo,
        )


def _draw_points(axes: Axes, training: Mapping[str, Any]) -> None:
    """Labels as dots in the colours of their classes."""
    points = training["split"]["points"]
    colors = {c["name"]: c["color"] for c in training["classes"]}
    for name, color in (*colors.items(), (None, GREY)):
        own = [(x, y) for x, y, label in points if label == name]
        if own:
            xs, ys = zip(*own, strict=True)
            axes.scatter(xs, ys, s=10, color=color, edgecolors=INK, linewidths=0.3, zorder=3,
                         label=f"_{name}")  # fmt: skip


def _draw_scale_bar(axes: Axes, metres: float, width: float) -> None:
    """A bar of a round length, about a fifth of the map, in its lower left corner."""
    target = width * metres / 5
    power = 10 ** math.floor(math.log10(target))
    length = max(m for m in (1, 2, 5) if m * power <= target * (1 + 1e-9)) * power
    (left, _), (low, high) = axes.get_xlim(), axes.get_ylim()
    x, y = left + 0.02 * width, low + 0.03 * (high - low)
    axes.plot([x, x + length / metres], [y, y], color=INK, linewidth=3, solid_capstyle="butt",
              label="_scale", zorder=4)  # fmt: skip
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.annotate(text, (x + length / metres, y), xytext=(6, 0), textcoords="offset points",
                  va="center", fontsize=10, zorder=4)  # fmt: skip


def _draw_legend(axes: Axes, training: Mapping[str, Any], parts: Mapping[Any, Part]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    places = [
        Patch(facecolor=p.face, edgecolor=p.edge, hatch=p.hatch, label=p.name)
        for p in parts.values()
    ]
    classes = training["classes"]
    named = classes if len(classes) <= _MOST_NAMED else classes[: _MOST_NAMED - 1]
    dots = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=6,
            color=c["color"],
            markeredgecolor=INK,
            markeredgewidth=0.4,
            label=shortened(c["name"], _LEGEND_LETTERS),
        )
        for c in named
    ]
    if len(classes) > len(named):
        dots.append(Line2D([], [], linestyle="", label=f"and {len(classes) - len(named)} more"))
    first = axes.legend(
        handles=places,
        title="place",
        loc="upper left",
        frameon=False,
        bbox_to_anchor=(1.01, 1.0),
        alignment="left",
        ncols=-(-len(places) // 12),
    )
    if dots:
        axes.add_artist(first)
        size = {"fontsize": 8.5, "labelspacing": 0.2} if len(dots) > 10 else {}
        second = axes.legend(
            handles=dots,
            title="label",
            loc="lower left",
            frameon=False,
            alignment="left",
            bbox_to_anchor=(1.01, 0.0),
            **size,
        )
        for text in second.get_texts():
            text.set_fontfamily(written(text.get_text())["fontfamily"])


def _draw_table(
    axes: Axes,
    training: Mapping[str, Any],
    places: Sequence[Any],
    names: Sequence[str],
    parts: Mapping[Any, Part],
) -> None:
    """Labelled pixels of each class (rows) in each place (columns), on a logarithmic scale."""
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    split = training["split"]
    counts = np.array([[p["labels"].get(n, 0) for p in places] for n in names], np.float64)
    shown, most = np.ma.masked_equal(counts, 0), max(counts.max(initial=1.0), 2.0)
    image = axes.imshow(
        shown, aspect="auto", cmap="Greys", interpolation="nearest",
        # One pixel has a quarter of the scale, however many the most are: it is told from none.
        norm=LogNorm(vmin=most ** (-1 / 3), vmax=most),
    )  # fmt: skip
    keys = [_key(place, split) for place in places]
    for key, part in parts.items():
        if key not in keys:
            continue
        first, number = keys.index(key), keys.count(key)
        axes.add_patch(
            Rectangle((first - 0.5, -1.15), number, 0.5, facecolor=part.face, edgecolor=part.edge,
                      hatch=part.hatch, clip_on=False, linewidth=0.8)
        )  # fmt: skip
        if split["folds"] and key is not None and number > len(places) / 60:
            axes.text(
                first + number / 2 - 0.5, -0.9, str(key), ha="center", va="center", fontsize=9
            )
        if first:
            axes.axvline(first - 0.5, color=INK, linewidth=1)
    size = {"fontsize": 9} if len(names) > 9 else {}
    name_ticks(axes.yaxis, map(shortened, names), **size)
    axes.set_ylim(len(names) - 0.5, -1.2)
    axes.set_xticks([])
    axes.set_xlabel(
        f"{counted(len(places), 'place')}, one a column; white: none of the class", fontsize=10
    )
    axes.tick_params(length=0)
    axes.spines[:].set_color(LINE)
    bar = axes.figure.colorbar(image, cax=axes.inset_axes((1.015, 0.0, 0.02, 1.0)))
    bar.ax.set_ylim(1, None)
    bar.set_label(f"{training['unit']}\nof a class in a place")
    bar.set_ticks(_round_numbers(most))
    bar.ax.minorticks_off()
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    bar.outline.set_visible(False)


def _round_numbers(most: float) -> list[float]:
    """1, 2, 5, 10, … up to a number; of more than seven the powers of ten alone."""
    numbers = [m * 10**k for k in range(math.ceil(math.log10(most)) + 1) for m in (1, 2, 5)]
    up_to = [float(n) for n in numbers if n <= most]
    return up_to if len(up_to) <= 7 else [n for n in up_to if math.log10(n).is_integer()]
