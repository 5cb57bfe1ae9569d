"""An update computes the tiles that something of a changed scene can reach, and says so before."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from network_inputs import channels
from nine_tiles import SETTINGS, TILE, computed, recipe, shards, write_model, write_scene

import rsscale as rs
from rsscale.geo.lattice import PixelBox
from rsscale.learn.architectures import build
from rsscale.plans.plan import RunPlan
from rsscale.store.run_folder import RunFolder


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine tiles, one scene over all of them and one in the middle of the middle one; mapped."""
    folder = tmp_path_factory.mktemp("changes")
    write_scene(folder, "scene-all", slice(0, 3 * TILE), slice(0, 3 * TILE))
    # 20 px inside the middle tile: nearer to all others than a window is wide.
    inner = slice(TILE + 20, 2 * TILE - 20)
    write_scene(folder, "scene-middle", inner, inner, seed=1)
    write_model(folder)
    rs.run(recipe(folder), folder / "run", **SETTINGS)
    return folder


@pytest.fixture
def copy(first: Path, tmp_path: Path) -> Path:
    shutil.copytree(first, tmp_path / "copy")
    return tmp_path / "copy"


def everything(run: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in run.rglob("*")
        if path.is_file()
    }


def replaced(folder: Path) -> None:
    inner = slice(TILE + 20, 2 * TILE - 20)
    write_scene(folder, "scene-middle", inner, inner, seed=2)


def added(folder: Path) -> None:
    write_scene(folder, "scene-new", slice(TILE + 30, TILE + 90), slice(TILE + 30, TILE + 90), 3)


def removed(folder: Path) -> None:
    (folder / "scene-middle.json").unlink()


def at_a_line(folder: Path) -> None:
    """Within the network's reach of the tile to the west."""
    rows = slice(TILE + 100, TILE + 150)
    write_scene(folder, "scene-line", rows, slice(TILE + 8, TILE + 60), 4)


