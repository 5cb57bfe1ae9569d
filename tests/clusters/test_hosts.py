"""Several hosts, each a network namespace: a link that is cut and restored changes no pixel."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fault_archive
import pytest
from fault_cluster import Command, environment, until
from fault_runs import Run, check_same
from linked_hosts import Host, linked_hosts, missing

pytestmark = [
    pytest.mark.clusters,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]
SCHEDULER_PORT, FILES_PORT = 8786, 8000


@dataclass
class Hosts:
    """A scheduler, from which the run is started, two workers, and the server of the imagery."""

    scheduler: Host
    first: Host
    second: Host
    files: Host
    folder: Path
    commands: list[Command]

    @property
    def address(self) -> str:
        return f"tcp://{self.scheduler.address}:{SCHEDULER_PORT}"

    def start(self, host: Host, name: str, *words: str, **env: str) -> Command:
        command = host.start(list(words), self.folder / f"{name}.log", environment(**env))
        self.commands.append(command)
        return command

    @contextmanager
    def cluster(self) -> Iterator[None]:
        """A scheduler and two workers, for one test."""
        before = len(self.commands)
        try:
            self._start_scheduler()
            self._start_worker(self.first, "first")
            self._start_worker(self.second, "second")
            yield
        finally:
            self.stop(before)

    def stop(self, since: int = 0) -> None:
        for command in reversed(self.commands[since:]):
            command.end()
        del self.commands[since:]

    def _start_scheduler(self) -> None:
        words = ("-m", "distributed.cli.dask_scheduler", "--host", self.scheduler.address,
                 "--port", str(SCHEDULER_PORT), "--no-dashboard")  # fmt: skip
        command = self.start(self.scheduler, "scheduler", *words)
        until(lambda: "Scheduler at:" in command.err, "the scheduler")

    def _start_worker(self, host: Host, name: str) -> None:
        words = ("-m", "distributed.cli.dask_worker", self.address, "--nthreads", "2", "--nanny",
                 "--no-dashboard", "--host", host.address, "--memory-limit", "0",
                 "--local-directory", str(self.folder / name))  # fmt: skip
        command = self.start(host, name, *words, RSSCALE_FAILPOINTS="tile-start=wait:1")
        until(lambda: "Registered to:" in command.err, "a worker")

    def run(self, run: Run, *words: str) -> Command:
        line = ["-m", "rsscale", "--quiet", "run", str(run.recipe), "--out", str(run.path)]
        line += ["--device", "cpu", "--threads", "1", *words]
        return self.start(self.scheduler, run.path.name, *line)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with linked_hosts(4) as found:
        it = Hosts(*found, tmp_path_factory.mktemp("hosts"), [])
        try:
            yield it
        finally:
            it.stop()


@pytest.fixture(scope="module")
def recipe(hosts: Hosts) -> Path:
    """Imagery that is read over the network, of a catalogue that lies in a file."""
    archive = hosts.folder / "archive"
    path = fault_archive.make(archive)
    address = f"http://{hosts.files.address}:{FILES_PORT}"
    for item in archive.rglob("scene_*.json"):
        item.write_text(item.read_text().replace(f"{archive}/", f"{address}/"))
    server = Path(__file__).parents[1] / "helpers" / "range_server.py"
    words = (str(server), str(archive), hosts.files.address, str(FILES_PORT))
    command = hosts.start(hosts.files, "files", *words)
    until(lambda: "serving" in command.out, "the server of files")
    return path


@pytest.fixture(scope="module")
def reference(hosts: Hosts, recipe: Path) -> Run:
    found = Run(hosts.folder / "reference", recipe)
    command = hosts.run(found)
    until(lambda: not command.alive, "the undisturbed run")
    assert command.process.wait() == 0, command.err
    return found


def cut(host: Host, seconds: float) -> None:
    host.cut()
    time.sleep(seconds)
    host.restore()


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        pytest.param("first", 8, id="a worker, shortly"),
        pytest.param("second", 60, id="a worker, longer than connections last"),
        pytest.param("files", 8, id="the imagery"),
    ],
)
def test_a_link_is_cut_and_restored(
    hosts: Hosts, recipe: Path, reference: Run, tmp_path: Path, name: str, seconds: float
) -> None:
    run = Run(tmp_path / "run", recipe)
    with hosts.cluster():
        command = hosts.run(run, "--cluster", hosts.address)
        until(lambda: run.entry_count() >= 8, "some tiles")
        cut(getattr(hosts, name), seconds)
        until(lambda: not command.alive, "the run to end")
    assert command.process.wait() == 0, command.err
    check_same(run, reference)
