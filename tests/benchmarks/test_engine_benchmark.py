"""The benchmark's own parts: files, outputs, ranking, counting, and one small contest."""

import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from benchmarks import country, scaling
from benchmarks.engine import limit, processes, table
from benchmarks.engine.case import Case
from benchmarks.engine.contenders import bare, rsscale_way
from benchmarks.engine.counting import counted
from benchmarks.engine.models import write_models
from benchmarks.engine.outputs import Agreement, compare, make_reference, read_classes
from benchmarks.engine.scenes import write_catalog, write_scenes
from benchmarks.engine.tiff import BLOCK, compress, write_tiff
from benchmarks.engine.tournament import Standing, ratio
from rsscale.cluster.connection import TILES_AT_ONCE, connect


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Two scenes of one block, served from the disk."""
    torch.set_num_threads(1)
    case = Case(str(tmp_path_factory.mktemp("case")), 1, 2, BLOCK, "two-layer", 1)
    write_scenes(case)
    write_models(case.path)
    write_catalog(case, str(case.path / "scenes"))
    make_reference(case)
    return case


def test_gdal_reads_the_files_that_are_written_by_hand(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (2 * BLOCK, 2 * BLOCK), np.uint16)
    blocks = [
        compress(values[top : top + BLOCK, left : left + BLOCK])
        for top in (0, BLOCK)
        for left in (0, BLOCK)
    ]
    transform = Affine(10, 0, 409_600, 0, -10, 5_120_000)
    write_tiff(tmp_path / "a.tif", 2 * BLOCK, blocks, transform, 32632)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), values)
        assert dataset.transform == transform
        assert dataset.crs.to_epsg() == 32632
        assert dataset.nodata == 0
        assert dataset.block_shapes == [(BLOCK, BLOCK)]
        assert dataset.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "DEFLATE"


def test_no_two_files_of_a_country_are_the_same(case: Case) -> None:
    contents = {path.read_bytes() for path in (case.path / "scenes").glob("*.tif")}
    assert len(contents) == 2 * 3 * 4


def test_rsscale_and_a_bare_loop_make_the_reference(case: Case, tmp_path: Path) -> None:
    assert len(np.unique(np.load(case.path / "reference-two-layer.npy"))) > 2
    for number, (make, options) in enumerate(
        [(bare, {}), (rsscale_way, {"tile": BLOCK, "cluster": None, "threads": 1})]
    ):
        out = tmp_path / str(number)
        out.mkdir()
        assert make(case, options, out) > 0
        agreement = compare(case, read_classes(out), BLOCK)
        assert agreement.passed, agreement


def test_the_limit_tells_every_stage(case: Case, tmp_path: Path) -> None:
    assert limit.limit(case, {}, tmp_path) > 0
    stages = json.loads((tmp_path / "stages.json").read_text())
    assert min(stages.values()) > 0
    assert limit.strict(stages) <= limit.total(stages)


def test_a_seam_is_found_where_the_work_was_cut(case: Case) -> None:
    right = np.load(case.path / "reference-two-layer.npy")
    assert compare(case, right, BLOCK, right) == Agreement(1.0, 1.0, 0.0)
    wrong = right.copy()
    wrong[:, BLOCK - 1 : BLOCK + 1] = 0
    found = compare(case, wrong, BLOCK, right)
    assert found.lines < 0.95
    assert found.inside > 0.99  # which alone would look like noise
    assert found.seam > 0
    assert not found.passed
    assert not compare(case, right[:-1], BLOCK).passed


def test_another_map_is_marked_and_not_ranked(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = Agreement(1.0, 1.0), Agreement(0.9, 0.5)
    standings = {
        "bare torch": Standing("bare torch", seconds=[2.0, 2.0], agreement=good),
        "rsscale": Standing("rsscale", seconds=[4.0, 5.0], agreement=good),
        "rsscale local:1": Standing("rsscale local:1", seconds=[0.1, 0.1], agreement=bad),
    }
    rows = table.show(case, standings)["rows"]
    assert [row["ranked"] for row in rows] == [True, True, False]
    assert table.fastest_rsscale(standings) is standings["rsscale"]
    assert "NOT RANKED" in capsys.readouterr().out


def test_ratios_are_of_the_same_round() -> None:
    noisy = [1.0, 10.0, 3.0]
    twice = [2.0, 20.0, 6.0]
    found = ratio(Standing("a", seconds=noisy), Standing("b", seconds=twice))
    assert found == (2.0, 2.0, 2.0)


def test_memory_is_that_of_the_whole_tree(tmp_path: Path) -> None:
    held = 200 * 2**20
    inner = f"import time; a = b'x' * {held}; open('held', 'w').close(); time.sleep(60)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    outer = f"import os; os.chdir({str(tmp_path)!r}); {outer}"
    ready = tmp_path / "held"
    ended = processes.run(
        [sys.executable, "-c", outer], tmp_path / "log", timeout=60, until=ready.exists
    )
    assert ended.code == -9
    assert ended.peak_bytes > held


def test_a_kill_reaches_grandchildren(tmp_path: Path) -> None:
    inner = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    log = tmp_path / "log"
    ended = processes.run(
        [sys.executable, "-c", outer], log, timeout=60, until=lambda: bool(log.read_text().strip())
    )
    grandchild = Path("/proc") / ended.output.strip() / "stat"

    def is_gone() -> bool:  # it is reaped by init, when init gets to it
        try:
            return grandchild.read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    for _ in range(500):
        if is_gone():
            break
        threading.Event().wait(0.01)
    assert is_gone()


def test_tasks_and_graphs_are_counted() -> None:
    with connect("local:1") as client, counted(client) as counts:
        client.submit(os.getpid, pure=False).result()  # before the clock
        with counts:
            for future in client.map(abs, range(-5, 0), pure=False):
                future.result()
    assert counts.tasks == 5
    assert counts.slots == TILES_AT_ONCE
    assert 1 <= counts.in_flight <= 5
    assert 100 < counts.graph_bytes <= counts.sent_bytes < 100_000


def test_events_that_were_cut_short_are_left_out(tmp_path: Path) -> None:
    assert country.tile_events(tmp_path) == []
    whole = {"event": "tile", "step": "map", "span": "2023", "tile": "x1_y2"}
    lines = [json.dumps({"event": "started"}), json.dumps(whole), '{"event": "ti']
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    assert country.tile_events(tmp_path) == [["2023", "x1_y2"]]


@pytest.mark.extended
def test_the_first_tile_of_a_country_that_is_not_there(tmp_path: Path) -> None:
    imported, process, memory = scaling.first_tile(tmp_path, tiles=100, repeats=1, times=4)
    assert {goal["target"] for goal in (imported, process, memory)} == {5}
    pairs = zip(imported["values"], process["values"], strict=True)
    assert all(0 < early < late for early, late in pairs)
    assert memory["value"] == pytest.approx(1.0, abs=0.2)


def test_a_case_survives_another_process(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path / "case.json")
    assert Case.read(tmp_path / "case.json") == case
    assert replace(case, rows=3).pixels == 3 * case.pixels
