"""A plan says which time windows have no item, and of which its model learnt nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
from stac_factory import make_item, write_items

import rsscale as rs
from rsscale.inputs.window_items import window_notes
from rsscale.model.files import TRAINING, TRAINING_FORMAT
from rsscale.plans.find_items import find_items, index_items

AREA = [0.2, 0.2, 0.3, 0.3]
NONE_OF_AUTUMN = "input 's2': no item in winter, spring and summer of 1999"
NONE_OF_SPRING = "input 's2': no item in winter, summer and autumn of 2002"


def notes(tmp_path: Path, *dates: str, **changes: Any) -> tuple[str, ...]:
    """What is said of items of these dates."""
    items = [make_item(f"a{n}", when=f"{day}T10:00:00Z") for n, day in enumerate(dates)]
    source = {"catalog": str(write_items(items, tmp_path / "items.json")), "bands": ["red"]}
    content = {
        "name": "two-dates", "bbox": AREA, "grid": {"crs": "EPSG:32631", "resolution": 100},
        "periods": sorted({int(day[:4]) for day in dates}),
        "inputs": {"s2": source | changes.pop("source", {})}, "model": str(tmp_path / "model"),
        "train": {"labels": "labels.gpkg", "class": "kind", "periods": [1999]},
    }  # fmt: skip
    recipe = rs.read_recipe(content | changes)
    grid, area = recipe.grid.build(), rs.read_area(AREA)
    indexes = index_items(recipe, grid, find_items(recipe, area, 0))
    return window_notes(recipe, grid, indexes, [grid.box(area)], recipe.periods)


def test_a_period_of_windows_that_training_has_none_of_is_told(tmp_path: Path) -> None:
    autumn, spring, last = notes(tmp_path, "1999-11-18", "2002-04-16")
    assert (autumn, spring) == (NONE_OF_AUTUMN, NONE_OF_SPRING)
    assert last.startswith("input 's2': all items of 2002 are in spring, and training saw next")
    # One of two windows is known: less is lost.
    *_, last = notes(tmp_path, "1999-11-18", "2002-04-16", "2002-10-01")
    assert last == "input 's2': 2002 has items in spring, and training saw next to nothing of that"


@pytest.mark.parametrize(
    "source", [{"composite": {"by": "year"}}, {"series": True}, {"static": True}]
)
def test_one_window_has_nothing_to_tell_apart(tmp_path: Path, source: dict) -> None:
    assert notes(tmp_path, "1999-11-18", "2002-04-16", source=source) == ()


def test_windows_that_all_periods_have_are_not_told(tmp_path: Path) -> None:
    days = ("01-15", "04-15", "07-15", "10-15")
    every = [f"{year}-{day}" for year in (1999, 2002) for day in days]
    assert notes(tmp_path, *every) == ()
    # A fallback fills windows, in training as in mapping.
    filled = {"composite": {"by": "season", "missing": "year"}}
    told = notes(tmp_path, "1999-11-18", "2002-04-16", source=filled)
    assert told == (NONE_OF_AUTUMN, NONE_OF_SPRING)


def test_what_a_model_says_of_its_training_counts_more_than_dates(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    shares = {"winter": 0.0, "spring": 0.6, "summer": 0.5, "autumn": 0.01}
    training = {"format": TRAINING_FORMAT, "observed": {"s2": shares}}
    (tmp_path / "model" / TRAINING).write_text(json.dumps(training))
    *_, last = notes(tmp_path, "1999-11-18", "2002-04-16")
    assert last.startswith("input 's2': all items of 1999 are in autumn")
    # Of an older training nothing is known beyond the dates; what is damaged, its steps tell.
    (tmp_path / "model" / TRAINING).write_text(json.dumps({"format": TRAINING_FORMAT}))
    assert "all items of 2002" in notes(tmp_path, "1999-11-18", "2002-04-16")[-1]
    (tmp_path / "model" / TRAINING).write_text("{")
    assert "all items of 2002" in notes(tmp_path, "1999-11-18", "2002-04-16")[-1]


def test_of_many_windows_some_are_named(tmp_path: Path) -> None:
    first, *_ = notes(tmp_path, "1999-11-18", "2002-04-16", source={"composite": {"by": "month"}})
    assert first == (
        "input 's2': no item in january, february, march, april, may, june and 5 more windows of "
        "1999"
    )
