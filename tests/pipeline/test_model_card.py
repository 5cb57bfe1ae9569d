"""A model folder is described and checked, by itself and against a recipe."""

import json
from pathlib import Path

import pytest
from landscape import Landscape
from training_story import story

from rsscale.cli import main
from rsscale.errors import ModelError
from rsscale.pipeline.model_card import check_model, describe_model, draw_model


def test_a_card_tells_what_a_model_is(landscape: Landscape) -> None:
    lines = str(describe_model(landscape.folder / "model")).splitlines()
    found = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    assert found["input"] == "s2: red, nir; spring, summer"
    assert found["classes"] == "1 class 0, 2 class 1, 3 class 2"
    assert found["layers"] == "classification, confidence, observations; if asked for probability"
    assert found["windows"] == "224 px and 4 px of context on each side, trim"
    assert "unet of pytorch" in found["network"]
    assert not {"accuracy", "start", "end"} & set(found)  # nothing was measured, or is dated


def test_what_was_measured_is_shown(landscape: Landscape, tmp_path: Path) -> None:
    folder = Landscape(landscape.folder).copy(tmp_path / "copy").folder / "model"
    item = json.loads((folder / "item.json").read_text())
    item["properties"] |= {
        "license": "CC-BY-4.0",
        "rsscale:training": {
            "steps": 450,
            "seed": 3,
            "accuracy": 0.87654,
            "tested": {"class 0": 1200, "class 1": 34},
            "basis": "test",
        },
    }
    (folder / "item.json").write_text(json.dumps(item))
    text = str(describe_model(folder))
    assert "0.877 on 1,234 labelled pixels of places that were not trained on" in text
    assert "license    CC-BY-4.0" in text
    assert "seed       3" in text


def test_a_model_is_checked_against_a_recipe(landscape: Landscape) -> None:
    folder = landscape.folder / "model"
    opened, reach, *of_recipe = check_model(folder, read(landscape.recipe()))
    assert opened == "opened, and takes a window of 232 px"
    assert reach.startswith("it looks 9 px around a pixel, and its windows have a halo of 4 px")
    assert of_recipe == [
        "recipe 'test' gives its inputs for 2023",
        "recipe 'test' writes classification, confidence, observations",
    ]
    other = landscape.recipe(grid={"crs": "EPSG:32631", "resolution": 20})
    with pytest.raises(ModelError, match=r"recipe 'test', period 2023: .*resolution of 10, the"):
        check_model(folder, read(other))
    imagery = landscape.recipe()["inputs"]["s2"]
    series = landscape.recipe(inputs={"s2": {k: v for k, v in imagery.items() if k != "composite"}})
    series["inputs"]["s2"]["series"] = True
    with pytest.raises(ModelError, match="which is a series of observations; composite it"):
        check_model(folder, read(series))


def test_both_are_commands(
    landscape: Landscape, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(landscape.recipe()))
    model = str(landscape.folder / "model")
    for words, text in (
        (["model", "show", model], "classes    1 class 0"),
        (["model", "check", model, str(recipe)], "recipe 'test' gives its inputs for 2023"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        assert text in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["model", "show", str(tmp_path / "nothing")])
    assert ended.value.code == 2
    assert "there is no model folder" in capsys.readouterr().err


def test_the_story_of_a_training_fits_on_a_page(landscape: Landscape, tmp_path: Path) -> None:
    folder = Landscape(landscape.folder).copy(tmp_path / "copy").folder / "model"
    (folder / "training.json").write_text(json.dumps(story()))
    lines = str(describe_model(folder)).splitlines()
    assert len(lines) <= 25
    text = "\n".join(lines)
    assert "not used   1,200 pixels masked, 2 features blank" in text
    assert "split      4 places (blocks of 1000 m): 2 training, 1 validation, 1 test" in text
    assert "           1 water     0.800   0.750       0.250        30         5" in text
    assert "           5 field $a$     -       -           -         0         0" in text
    assert (
        "calibrated by the temperature 1.5: expected calibration error 0.200 before, 0.100" in text
    )
    assert "sets       of 90% held the true class for 95.0%, 1.20 classes each, on 3 places" in text
    many = [{"value": k, "name": f"c{k}", "color": "#000000"} for k in range(30)]
    counts = {c["name"]: 1 for c in many}
    content = story(classes=many, trained=counts, tested=counts)
    (folder / "training.json").write_text(json.dumps(content))
    lines = str(describe_model(folder)).splitlines()
    assert len(lines) <= 25
    assert "           and 23 more in training.json" in lines


def test_pictures_are_drawn_again_by_a_command(
    landscape: Landscape, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = Landscape(landscape.folder).copy(tmp_path / "copy").folder / "model"
    (folder / "training.json").write_text(json.dumps(story()))
    with pytest.raises(SystemExit) as ended:
        main(["model", "show", str(folder), "--plots"])
    assert ended.value.code == 0
    assert str(folder / "split.png") in capsys.readouterr().out
    assert (folder / "split.png").is_file()
    (folder / "training.json").unlink()
    with pytest.raises(ModelError, match=r"has no training\.json to draw pictures of"):
        draw_model(folder)


def read(recipe: dict) -> object:
    from rsscale.recipe import read_recipe

    return read_recipe(recipe)
