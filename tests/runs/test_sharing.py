"""A run that several processes share without a scheduler: the same product, whoever leads."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from array_runs import Array, write_recipe
from fault_cluster import until
from fault_runs import Run, check_same
from formula_pass import SMALL, allowed, formula_recipe

import rsscale as rs
from rsscale.array.members import joined
from rsscale.cluster.connection import connect
from rsscale.cluster.machine import Machine
from rsscale.errors import (
    FolderHeldError,
    ModelError,
    MoreToDoError,
    RecipeError,
    RunFolderError,
    TilesFailedError,
)
from rsscale.runs import sharing
from rsscale.runs.run import RunOptions, resume, run
from rsscale.store.lease import acquire
from rsscale.store.storage import open_storage

SETTINGS: dict[str, Any] = {"device": "cpu", "threads": 1}


@pytest.fixture(scope="module", autouse=True)
def formula_is_allowed() -> Iterator[None]:
    with allowed():
        yield


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("array"), tile=192)


@pytest.fixture(scope="module")
def reference(recipe: Path) -> Run:
    """By one process, without an array."""
    path = recipe.parent / "reference"
    run(recipe, path, **SETTINGS)
    return Run(path, recipe)


def small(folder: Path, **changes: Any) -> dict[str, Any]:
    return formula_recipe(folder, tile=256, shape=SMALL, **changes)


def as_array(recipe: Any, out: Path, **options: Any) -> rs.Run:
    return run(recipe, out, "array", **{**SETTINGS, **options})


@pytest.mark.extended
def test_members_of_one_array_make_the_product_of_one_process(
    recipe: Path, reference: Run, tmp_path: Path
) -> None:
    """Three at once: threads here, with a membership each."""
    out = tmp_path / "run"
    with ThreadPoolExecutor(3) as threads:
        runs = list(threads.map(lambda _: as_array(recipe, out), range(3)))
    assert {found.state["state"] for found in runs} == {"done"}
    shared = Run(out, recipe)
    check_same(shared, reference)
    assert sorted(shared.tiles_in_events()) == sorted(reference.entries())
    assert len({event["worker"] for event in shared.events("tile")}) == 3
    assert [event["event"] for event in shared.events() if event["event"] != "tile"] == [
        "started",
        "done",
    ]
    assert {p.name for p in (out / "array").rglob("*") if p.is_file()} == {"ended.json"}
    facts = [{n: s["facts"] for n, s in r.state["steps"].items()} for r in (shared, reference)]
    assert facts[0] == facts[1]


@pytest.mark.extended
def test_when_who_leads_is_killed_the_others_go_on(
    recipe: Path, reference: Run, tmp_path: Path
) -> None:
    array = Array.at(tmp_path / "run", recipe)
    try:
        leader = array.start()
        until(lambda: array.run.entry_count() >= 5, "tiles of who leads")
        others = [array.start()]
        members = tmp_path / "run" / "array" / "members"
        until(lambda: len(list(members.glob("*.json"))) == 2, "the other")
        before = array.run.entries()
        leader.signal(signal.SIGKILL)
        (ended,) = array.wait(*others)
    finally:
        array.close()
    assert ended.code == 0, ended.err
    check_same(array.run, reference)
    assert [event["epoch"] for event in array.run.events("started")] == [1, 2]
    kept = {key: at for key, at in array.run.entries().items() if key in before}
    assert sum(kept[key] != before[key] for key in before) <= 6  # what was in flight, at most


@pytest.mark.extended
def test_who_comes_when_all_is_done_has_nothing_to_do(tmp_path: Path) -> None:
    out, recipe = tmp_path / "run", small(tmp_path)
    as_array(recipe, out)
    events = (out / "events.jsonl").read_text()
    leases = sorted((out / "lease").iterdir())
    assert as_array(recipe, out).state["state"] == "done"
    resume(out, "array")
    assert (out / "events.jsonl").read_text() == events
    assert sorted((out / "lease").iterdir()) == leases
    grown = as_array({**recipe, "periods": [2023, 2024]}, out)
    assert [str(time)[:4] for time in grown.open().time.values] == ["2023", "2024"]
    assert len(list((out / "lease").iterdir())) == len(leases) + 1


def test_failed_tiles_are_told_by_all_and_tried_by_who_comes_next(tmp_path: Path) -> None:
    out, mark = tmp_path / "run", tmp_path / "broken"
    mark.touch()
    recipe = small(tmp_path)
    tile = next(iter(Run(run(recipe, tmp_path / "whole", **SETTINGS).path, tmp_path).entries()))[1]
    recipe["steps"]["map"] |= {"fails": [tile], "while_there": str(mark)}

    def outcome(_: int) -> str:
        try:
            as_array(recipe, out)
        except TilesFailedError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as threads:
        told = set(threads.map(outcome, range(2)))
    assert len(told) == 1
    assert f"1 tile failed (map/2023/{tile})" in told.pop()
    mark.unlink()
    assert resume(out, "array").state["state"] == "done"
    whole, found = (rs.Run(path).open().load() for path in (tmp_path / "whole", out))
    for name in whole.data_vars:
        assert np.array_equal(found[name], whole[name], equal_nan=found[name].dtype.kind == "f")


class Leading:
    """A run that somebody leads, and does not go on with until it is told to."""

    def __init__(self, out: Path, recipe: Any) -> None:
        self.out, self.recipe = out, recipe
        self.go_on = threading.Event()

    def __enter__(self) -> Self:
        run(self.recipe, self.out, **SETTINGS)
        self._threads = ThreadPoolExecutor(1)
        ready = threading.Event()

        def lead() -> None:
            place = open_storage(self.out)
            with joined(place, 2) as me, acquire(place) as lease:
                crew = sharing.Crew(place, me, 0.05)
                with crew.leading(lease.epoch, rs.Run(self.out).state["plan"], self.versions):
                    ready.set()
                    assert self.go_on.wait(60)

        self._future = self._threads.submit(lead)
        assert ready.wait(30)
        return self

    versions: Any = sharing.versions()

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._future.result()
        self._threads.shutdown()


def test_another_recipe_is_refused_by_who_would_help(tmp_path: Path) -> None:
    recipe = small(tmp_path)
    with Leading(tmp_path / "run", recipe) as led:
        with pytest.raises(RunFolderError, match=r"another recipe: periods.2024 differ; start all"):
            as_array({**recipe, "periods": [2023, 2024]}, led.out)
        longer = {**recipe, "steps": {**recipe["steps"], "o": {"kind": "overviews", "of": "map"}}}
        with pytest.raises(RunFolderError, match=r"another recipe: steps\.o differ"):
            as_array(longer, led.out)


def test_other_packages_are_refused_by_who_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Leading, "versions", {**sharing.versions(), "numpy": "9.9"})
    with (
        Leading(tmp_path / "run", small(tmp_path)) as led,
        pytest.raises(RunFolderError, match=r"has other packages than the client \(numpy 2\.\d+ f"),
    ):
        resume(led.out, "array")


def test_a_device_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Leading(tmp_path / "run", small(tmp_path)) as led:
        here = replace(Machine.here(), devices=frozenset({"cuda"}))
        monkeypatch.setattr(Machine, "here", lambda *_: here)
        with pytest.raises(ModelError, match="computes on 'cpu', and torch sees none on"):
            resume(led.out, "array")


def test_who_helps_ends_when_time_is_short(tmp_path: Path) -> None:
    with Leading(tmp_path / "run", small(tmp_path)) as led:
        with pytest.raises(MoreToDoError, match="the other processes of the array go on"):
            resume(led.out, "array", watch=RunOptions(walltime_s=0.0))
        assert MoreToDoError.exit_code == 75


@pytest.mark.parametrize("cluster", [None, "array"])
def test_a_run_whose_time_is_short_begins_nothing(tmp_path: Path, cluster: str | None) -> None:
    recipe, out = small(tmp_path), tmp_path / "run"
    with pytest.raises(MoreToDoError, match=r"the time is over with 0 of \d+ tiles done; go on"):
        run(recipe, out, cluster, **SETTINGS, watch=RunOptions(walltime_s=0.0))
    assert rs.Run(out).state["state"] == "interrupted"
    assert as_array(recipe, out).state["state"] == "done"


def test_slurm_says_when_a_job_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 1))
    with pytest.raises(MoreToDoError):
        run(small(tmp_path), tmp_path / "run", **SETTINGS)


def test_no_array_works_beside_a_run_of_another_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_STRANGER_S", 0.1)
    # One process can't be both: who holds is another one, which lives.
    recipe, out = small(tmp_path), tmp_path / "run"
    run(recipe, out, **SETTINGS)
    with acquire(open_storage(out)):
        (newest,) = (out / "lease").glob("*2.json")
        holder = json.loads(newest.read_text()) | {"pid": 1, "host": "elsewhere"}
        newest.write_text(json.dumps(holder))
        with pytest.raises(
            FolderHeldError, match=r"process 1 on elsewhere .*, and not as an array"
        ):
            as_array(recipe, out)


def test_an_array_is_for_runs() -> None:
    with (
        pytest.raises(RecipeError, match="'array' shares the tiles of a run"),
        connect("array"),
    ):
        pass
    with pytest.raises(RecipeError, match="step 'apply' has a function of this process"):
        sharing.refuse_by_value(type("Given", (), {"step": "apply"})())
