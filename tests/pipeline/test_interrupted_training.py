"""Trainings that are killed or read on a cluster: the same weights, and nothing is done twice."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from forked import run_forked
from landscape import Landscape

import rsscale as rs
from rsscale.errors import ReadError, RecipeError
from rsscale.learners.fit import _Step
from rsscale.pipeline.training import Reading, make_chips, read_recipe_labels
from rsscale.recipe import read_recipe
from rsscale.sampling.label_chips import input_bands
from rsscale.sampling.work_folder import WorkFolder, open_work_folder

pytestmark = pytest.mark.slow
X, Y = 736_000, 4_985_000  # amid the western scenes
CHILD = """
import json, os, signal, sys
import torch
from rsscale.learners import checkpoint
from rsscale.learners.checkpoint import Checkpoint
from rsscale.pipeline.training import train_recipe
from rsscale.sampling.chip_parts import ChipParts

def dies_after(cls, name, calls):
    before, made = getattr(cls, name), [0]
    def call(self, *args):
        before(self, *args)
        made[0] += 1
        if made[0] == calls:
            os.kill(os.getpid(), signal.SIGNAL)
    setattr(cls, name, call)

checkpoint.EVERY_S = 0.0
torch.set_num_threads(1)  # sums are the same to the bit with as many threads alone
PLACE
train_recipe(json.loads(sys.argv[1]), device="cpu")
"""
IN_READING = 'dies_after(ChipParts, "write", 1)'  # of two
IN_LOOP = 'dies_after(Checkpoint, "save", 6)'


def recipe_of(landscape: Landscape, folder: Path, **train: Any) -> dict[str, Any]:
    """Points of two classes in six places a kilometre apart."""
    folder.mkdir(exist_ok=True)
    places = [(X + 1000 * (k % 3), Y + 1000 * (k // 3)) for k in range(6)]
    points = [shapely.Point(x + 70 * (j % 2), y + 90 * j) for x, y in places for j in range(3)]
    names = ["crop" if k % 2 else "wood" for k in range(len(points))]
    frame = gpd.GeoDataFrame({"kind": names}, geometry=points, crs="EPSG:32631")
    frame.to_file(folder / "labels.gpkg")
    recipe = landscape.recipe(model=str(folder / "trained"))
    settings = {"split": {"blocks": 900}, "chip": 32, "stride": 32, "halo": 32, "steps": 4}
    labels = {"labels": str(folder / "labels.gpkg"), "class": "kind"}
    recipe["train"] = {**labels, **settings, **train}
    return recipe


def killed(recipe: dict[str, Any], place: str, number: str = "SIGKILL") -> str:
    """Train in a process that dies at a place; what it said."""
    program = CHILD.replace("PLACE", place).replace("SIGNAL", number)
    child = run_forked(program, json.dumps(recipe))
    assert child.returncode != 0
    if number == "SIGKILL":
        assert child.returncode == -signal.SIGKILL, child.stderr
    return child.stderr


def same_weights(one: rs.Model, other: rs.Model) -> bool:
    pairs = zip(one.module.state_dict().values(), other.module.state_dict().values(), strict=True)
    return one.spec.inputs == other.spec.inputs and all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As many as the process has that is killed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["unet", "pixel"])
def uninterrupted(
    landscape: Landscape, tmp_path_factory: pytest.TempPathFactory, request: Any
) -> tuple[str, rs.Model, Any]:
    recipe = recipe_of(
        landscape, tmp_path_factory.mktemp("whole") / "w", architecture=request.param
    )
    model, report = rs.train(recipe, device="cpu")
    assert not Path(f"{recipe['model']}.training").exists()
    return request.param, model, report


@pytest.mark.extended
def test_one_that_is_killed_while_it_reads_goes_on(
    landscape: Landscape,
    tmp_path: Path,
    uninterrupted: tuple[str, rs.Model, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    architecture, expected, report = uninterrupted
    recipe = recipe_of(landscape, tmp_path, architecture=architecture)
    killed(recipe, IN_READING)
    work = Path(f"{recipe['model']}.training")
    before = {path.name: path.stat().st_mtime_ns for path in work.glob("chips/part-*")}
    assert len(before) == 1
    seen: dict[str, int] = {}

    def noted(_: rs.Model, report: Any, *__: Any, **___: Any) -> Any:
        seen.update({path.name: path.stat().st_mtime_ns for path in work.glob("chips/part-*")})
        return report

    monkeypatch.setattr("rsscale.pipeline.training.save_trained", noted)
    model, again = rs.train(recipe, device="cpu")
    assert "goes on reading:" in capsys.readouterr().err
    assert before.items() < seen.items()  # those were not read again
    assert same_weights(model, expected)
    assert again.fit == report.fit
    assert again.left_out == report.left_out
    assert not work.exists()


@pytest.mark.extended
def test_one_that_is_killed_while_it_learns_goes_on(
    landscape: Landscape,
    tmp_path: Path,
    uninterrupted: tuple[str, rs.Model, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    architecture, _, _ = uninterrupted
    folds = {"blocks": 900, "folds": 2}
    whole = recipe_of(landscape, tmp_path / "whole", architecture=architecture, split=folds)
    expected, report = rs.train(whole, device="cpu")
    recipe = recipe_of(landscape, tmp_path / "killed", architecture=architecture, split=folds)
    killed(recipe, IN_LOOP)  # in the second fold: the first has four steps
    monkeypatch.setattr("rsscale.sampling.chip_task.prepare", None)  # nothing is read
    steps: list[int] = []
    step = _Step.__call__
    monkeypatch.setattr(_Step, "__call__", lambda self, *a: steps.append(1) or step(self, *a))
    capsys.readouterr()
    model, again = rs.train(recipe, device="cpu")
    told = capsys.readouterr().err
    assert "goes on after step 4:" in told
    assert "goes on after step 2:" in told
    assert len(steps) == 2 + 4
    assert same_weights(model, expected)
    assert str(again.scores) == str(report.scores)
    assert [str(f.scores) for f in again.folds] == [str(f.scores) for f in report.folds]
    assert np.array_equal(again.predictions.numbers, report.predictions.numbers)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        pytest.param(
            IN_READING,
            r"interrupted with \d+ of \d+ chips read, which are kept; the same command",
            marks=pytest.mark.extended,
        ),
        (IN_LOOP.replace("6", "2"), "interrupted after step 2 of 4, which is kept; the same com"),
    ],
)
def test_ctrl_c_says_what_is_kept(
    landscape: Landscape, tmp_path: Path, place: str, message: str
) -> None:
    recipe = recipe_of(landscape, tmp_path)
    # At the signal a save or a write has just ended: the loop itself notices it a step later.
    told = killed(recipe, place, "SIGINT")
    assert re.search(message.replace("after step 2", r"after step [23]"), told), told
    assert any(Path(f"{recipe['model']}.training").glob("chips/part-*"))


@pytest.mark.extended
def test_other_settings_keep_what_they_do_not_decide(
    landscape: Landscape, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_of(landscape, tmp_path)
    killed(recipe, IN_LOOP.replace("6", "2"))
    recipe["train"] |= {"learning_rate": 1e-3}
    capsys.readouterr()
    rs.train(recipe, device="cpu")
    told = capsys.readouterr().err
    assert "learns anew: learning_rate differs from that of the training in" in told
    assert "goes on reading:" in told
    assert "goes on after" not in told
    del recipe["train"]["learning_rate"]
    killed(recipe, IN_READING)
    recipe["inputs"]["s2"]["mask"]["dilate"] = 40
    capsys.readouterr()
    rs.train(recipe, device="cpu")
    told = capsys.readouterr().err
    assert "begins anew: inputs differs from that of the training in" in told
    assert "goes on" not in told


@pytest.mark.extended
def test_fresh_begins_anew(
    landscape: Landscape, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_of(landscape, tmp_path)
    killed(recipe, IN_LOOP.replace("6", "2"))
    rs.train(recipe, device="cpu", fresh=True)
    assert "goes on" not in capsys.readouterr().err


def test_two_trainings_of_one_model_are_refused(tmp_path: Path) -> None:
    with (
        open_work_folder(tmp_path / "m.training"),
        pytest.raises(RecipeError, match=r"another training is at work in .*m\.training"),
        open_work_folder(tmp_path / "m.training"),
    ):
        pass
    assert not (tmp_path / "m.training").exists()


@pytest.mark.extended
def test_a_cluster_reads_the_same(
    landscape: Landscape,
    tmp_path: Path,
    two_workers: str,
    uninterrupted: tuple[str, rs.Model, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    architecture, expected, report = uninterrupted
    recipe = recipe_of(landscape, tmp_path, architecture=architecture)
    monkeypatch.setattr("rsscale.sampling.chip_task.prepare", None)  # not in this process
    model, found = rs.train(recipe, cluster=two_workers, device="cpu")
    assert same_weights(model, expected)
    assert found.fit == report.fit
    assert found.left_out == report.left_out


@pytest.mark.extended
def test_what_a_worker_could_not_read_is_told_in_one_line(
    landscape: Landscape, tmp_path: Path, two_workers: str
) -> None:
    damaged = landscape.copy(tmp_path / "damaged")
    for path in damaged.folder.glob("S2_w_*_red.tif"):
        path.write_bytes(path.read_bytes()[:2000])
    recipe = recipe_of(damaged, tmp_path / "model")
    with pytest.raises(ReadError, match=r"S2_w_2023.*red") as caught:
        rs.train(recipe, cluster=two_workers, device="cpu")
    assert "\n" not in str(caught.value)


def test_single_pixels_are_those_of_whole_chips(landscape: Landscape, tmp_path: Path) -> None:
    """What is read around points alone has the values of the chips."""
    recipe = read_recipe(recipe_of(landscape, tmp_path))
    labels = read_recipe_labels(recipe)
    (tmp_path / "chips").mkdir()
    (tmp_path / "pixels").mkdir()
    chips = make_chips(Reading(recipe, labels, WorkFolder(tmp_path / "chips")))
    reading = Reading(recipe, labels, WorkFolder(tmp_path / "pixels"))
    rows, images, counted = reading.reader((), 1000).read(reading.work)
    assert images is None
    assert counted.decoded > 0
    assert rows["values"].shape[1] == sum(part.channels for part in input_bands(recipe))
    expected = [chips.images[n][:, np.isin(chips.labels[n], (1, 2))].T for n in range(len(chips))]
    seen = np.isfinite(rows["values"]).any(axis=1)
    assert np.array_equal(rows["values"][seen], np.concatenate(expected), equal_nan=True)
    assert len(rows["targets"]) >= 18 - sum(counted.unused.counts.values())
