"""Slurm itself: jobs as recipes/schedule has them, cancelled, killed, out of time; the product."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from array_runs import write_recipe
from fault_cluster import ROOT, environment, until
from fault_runs import Run, check_same
from slurm_cluster import Slurm, missing

pytestmark = [
    pytest.mark.clusters,
    pytest.mark.skipif(bool(missing()), reason=f"not on this machine: {', '.join(missing())}"),
    pytest.mark.skipif(os.getuid() != 0, reason="the daemons of Slurm want root"),
]
ARRAY, DRIVER = (ROOT / "recipes/schedule" / name for name in ("slurm-array.sh", "slurm-driver.sh"))
SMALL_JOB = ["--cpus-per-task=1", "--mem=2G"]
WORKERS = {"kind": "slurm", "workers": 2, "cores": 1, "memory": "2GB", "walltime": "00:10:00"}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    found = Slurm(tmp_path_factory.mktemp("slurm") / "cluster")
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    return write_recipe(folder, cluster=WORKERS)


@pytest.fixture(scope="module")
def reference(recipe: Path) -> Run:
    alone = yaml.safe_load(recipe.read_text())
    del alone["cluster"]
    path = recipe.with_name("alone.yaml")
    path.write_text(yaml.safe_dump(alone))
    found = Run(recipe.parent / "reference", path)
    ended = found.do("run")
    assert ended.code == 0, ended.err
    return found


def submit(slurm: Slurm, script: Path, run: Run, *options: str, tile_s: float) -> str:
    """Submit a script as it is shipped, whose tiles take some seconds."""
    bin_ = Path(sys.executable).parent
    env = environment(
        PATH=f"{bin_}{os.pathsep}{os.environ['PATH']}",
        RSSCALE_FAILPOINTS=f"tile-start=wait:{tile_s}",
    )
    words = [str(run.recipe), str(run.path), "--device", "cpu"]
    words += ["--threads", "1"] if script == DRIVER else []
    place = [f"--output={run.path.parent}/%x-%A_%a.log", f"--chdir={run.path.parent}"]
    return slurm.submit(script, *words, options=[*SMALL_JOB, *place, *options], env=env)


def logs(run: Run) -> str:
    return "\n".join(path.read_text() for path in sorted(run.path.parent.glob("*.log")))


def test_an_array_of_which_a_job_is_cancelled_and_another_killed(
    slurm: Slurm, recipe: Path, reference: Run, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", recipe)
    job = submit(slurm, ARRAY, run, "--array=1-3", "--time=10", tile_s=0.5)
    until(lambda: run.entry_count() >= 12, "some tiles")
    slurm.ask("scancel", f"{job}_1")
    until(lambda: run.entry_count() >= 24, "more tiles")
    slurm.process_of(f"{job}_2").kill()  # as the system does when memory is short
    ended = {one["ArrayTaskId"]: one for one in slurm.wait(job)}
    assert ended["3"]["JobState"] == "COMPLETED", logs(run)
    assert ended["1"]["JobState"] == "CANCELLED", logs(run)
    assert ended["2"]["JobState"] == "FAILED", logs(run)
    assert '"event": "error"' not in logs(run)
    check_same(run, reference)


def test_a_time_that_ends_and_jobs_that_are_requeued(
    slurm: Slurm, recipe: Path, reference: Run, tmp_path: Path
) -> None:
    """Exit code 75 before Slurm's own end, which this Slurm tells only if it is asked."""
    run = Run(tmp_path / "run", recipe)
    job = submit(slurm, ARRAY, run, "--array=1-2", "--time=1", tile_s=3)
    ended = slurm.wait(job)
    assert [one["JobState"] for one in ended] == ["COMPLETED"] * 2, logs(run)
    assert sum(int(one["Restarts"]) for one in ended) >= 2, ended
    assert "the time of this process is over" in logs(run)
    assert "DUE TO TIME LIMIT" not in logs(run)
    check_same(run, reference)


def test_a_driver_whose_workers_are_jobs_of_which_one_is_cancelled(
    slurm: Slurm, recipe: Path, reference: Run, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", recipe)
    driver = submit(slurm, DRIVER, run, "--time=10", tile_s=0.5)
    until(lambda: run.entry_count() >= 10, "some tiles")
    workers = [one["JobId"] for one in slurm.jobs() if one["JobName"] == "dask-worker"]
    assert len(workers) == 2
    slurm.ask("scancel", workers[0])
    (ended,) = slurm.wait(driver)
    assert ended["JobState"] == "COMPLETED", logs(run)
    check_same(run, reference)
    until(lambda: set(slurm.states(workers[1])) <= {"COMPLETED", "CANCELLED"}, "its workers to end")
