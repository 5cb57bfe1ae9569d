"""One archive, one undisturbed run and one cluster for all faults; a summary of all seeds."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fault_archive
import pytest
from fault_cluster import Cluster
from fault_runs import Run
from once import Once


@pytest.fixture(scope="session")
def recipe(once: Once) -> Path:
    """Of the archive; read-only, as the reference."""
    return once("faults-archive", fault_archive.make)


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def reference(once: Once, started: Cluster, recipe: Path) -> Run:
    """A run that nothing disturbed."""

    def make(folder: Path) -> Path:
        folder.mkdir()
        started.ensure()
        run = Run(folder / "run", recipe, started.address)
        ended = run.do("run")
        assert ended.code == 0, ended.err
        assert len(run.entries()) == run.state["tiles"]["total"] >= 40
        assert sorted(run.tiles_in_events()) == sorted(run.entries())
        return run.path

    return Run(once("faults-reference", make), recipe)


@pytest.fixture
def copied(reference: Run, tmp_path: Path) -> Run:
    """The undisturbed run in another place, worked on without a cluster."""
    shutil.copytree(reference.path, tmp_path / "run")
    return Run(tmp_path / "run", reference.recipe)


@pytest.fixture
def cluster(started: Cluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The cluster; thrown away after a test that failed."""
    failed = request.session.testsfailed
    yield started
    if request.session.testsfailed != failed:
        started.stop()


@pytest.fixture
def own_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, for a test that gives it other workers; started anew after it."""
    cluster.stop()
    yield cluster
    cluster.stop()


@pytest.fixture
def new_run(cluster: Cluster, recipe: Path, tmp_path: Path) -> Iterator[Callable[[], Run]]:
    """Makes runs into folders of their own; whatever still works on one is ended."""
    made: list[Run] = []

    def make(path: Path | None = None) -> Run:
        run = Run(path or tmp_path / f"run{len(made)}", recipe, cluster.address)
        made.append(run)
        return run

    yield make
    for run in made:
        run.close()


@pytest.fixture(scope="session")
def seeds() -> Iterator[list[dict[str, Any]]]:
    """What every seed logs; written as JSON to the file that RSSCALE_FAULTS_SUMMARY names."""
    found: list[dict[str, Any]] = []
    yield found
    if path := os.environ.get("RSSCALE_FAULTS_SUMMARY"):
        Path(path).write_text(json.dumps(found, indent=1) + "\n")
