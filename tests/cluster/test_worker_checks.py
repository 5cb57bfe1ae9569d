"""Workers say whether they can compute a run before any tile is handed out."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from formula_pass import SMALL, allowed, formula_recipe
from landscape import Landscape

import rsscale as rs
from rsscale.cluster import machine
from rsscale.cluster.engine import Stop
from rsscale.cluster.machine import Machine, check_workers
from rsscale.cluster.sealed import Sealed
from rsscale.cluster.versions import versions
from rsscale.errors import ModelError, ReadError, RunFolderError
from rsscale.runs.worker import check_here


@pytest.fixture(scope="module")
def client(two_workers: str) -> Iterator[Client]:
    with Client(two_workers) as found:
        found.wait_for_workers(2, timeout=60)
        yield found


@pytest.fixture
def run(tmp_path: Path) -> rs.Run:
    with allowed():
        recipe = formula_recipe(tmp_path, tile=512, shape=SMALL)
        return rs.run(recipe, tmp_path / "run", device="cpu", threads=1)


def checked(client: Client, run: rs.Run, **changes: Any) -> None:
    arguments = [str(run.path), run.state["plan"], changes.get("versions", versions())]
    check_workers(client, Sealed(partial(check_here, *arguments)), Stop())


def test_workers_that_can_compute_say_nothing(client: Client, run: rs.Run) -> None:
    before = sorted(path for path in Path(run.path).rglob("*"))
    checked(client, run)
    assert sorted(path for path in Path(run.path).rglob("*")) == before


def test_other_packages_are_told(client: Client, run: rs.Run) -> None:
    told = r"2 of 2 workers can't .*: tcp://\S+ \(and 1 more\): .* other packages .*torch \S+ for 9"
    with pytest.raises(RunFolderError, match=told):
        checked(client, run, versions={**versions(), "torch": "9.9"})


def test_a_folder_that_workers_do_not_see_is_told(client: Client, run: rs.Run) -> None:
    shutil.rmtree(run.path)
    told = "workers can't compute this run: .* is not a run folder: it has no run.json"
    with pytest.raises(RunFolderError, match=told):
        check_workers(client, Sealed(partial(check_here, str(run.path), "", versions())), Stop())


def failing(process: int) -> None:
    if os.getpid() == process:
        raise ReadError("the disk of this machine\nis gone")


def test_one_worker_is_told_by_its_address(client: Client) -> None:
    where, process = min(client.run(os.getpid).items())
    told = f"^1 of 2 workers can't compute this run: {where}: the disk of this machine is gone$"
    with pytest.raises(RunFolderError, match=told):
        check_workers(client, Sealed(partial(failing, process)), Stop())


class Absent:
    """Can be sent, and not be opened there."""

    def __reduce__(self) -> Any:
        return __import__, ("a_module_that_is_nowhere",)


def test_an_environment_without_what_is_needed_is_told(client: Client) -> None:
    with pytest.raises(RunFolderError, match=r"2 of 2 .* another environment \(.*a_module_that"):
        check_workers(client, Absent(), Stop())  # type: ignore[arg-type]


def slowly(seconds: float) -> None:
    time.sleep(seconds)


def test_one_that_does_not_answer_is_not_waited_for(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "_CHECKED_WITHIN_S", 0.1)
    check_workers(client, Sealed(partial(slowly, 1.0)), Stop())
    assert "did not say within 0.1 s whether they can compute" in caplog.text


def test_workers_that_are_still_queued_for_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_LOOK_S", 0.01)

    class Waiting:
        status = "running"

        def scheduler_info(self, **_: Any) -> dict[str, Any]:
            return {"workers": {}}

    stop = Stop()
    threading.Timer(0.1, stop.ask).start()
    check_workers(Waiting(), failing, stop)  # type: ignore[arg-type]
    assert stop.asked


def test_a_model_that_is_lost_is_told(landscape: Landscape, tmp_path: Path) -> None:
    recipe = landscape.part(bbox=[6.015, 44.98, 6.02, 44.985])
    run = rs.run(recipe, tmp_path / "run", device="cpu", threads=1)
    check_here(str(run.path), run.state["plan"], versions())
    shutil.rmtree(tmp_path / "run" / "models")
    with pytest.raises(RunFolderError, match=r"models/\w+ is not there any more"):
        check_here(str(run.path), run.state["plan"], versions())


def test_a_device_that_is_not_there_is_told(run: rs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "here", lambda *_: Machine(1, 2**30, frozenset({"cuda"})))
    with (
        allowed(),
        pytest.raises(ModelError, match="computes on 'cpu', and torch sees none on this machine"),
    ):
        check_here(str(run.path), run.state["plan"], versions())
