"""A code keeps its name and a name its value, in whatever type the column holds it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from rsscale.errors import RecipeError
from rsscale.legend.classes import LandClass
from rsscale.reference.class_column import classes_in, values_in

CLASSES = (LandClass(3, "forest", "#006600"), LandClass(10, "water", "#0000ff"))
CODES = [10, 3, 200, 0, 3]


def both(column: Any) -> tuple[list[tuple[int, str]], list[int]]:
    """The classes of a column, and the values of its cells by them."""
    column = pd.Series(column)
    classes = classes_in(column, "labels")
    return [(c.value, c.name) for c in classes], values_in(column, classes, "labels")


@pytest.mark.parametrize(
    "column",
    [
        CODES,
        np.array(CODES, float),
        np.array(CODES, "uint8"),
        [str(code) for code in CODES],
        [f"{code}.0" for code in CODES],
        [f" {code:03} " for code in CODES],
        pd.array(CODES, "Int64"),
        pd.Categorical([str(code) for code in CODES]),
        [10, "3", 200.0, "0", "03"],
    ],
    ids=str,
)
def test_codes_are_the_values_whatever_their_type(column: Any) -> None:
    classes, values = both(column)
    assert classes == [(0, "0"), (3, "3"), (10, "10"), (200, "200")]
    assert values == CODES


def test_codes_beyond_a_map_are_numbered_as_numbers() -> None:
    classes, values = both([311.0, 1000.0, 22.0, 311.0])
    assert classes == [(1, "22"), (2, "311"), (3, "1000")]
    assert values == [2, 3, 1, 2]


def test_names_are_numbered_in_their_order() -> None:
    classes, values = both(["water ", "forest", " water", "for\u0065st"])
    assert classes == [(1, "forest"), (2, "water")]
    assert values == [2, 1, 2, 1]
    assert both(["pre\u0301", "pr\u00e9"])[0] == [(1, "pr\u00e9")]
    assert both([True, False])[0] == [(1, "False"), (2, "True")]


@pytest.mark.parametrize(
    "column",
    [
        ["water", "forest"],
        [10, 3],
        [10.0, 3.0],
        ["10", "3"],
        [" 010", "3.0"],
        ["water ", 3],
        pd.array([10, 3], "Int32"),
    ],
    ids=str,
)
def test_cells_are_names_or_values_of_the_classes(column: Any) -> None:
    assert values_in(pd.Series(column), CLASSES, "labels") == [10, 3]


def test_truth_values_are_the_classes_0_and_1() -> None:
    classes = (LandClass(0, "other", "#006600"), LandClass(1, "water", "#0000ff"))
    assert values_in(pd.Series([True, False]), classes, "labels") == [1, 0]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            ["water", "watr", "watr", "tree"],
            r"'watr' \(2 features\), 'tree' \(1 feature\) are not among .*did you mean 'water'",
        ),
        ([3.0, 10.5], r"class '10.5' \(1 feature\) is not among"),
        ([3, 255, 255], r"class '255' \(2 features\) is not among"),
        ([3.0, np.nan, np.nan], r"row 1 has no class \(2 rows in all\)"),
        (["water", "  "], "row 1 has no class;"),
        (pd.array([3, None], "Int64"), "row 1 has no class"),
    ],
    ids=str,
)  # fmt: skip
def test_unknown_and_empty_cells_are_named_and_counted(column: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        values_in(pd.Series(column), CLASSES, "labels")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1, 2, 255], r"class 255 \(1 feature\) is no class value.*train.classes"),
        ([1.0, -9999.0, -9999.0], r"class -9999 \(2 features\) is no class value"),
        (["Water", "water", "WATER"], "'Water' .* and 'water' .* differ in case alone"),
        ([str(k) for k in range(255)], "255 different classes"),
    ],
    ids=str,
)
def test_columns_that_are_no_classes_are_refused(column: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        both(column)


def test_a_name_that_is_the_value_of_another_class_is_refused() -> None:
    classes = (LandClass(1, "2", "#006600"), LandClass(2, "water", "#0000ff"))
    assert values_in(pd.Series(["2", "water"]), classes, "labels") == [1, 2]
    with pytest.raises(RecipeError, match="the value 1 is called 2, which is the value of another"):
        values_in(pd.Series([2, 1]), classes, "labels")


@pytest.mark.parametrize("count", [1, 16, 17, 40, 254])
def test_classes_have_colours_of_their_own(count: int) -> None:
    colors = [c.color for c in classes_in(pd.Series(range(count)), "labels")]
    assert len(set(colors)) == count
    assert "#ffffff" not in colors
    assert colors == [c.color for c in classes_in(pd.Series(range(254)), "labels")][:count]
    rgb = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in colors[16:]], int)
    rgb = rgb.reshape(-1, 3)
    for k, one in enumerate(rgb):
        assert np.abs(rgb[:k] - one).sum(axis=-1).min(initial=255) >= 20
