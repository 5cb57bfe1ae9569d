"""What a run tells of itself: no line for people ends it, and a dead one says that it is dead."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from index_pass import IndexPass, index_recipe

import rsscale as rs
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RsscaleError
from rsscale.geo.lattice import PixelBox
from rsscale.monitoring.summary import summary
from rsscale.plans.plan import RunPlan
from rsscale.read.stage_timer import StageTimer
from rsscale.steps.base import Block, Resources, Result
from rsscale.steps.evaluate import evaluate
from rsscale.store.lease import Holder
from rsscale.store.run_folder import RunFolder

OPTIONS: dict[str, Any] = {"threads": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def index_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSSCALE_PASSES", "index_pass")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("status")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RSSCALE_PASSES", "index_pass")
        rs.run(index_recipe(folder, tile=512), folder / "run", **OPTIONS)
    return folder / "run"


def raises(*_: Any) -> Any:
    raise KeyError("water")


@pytest.mark.parametrize(
    ("describe", "lines"),
    [
        (lambda *_: "map  many pixels", ["map  many pixels"]),
        (lambda *_: ["one", 2, "three\nfour"], ["one", "2", "three", "four"]),
        (lambda *_: None, []),
        (raises, ["map  describe failed: KeyError: 'water'"]),
        (lambda *_: (facts for facts in raises()), ["map  describe failed: KeyError: 'water'"]),
    ],
)
def test_lines_for_people_end_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, describe: Any, lines: list[str]
) -> None:
    monkeypatch.setattr(IndexPass, "describe", describe)
    run = rs.run(index_recipe(tmp_path, tile=512), tmp_path / "run", **OPTIONS)
    assert run.state["state"] == "done"
    assert run.state["steps"]["map"]["lines"] == lines
    assert all(line in run.summary() for line in lines)


@pytest.mark.parametrize(
    "keys", ["in_flight", "tiles", "seconds", "peak_rss_bytes", "steps", "order", "rate", "state"]
)
def test_a_summary_needs_no_key(finished: Path, keys: str) -> None:
    whole = rs.Run(finished).state | {"state": "running", "in_flight": 1}
    assert summary({k: v for k, v in whole.items() if k != keys}, "out")
    assert summary({}, "out") == "unknown: 0 of 0 tiles, 0 failed"


def holder(state: str, finished: Path, **of_holder: Any) -> dict[str, Any]:
    folder = RunFolder.at(finished)
    folder.write_state(folder.read_state() | {"state": state})
    fields = Holder.me(60.0).__dict__ | of_holder
    name = max(folder.storage.names("lease"))
    folder.storage.write(name, json.dumps(fields).encode())
    return fields


def gone() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("state", "go_on"),
    [
        ("running", "rsscale resume {}"),
        ("planned", "rsscale resume {}"),
        ("updating", "rsscale run RECIPE --out {} --update"),
        ("extending", "rsscale run RECIPE --out {}"),
    ],
)
def test_a_run_whose_process_is_gone_is_dead(finished: Path, state: str, go_on: str) -> None:
    fields = holder(state, finished, pid=gone())
    run = rs.Run(finished)
    dead = run.status()["dead"]
    assert dead == {"host": fields["host"], "pid": fields["pid"], "go_on": go_on.format(finished)}
    text = run.summary()
    assert text.startswith("dead: ")
    assert f"process {fields['pid']} on {fields['host']}" in text
    assert go_on.format(finished) in text
    assert "in flight" not in text


def test_a_run_that_is_at_work_or_ended_is_not_dead(finished: Path) -> None:
    holder("running", finished)
    assert "dead" not in rs.Run(finished).status()
    holder("running", finished, host="elsewhere")
    assert "dead" not in rs.Run(finished).status()
    holder("done", finished, pid=gone())
    assert "dead" not in rs.Run(finished).status()
    holder("running", finished, released=True)  # it ended by an error of its own
    assert "dead" in rs.Run(finished).status()
    holder("running", finished, host="elsewhere", until=0.0)
    assert "dead" in rs.Run(finished).status()
    holder("done", finished)


def test_run_json_is_json(finished: Path) -> None:
    folder = RunFolder.at(finished)
    before = folder.read_state()
    folder.write_state(before | {"rate": {"tiles_per_s": float("nan")}, "x": [float("inf"), 1.5]})
    assert "NaN" not in (finished / "run.json").read_text()
    assert folder.read_state()["rate"] == {"tiles_per_s": None}
    assert folder.read_state()["x"] == [None, 1.5]
    folder.write_state(before)


def test_a_read_outside_of_counted_work_is_work_and_one_inside_once() -> None:
    timer = StageTimer()
    with timer.reading(3):
        pass
    assert timer.working_s == timer.reading_s > 0
    with timer.working(), timer.working(), timer.reading(4):
        pass
    assert timer.working_s > timer.reading_s
    assert timer.decoded_bytes == 7


@pytest.mark.parametrize("read", [0.0, 0.01, 5.0])
def test_stages_of_a_pass_that_reads_by_itself_add_up(
    finished: Path, monkeypatch: pytest.MonkeyPatch, read: float
) -> None:
    compute = IndexPass.run

    def lazily(self: IndexPass, block: Block) -> Result:
        with block.resources.meter.reading(1):
            pass
        block.resources.meter.reading_s += read  # of many threads at once
        block.resources.meter.working_s += read
        return compute(self, block)

    monkeypatch.setattr(IndexPass, "run", lazily)
    seconds = of_one_tile(finished)
    assert set(seconds) == {"read", "prepare", "compute"}
    assert min(seconds.values()) >= 0
    assert sum(seconds.values()) < 4.0


def of_one_tile(finished: Path) -> Any:
    plan = RunPlan.read(RunFolder.at(finished))
    step: Any = plan.steps[0]
    key = next(plan.keys(step))
    resources = Resources(NumericProfile("cpu", 1))
    grid, shape = plan.grid, plan.setup.shape
    core = PixelBox(*plan.tile(key).box.__dict__.values())
    return evaluate(step, key, core, grid=grid, shape=shape, resources=resources).seconds


def test_seconds_that_a_pass_gives_are_numbers(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = IndexPass.run

    def giving(**seconds: Any) -> Any:
        return lambda self, block: Result(layers=compute(self, block).layers, seconds=seconds)

    monkeypatch.setattr(IndexPass, "run", giving(infer=-1.0))
    assert of_one_tile(finished)["infer"] == 0.0
    monkeypatch.setattr(IndexPass, "run", giving(infer="long"))
    with pytest.raises(RsscaleError, match="step 'map' gave seconds of 'infer' as 'long'"):
        of_one_tile(finished)
