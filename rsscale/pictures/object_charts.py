"""Charts of a detector: precision by recall, and images with true and detected objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.pictures.charts import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    new_figure,
    plain_axes,
    shortened,
    style,
    written,
)

if TYPE_CHECKING:
    import shapely
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_CLASSES = 8
_COLUMNS = 3
_TRUE, _FOUND, _FALSE = "#ffffff", "#56b4e9", ORANGE


@dataclass(frozen=True, eq=False)
class Example:
    """A part of an image with its objects, in its pixels.

    Attributes
    ----------
    title : str
    image : uint8 array (H, W, 3)
    truth, detected : tuple of shapely.Geometry
    scores : tuple of float
        Of the detections.
    are_right : tuple of bool
        Which of them are true objects.
    place : (int, int, int, int), optional
        ``x0, y0, x1, y1`` of the place that is measured; what is beside it is not.
    """

    title: str
    image: npt.NDArray[np.uint8]
    truth: tuple[shapely.Geometry, ...]
    detected: tuple[shapely.Geometry, ...]
    scores: tuple[float, ...]
    are_right: tuple[bool, ...]
    place: tuple[int, int, int, int] | None = None


def precision_recall_chart(training: Mapping[str, Any]) -> Figure:
    """Precision by recall of each class, and where the threshold of the model lies.

    Parameters
    ----------
    training : mapping
        The content of ``training.json`` of a detector.
    """
    scores = training["scores"]
    known = [name for name, curve in scores["curves"].items() if curve[0]]
    with style():
        figure = new_figure(1000, 760)
        axes = figure.subplots()
        colors = _colors(min(len(known), _MOST_CLASSES))
        for name, color in zip(known, colors, strict=False):
            recall, precision, score = map(np.array, scores["curves"][name])
            label = f"{shortened(name)}: AP50 {_text(scores['average_precision'][name])}"
            axes.plot(recall, precision, color=color, linewidth=1.8, label=written(label)["s"])
            counts = np.flatnonzero(score >= scores["threshold"])
            if len(counts):
                at = counts[-1]
                axes.scatter(recall[at], precision[at], s=60, color=color, edgecolors="white",
                             zorder=3, clip_on=False)  # fmt: skip
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall: share of the objects that are found",
                 ylabel="precision: share of the detections that are objects")  # fmt: skip
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:.0%}")
        plain_axes(axes, grid="both")
        if known:
            axes.legend(loc="lower left", framealpha=0.9, edgecolor="white")
        more = (
            f" {len(known) - _MOST_CLASSES} classes more are in training.json."
            if (len(known) > _MOST_CLASSES)
            else ""
        )
        note = f"A dot: what counts from the score {scores['threshold']:g} on.{more}"
        _heading(figure, axes, "Precision and recall", f"{training['verdict']}\n{note}")
    return figure


def examples_chart(examples: Sequence[Example], verdict: str) -> Figure:
    """Images with the outlines of true and detected objects.

    Parameters
    ----------
    examples : sequence of Example
        At least one.
    verdict : str
        The figures in a line.
    """
    columns = min(len(examples), _COLUMNS)
    rows = -(-len(examples) // columns)
    with style():
        figure = new_figure(1080, 110 + rows * (1060 // columns + 30))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, example in zip(panels, examples, strict=False):
            _draw_example(axes, example)
        figure.suptitle("Objects on ground that was not trained on", x=0.012, ha="left",
                        fontsize=15, fontweight="bold")  # fmt: skip
        figure.legend(handles=_handles(), loc="upper right", ncols=3, frameon=False, fontsize=10)
        below = written(f"{verdict}. Dotted: the place that is measured", 140)
        figure.supxlabel(below["s"], x=0.012, ha="left", fontsize=10, color=GREY,
                         fontfamily=below["fontfamily"])  # fmt: skip
    return figure


def _draw_example(axes: Axes, example: Example) -> None:
    height, width = example.image.shape[:2]
    axes.imshow(example.image, extent=(0, width, height, 0), interpolation="nearest")
    axes.set(xlim=(0, width), ylim=(height, 0))
    for shape in example.truth:
        _outline(axes, shape, color=_TRUE, linewidth=2.4)
    for shape, score, is_right in zip(
        example.detected, example.scores, example.are_right, strict=True
    ):
        color = _FOUND if is_right else _FALSE
        _outline(axes, shape, color=color, linewidth=1.3)
        x0, y0 = shape.bounds[:2]
        axes.text(max(x0, 0) + 1, max(y0, 0) + 1, f"{score:.2f}"[1:] if score < 1 else "1",
                  fontsize=7, color="black", va="top", clip_on=True,
                  bbox={"facecolor": color, "edgecolor": "none", "pad": 0.6})  # fmt: skip
    if example.place is not None:
        x0, y0, x1, y1 = example.place
        axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=_TRUE, linestyle=":",
                  linewidth=1.4)  # fmt: skip
    axes.set_title(example.title, fontsize=10, color=INK)


def _outline(axes: Axes, shape: shapely.Geometry, **how: Any) -> None:
    for part in getattr(shape, "geoms", [shape]):
        if part.geom_type == "Polygon":
            axes.plot(*np.asarray(part.exterior.coords)[:, :2].T, **how)


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import Normal, Stroke

    edge = [Stroke(linewidth=4, foreground=GREY), Normal()]
    return [
        Line2D([], [], color=_TRUE, linewidth=2.4, label="true", path_effects=edge),
        Line2D([], [], color=_FOUND, linewidth=2, label="detected, right"),
        Line2D([], [], color=_FALSE, linewidth=2, label="detected, wrong"),
    ]


def _colors(count: int) -> list[Any]:
    if count <= 2:
        return [BLUE, ORANGE][:count]
    import matplotlib as mpl

    return list(mpl.colormaps["viridis"](np.linspace(0, 0.9, count)))


def _heading(figure: Figure, axes: Axes, title: str, remark: str) -> None:
    figure.suptitle(title, x=0.012, ha="left", fontsize=15, fontweight="bold")
    lines = [written(line, 110) for line in remark.split("\n")]
    axes.set_title("\n".join(line["s"] for line in lines), fontsize=11, color=GREY, pad=14,
                   fontfamily=lines[0]["fontfamily"])  # fmt: skip


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
