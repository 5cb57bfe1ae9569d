"""Pictures of a training show what training.json says: bars, marks, places, matrices."""

from __future__ import annotations

import builtins
import json
import logging
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import PatchCollection, PathCollection
from matplotlib.image import imread
from training_story import NAMES, square, story

from rsscale.errors import MissingExtraError, ModelError
from rsscale.pictures.split_chart import parts_of, split_chart
from rsscale.pictures.training_charts import (
    confusion_chart,
    curves_chart,
    reliability_chart,
    values_chart,
)
from rsscale.pictures.training_pictures import (
    CHARTS,
    charts_of,
    draw_training,
    draw_training_if_possible,
    training_chart,
)


def labelled(axes: Any, start: str) -> Any:
    """The one thing of axes whose label starts so."""
    (artist,) = [a for a in axes.get_children() if str(a.get_label()).startswith(start)]
    return artist


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_reliability_has_a_mark_for_each_bin_with_pixels() -> None:
    figure = reliability_chart(story())
    top, below = figure.axes
    after, before = labelled(top, "_bins after"), labelled(top, "_bins before")
    assert after.get_offsets().tolist() == [[0.4, 0.5], [0.9, 0.8]]
    assert before.get_offsets().tolist() == [[0.4, 0.1], [0.9, 0.7]]
    small, large = after.get_sizes()
    assert small < large  # a quarter and three quarters of the pixels
    assert [bar.get_height() for bar in below.patches] == [0, 0.25, 0.75]
    assert [bar.get_x() for bar in below.patches] == pytest.approx([0, 1 / 3, 2 / 3])
    legend = [text.get_text() for text in top.get_legend().get_texts()]
    assert "before: expected calibration error 0.200" in legend
    assert "after, temperature 1.5: expected calibration error 0.100" in legend
    assert "sets of 90% held the true class for 95.0%" in top.get_title("left")


def test_a_confusion_matrix_shows_counts_and_shares_of_the_reference() -> None:
    figure = confusion_chart(story())
    axes = figure.axes[0]
    shown = np.asarray(axes.images[0].get_array())
    assert shown.tolist() == [[0.8, 0.2, 0], [0.2, 0.8, 0], [0, 0, 0]]
    assert texts(axes).count("4\n80.0%") == 2
    assert texts(axes).count("1\n20.0%") == 2
    assert {"75.0%", "50.0%"} <= set(texts(axes))  # user's
    assert {"25.0%", "100.0%"} <= set(texts(axes))  # producer's
    assert [t.get_text() for t in axes.get_yticklabels()] == NAMES  # "$a$" is no formula
    assert axes.get_xlabel() == "class in the labels"


def test_curves_show_losses_scores_rates_and_the_kept_step() -> None:
    loss, score, rate = curves_chart(story()).axes
    assert labelled(loss, "training").get_ydata().tolist() == [4, 3, 2, 1]
    assert list(labelled(loss, "validation").get_ydata()) == [2.5, 2.0]
    assert list(score.lines[0].get_xdata()) == [2, 4]
    assert list(score.lines[0].get_ydata()) == [0.5, 0.4]
    assert list(rate.lines[0].get_ydata()) == [0.1, 0.2, 0.1, 0.0]
    assert list(labelled(loss, "kept: step 2").get_xdata()) == [2, 2]


def places_of(figure: Any) -> dict[str, list[list[float]]]:
    """Bounds of the places that are drawn, by the name of their part."""
    drawn = [c for c in figure.axes[0].collections if isinstance(c, PatchCollection)]
    return {
        str(c.get_label()): [p.get_extents().extents.tolist() for p in c.get_paths()] for c in drawn
    }


def test_a_split_shows_each_place_where_it_lies_by_its_role() -> None:
    figure = split_chart(story())
    assert places_of(figure) == {
        "training": [[0, 0, 1000, 1000], [1000, 0, 2000, 1000]],
        "validation": [[2000, 0, 3000, 1000]],
        "test": [[3000, 0, 4000, 1000]],
    }
    axes = figure.axes[0]
    assert axes.get_xlabel() == "x (m), EPSG:32631"
    water = labelled(axes, "_water")
    assert water.get_offsets().tolist() == [[100, 200], [150, 250]]
    assert mpl.colors.to_hex(water.get_facecolor()[0]) == "#0000ff"
    bar = labelled(axes, "_scale")
    assert np.ptp(bar.get_xdata()) == 500  # metres
    assert "500 m" in texts(axes)


def test_a_place_that_no_fold_tests_is_a_part_of_its_own() -> None:
    content = story()
    content["split"] |= {"folds": 2}
    content["split"]["places"][2]["fold"] = None  # it holds all of a class
    figure = split_chart(content)
    assert places_of(figure) == {
        "fold 1": [[0, 0, 1000, 1000]],
        "fold 2": [[1000, 0, 2000, 1000], [3000, 0, 4000, 1000]],
        "untested": [[2000, 0, 3000, 1000]],
    }
    assert sorted(t for t in texts(figure.axes[0]) if t.isdecimal()) == ["1", "2", "2"]
    assert texts(figure.axes[1])[:2] == ["1", "2"]


def test_the_scale_bar_counts_metres_on_the_ground() -> None:
    content = story()
    content["split"]["metres"] = [0.5, 0.5]  # as Web Mercator far north
    bar = labelled(split_chart(content).axes[0], "_scale")
    assert np.ptp(bar.get_xdata()) * 0.5 == 200


