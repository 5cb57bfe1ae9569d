"""Objects of a run, each exactly once: however it was cut into tiles, computed, or stopped."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from forked import run_forked
from formula_pass import AREA
from scene_objects import (
    CLASSES,
    LATTICE,
    TILES,
    SceneOptions,
    allowed_scene,
    look,
    scene,
    scene_recipe,
)

import rsscale as rs
from rsscale.errors import RunFolderError
from rsscale.geo.lattice import PixelBox
from rsscale.objects.candidates import together, window_candidates
from rsscale.objects.columns import is_of_objects
from rsscale.objects.deciding import Rules, decide_all
from rsscale.objects.placed import object_id

# Inside the whole area.
INSIDE = ((731_000, 4_981_500), (735_500, 4_981_000), (736_000, 4_985_500))


def found(folder: Path, tile: int = 128, client: Any = None, **options: Any) -> rs.Run:
    recipe = scene_recipe(folder, tile=tile, **options)
    with allowed_scene():
        return rs.run(recipe, folder / f"run-{tile}", client, threads=1, device="cpu")


def computed(run: Path, step: str) -> list[tuple[str, str]]:
    """Spans and tiles of a step in the order that they were computed, in all runs of a folder."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [
        (one["span"], one["tile"])
        for one in events
        if one["event"] == "tile" and one["step"] == step
    ]


def rows_of(run: rs.Run) -> pa.Table:
    return run.table("ponds").sort_by("id")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return found(tmp_path_factory.mktemp("scene"), whole=True)


