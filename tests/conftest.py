"""For all tests: no network but this machine."""

import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from once import Once
from two_workers import cluster_of_two

if TYPE_CHECKING:
    from landscape import Landscape

# Several processes of tests share the cores: a thread of torch that waits for another one must
# not spin meanwhile, or training takes four times its CPU time. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Where nothing may be compiled ahead, each process of pytest-xdist rewrites the assertions of all
# tests anew, four seconds, and each process that a test starts compiles rsscale.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell that starts the tests in its background ignores Ctrl-C in them, and in what they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test is about time: examples take longer where others compute too.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

_LOOPBACK = ("127.", "::1", "localhost")
# Suites that take long; each has a script of its name in .ci.
_LEFT_OUT = ("clusters", "extended", "faults", "long")
# What whole runs and trainings are made by, and processes are started: modules of tests in which
# that stands are slow, as is who wants what such tests share.
_WHOLE_RUNS = re.compile(
    r"\brs\.(?:run|train|publish|report|resume|check_quality|design_sample|simulate)\("
    r"|\b(?:CliRunner|LocalCluster|landscape|once|subprocess|two_workers)\b"
)
_COSTLY = {"landscape_run", "published", "two_workers", "viewed_run"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave long suites out unless they are asked for by name, ``-m faults``; slow files first.

    Processes that have nothing left take tests from one another: at the end, these should be short.
    """
    out = {name for name in _LEFT_OUT if name not in config.option.markexpr}
    suites = {item: _suites(item) for item in items}
    left = [item for item in items if out & suites[item]]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]
    for item in items:
        if suites[item]:
            item.add_marker(pytest.mark.timeout(3600))  # minutes by themselves, more beside others
        if _makes_whole_runs(item.path) or _COSTLY & set(item.fixturenames):
            item.add_marker("slow")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # a file's own order stays


@cache
def _makes_whole_runs(module: Path) -> bool:
    return module.parent.name == "faults" or bool(_WHOLE_RUNS.search(module.read_text("utf-8")))


def _suites(item: pytest.Item) -> set[str]:
    """Of those that a plain pytest leaves out, the one that a test is of, if any."""
    found = set(_LEFT_OUT) & {mark.name for mark in item.iter_markers()}
    if not found and item.path.parent.name == "faults" and "started" in item.fixturenames:
        item.add_marker("extended")  # whole runs on a cluster of their own
        return {"extended"}
    if len(found) > 1:
        names = " and ".join(sorted(found))
        told = f"{item.nodeid} is of the suites {names}; expected one, else no script runs it"
        raise pytest.UsageError(told)
    return found


@pytest.fixture(autouse=True, scope="session")
def no_network_but_loopback() -> Iterator[None]:
    """A test that reaches for the internet fails here, on every machine alike."""
    connect = socket.socket.connect

    def checked(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(_LOOPBACK):
            raise OSError(f"tests may not connect to {address}")
        connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", checked)
    yield
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """What a power cut would lose is nothing that a test can see: no run waits for the disk.

    One small run calls fsync fifty times. Processes that tests start and kill call it as ever.
    """
    patch = pytest.MonkeyPatch()
    patch.setattr(os, "fsync", lambda _: None)
    yield
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def no_command_ends_the_process_of_tests() -> Iterator[None]:
    """A command that a test calls here raises SystemExit, also while a thread of its pool ends.

    Else ``os._exit`` would end the process, and with it the other tests of it.
    """
    patch = pytest.MonkeyPatch()
    patch.setattr("rsscale.cli.application.has_abandoned_tasks", lambda: False)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def no_command_keeps_others_quiet() -> Iterator[None]:
    """``--quiet`` of a command that a test calls here ends with the test."""
    yield
    if bars := sys.modules.get("rsscale.progress.bars"):
        bars.show_progress(True)


@pytest.fixture(autouse=True, scope="session")
def drawing(pytestconfig: pytest.Config) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """``with drawing():`` trainings draw their pictures; in the extended suite they always do.

    They take two seconds of a core, more than a small training.
    """
    from rsscale.pictures import training_pictures

    draw, asked = training_pictures.draw_training_if_possible, [False]

    def draw_when_asked(training: Mapping[str, Any], folder: Path) -> list[Path]:
        return draw(training, folder) if asked[-1] else []

    @contextmanager
    def drawn() -> Iterator[None]:
        asked.append(True)
        yield
        asked.pop()

    patch = pytest.MonkeyPatch()
    if "extended" not in pytestconfig.option.markexpr:
        for name in ("rsscale.pictures.training_pictures", "rsscale.training.story"):
            if name in sys.modules:
                patch.setattr(f"{name}.draw_training_if_possible", draw_when_asked)
    yield drawn
    patch.undo()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Once]:
    """``once(name, make)``: a folder made once for all processes; whoever changes it fails."""
    shared = Once.in_session(tmp_path_factory.getbasetemp())
    yield shared
    assert shared.changed() == []


@pytest.fixture(scope="session")
def landscape(once: Once) -> "Landscape":
    """One archive: two zones, four dates, an untrained model. Read-only."""
    from landscape import make

    return once("landscape", make)


@pytest.fixture(scope="session")
def landscape_run(once: Once, landscape: "Landscape") -> Path:
    """The run folder of its map in tiles of 512 px, by the recipe as it is. Read-only."""

    def make(folder: Path) -> Path:
        import rsscale as rs

        rs.run(landscape.recipe(), folder, threads=2, device="cpu")
        return folder

    return once("landscape-run", make)


@pytest.fixture(scope="session")
def object_run(once: Once) -> Path:
    """A run of two years with a map, and the steps `ponds`, `once` and `never` of objects of known
    place: `once` has none in 2024, `never` at all. Read-only."""
    from known_objects import KIND, allowed

    def make(folder: Path) -> Path:
        from formula_pass import SMALL, formula_recipe

        import rsscale as rs

        recipe = formula_recipe(
            folder,
            tile=128,
            shape=SMALL,
            periods=[2023, 2024],
            options={"layers": ["classification"]},
            steps={
                "ponds": {"kind": KIND, "every": 16},
                "once": {"kind": KIND, "without": [2024]},
                "never": {"kind": KIND, "without": [2023, 2024]},
            },
        )
        with allowed("formula_pass"):
            rs.run(recipe, folder / "run", threads=2, device="cpu")
        return folder / "run"

    found: Path = once("object-run", make)
    return found


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Dask cluster of two worker processes, for tests that kill none of them."""
    with cluster_of_two(tmp_path_factory.mktemp("two_workers") / "cluster") as address:
        yield address


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """Address of a server with a bucket ``maps``; the environment's names point to it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
        "AWS_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= settings
    import requests

    requests.put(f"http://{host}:{port}/maps", timeout=30).raise_for_status()
    yield settings["AWS_ENDPOINT_URL"]
    server.stop()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def objects_alone(once: Once) -> Path:
    """A run of two years of the objects `ponds` and `never`, and of `counts` of ponds by three
    regions, without any layer. Read-only."""
    import geopandas as gpd
    import shapely
    from known_objects import KIND, allowed

    zones = {
        "A/1": shapely.box(728_000, 4_979_000, 732_000, 4_986_000),
        "Ängsö": shapely.box(732_000, 4_979_000, 736_000, 4_986_000),
        "far": shapely.box(100_000, 4_000_000, 101_000, 4_001_000),
    }

    def make(folder: Path) -> Path:
        from formula_pass import SMALL, formula_recipe

        import rsscale as rs

        folder.mkdir(parents=True, exist_ok=True)
        frame = {"code": list(zones), "people": [5, 7, 9]}
        gpd.GeoDataFrame(frame, geometry=list(zones.values()), crs="EPSG:32631").to_file(
            folder / "zones.gpkg"
        )
        counted = {"kind": "object-counts", "of": "ponds", "zones": str(folder / "zones.gpkg")}
        steps = {
            "ponds": {"kind": KIND, "every": 24},
            "never": {"kind": KIND, "without": [2023, 2024]},
            "counts": {**counted, "id": "code"},
        }
        recipe = formula_recipe(folder, shape=SMALL, tile=256, periods=[2023, 2024], steps=steps)
        del recipe["steps"]["map"]
        with allowed("formula_pass"):
            rs.run(recipe, folder / "run", threads=1, device="cpu")
        return folder / "run"

    found: Path = once("objects-alone", make)
    return found