@pytest.mark.parametrize(
    ("change", "items", "tiles"),
    [
        (replaced, "0 new, 1 changed, 0 gone, 1 as they were", 1),
        (added, "1 new, 0 changed, 0 gone, 2 as they were", 1),
        (removed, "0 new, 0 changed, 1 gone, 1 as they were", 1),
        (at_a_line, "1 new, 0 changed, 0 gone, 2 as they were", 2),
    ],
)
def test_an_update_computes_what_a_scene_can_reach(
    copy: Path,
    change: Callable[[Path], None],
    items: str,
    tiles: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rsscale.progress.bars._enabled", True)
    run = copy / "run"
    before = shards(run)
    change(copy)
    files = everything(run)
    foreseen = rs.changes(recipe(copy), run, **SETTINGS, update=True)
    assert everything(run) == files
    assert str(foreseen.items["s2"]) == items
    assert (foreseen.tiles["map"].to_compute, foreseen.tiles["map"].total) == (tiles, 9)
    done = rs.run(recipe(copy), run, **SETTINGS, update=True)
    assert len(computed(run)) == tiles
    told = capsys.readouterr().err
    assert f"items     s2: {items}" in told
    assert f"tiles     map: {tiles} of 9 to compute" in told
    noun = "tile" if tiles == 1 else "tiles"
    assert f"computed  {tiles} {noun} by the last command" in done.summary()
    after = shards(run)
    other = {name for name in before if after[name] != before[name]}
    assert 0 < len({tuple(Path(name).parts[-2:]) for name in other}) <= tiles
    # The map is the one that a run from nothing makes.
    rs.run(recipe(copy), copy / "anew", **SETTINGS)
    assert shards(copy / "anew") == after


def test_nothing_changed_is_told_too(copy: Path) -> None:
    foreseen = rs.changes(recipe(copy), copy / "run", **SETTINGS, update=True)
    assert str(foreseen) == (
        "items     s2: 0 new, 0 changed, 0 gone, 2 as they were\ntiles     map: 0 of 9 to compute"
    )


@pytest.mark.extended
def test_later_steps_are_counted_at_most(copy: Path) -> None:
    periods = {"periods": [2023, 2024], "change": {"from": 2023, "to": 2024}}
    for path in copy.glob("scene*.json"):
        item = json.loads(path.read_text())
        item["id"] += "-2024"
        item["properties"]["datetime"] = "2024-06-01T00:00:00Z"
        path.with_name(f"{path.stem}-2024.json").write_text(json.dumps(item))
    run = copy / "run"
    grown = rs.changes(recipe(copy, **periods), run, **SETTINGS)
    assert str(grown.items["s2"]) == "2 new, 0 changed, 0 gone, 2 as they were"
    assert {n: t.to_compute for n, t in grown.tiles.items()} == {"map": 9, "change": 9}
    rs.run(recipe(copy, **periods), run, **SETTINGS)
    assert len(computed(run)) == 18
    replaced(copy)
    foreseen = rs.changes(recipe(copy, **periods), run, **SETTINGS, update=True)
    assert str(foreseen.tiles["map"]) == "1 of 18"
    assert str(foreseen.tiles["change"]) == "at most 1 of 9"


def test_a_new_run_and_a_half_done_one(copy: Path) -> None:
    anew = rs.changes(recipe(copy), copy / "anew", **SETTINGS)
    assert not (copy / "anew").exists()
    assert str(anew.tiles["map"]) == "9 of 9"
    next((copy / "run/ledger/map/2023").iterdir()).unlink()
    half = rs.changes(recipe(copy), copy / "run", **SETTINGS)
    assert (str(half.tiles["map"]), half.items) == ("1 of 9", {})


def test_the_command_writes_nothing(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rsscale.cli import main

    replaced(copy)
    (copy / "recipe.yaml").write_text(json.dumps(recipe(copy)))
    files = everything(copy)
    words = ["run", str(copy / "recipe.yaml"), "--out", str(copy / "run")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--device", "cpu", "--threads", "1", "--update", "--dry-run"])
    assert not ended.value.code
    assert "tiles     map: 1 of 9 to compute" in capsys.readouterr().out
    assert everything(copy) == files


def test_a_program_and_a_gpu_keep_whole_windows(first: Path) -> None:
    from rsscale.model.files import read_spec
    from rsscale.network.receptive_field import exact_reach, reach_of

    spec = read_spec(first / "model")
    weights = first / "model" / "model.safetensors"
    assert exact_reach(spec, weights, "cpu") == reach_of("unet", {"width": 4, "depth": 2})
    assert exact_reach(spec, weights, "cuda") is None
    assert exact_reach(spec, weights.with_suffix(".pt2"), "cpu") is None
    (step,) = RunPlan.read(RunFolder.at(first / "run")).steps
    core = PixelBox(0, 0, TILE, TILE)
    assert step.depends_on(core) == core.pad(exact_reach(spec, weights, "cpu"))
    assert step.depends_on(core) != step.around(core)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_pixels_beyond_the_reach_change_no_bit(depth: int) -> None:
    from rsscale.network.receptive_field import reach_of

    torch.manual_seed(depth)
    network = build("unet", channels(3), 4, width=8, depth=depth).eval()
    far = reach_of("unet", {"depth": depth})
    assert far is not None
    one = torch.randn(1, 3, 256, 256)
    other = one.clone()
    other[..., : 128 - far] = torch.randn(other[..., : 128 - far].shape)
    with torch.inference_mode():
        same = network(one)[..., 128:] == network(other)[..., 128:]
        assert bool(same.all())
        # One pixel more, and some bit is another: for the shallow ones the bound is reached.
        if depth == 1:
            other[..., 128 - far] += 1
            assert not bool((network(one)[..., 128:] == network(other)[..., 128:]).all())


def test_an_archive_that_was_moved_is_told(first: Path, copy: Path) -> None:
    for item in copy.glob("scene-*.json"):
        item.write_text(item.read_text().replace(str(first), str(copy)))
    for scene in first.glob("*.tif"):
        shutil.copy2(scene, copy)
    told = rs.changes(recipe(copy), copy / "run", update=True, device="cpu", threads=1)
    (items,) = told.items.values()
    assert (items.changed, items.moved, items.places) == (2, 2, (str(first), str(copy)))
    assert (
        f"2 changed (which lie elsewhere, in {copy} and not in {first}: whether they hold the same "
        "pixels is not known" in str(told)
    )
    assert "places" not in told.to_dict()["items"]["s2"]
    assert told.tiles["map"].to_compute == told.tiles["map"].total
