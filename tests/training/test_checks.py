"""What can be known of a training before a chip is read is said before."""

import logging
from pathlib import Path

import pytest

from rsscale.errors import ModelError, RecipeError
from rsscale.geo.lattice import Lattice
from rsscale.learners.base import Design, Task
from rsscale.learners.chips import InputBands
from rsscale.legend.classes import LandClass
from rsscale.recipe import read_recipe
from rsscale.training.checks import check_disk, check_network

INPUTS = [InputBands("s2", ("red", "nir"), ("spring", "summer"))]
CLASSES = [LandClass(1, "a", "#000000"), LandClass(2, "b", "#ffffff")]


def check(
    architecture: str = "unet", classes: list[LandClass] = CLASSES, **options: object
) -> None:
    lattice = Lattice(int(options.pop("stride", 64)), int(options.pop("halo", 32)))  # type: ignore[call-overload]
    design = Design("test", architecture, options, lattice)
    check_network(design, INPUTS, Task(classes=tuple(classes)))


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("unett", {}, "'unett' is not known.*did you mean 'unet'"),
        ("unet", {"widht": 8}, "no hyperparameter 'widht'; it has width, depth; did you mean 'wi"),
        ("pixel", {"depth": 3}, "no hyperparameter 'depth'; it has width"),
        ("unet", {"depth": 9}, "depth is 1 to 6"),
        ("unet", {"depth": "deep"}, "unet"),
        ("unet", {"width": 10**18}, "unet"),
        ("unet", {"width": 60_000, "depth": 1}, "GiB of weights"),
        ("unet", {"width": 2.5}, "unet"),
        ("unet", {"stride": 33}, "can't predict a window"),
    ],
)
def test_networks_that_can_not_be_are_refused(
    architecture: str, options: dict, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as error:
        check(architecture, **options)
    assert "\n" not in str(error.value)


def test_one_class_can_not_be_mapped() -> None:
    with pytest.raises(ModelError, match="one class, 'a'"):
        check(classes=CLASSES[:1])


@pytest.mark.parametrize(
    ("options", "needed"), [({"depth": 4}, 51), ({"halo": 16}, 23), ({"depth": 2, "halo": 8}, 9)]
)
def test_a_halo_that_is_too_small_is_said(
    options: dict, needed: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "rsscale"):
        check(**options)
    assert f"use halo: {needed}" in caplog.text


@pytest.mark.parametrize("options", [{}, {"halo": 23 + 1}, {"depth": 1, "halo": 4}])
def test_a_halo_that_is_wide_enough_is_not(options: dict, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rsscale"):
        check(**options)
    assert caplog.text == ""


def test_chips_that_a_disk_does_not_hold_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"10000 chips of 320 x 320 px and 18 channels.*chip to 32"
    ):
        check_disk(10_000, (10_000, 18, 320, 320), tmp_path, available=16 << 30)
    assert check_disk(10_000, (10_000, 18, 96, 96), tmp_path, available=16 << 30) < 16 << 30
    assert check_disk(100, (10_000, 18, 320, 320), tmp_path) == 100 * 320**2 * 73


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ((1, "oak"), (1, "beech"), "two classes have the value 1; to merge classes"),
        ((1, "oak"), (2, "oak"), "two classes have the name 'oak'"),
    ],
)
def test_merged_classes_are_refused_where_the_recipe_is_read(
    first: tuple, second: tuple, message: str
) -> None:
    classes = [{"value": v, "name": n, "color": "#007700"} for v, n in (first, second)]
    with pytest.raises(RecipeError, match=message):
        read_recipe(
            {
                "name": "wish", "bbox": [3, 45, 4, 46], "periods": [2023], "model": "m",
                "grid": {"crs": "EPSG:32631", "resolution": 10},
                "inputs": {"s2": {"catalog": "c", "bands": ["red"]}},
                "train": {"labels": "l.gpkg", "class": "c", "classes": classes},
            }
        )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("class_weights", "balance: weights makes errors of rare"),
        ("criterion", r"another, train the network with torch.*docs/models\.md"),
        ("pretrained", "to go on from weights"),
        ("ignore_index", "list classes of the labels that are none"),
        ("early_stopping", "patience is how many validations"),
        ("max_epochs", "takes 'steps'"),
    ],
)
def test_wishes_that_recipes_can_not_say_name_the_way(key: str, hint: str) -> None:
    with pytest.raises(RecipeError, match=rf"train\.{key}: unknown key; .*{hint}"):
        read_recipe(
            {
                "name": "wish", "bbox": [3, 45, 4, 46], "periods": [2023], "model": "m",
                "grid": {"crs": "EPSG:32631", "resolution": 10},
                "inputs": {"s2": {"catalog": "c", "bands": ["red"]}},
                "train": {"labels": "l.gpkg", "class": "c", key: 1},
            }
        )  # fmt: skip
