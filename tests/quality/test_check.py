"""Gates of whole runs: a sound map passes, and each fault fails the gates that it should."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checked_map import copy_of, keys_of, make_run, overwrite
from once import Once
from PIL import Image
from typer.testing import CliRunner

import rsscale as rs
from rsscale.cli.application import app
from rsscale.errors import RecipeError, RunFolderError
from rsscale.gate_rules.class_share_gate import ClassShares
from rsscale.gate_rules.gate import Gate
from rsscale.layers import TileKey
from rsscale.quality.gates_file import read_gates
from rsscale.recipe.gates_recipe import ClassSharesRecipe, GatesRecipe, SeamsRecipe
from rsscale.store.run_folder import RunFolder
from rsscale.store.step_version import step_version

Arrays = dict[str, np.ndarray]
# Lines that the map has none of, and imagery that it was not made from.
NONE = {"seams-windows", "seams-zones", "seams-scenes", "undeclared-fill"}


@pytest.fixture(scope="module")
def sound(once: Once) -> Path:
    """A checked run of two years and twelve tiles. Read-only."""

    def make(folder: Path) -> Path:
        run = make_run(folder / "run")
        rs.check_quality(run, threads=2)
        return folder

    return once("checked-map", make) / "run"


def test_a_sound_map_passes_all_that_it_has_layers_for(sound: Path) -> None:
    gates = read_gates(RunFolder.at(sound))
    assert gates is not None
    assert gates.passed
    assert set(gates.not_checked) == NONE
    assert gates.version == {"map": step_version(RunFolder.at(sound))}
    content = json.loads((sound / "gates.json").read_text())
    assert content["format"] == 1
    assert content["passed"] is True
    seams = next(gate for gate in content["gates"] if gate["name"] == "seams-tiles")
    west, south, east, north = seams["places"][0]["bounds"]
    assert 2.9 < west < east < 3.2
    assert 41.4 < south < north < 41.6
    assert "p = " in seams["text"]
    with Image.open(sound / seams["places"][0]["picture"]) as picture:
        assert min(picture.size) > 400


def keys_in_checks(keys: list[TileKey]) -> list[TileKey]:
    """As if one of two workers had another model: all lines between tiles are seams."""
    return [key for key in keys if (key.ix + key.iy) % 2]


def constant(arrays: Arrays) -> None:
    arrays["classification"][:] = 2
    arrays["confidence"][:] = 80


def shifted(arrays: Arrays) -> None:
    for name in ("classification", "confidence"):
        arrays[name][:] = np.roll(arrays[name], (9, 7), axis=(0, 1))


def surer(arrays: Arrays) -> None:
    arrays["confidence"][:] = np.minimum(arrays["confidence"] + 9, 100)


def other_shares(arrays: Arrays) -> None:
    some = np.random.default_rng(0).random(arrays["classification"].shape) < 0.2
    arrays["classification"][some & (arrays["classification"] == 2)] = 3


def unsure(arrays: Arrays) -> None:
    arrays["confidence"] -= 30


def unknown(arrays: Arrays) -> None:
    arrays["classification"][10:13, 10:13] = 77


def unseen(arrays: Arrays) -> None:
    arrays["observations"][:100] = 0
    arrays["classification"][:100] = 255
    arrays["confidence"][:100] = 255


def inapplicable(arrays: Arrays) -> None:
    arrays["applicable"][:60] = 0


def blank(arrays: Arrays) -> None:
    arrays["classification"][:] = 255
    arrays["confidence"][:] = 255


@pytest.mark.parametrize(
    ("fault", "where", "failed"),
    [
        (shifted, "one", {"seams-tiles"}),
        pytest.param(surer, "every second", {"seams-tiles"}, marks=pytest.mark.extended),
        # A tile of one class has seams around it, too, and other shares.
        pytest.param(
            constant,
            "one",
            {"blank-tiles", "seams-tiles", "class-shares"},
            marks=pytest.mark.extended,
        ),
        # A model that calls all the same.
        pytest.param(constant, "all", {"blank-tiles", "class-shares"}, marks=pytest.mark.extended),
        pytest.param(blank, "one", {"blank-tiles"}, marks=pytest.mark.extended),
        pytest.param(other_shares, "all", {"class-shares"}, marks=pytest.mark.extended),
        pytest.param(unsure, "all", {"confidence"}, marks=pytest.mark.extended),
        pytest.param(unknown, "one", {"unknown-values"}, marks=pytest.mark.extended),
        (unseen, "one", {"never-seen"}),
        pytest.param(inapplicable, "all", {"applicability"}, marks=pytest.mark.extended),
    ],
)
def test_a_fault_fails_the_gates_that_it_should(
    fault: Callable[[Arrays], None],
    where: str,
    failed: set[str],
    sound: Path,
    tmp_path: Path,
) -> None:
    run = copy_of(sound, tmp_path / "run")
    keys = keys_of(run)
    tiles = {"all": keys, "every second": keys_in_checks(keys), "one": [keys[4]]}
    overwrite(run, fault, tiles[where])
    gates = read_gates(RunFolder.at(run))
    assert gates is not None
    assert not gates.is_current(RunFolder.at(run))
    found = rs.check_quality(run, threads=2)
    assert set(found.failed) == failed
    assert found.is_current(RunFolder.at(run))
    if where == "one":
        key = keys[4]
        for gate in found.gates:
            if gate["status"] == "failed":
                place = gate["places"][0]["tile"]
                # A segment of the border is of the tile east or south of it.
                beside = [replace(key, ix=key.ix + 1), replace(key, iy=key.iy - 1)]
                near = beside if gate["name"] == "seams-tiles" else []
                assert place in {key.tile, *(one.tile for one in near)}
                assert gate["places"][0]["span"] == "2024"


@pytest.mark.parametrize(
    ("constant", "is_failed"),
    [
        ({"all_bands_0": 26}, True),
        ({"all_bands_0": 3}, False),  # a bright cloud
        pytest.param({"all_bands_0": 24}, False, marks=pytest.mark.extended),
        pytest.param({}, False, marks=pytest.mark.extended),
    ],
)
def test_undeclared_fill_is_known_from_what_was_counted_when_imagery_was_read(
    constant: dict[str, int], is_failed: bool, sound: Path, tmp_path: Path
) -> None:
    run = copy_of(sound, tmp_path / "run")
    ledger, keys = RunFolder.at(run).ledger, keys_of(run)
    for key in keys:
        entry = ledger.read(key)
        assert entry is not None
        facts = {"sampled_observations": 100, **(constant if key == keys[4] else {})}
        ledger.commit(replace(entry, facts={**entry.facts, **facts}))
    state = json.loads((run / "run.json").read_text())
    state["steps"]["map"]["facts"]["sampled_observations"] = 100 * len(keys)
    (run / "run.json").write_text(json.dumps(state))
    gates = rs.check_quality(run, threads=2)
    assert gates.failed == (("undeclared-fill",) if is_failed else ())
    gate = next(g for g in gates.gates if g["name"] == "undeclared-fill")
    assert [place["tile"] for place in gate["places"]] == [keys[4].tile] * (
        constant.get("all_bands_0", 0) > 3
    )
    assert ("say nodata: {BAND: 0}" in gate["text"]) == is_failed


@pytest.mark.parametrize(
    "fault",
    [
        "behind",
        *(pytest.param(one, marks=pytest.mark.extended) for one in ("entry", "shard", "noise")),
    ],
)
def test_tiles_that_are_not_what_the_ledger_says_are_missing(
    fault: str, sound: Path, tmp_path: Path
) -> None:
    run = copy_of(sound, tmp_path / "run")
    key = keys_of(run)[4]
    shards = (run / "product.zarr/classification/c/1").rglob("1")
    shard = next(path for path in shards if path.is_file())
    if fault == "entry":
        RunFolder.at(run).ledger.delete(key)
    elif fault == "shard":
        shard.unlink()
    elif fault == "noise":
        shard.write_bytes(b"noise")
    else:
        overwrite(run, unknown_confidence, [key], in_ledger=False)
    found = rs.check_quality(run, threads=2)
    assert found.failed == ("missing-tiles",)
    gate = found.gates[0]
    said = {"entry": "1 not done", "shard": "1 lost from the store", "behind": "1 not what"}
    assert said.get(fault, "1 stored as what can't be read") in gate["text"]
    # The same process looks at the folder again, and not at what it remembers.
    RunFolder.at(run).ledger.delete(keys_of(run)[0])
    again = rs.check_quality(run, threads=2)
    assert again.failed == ("missing-tiles",)
    assert again.gates[0]["value"] == 2


def unknown_confidence(arrays: Arrays) -> None:
    arrays["confidence"][5, 5] = 99


def shares_of(names: str, **limits: float) -> Gate:
    """The gate of a map whose first class covers 98.5 %."""
    values = list(range(1, 1 + len(names.split())))
    layer = rs.Layer("classification", attributes={"flag_values": values, "flag_meanings": names})
    gate = ClassShares(layer, ("2024",), ClassSharesRecipe(**limits), 1)
    gate._totals["2024"].update({1: 985, 2: 15})
    return gate.result()


def test_one_class_may_not_be_all_of_a_map_unless_it_is_said() -> None:
    failed = shares_of("urban water forest")
    assert failed.status == "failed"
    assert failed.text.startswith("urban covers 98.50 % of 2024; up to 95 % may be")
    assert shares_of("urban water forest", most=100).status == "not checked"


def test_of_two_classes_the_rest_may_cover_nearly_all() -> None:
    assert shares_of("land ponds").status == "not checked"


def test_thresholds_of_another_recipe_count_and_no_tile_is_looked_at_again(
    sound: Path, tmp_path: Path
) -> None:
    run = copy_of(sound, tmp_path / "run")
    strict = GatesRecipe(never_seen={"share": 0.0}, class_shares={"points": 0.0001})
    found = rs.check_quality(run, gates=strict, threads=2)
    assert found.failed == ("class-shares",)
    events = list(rs.Run(run / "quality" / "map").events())
    start = max(n for n, event in enumerate(events) if event["event"] == "started")
    done = [event["tile"] for event in events[start:] if event["event"] == "tile"]
    assert done == ["x0_y0"]  # the gather
    (tmp_path / "strict.yaml").write_text((run / "recipe.yaml").read_text() + "gates: {seams: 3}\n")
    with pytest.raises(RecipeError, match="gates"):
        rs.read_recipe(tmp_path / "strict.yaml")


@pytest.mark.extended
def test_the_command_ends_with_1_where_a_gate_failed(sound: Path, tmp_path: Path) -> None:
    run = copy_of(sound, tmp_path / "run")
    overwrite(run, unknown, keys_of(run)[4:5])
    done = CliRunner().invoke(app, ["gates", str(run), "--threads", "2"], catch_exceptions=False)
    assert done.exit_code == 1
    assert "failed       unknown-values   9 pixels hold values that are no class" in done.output
    assert "1 of 8 gates failed, 4 not checked" in done.output


def test_two_workers_say_the_same(sound: Path, tmp_path: Path, two_workers: str) -> None:
    run = copy_of(sound, tmp_path / "run")
    before = json.loads((run / "gates.json").read_text())
    RunFolder.at(run / "quality/map").storage.delete("run.json")
    found = rs.check_quality(run, client=two_workers, threads=1)
    assert json.loads(json.dumps(found.to_dict()))["gates"] == before["gates"]


def test_runs_that_can_t_be_checked_are_refused(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        rs.check_quality(tmp_path)
    with pytest.raises(RunFolderError, match=r"step 'smooth' of .* has no layers; there are map"):
        rs.check_quality(sound, step="smooth")
    run = copy_of(sound, tmp_path / "run")
    state = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**state, "state": "running"}))
    with pytest.raises(RunFolderError, match="only a run that has ended can be checked"):
        rs.check_quality(run)
    (run / "gates.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"gates\.json is damaged"):
        read_gates(RunFolder.at(run))
    (run / "gates.json").unlink()
    assert read_gates(RunFolder.at(run)) is None


@pytest.mark.extended
def test_the_edge_of_a_zone_is_found_as_a_seam(landscape_run: Path, tmp_path: Path) -> None:
    """The two zones of the archive show different land, so that its map has a seam there."""
    run = copy_of(landscape_run, tmp_path / "run")
    found = {gate["name"]: gate for gate in rs.check_quality(run, threads=2).gates}
    assert found["seams-zones"]["status"] == "failed"
    assert found["seams-zones"]["p_value"] < 0.01
    assert found["never-seen"]["status"] == "failed"  # there is a corner without a scene
    assert found["seams-windows"]["status"] == "passed"
    assert found["seams-windows"]["p_value"] is not None
    assert found["class-shares"]["text"] == "the map has one period, and none to compare with"
    assert (run / found["seams-zones"]["places"][0]["picture"]).is_file()
    large = GatesRecipe(seams=SeamsRecipe(confidence=90))
    assert rs.check_quality(run, gates=large, threads=2).failed == ("never-seen",)
