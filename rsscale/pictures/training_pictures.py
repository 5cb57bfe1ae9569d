"""Draw the pictures of a model folder from its ``training.json`` alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsscale.errors import MissingExtraError, ModelError, nearest
from rsscale.importing.user_code import error_line
from rsscale.pictures.charts import require_matplotlib, save_figure
from rsscale.pictures.object_charts import precision_recall_chart
from rsscale.pictures.split_chart import split_chart
from rsscale.pictures.training_charts import (
    confusion_chart,
    curves_chart,
    reliability_chart,
    values_chart,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger("rsscale")

CHARTS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {
    "confusion": ("Confusion matrix", confusion_chart),
    "values": ("Predicted and measured values", values_chart),
    "curves": ("Loss, validation and learning rate", curves_chart),
    "reliability": ("Reliability of the probabilities", reliability_chart),
    "precision-recall": ("Precision and recall of objects", precision_recall_chart),
    "split": ("Places of training, validation and test", split_chart),
}
"""Title and drawing of each picture by its name."""


def charts_of(training: Mapping[str, Any]) -> list[str]:
    """Names of the pictures that a training has something for."""
    scores = training["scores"]
    has = {
        "confusion": bool(scores["count"]) and "confusion_matrix" in scores,
        "values": any(training["pairs"].values()),
        "curves": training["curve"] is not None,
        "precision-recall": any(curve[0] for curve in scores.get("curves", {}).values()),
        "reliability": training["calibration"] is not None,
        "split": bool(training["split"]["places"]),
    }
    return [name for name in CHARTS if has[name]]


def training_chart(training: Mapping[str, Any], name: str) -> Figure:
    """One picture of a training as a matplotlib figure.

    Raises
    ------
    ModelError
        When there is no such picture, or the training has nothing for it.
    MissingExtraError
        When matplotlib is not installed.
    """
    known = charts_of(training)
    if name not in known:
        raise ModelError(
            f"the training has no picture {name!r}; it has {', '.join(known) or 'none'}"
            f"{nearest(name, known)}"
        )
    require_matplotlib("a picture of a training")
    figure: Figure = CHARTS[name][1](training)
    return figure


def draw_training(training: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Write all pictures of a training: ``confusion.png``, ``curves.png`` and so on.

    Parameters
    ----------
    training : mapping
        The content of ``training.json``.
    folder : path

    Returns
    -------
    list of Path

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    return list(_draw(training, Path(folder)))


def draw_training_if_possible(training: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the pictures that can be drawn; the log names those that can't, and why.

    A picture never costs a trained model: whatever goes wrong is told, and the others are drawn.
    """
    try:
        require_matplotlib("a picture of a training")
    except MissingExtraError:
        _log.warning(
            "the model folder has no pictures, as matplotlib is not installed; pip install "
            "'rsscale[pictures]', then: rsscale model show FOLDER --plots"
        )
        return []
    drawn = []
    for name in charts_of(training):
        path = folder / f"{name}.png"
        try:
            drawn.append(save_figure(training_chart(training, name), path))
        except Exception as error:  # noqa: BLE001 -- fonts, backends and files fail in many ways
            path.unlink(missing_ok=True)
            _log.warning(
                "the picture %s can't be drawn (%s); the model is saved without it, and rsscale "
                "model show FOLDER --plots tries again",
                path.name,
                error_line(error),
            )
    return drawn


def _draw(training: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    require_matplotlib("a picture of a training")
    for name in charts_of(training):
        yield save_figure(training_chart(training, name), folder / f"{name}.png")