def test_a_split_shows_which_classes_each_place_holds() -> None:
    figure = split_chart(story())
    table = figure.axes[1]
    shown = np.ma.filled(table.images[0].get_array(), 0).tolist()
    assert shown == [[30, 0, 3, 5], [0, 20, 4, 5], [0, 0, 0, 0]]
    assert [t.get_text() for t in table.get_yticklabels()] == NAMES


def test_folds_are_parts_of_their_own() -> None:
    content = story()
    content["split"] |= {"folds": 2}
    assert [part.name for part in parts_of(content["split"]).values()] == ["fold 1", "fold 2"]
    figure = split_chart(content)
    assert places_of(figure)["fold 2"] == [[1000, 0, 2000, 1000], [3000, 0, 4000, 1000]]
    assert texts(figure.axes[0]).count("1") == texts(figure.axes[0]).count("2") == 2


def test_places_that_could_not_be_seen_are_squares_of_one_size() -> None:
    content = story()
    content["split"]["places"][0]["shape"] = square(0, 0, 1.0)
    axes = split_chart(content).axes[0]
    squares = [c for c in axes.collections if type(c) is PathCollection and not c.get_label()[1:]
               .startswith(("water", "wood"))]  # fmt: skip
    assert any(c.get_offsets().tolist() == [[0.5, 0.5]] for c in squares)


def test_places_that_lie_nowhere_have_a_table_alone() -> None:
    content = story()
    for place in content["split"]["places"]:
        place["shape"] = None
    figure = split_chart(content)
    assert np.ma.filled(figure.axes[0].images[0].get_array(), 0)[0].tolist() == [30, 0, 3, 5]


def test_all_pictures_are_drawn_from_the_file_alone(tmp_path: Path) -> None:
    content = json.loads(json.dumps(story()))
    drawn = draw_training(content, tmp_path)
    assert [path.name for path in drawn] == [
        "confusion.png", "curves.png", "reliability.png", "split.png",
    ]  # fmt: skip
    for path in drawn:
        pixels = imread(path)
        assert pixels.shape[1] == 1000
        assert pixels.std() > 0.05
        assert path.stat().st_size < 100_000
    first = {path.name: path.read_bytes() for path in drawn}
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 30}):
        draw_training(content, tmp_path)
    assert {path.name: path.read_bytes() for path in drawn} == first
    # Colours of classes are not lost among few.
    near = np.abs(imread(tmp_path / "split.png")[..., :3] - [0, 0, 1]).max(axis=-1)
    assert (near < 0.06).any()


def test_values_are_drawn_beside_what_was_measured(tmp_path: Path) -> None:
    scores = {"count": 3, "rmse": {"height": 1.5}, "bias": {"height": 0.1}, "r2": {"height": None}}
    content = story(
        classes=[], quantities=["height"], scores=scores, calibration=None, unit="samples",
        pairs={"height": [[1, 2], [3, 3], [5, 4]]}, trained={"samples": 50},
    )  # fmt: skip
    content["labels"]["used"] = {"samples": 50}
    for place in content["split"]["places"]:
        place["labels"] = {"samples": 10}
    for validation in content["curve"]["validations"]:
        del validation["score"]
    assert charts_of(content) == ["values", "curves", "split"]
    (axes,) = training_chart(content, "values").axes
    assert axes.collections[0].get_offsets().tolist() == [[1, 2], [3, 3], [5, 4]]
    assert "RMSE 1.5" in texts(axes)[0]
    assert len(draw_training(content, tmp_path)) == 3


def test_a_picture_that_there_is_not_is_named() -> None:
    with pytest.raises(ModelError, match=r"no picture 'relibility'.*did you mean 'reliability'"):
        training_chart(story(), "relibility")
    with pytest.raises(ModelError, match="no picture 'reliability'; it has confusion, curves"):
        training_chart(story(calibration=None), "reliability")


def test_without_matplotlib_the_log_says_what_draws_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with caplog.at_level(logging.WARNING, logger="rsscale"):
        assert draw_training_if_possible(story(), tmp_path) == []
    (line,) = caplog.messages
    assert "pip install 'rsscale[pictures]'" in line
    with pytest.raises(MissingExtraError, match=r"rsscale\[pictures\]"):
        draw_training(story(), tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no\nfont"),
        pytest.param(OSError(28, "disk full"), marks=pytest.mark.extended),
        pytest.param(MemoryError(), marks=pytest.mark.extended),
    ],
)
def test_a_picture_that_fails_costs_no_model_and_no_other_picture(
    error: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(_: Any) -> Any:
        raise error

    monkeypatch.setitem(CHARTS, "curves", ("Curves", fails))  # type: ignore[arg-type]
    drawn = draw_training_if_possible(story(), tmp_path)
    assert [path.stem for path in drawn] == ["confusion", "reliability", "split"]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in drawn}
    (line,) = caplog.messages
    assert line.startswith(f"the picture curves.png can't be drawn ({type(error).__name__}")
    assert "\n" not in line
    with pytest.raises(type(error)):
        draw_training(story(), tmp_path)


def test_values_that_are_no_numbers_are_not_drawn() -> None:
    scores = {"count": 2, "rmse": {"h": 0.1}, "r2": {"h": None}, "bias": {"h": 0.0}}
    training = story(scores=scores, pairs={"h": [[1.0, 1.1], [2.0, None], [3.0, 2.9]]})
    axes = values_chart(training).axes[0]
    assert np.isfinite(axes.get_xlim()).all()
    assert "values" not in charts_of(story(pairs={"h": []}))
