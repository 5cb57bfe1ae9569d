"""Classes of a network of change: which are change, from what to what, and how sure."""

import numpy as np
import pytest

from rsscale.change.change_classes import ChangeClasses
from rsscale.errors import ModelError
from rsscale.legend.classes import LandClass


def classes(*names: str) -> list[LandClass]:
    return [LandClass(k, name, f"#0000{k:02d}") for k, name in enumerate(names)]


def percents(*columns: tuple[int, ...]) -> np.ndarray:
    """``(class, 1, pixel)``."""
    return np.array(columns, np.uint8).T[:, None]


def test_two_classes_give_change_and_its_probability() -> None:
    meaning = ChangeClasses.of(classes("unchanged", "changed"))
    assert [layer.name for layer in meaning.layers] == ["change", "change_probability"]
    found = meaning.values(percents((90, 10), (50, 50), (51, 49), (255, 255)), 50)
    assert found["change"].tolist() == [[0, 1, 0, 255]]
    assert found["change_probability"].tolist() == [[10, 50, 49, 255]]
    assert meaning.values(percents((20, 80)), 90)["change"].tolist() == [[0]]


def test_kinds_of_change_are_added() -> None:
    """No kind is as probable as no change, and all together are more."""
    meaning = ChangeClasses.of(classes("fire", "unchanged", "felling"))
    found = meaning.values(percents((30, 40, 30), (30, 60, 10)), 50)
    assert found["change"].tolist() == [[1, 0]]
    assert found["change_probability"].tolist() == [[60, 40]]


def test_from_and_to_are_those_of_the_most_probable_class_of_the_same_kind() -> None:
    names = ("forest to forest", "water to water", "forest to water", "water to forest")
    meaning = ChangeClasses.of(classes(*names))
    assert [(c.value, c.name) for c in meaning.legend] == [(1, "forest"), (2, "water")]
    # Of the first pixel the most probable of all classes is none of the changes.
    found = meaning.values(percents((40, 5, 30, 25), (10, 60, 20, 10), (255,) * 4), 50)
    assert found["change"].tolist() == [[1, 0, 255]]
    assert found["from"].tolist() == [[1, 2, 255]]
    assert found["to"].tolist() == [[2, 2, 255]]


def test_what_is_unchanged_is_not_known_by_one_class() -> None:
    meaning = ChangeClasses.of(classes("unchanged", "forest to water"))
    found = meaning.values(percents((90, 10), (10, 90)), 50)
    assert found["from"].tolist() == [[255, 1]]
    assert found["to"].tolist() == [[255, 2]]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("fire", "felling"), {}, "each of them is a change; a class called 'unchanged'"),
        (("unchanged", "a to a"), {}, "none of them is a change"),
        (("stable", "fire"), {"unchanged": ["stabel"]}, "'stabel'.*did you mean 'stable'"),
        (
            ("unchanged", "forest to water"),
            {"legend": classes("forest")},
            "'classes' lacks 'water', which the model changes from or to",
        ),
    ],
)
def test_what_can_not_be_told_is_refused(names: tuple, options: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ChangeClasses.of(classes(*names), **options)


def test_other_names_of_no_change() -> None:
    meaning = ChangeClasses.of(classes("stable", "fire"), ["stable"])
    assert meaning.is_change == (False, True)