@pytest.fixture(scope="module")
def in_part(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The objects of a part of the area, of a run that was never stopped."""
    return rows_of(found(tmp_path_factory.mktemp("part"), 512))


def of_the_plane() -> dict[str, Any]:
    """Objects of all windows together, by id, whose centre lies in the area."""
    area = shapely.Polygon(AREA)
    x0, y0, x1, y1 = area.bounds
    around = PixelBox(int(-y1 / 10) - 2, int(x0 / 10) - 2, int(-y0 / 10) + 2, int(x1 / 10) + 2)
    rows, cols = np.mgrid[around.row0 : around.row1, around.col0 : around.col1]
    inside = shapely.contains_xy(area, cols * 10 + 5, -(rows * 10 + 5))
    views = []
    for core in around.blocks(LATTICE.stride):
        part = core & around
        if inside[part.slices(around)].any():
            view = look(core, "2023", SceneOptions())
            views.append(window_candidates(view.detections, core, LATTICE, iou=0.3))
    every = decide_all(together(views), LATTICE.stride, Rules(iou=0.3))
    objects = {}
    for number, shape in enumerate(every.shapes):
        bounds = shape.bounds
        col, row = int((bounds[0] + bounds[2]) // 2), int((bounds[1] + bounds[3]) // 2)
        is_near = around.row0 <= row < around.row1 and around.col0 <= col < around.col1
        if is_near and inside[row - around.row0, col - around.col0]:
            objects[object_id(every.keys[number])] = (shape, every.scores[number])
    return objects


def test_they_are_those_of_the_whole_plane(run: rs.Run) -> None:
    table, wanted = rows_of(run), of_the_plane()
    assert is_of_objects(table.schema)
    assert set(table["id"].to_pylist()) == set(wanted)
    assert table.num_rows == len(wanted) > 500
    for row in table.to_pylist():
        shape, score = wanted[row["id"]]
        in_pixels = shapely.transform(
            shapely.from_wkb(row["geometry"]), lambda xy: np.stack([xy[:, 0], -xy[:, 1]], 1) / 10
        )
        assert in_pixels.symmetric_difference(shape).area < 1e-6
        assert row["score"] == np.float32(score)
        assert row["area_m2"] == pytest.approx(shape.area * 100, rel=2e-3)
        bounds = shape.bounds
        assert row["x"] == pytest.approx(5 * (bounds[0] + bounds[2]))
        assert row["run"] == "formula"
        assert (row["step"], row["span"], row["model"]) == ("ponds", "2023", "abc")
        assert row["name"] == {c.value: c.name for c in CLASSES}[row["class"]]


def test_they_lie_on_all_lines_and_corners_and_are_wider_than_halo_window_and_tile(
    run: rs.Run,
) -> None:
    """What the other tests are about is there: in the map, and for each size of tile."""
    table = rows_of(run)
    bounds = shapely.bounds(shapely.from_wkb(table["geometry"].to_pylist())) / 10
    (x0, y0), (x1, y1) = bounds[:, :2].T, bounds[:, 2:].T
    for tile in TILES:
        across = np.floor(x0 / tile) != np.floor(x1 / tile)
        along = np.floor(y0 / tile) != np.floor(y1 / tile)
        assert (across & ~along).sum() > 20, tile
        assert (along & ~across).sum() > 20, tile
        assert (across & along).sum() >= 4, tile
    side, parts = np.maximum(x1 - x0, y1 - y0), table["parts"].to_numpy()
    for width in (LATTICE.halo, LATTICE.window, min(TILES), 250):
        assert ((side > width) & (parts > 1)).any(), width


def test_lone_objects_on_lines_and_corners_are_there_once(run: rs.Run) -> None:
    """The scene's own objects: of those that overlap no other, each has just one row."""
    boxes, classes = scene(2023)
    tree = shapely.STRtree(shapely.box(*boxes.T))
    one, other = tree.query(shapely.box(*(boxes + np.array([-3, -3, 3, 3])).T))
    alone = np.bincount(one[one != other], minlength=len(boxes)) == 0
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    deep = shapely.contains_xy(
        shapely.Polygon(AREA).buffer(-300), middles[:, 0] * 10, middles[:, 1] * -10
    )
    chosen = np.nonzero(alone & deep)[0]
    table = rows_of(run)
    centres = np.stack([table["x"].to_numpy() / 10, -table["y"].to_numpy() / 10], axis=1)
    values = table["class"].to_numpy()
    counts = []
    for number in chosen:
        x0, y0, x1, y1 = boxes[number]
        inside = (centres[:, 0] > x0) & (centres[:, 0] < x1) & (values == classes[number])
        counts.append(int((inside & (centres[:, 1] > y0) & (centres[:, 1] < y1)).sum()))
    wide = (boxes[chosen, 2:] - boxes[chosen, :2]).max(axis=1)
    small = np.array(counts)[wide < 2 * LATTICE.halo]
    # A window misses some three in a hundred; nothing is there twice.
    assert (small <= 1).all()
    assert (small == 1).mean() > 0.93
    assert len(small) > 25


def test_status_and_facts(run: rs.Run) -> None:
    table, facts = rows_of(run), run.state["steps"]["ponds"]["facts"]
    assert facts["objects"] == table.num_rows
    assert facts["merged"] == int((table["parts"].to_numpy() > 1).sum()) > 0
    assert facts["cut"] == int(table["cut"].to_numpy().sum()) > 0
    assert facts["class_3"] + facts["class_7"] == table.num_rows
    windows = run.state["steps"]["ponds-windows"]["facts"]
    assert windows["windows"] > 0
    assert windows["detections"] >= windows["candidates"] > windows["shared"] > 0
    assert f"{table.num_rows} objects: pond {int(facts['class_3'])}" in run.summary()
    with allowed_scene():
        assert not rs.verify(run.folder.url).damaged


@pytest.mark.slow
@pytest.mark.extended
def test_any_tile_size_gives_the_same(tmp_path: Path, run: rs.Run, two_workers: str) -> None:
    wanted = rows_of(run)
    for tile in TILES:
        client = two_workers if tile in (100, 250) else None
        other = found(tmp_path, tile, client, whole=True)
        assert rows_of(other).equals(wanted), tile
        assert rows_of(other).schema.metadata == wanted.schema.metadata


def test_outlines_in_other_tiles(tmp_path: Path) -> None:
    first = rows_of(found(tmp_path, 100, outlines=True))
    assert rows_of(found(tmp_path, 512, outlines=True)).equals(first)
    points = [len(shapely.from_wkb(wkb).exterior.coords) for wkb in first["geometry"].to_pylist()]
    assert max(points) > 9
    assert min(points) >= 4


def test_an_area_without_objects_has_an_empty_table(tmp_path: Path) -> None:
    run = found(tmp_path, only=99)
    assert run.table("ponds").num_rows == 0
    files = list((Path(run.folder.url) / "tables" / "ponds" / "2023").glob("*.parquet"))
    assert len(files) > 3, "a tile without objects has a file"
    assert "0 objects: pond 0, shed 0" in run.summary()


@pytest.mark.extended
def test_a_run_that_grows_has_the_objects_of_one_at_once(tmp_path: Path) -> None:
    with allowed_scene():
        small = scene_recipe(tmp_path / "small", tile=192, shape=INSIDE)
        rs.run(small, tmp_path / "run", threads=1, device="cpu")
        before = rs.Run(tmp_path / "run").table("ponds").num_rows
        large = scene_recipe(tmp_path / "large", tile=192, whole=True)
        grown = rs.run(large, tmp_path / "run", threads=1, device="cpu")
        done = len(computed(tmp_path / "run", "ponds"))
        later = rs.run(
            {**large, "periods": [2022, 2023]}, tmp_path / "run", threads=1, device="cpu"
        )
    third = computed(tmp_path / "run", "ponds")[done:]
    # The gather has changed; tiles of which no row did are not computed again.
    assert {span for span, _ in third} == {"2022"}
    at_once = found(tmp_path / "once", 192, whole=True)
    table = rows_of(grown)
    del grown
    assert before < table.num_rows
    of_2023 = rows_of(later).filter(pa.compute.field("span") == "2023")
    assert of_2023.equals(rows_of(at_once))


def test_another_recipe_updates_a_run(tmp_path: Path) -> None:
    first = rows_of(found(tmp_path / "first", 512))
    wanted = rows_of(found(tmp_path / "once", 512, noise=2.0))
    with allowed_scene():
        other = scene_recipe(tmp_path / "other", tile=512, noise=2.0)
        out = tmp_path / "first" / "run-512"
        with pytest.raises(RunFolderError, match=r"steps\.ponds\.noise differ.*--update"):
            rs.run(other, out, threads=1, device="cpu")
        updated = rs.run(other, out, threads=1, device="cpu", update=True)
    assert not wanted.equals(first)
    assert rows_of(updated).equals(wanted)


@pytest.mark.extended
@pytest.mark.parametrize(
    ("point", "done"),
    [
        # The gather is the tile x0_y0, where the area has none.
        ("after-shards@x0_y0=kill", {"ponds-windows": 26}),
        ("after-shards@x733_y4983=kill", {}),
    ],
)
def test_killed_and_resumed(
    tmp_path: Path, in_part: pa.Table, point: str, done: dict[str, int]
) -> None:
    out = tmp_path / "killed"
    code = KILLED.format(path=sys.path, folder=str(tmp_path), out=str(out))
    with allowed_scene():
        killed = run_forked(code, env={"RSSCALE_FAILPOINTS": point})
        assert killed.returncode == -signal.SIGKILL
        for step, count in done.items():
            assert len(list((out / "ledger" / step).rglob("*.json"))) == count
        assert not (out / "ledger" / "ponds").exists()
        run = rs.resume(out)
    assert rows_of(run).equals(in_part)


@pytest.mark.extended
def test_killed_in_the_last_step_and_resumed(tmp_path: Path, in_part: pa.Table) -> None:
    out = tmp_path / "killed"
    code = KILLED.format(path=sys.path, folder=str(tmp_path), out=str(out))
    with allowed_scene():
        # In the gather first, so that no step but the last one has this tile left to do.
        for point in ("after-shards@x0_y0=kill", "after-shards@x733_y4983=kill"):
            killed = run_forked(code, env={"RSSCALE_FAILPOINTS": point})
            assert killed.returncode == -signal.SIGKILL
        assert len(list((out / "ledger" / "ponds-decided").rglob("*.json"))) == 1
        assert len(list((out / "ledger" / "ponds").rglob("*.json"))) < 26
        run = rs.resume(out)
    assert rows_of(run).equals(in_part)


@pytest.mark.extended
def test_a_worker_of_two_is_killed(tmp_path: Path, in_part: pa.Table) -> None:
    """While it holds a tile of windows: the other worker goes on."""
    out, once = tmp_path / "killed", tmp_path / "once"
    code = KILLED.format(path=sys.path, folder=str(tmp_path), out=str(out))
    with allowed_scene():
        ended = run_forked(
            code.replace("threads=1", "client='local:2', threads=1"),
            env={
                "PYTHONPATH": os.pathsep.join(sys.path),
                "RSSCALE_FAILPOINTS": "after-shards@x733_y4983=kill",
                "RSSCALE_FAILPOINT_ONCE": str(once),
            },
        )
    assert ended.returncode == 0, ended.stderr
    assert once.exists()
    assert rows_of(rs.Run(out)).equals(in_part)


KILLED = """
import sys
sys.path[:0] = {path!r}
import rsscale as rs
from pathlib import Path
from scene_objects import scene_recipe
rs.run(scene_recipe(Path({folder!r}), tile=100), {out!r}, threads=1, device="cpu")
"""
