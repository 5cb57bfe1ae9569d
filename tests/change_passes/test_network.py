"""A network of two dates as a pass: the map of its model, and nodata where a date is missing."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import two_years
import xarray as xr
from once import Once

import rsscale as rs
from rsscale.change_passes.network import ChangeNetworkPass
from rsscale.errors import ModelError, RecipeError
from rsscale.learn.models import save_model
from rsscale.legend.classes import LandClass
from rsscale.pipeline.model_card import check_model, describe_model
from rsscale.recipe import read_recipe
from rsscale.runtimes.factory import ALLOWED

OPTIONS: dict[str, Any] = {"threads": 1, "device": "cpu"}
KINDS = ("fc-ef", "fc-siam-conc", "fc-siam-diff")


@pytest.fixture(scope="module")
def archive(once: Once) -> Path:
    return once("two years", two_years.write_archive)


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "two_years")


def over_the_scene(run: rs.Run) -> xr.Dataset:
    """The change over the pixels of the scenes, as stored."""
    x = two_years.WEST + 10 * np.arange(two_years.SIZE) + 5
    y = two_years.NORTH - 10 * np.arange(two_years.SIZE) - 5
    found = run.open("change").squeeze("time").reindex(x=x, y=y, fill_value=255)
    return found.load()


def inside(ds: xr.Dataset) -> np.ndarray:
    """Pixels of the area: those that both years saw have a value."""
    known = np.zeros(ds["change"].shape, bool)
    known[8:-8, 8:-8] = True
    return known


def mapped(recipe: dict[str, Any] | Path, out: Path, client: Any = None) -> xr.Dataset:
    return over_the_scene(rs.run(recipe, out, client, **OPTIONS))


@pytest.mark.extended
def test_a_network_of_ones_own_finds_the_change_and_nothing_where_a_date_is_missing(
    archive: Path, tmp_path: Path
) -> None:
    save_model(two_years.own_model(), tmp_path / "model")
    run = rs.run(two_years.recipe_of(archive, tmp_path / "model"), tmp_path / "run", **OPTIONS)
    found = over_the_scene(run)
    assert set(found.data_vars) == {"change", "change_probability"}
    both = two_years.seen(*two_years.YEARS)
    change, percent = found["change"].values, found["change_probability"].values
    for layer in (change, percent):
        assert (layer[~both] == 255).all()
        assert (layer[both & inside(found)] != 255).all()
    known = change != 255
    truth = two_years.truth()
    assert (change[known] == truth[known]).mean() > 0.98
    assert (percent[known] >= 50).tolist() == (change[known] == 1).tolist()
    facts = run.state["steps"]["change"]["facts"]
    assert facts["compared"] == int(known.sum())
    assert facts["changed"] == int((change == 1).sum()) > 0
    attributes = found["change"].attrs
    assert attributes["flag_meanings"].split() == ["unchanged", "changed"]
    share = f"{facts['changed'] / facts['compared']:.2%} of the pixels that both periods have"
    assert share in "".join(run.status()["steps"]["change"]["lines"])


@pytest.mark.extended
def test_the_kept_recipe_runs_again_after_its_model_has_gone(archive: Path, tmp_path: Path) -> None:
    save_model(two_years.own_model(), tmp_path / "model")
    recipe = two_years.recipe_of(archive, tmp_path / "model", tile=512)
    run = rs.run(recipe, tmp_path / "run", **OPTIONS)
    assert rs.run(recipe, tmp_path / "run", **OPTIONS).state["plan"] == run.state["plan"]
    shutil.rmtree(tmp_path / "model")
    moved = Path(shutil.move(tmp_path / "run", tmp_path / "moved"))
    again = rs.run(moved / "recipe.yaml", moved, **OPTIONS)  # computes nothing
    tiles = [event for event in again.events() if event["event"] == "tile"]
    assert len(tiles) == again.state["tiles"]["total"]
    other = mapped(moved / "recipe.yaml", tmp_path / "other")
    xr.testing.assert_equal(other, over_the_scene(again))


@pytest.mark.parametrize(
    "kind", [KINDS[0], *(pytest.param(k, marks=pytest.mark.extended) for k in KINDS[1:])]
)
def test_it_is_the_map_of_its_model(archive: Path, tmp_path: Path, kind: str) -> None:
    model = two_years.untrained(tmp_path / "model", kind)
    recipe = two_years.recipe_of(archive, tmp_path / "model", tile=512)
    found = mapped(recipe, tmp_path / "run")
    x = xr.DataArray(two_years.WEST + 10 * np.arange(two_years.SIZE) + 5, dims="x")
    y = xr.DataArray(two_years.NORTH - 10 * np.arange(two_years.SIZE) - 5, dims="y")
    images = {
        name: xr.DataArray(
            np.where(image == 0, np.nan, image).astype(np.float32)[None],
            dims=("time", "band", "y", "x"),
            coords={"time": ["year"], "band": list(two_years.BANDS), "y": y.values, "x": x.values},
        ).odc.assign_crs(two_years.CRS)
        for name, image in zip(("before", "after"), two_years.images().values(), strict=True)
    }
    wanted = rs.predict(images, model, layers=["classification", "probability"])
    changed = wanted["probability"].values[1]
    there = (found["change"].values != 255) & inside(found)
    assert there.sum() > 10_000
    assert {0, 1} == set(np.unique(found["change"].values[there]))
    np.testing.assert_array_equal(found["change_probability"].values[there], changed[there])
    assert (changed[~two_years.seen(*two_years.YEARS)] == 255).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("fc-siam-diff", marks=pytest.mark.extended),
        pytest.param("fc-ef", marks=pytest.mark.long),
        pytest.param("fc-siam-conc", marks=pytest.mark.long),
    ],
)
def test_every_tile_size_and_worker_count_gives_the_same(
    archive: Path, tmp_path: Path, two_workers: str, kind: str
) -> None:
    two_years.untrained(tmp_path / "model", kind)
    wanted = mapped(two_years.recipe_of(archive, tmp_path / "model", 512), tmp_path / "whole")
    for tile, client in ((96, None), (128, two_workers)):
        recipe = two_years.recipe_of(archive, tmp_path / "model", tile)
        other = mapped(recipe, tmp_path / f"run-{tile}", client)
        for name in wanted.data_vars:
            np.testing.assert_array_equal(other[name].values, wanted[name].values, f"{name} {tile}")


@pytest.mark.extended
def test_a_run_that_was_interrupted_ends_as_any_other(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_years.untrained(tmp_path / "model", "fc-siam-diff")
    recipe = two_years.recipe_of(archive, tmp_path / "model", 128)
    wanted = mapped(recipe, tmp_path / "whole")
    run_tile, done = ChangeNetworkPass.run, []

    def killed(self: ChangeNetworkPass, block: Any) -> Any:
        if len(done) == 3:
            raise ValueError("no more")
        done.append(block.key.tile)
        return run_tile(self, block)

    with monkeypatch.context() as patch:
        patch.setattr(ChangeNetworkPass, "run", killed)
        with pytest.raises(rs.RsscaleError):
            rs.run(recipe, tmp_path / "run", **OPTIONS)
    found = over_the_scene(rs.resume(tmp_path / "run"))
    for name in wanted.data_vars:
        np.testing.assert_array_equal(found[name].values, wanted[name].values)


@pytest.mark.extended
def test_a_network_that_says_from_which_class_to_which(archive: Path, tmp_path: Path) -> None:
    names = ("unchanged", "forest to built-up", "forest to water")
    classes = [LandClass(k, name, f"#00000{k}") for k, name in enumerate(names)]
    save_model(two_years.own_model(classes=classes), tmp_path / "model")
    legend = [
        {"value": 4, "name": "water", "color": "#0000ff"},
        {"value": 7, "name": "forest", "color": "#00ff00"},
        {"value": 9, "name": "built-up", "color": "#ff0000"},
    ]
    recipe = two_years.recipe_of(archive, tmp_path / "model", classes=legend)
    found = mapped(recipe, tmp_path / "run")
    assert set(found.data_vars) == {"change", "from", "to", "change_probability"}
    changed, still = found["change"].values == 1, found["change"].values == 0
    assert changed.any()
    assert (found["from"].values[changed] == 7).all()
    assert (found["to"].values[changed] == 9).all()
    assert (found["from"].values[still] == 255).all()  # it does not say what it is
    preview = rs.preview(
        two_years.recipe_of(archive, tmp_path / "model", layers=["change", "observations"]),
        bbox=recipe["bbox"], step="change", device="cpu", threads=1,
    )  # fmt: skip
    assert set(preview.data_vars) == {"change", "observations"}


def test_a_network_of_a_mapping_of_inputs(archive: Path, tmp_path: Path) -> None:
    model = rs.Model.of(
        two_years.ByName(), inputs=two_years.inputs(), classes=two_years.CLASSES,
        layout="mapping", stride=96, halo=4,
    )  # fmt: skip
    assert model.spec.seen == "all"
    save_model(model, tmp_path / "model")
    save_model(two_years.own_model(), tmp_path / "other")
    found, other = (
        rs.preview(
            recipe := two_years.recipe_of(archive, tmp_path / name), bbox=recipe["bbox"],
            step="change", device="cpu", threads=1, trust=True,
        )
        for name in ("model", "other")
    )  # fmt: skip
    xr.testing.assert_equal(found, other)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"from": 2024, "to": 2023}, "from 2024 to 2023; a change is from a period to a later one"),
        ({"to": 2023}, "from 2023 to 2023"),
        ({"to": 2025}, r"is not of 2025; it is of \['2023', '2024'\]"),
        ({"of": None}, r"needs 'of': the one input.*there are \['s2'\]"),
        ({"threshold": 0}, "threshold: input should be greater than or equal to 1"),
        ({"unchanged": ["stable"]}, "'unchanged' names 'stable'; the model has the classes"),
        ({"layers": ["change_probability"]}, "expected 'change', and others"),
        (
            {"layers": ["change", "from"]},
            "layers has 'from'; expected 'change', and of change_probability, class",
        ),
    ],
)
def test_what_can_not_be_is_refused(
    archive: Path, tmp_path: Path, step: dict[str, Any], message: str
) -> None:
    save_model(two_years.own_model(), tmp_path / "model")
    with pytest.raises((RecipeError, ModelError), match=message):
        rs.plan(two_years.recipe_of(archive, tmp_path / "model", **step))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": two_years.inputs(names=("s2", "s1"))}, r"inputs \['s2', 's1'\]; a network of"),
        ({"inputs": two_years.inputs(("red", "swir"))}, "wants band 'swir' of input 'before'"),
        ({"classes": [LandClass(1, "a", "#000000"), LandClass(2, "b", "#000001")]}, "each of them"),
        ({"resolution": 20.0}, "trained at a resolution of 20"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    archive: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    save_model(two_years.own_model(**changes), tmp_path / "model")
    with pytest.raises(ModelError, match=message):
        rs.plan(two_years.recipe_of(archive, tmp_path / "model"))


def test_the_two_dates_are_guarded(archive: Path, tmp_path: Path) -> None:
    """A shift that is known is taken back: what the later date has not seen moves with it."""
    save_model(two_years.own_model(), tmp_path / "model")
    recipe = two_years.recipe_of(archive, tmp_path / "model")
    recipe["steps"]["change"]["shift"] = [3, 0]
    found = mapped(recipe, tmp_path / "run")
    known = np.ones((two_years.SIZE, two_years.SIZE), bool)
    known[two_years.UNSEEN[2023]] = False
    rows, cols = two_years.UNSEEN[2024]
    known[rows, cols.start - 3 : cols.stop - 3] = False
    within = inside(found)
    np.testing.assert_array_equal((found["change"].values != 255)[within], known[within])
    recipe["steps"]["change"] |= {"register": "correct", "normalise": {"red": [1, 0]}}
    with pytest.raises(RecipeError, match="normalise is of red; expected is"):
        rs.plan(recipe)


def test_a_model_is_checked_against_the_steps_that_use_it(archive: Path, tmp_path: Path) -> None:
    save_model(two_years.own_model(), tmp_path / "model")
    recipe = two_years.recipe_of(archive, tmp_path / "model")
    lines = check_model(tmp_path / "model", read_recipe(recipe))
    assert lines[-1] == "recipe 'two-dates' gives s2 of 2023-2024 to its step 'change'"
    assert "pixels that all inputs have seen" in str(describe_model(tmp_path / "model"))
    other = {**recipe, "steps": {"zones": {"kind": "zones", "of": "s2", "zones": "z", "id": "a"}}}
    with pytest.raises(ModelError, match="has no step of kind 'change-network'"):
        check_model(tmp_path / "model", read_recipe(other))
