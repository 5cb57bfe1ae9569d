"""Charts of a training: confusion matrix, curves, reliability, values; from plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rsscale.pictures.charts import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    name_ticks,
    new_figure,
    plain_axes,
    shortened,
    style,
    written,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_UPRIGHT = 9  # classes whose cells have room for numbers, and for names below
_DARK = 0.55  # share from which a cell is so dark that its number is white
_SMOOTH = 25  # parts of a curve that a mean is taken over


def confusion_chart(training: Mapping[str, Any]) -> Figure:
    """The confusion matrix: each column the pixels that are a class, and what they were mapped as.

    Parameters
    ----------
    training : mapping
        The content of ``training.json`` of classes.
    """
    scores, names = training["scores"], [c["name"] for c in training["classes"]]
    matrix = np.array(scores["confusion_matrix"], np.int64)
    there = matrix.sum(axis=0)
    shares = np.divide(matrix, there, out=np.zeros(matrix.shape), where=there > 0)
    count = len(names)
    with style():
        is_crowded = count > _MOST_UPRIGHT
        row = 26 if is_crowded else 52
        figure = new_figure(1000, 330 + (100 if is_crowded else 0) + max(count, 3) * row)
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        # Of a class that nobody tested, none of what is mapped as it could be right.
        users = [
            _percent(v if tested else None)
            for v, tested in zip(scores["users_accuracy"].values(), there.tolist(), strict=True)
        ]
        producers = [_percent(v) for v in scores["producers_accuracy"].values()]
        if is_crowded:
            short = [shortened(name) for name in names]
            name_ticks(axes.xaxis, short, 0, rotation=90, fontsize=9)
            name_ticks(axes.yaxis, short, 0, fontsize=9)
        else:
            name_ticks(axes.xaxis, names, max(76 // count, 8))
            name_ticks(axes.yaxis, names, 22)
        axes.set_xlabel("class in the labels")
        axes.set_ylabel("class of the model")
        if not is_crowded:
            _write_cells(axes, matrix, shares)
        _write_margins(axes, users, producers, crowded=is_crowded)
        axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        note = "a column: what the labelled pixels of a class were mapped as"
        if is_crowded:  # its cells have no room for numbers, so that colours need telling
            # Apart from the user's accuracies, which stand between.
            bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, pad=0.12)
            bar.set_label("share of the labelled pixels of a class")
            bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
            bar.outline.set_visible(False)
        _heading(figure, "Confusion matrix", [training["verdict"], note], 96)
    return figure


def curves_chart(training: Mapping[str, Any]) -> Figure:
    """Loss, validation score and learning rate by step, and the step whose weights were kept."""
    curve = training["curve"]
    validations = curve["validations"]
    has_score = bool(validations) and "score" in validations[0]
    steps = curve["steps"]
    with style():
        figure = new_figure(1000, 760 if has_score else 560)
        heights = [3, 2, 1.2] if has_score else [3, 1.2]
        rows: Sequence[Axes] = np.atleast_1d(
            figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        ).tolist()
        loss, rate = rows[0], rows[-1]
        _draw_loss(loss, steps, curve["loss"])
        at = [v["step"] for v in validations]
        if any(v["loss"] is not None for v in validations):
            loss.plot(at, [v["loss"] for v in validations], color=ORANGE, marker="o", markersize=4,
                      label="validation")  # fmt: skip
        loss.set_ylim(0, _top(curve["loss"], validations))
        loss.set_ylabel("loss")
        if has_score:
            rows[1].plot(at, [v["score"] for v in validations], color=GREEN, marker="o",
                         markersize=4)  # fmt: skip
            rows[1].set_ylabel(f"validation:\n{curve['score']}")
            rows[1].yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        rate.plot(steps, curve["learning_rate"] or [np.nan] * len(steps), color=INK, linewidth=1.5)
        rate.set_ylabel("learning rate")
        rate.set_xlabel("step")
        rate.set_ylim(bottom=0)
        for axes in rows:
            plain_axes(axes, grid="both")
            axes.axvline(curve["kept"], color=GREY, linestyle="--", linewidth=1.2,
                         label=f"kept: step {curve['kept']:,}")  # fmt: skip
        # On white: the line of the step that was kept passes behind it.
        loss.legend(loc="upper right", framealpha=1, edgecolor="white", ncols=2)
        figure.align_ylabels()
        learnt = f"{sum(training['trained'].values()):,} {training['unit']}"
        _heading(figure, "Training", [f"{training['learner']}, trained on {learnt}"])
    return figure


def reliability_chart(training: Mapping[str, Any]) -> Figure:
    """How often the model is right by how sure it is, before and after calibration.

    The share of the pixels that lie in each bin stands below (Niculescu-Mizil & Caruana 2005,
    https://doi.org/10.1145/1102351.1102430). Places weigh the same.
    """
    calibration = training["calibration"]
    before, after = calibration["reliability_before"], calibration["reliability"]
    edges = np.linspace(0, 1, len(after["weight"]) + 1)
    with style():
        figure = new_figure(1000, 820)
        top, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
        top.plot(
            [0, 1],
            [0, 1],
            color=GREY,
            linestyle="--",
            linewidth=1.2,
            label="right as often as said",
        )
        error = f"expected calibration error {calibration['error_before']:.3f}"
        _draw_bins(top, before, color=ORANGE, marker="s", label=f"before: {error}")
        error = f"expected calibration error {calibration['error']:.3f}"
        label = f"after, temperature {calibration['temperature']:.3g}: {error}"
        _draw_bins(top, after, color=BLUE, marker="o", label=label)
        top.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is right")
        top.legend(loc="best", framealpha=0.9, edgecolor="white")
        below.bar(edges[:-1], after["weight"], width=np.diff(edges), align="edge", color=BLUE,
                  edgecolor="white")  # fmt: skip
        note = (
            "How many pixels are how sure, after calibration, each place with the same weight; "
            "above, larger marks stand for more"
        )
        below.set_title(note, fontsize=10, color=GREY)
        below.set(ylabel="share of pixels", xlabel="confidence: probability of the class mapped")
        for axes in (top, below):
            plain_axes(axes, grid="both")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        below.tick_params(axis="x", pad=8)
        below.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        _heading(figure, "Reliability", [training["verdict"], _sets(calibration)])
    return figure


def values_chart(training: Mapping[str, Any]) -> Figure:
    """Predicted by measured values of each quantity, with the line where both are equal."""
    pairs, scores = training["pairs"], training["scores"]
    with style():
        columns = min(len(pairs), 3)
        rows = -(-len(pairs) // columns)
        figure = new_figure(1000, 80 + rows * (1000 // columns + 60))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(pairs) :]:
            axes.set_visible(False)
        for axes, (name, both) in zip(panels, pairs.items(), strict=False):
            truth, said = np.array(both, np.float64).reshape(-1, 2).T
            low, high = (f(np.concatenate([truth, said])) for f in (np.min, np.max))
            axes.plot([low, high], [low, high], color=GREY, linestyle="--", linewidth=1.2)
            axes.scatter(truth, said, s=9, color=BLUE, alpha=0.35, linewidths=0)
            title = written(name, 40)
            axes.set_title(title["s"], fontfamily=title["fontfamily"], fontsize=12)
            axes.text(
                0.04, 0.96, f"RMSE {_plain(scores['rmse'][name])}\nR² {_plain(scores['r2'][name])}",
                transform=axes.transAxes, va="top",
            )  # fmt: skip
            axes.set(xlabel="measured", ylabel="predicted", aspect="equal")
            plain_axes(axes, grid="both")
        figure.suptitle(
            "Predicted and measured", x=0.012, ha="left", fontsize=15, fontweight="bold"
        )
        below = written(training["verdict"], 120)
        figure.supxlabel(
            below["s"], x=0.012, ha="left", fontsize=11, color=GREY, fontfamily=below["fontfamily"]
        )
    return figure


def _write_cells(axes: Axes, matrix: Any, shares: Any) -> None:
    """Pixels, and the share of the class in the labels, of each cell that has any."""
    for row, col in np.argwhere(matrix > 0).tolist():
        color = "white" if shares[row, col] > _DARK else INK
        text = f"{matrix[row, col]:,}\n{shares[row, col]:.1%}"
        axes.text(col, row, text, ha="center", va="center", color=color)


def _write_margins(
    axes: Axes, users: Sequence[str], producers: Sequence[str], *, crowded: bool
) -> None:
    """User's accuracy at the right of each row, producer's accuracy above each column."""
    size = 8 if crowded else 11
    count = len(users)
    for k, text in enumerate(users):
        axes.text(count - 0.42, k, text, va="center", fontsize=size, clip_on=False)
    for k, text in enumerate(producers):
        axes.text(k, -0.58, text, ha="center", va="bottom", fontsize=size, clip_on=False,
                  rotation=90 if crowded else 0)  # fmt: skip
    right = axes.secondary_yaxis("right")
    right.set_yticks([])
    right.set_ylabel("user's accuracy (precision)", labelpad=62)
    above = axes.secondary_xaxis("top")
    above.set_xticks([])
    above.set_xlabel("producer's accuracy (recall)", labelpad=24 if not crowded else 44)
    for axis in (right, above):
        axis.spines[:].set_visible(False)


def _heading(figure: Figure, title: str, lines: Sequence[str], width: int = 110) -> None:
    """A title, and below it lines that are wrapped to so many letters."""
    text = written("\n".join(lines))
    wrapped = [written(line, width)["s"] for line in text["s"].split("\n")]
    figure.suptitle(title, x=0.012, ha="left", fontsize=15, fontweight="bold")
    figure.axes[0].set_title(
        "\n".join(wrapped), fontfamily=text["fontfamily"], fontsize=11, color=GREY, pad=14
    )


def _sets(calibration: Mapping[str, Any]) -> str:
    sets = calibration["conformal"]
    if not sets["offered"]:
        return f"too few places for sets of {sets['level']:.0%}"
    held = f"{sets['coverage']:.1%}, {sets['set_size']:.2f} classes each"
    places = f"{calibration['places']} places, each left out in turn"
    return f"sets of {sets['level']:.0%} held the true class for {held}; {places}"


def _draw_bins(axes: Axes, bins: Mapping[str, Any], **how: Any) -> None:
    """Accuracy by confidence: the more pixels a bin has, the larger its mark."""
    known = [k for k, weight in enumerate(bins["weight"]) if weight]
    xs, ys, weights = ([bins[n][k] for k in known] for n in ("confidence", "accuracy", "weight"))
    color, marker, label = how["color"], how["marker"], how["label"]
    axes.plot(xs, ys, color=color, linewidth=1.2, alpha=0.6, label=f"_line {label}")
    sizes = [18 + 240 * weight for weight in weights]
    drawn = axes.scatter(
        xs, ys, s=sizes, marker=marker, color=color, edgecolors="white", clip_on=False, zorder=3
    )
    drawn.set_label(f"_bins {label}")
    axes.plot([], [], color=color, marker=marker, markersize=8, linewidth=1.2, label=label)


def _draw_loss(axes: Axes, steps: Sequence[int], losses: Sequence[float]) -> None:
    """The loss of each step, and its mean over some."""
    width = max(len(steps) // _SMOOTH, 1)
    if width > 1:
        axes.plot(steps, losses, color=BLUE, alpha=0.3, linewidth=1, label="training")
    smooth = _smoothed(losses, width)
    over = width * steps[0] if steps else 1
    label = f"training, mean over {over} steps" if over > 1 else "training"
    axes.plot(steps, smooth, color=BLUE, linewidth=2, label=label)


def _smoothed(values: Sequence[float], width: int) -> list[float]:
    """Means over as many values before each, or all there are."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - width, 0)
    means: list[float] = ((sums[last] - sums[first]) / (last - first)).tolist()
    return means


def _top(losses: Sequence[float], validations: Sequence[Mapping[str, Any]]) -> float:
    """So high that single steps far above the others don't flatten the curve."""
    known = [v["loss"] for v in validations if v["loss"] is not None]
    return float(max(np.percentile(losses, 99), *known, 1e-9)) * 1.08


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"  # noqa: RUF001 -- a dash as in tables


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"  # noqa: RUF001


__all__ = ["confusion_chart", "curves_chart", "reliability_chart", "values_chart"]
