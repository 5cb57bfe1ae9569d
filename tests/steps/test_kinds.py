"""Steps of a recipe as they are opened: what can't work is told before anything runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formula_pass import allowed, formula_recipe

import rsscale as rs
from rsscale.errors import RecipeError, RsscaleError, RunFolderError

SETTINGS: dict[str, Any] = {"threads": 1, "device": "cpu"}
CHANGE = {"kind": "post-classification", "of": "map", "from": 2022, "to": 2023}
MAP = {"layers": ["classification", "confidence"]}


@pytest.fixture(autouse=True)
def formula() -> Any:
    with allowed():
        yield


def recipe(folder: Path, tile: int = 512, options: Any = MAP, **steps: Any) -> dict[str, Any]:
    return formula_recipe(folder, tile=tile, periods=[2022, 2023], options=options, steps=steps)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"kind": "overview", "of": "map"}, "did you mean 'overviews'"),
        ({"kind": "os:system", "of": "map"}, "RSSCALE_PASSES=formula_pass,os"),
        ({"kind": "formula_pass:Nothing"}, "can't be imported"),
        ({"kind": "formula_pass:CLASSES"}, "no subclass of"),
        (CHANGE | {"to": 2031}, r"step 'map' is not of 2031; it is of \['2022', '2023'\]"),
        (CHANGE | {"too": 1}, "too: unknown key; did you mean 'to'"),
        ({"kind": "post-classification", "of": "map", "from": 2022}, "to: missing"),
        (CHANGE | {"of": {"a": "map", "b": "map"}}, "the one step whose two periods"),
        (CHANGE | {"of": {"run": "nowhere"}}, "is not a run folder"),
    ],
)
def test_a_step_that_can_not_work_is_told_before_anything_is_written(
    tmp_path: Path, step: dict[str, Any], message: str
) -> None:
    wrong = recipe(tmp_path, wrong=step)
    with pytest.raises(RsscaleError, match=message):
        rs.run(wrong, tmp_path / "run", **SETTINGS)
    assert not (tmp_path / "run").exists()


def test_a_layer_that_the_source_has_not(tmp_path: Path) -> None:
    wrong = recipe(tmp_path, options={"layers": ["confidence"]}, change=CHANGE)
    with pytest.raises(RecipeError, match=r"steps.change: .*no layer 'classification'.*confidence"):
        rs.run(wrong, tmp_path / "run", **SETTINGS)


def test_a_part_of_another_kind_is_no_step_of_a_recipe(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("RSSCALE_PASSES", "formula_pass,rsscale.change_passes.pair_sample")
    part = {"kind": "rsscale.change_passes.pair_sample:PairSample", "of": "map"}
    with pytest.raises(RecipeError, match="'spectral-change-sample' is a part of another kind"):
        rs.run(recipe(tmp_path, part=part), tmp_path / "run", **SETTINGS)


def test_a_halo_larger_than_a_tile(tmp_path: Path) -> None:
    step = {
        "kind": "function",
        "of": "map",
        "function": "tile_functions:majority",
        "halo": 65,
        "layers": [{"name": "majority"}],
    }
    with pytest.raises(RecipeError, match="halo of 65 px is larger than a tile of 64 px"):
        rs.run(recipe(tmp_path, tile=64, wide=step), tmp_path / "run", **SETTINGS)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    """A finished map in tiles of 384 px."""
    folder = tmp_path_factory.mktemp("other")
    with allowed():
        return rs.run(recipe(folder, tile=384), folder / "run", **SETTINGS)


@pytest.mark.extended
def test_a_step_reads_another_finished_run_with_other_tiles(tmp_path: Path, other: rs.Run) -> None:
    own = rs.run(recipe(tmp_path, change=CHANGE), tmp_path / "own", **SETTINGS)
    elsewhere = CHANGE | {"of": {"run": str(other.path), "step": "map"}}
    borrowed = rs.run(recipe(tmp_path, change=elsewhere), tmp_path / "borrowed", **SETTINGS)
    one, another = (run.open_change().load() for run in (own, borrowed))
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name].values, another[name].values)
    # What the other run has stored is in the fingerprint.
    assert rs.verify(borrowed.path).damaged == ()


def test_another_run_that_can_not_be_read(tmp_path: Path, other: rs.Run) -> None:
    def reading(**grid: Any) -> dict[str, Any]:
        content = recipe(tmp_path, change=CHANGE | {"of": {"run": str(other.path)}})
        return content | {"grid": content["grid"] | grid}

    with pytest.raises(RecipeError, match=r"lies on the grid .*, this one on"):
        rs.run(reading(resolution=20), tmp_path / "run", **SETTINGS)
    step = CHANGE | {"of": {"run": str(other.path), "step": "mapp"}}
    with pytest.raises(RecipeError, match=r"no step 'mapp'.*did you mean 'map'"):
        rs.run(recipe(tmp_path, change=step), tmp_path / "run", **SETTINGS)
    path = Path(other.path) / "run.json"
    state = path.read_text()
    path.write_text(json.dumps(json.loads(state) | {"state": "running"}))
    try:
        with pytest.raises(RunFolderError, match=r"is running, and only a finished one"):
            rs.run(reading(), tmp_path / "run", **SETTINGS)
    finally:
        path.write_text(state)


@pytest.mark.slow
def test_a_tile_that_failed_is_waited_for_and_the_rest_goes_on(tmp_path: Path) -> None:
    mark = tmp_path / "failing"
    mark.touch()
    whole = rs.run(recipe(tmp_path, tile=256, change=CHANGE), tmp_path / "whole", **SETTINGS)
    tile = sorted((tmp_path / "whole/ledger/change/2022-2023").iterdir())[3].stem
    options = MAP | {"fails": [tile], "while_there": str(mark)}
    failing = recipe(tmp_path, tile=256, options=options, change=CHANGE)
    with pytest.raises(rs.TilesFailedError, match=rf"map/2022/{tile}.*, 1 waits for them"):
        rs.run(failing, tmp_path / "run", **SETTINGS)
    total = whole.state["steps"]["change"]["tiles"]["total"]
    assert rs.Run(tmp_path / "run").state["steps"]["change"]["tiles"]["done"] == total - 1
    mark.unlink()
    run = rs.resume(tmp_path / "run")
    np.testing.assert_array_equal(
        run.open_change().change.values, whole.open_change().change.values
    )


@pytest.mark.extended
def test_a_tile_that_fails_in_an_update_takes_the_change_with_it(tmp_path: Path) -> None:
    """No change of an older map stays beside the new one."""
    mark = tmp_path / "failing"
    rs.run(recipe(tmp_path, tile=256, change=CHANGE), tmp_path / "run", **SETTINGS)
    tile = sorted((tmp_path / "run/ledger/change/2022-2023").iterdir())[3].stem
    mark.touch()
    options = MAP | {"fails": [tile], "while_there": str(mark)}
    other_version = recipe(tmp_path, tile=256, options=options, change=CHANGE)
    from formula_pass import FormulaPass

    patch = pytest.MonkeyPatch()
    patch.setattr(FormulaPass, "version", "2")
    try:
        with pytest.raises(rs.TilesFailedError):
            rs.run(other_version, tmp_path / "run", update=True, **SETTINGS)
        left = {p.stem for p in (tmp_path / "run/ledger/change/2022-2023").iterdir()}
        assert tile not in left
        assert left
    finally:
        patch.undo()


def test_a_preview_of_a_step_computes_what_it_reads(tmp_path: Path) -> None:
    content = recipe(tmp_path, change=CHANGE)
    run = rs.run(content, tmp_path / "run", **SETTINGS)
    found = rs.preview(content, (5.93, 44.96, 5.96, 44.98), step="change", threads=1, device="cpu")
    whole = run.open_change()
    part = whole.sel(x=found.x.values, y=found.y.values, method="nearest", tolerance=1e-3)
    assert found.sizes["x"] > 100
    for name in found.data_vars:
        np.testing.assert_array_equal(found[name].values, part[name].values, err_msg=str(name))
    with pytest.raises(RecipeError, match=r"no step 'chnge'.*did you mean 'change'"):
        rs.preview(content, (5.93, 44.96, 5.96, 44.98), step="chnge")


@pytest.mark.extended
def test_a_pass_that_lacks_what_the_engine_needs_leaves_a_finished_run_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from formula_pass import FormulaPass

    out = tmp_path / "run"
    rs.run(recipe(tmp_path), out, **SETTINGS)
    more = recipe(tmp_path, again={"kind": "formula_pass:FormulaPass", **MAP})
    with monkeypatch.context() as broken:
        broken.setattr(FormulaPass, "facts", {"water": "total"})
        with pytest.raises(RecipeError, match="'water' folds by 'total'; expected one of sum"):
            rs.run(more, out, **SETTINGS)
    with monkeypatch.context() as broken:
        broken.delattr(FormulaPass, "version")
        with pytest.raises(RecipeError, match="FormulaPass has no 'version'"):
            rs.run(more, out, **SETTINGS)
    assert rs.verify(out).damaged == ()
    run = rs.run(more, out, **SETTINGS)
    np.testing.assert_array_equal(run.open("again").confidence, run.open().confidence)


@pytest.mark.parametrize("last", ["recipe.yaml", "run.json"])
def test_a_plan_that_dies_before_its_last_write_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    from rsscale.store.storage import Folder

    out, write, seen = tmp_path / "run", Folder.write, []
    rs.run(recipe(tmp_path), out, **SETTINGS)
    more = recipe(tmp_path, change=CHANGE)

    def dying(self: Folder, name: str, content: bytes, **options: Any) -> None:
        seen.append(name)
        if name == last and (last != "run.json" or "recipe.yaml" in seen):
            raise KeyboardInterrupt
        write(self, name, content, **options)

    monkeypatch.setattr(Folder, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        rs.run(more, out, **SETTINGS)
    monkeypatch.undo()
    with allowed():
        run = rs.run(more, out, **SETTINGS)
    assert run.state["steps"]["change"]["tiles"]["done"] > 0


def test_a_module_that_is_not_there_says_where_python_looks() -> None:
    from rsscale.importing.user_code import load

    with pytest.raises(RsscaleError, match="its folder be in PYTHONPATH, here and on the workers"):
        load("no_such_module:Pass", "steps.wrong")
