"""What a run computes with is asked of the machines that will compute it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client, Event, LocalCluster, Nanny, Scheduler, SpecCluster
from landscape import Landscape

import rsscale as rs
from rsscale.cluster import machine
from rsscale.cluster.machine import Machine, machine_of
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import ModelError, RecipeError

BOTH = frozenset({"cpu", "cuda"})
LIMIT = 3 * 10**9
HOSTS = ("127.0.0.1", "127.0.0.1", "127.0.0.2")  # one worker of each host is asked


@pytest.fixture(scope="module")
def cluster() -> Iterator[SpecCluster]:
    """Three worker processes that a user started, with a limit of their own, two on one host."""
    workers = {
        number: {"cls": Nanny, "options": {"host": host, "nthreads": 1, "memory_limit": LIMIT}}
        for number, host in enumerate(HOSTS)
    }
    options = {"host": HOSTS[0], "dashboard_address": ":0", "port": 0}
    with (
        SpecCluster(workers=workers, scheduler={"cls": Scheduler, "options": options}) as found,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(machine, "_ANSWER_S", 120.0)  # however busy this machine is
        machine_of(found.scheduler_address)  # now torch is imported; they answer at once
        yield found


def test_a_local_cluster_shares_this_machine() -> None:
    here, shared = machine_of(None), machine_of("local:2")
    assert here.cores == os.cpu_count()
    assert shared.cores == max(here.cores // 2, 1)
    assert shared.memory == here.memory // 2 == psutil.virtual_memory().total // 2
    with pytest.raises(RecipeError, match="'locl' is not known"):
        machine_of("locl")


@pytest.mark.extended
def test_workers_tell_of_themselves(cluster: SpecCluster) -> None:
    found = machine_of(cluster.scheduler_address)
    assert found == Machine(
        cores=max((os.cpu_count() or 1) // 2, 1),
        memory=LIMIT,
        devices=Machine.here().devices,
        bfloat16=Machine.here().bfloat16,
    )


@pytest.mark.extended
def test_busy_workers_answer_too(cluster: SpecCluster) -> None:
    with Client(cluster.scheduler_address) as client:
        done = [client.submit(_until, "go", pure=False) for _ in HOSTS]
        assert machine_of(cluster.scheduler_address).cores == max((os.cpu_count() or 1) // 2, 1)
        assert not any(one.done() for one in done)
        Event("go", client).set()
        assert [one.result(60) for one in done] == [True] * 3


def _until(name: str) -> bool:
    return Event(name).wait(timeout=60)


@pytest.mark.extended
def test_a_worker_that_does_not_answer_is_not_waited_for(
    cluster: SpecCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "_ANSWER_S", 1.0)
    stopped = [one.process.pid for one in cluster.workers.values()]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        found = machine_of(cluster.scheduler_address)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert found.memory == LIMIT  # which the scheduler knows
    assert found.cores == os.cpu_count()
    assert "did not say within 1 s" in caplog.text
    assert "taken to be like this machine" in caplog.text


@pytest.mark.extended
def test_one_that_does_not_answer_is_told_beside_one_that_does(
    cluster: SpecCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "_ANSWER_S", 3.0)
    silent = cluster.workers[HOSTS.index("127.0.0.2")]
    address = silent.worker_address
    os.kill(silent.process.pid, signal.SIGSTOP)
    try:
        said = machine_of(cluster.scheduler_address)
    finally:
        os.kill(silent.process.pid, signal.SIGCONT)
    assert said.devices == Machine.here().devices
    (line,) = [one for one in caplog.messages if "did not say within 3 s" in one]
    assert line.startswith(address)
    assert line.endswith("taken to be like the others")


@pytest.mark.extended
def test_a_tile_that_does_not_fit_into_a_worker_is_refused(
    cluster: SpecCluster, landscape: Landscape, tmp_path: Path
) -> None:
    recipe = landscape.recipe(grid={"crs": "EPSG:32631", "resolution": 10, "tile": 16384})
    with pytest.raises(RecipeError, match=r"it may take 2\.8 GiB"):
        rs.run(recipe, tmp_path / "run", cluster.scheduler_address, device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_scheduler_without_workers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_WORKERS_WITHIN_S", 0.5)
    with (
        LocalCluster(
            n_workers=0, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as empty,
        pytest.raises(RecipeError, match=r"has no worker; start some, .* `dask worker tcp://"),
    ):
        machine_of(empty.scheduler_address)


def test_the_device_is_the_workers_not_the_clients() -> None:
    gpu = Machine(8, 2**35, BOTH, frozenset({"cuda"}))
    assert NumericProfile.on(gpu) == NumericProfile("cuda", 8)
    assert NumericProfile.on(gpu, "cpu", 2) == NumericProfile("cpu", 2)
    assert NumericProfile.on(gpu, precision="bfloat16").precision == "bfloat16"
    with pytest.raises(ModelError, match="'cpu' has no instructions for it"):
        NumericProfile.on(gpu, "cpu", precision="bfloat16")
    with pytest.raises(ModelError, match="torch sees no GPU"):
        NumericProfile.on(Machine(8, 2**35), "cuda")


def test_workers_of_two_kinds_are_told() -> None:
    plain, gpu = Machine(4, 2**34, frozenset({"cpu"})), Machine(8, 2**35, BOTH, BOTH)
    mixed = machine._least([plain, gpu], [])
    assert mixed == Machine(4, 2**34, frozenset({"cpu"}), is_mixed=True)
    with pytest.raises(ModelError, match="some of the workers see a GPU and others none"):
        NumericProfile.on(mixed)
    with pytest.raises(ModelError, match="some of the workers see no GPU"):
        NumericProfile.on(mixed, "cuda")
    assert NumericProfile.on(mixed, "cpu") == NumericProfile("cpu", 4)
