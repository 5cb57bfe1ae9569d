"""kill -9 of a worker and the client in each kind of step: the same bytes, nothing done twice."""

import hashlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
import two_years
import yaml
from dated_scenes import alerts_recipe, dates, write_dated
from fault_cluster import Cluster, until
from fault_runs import Key, Run, recomputed
from formula_pass import AREA, LAYERS, formula_recipe

# Seconds that a worker stays at a point, for the harness to kill the client meanwhile.
_STAY = 4
STEPS: dict[str, dict[str, Any]] = {
    "change": {"kind": "post-classification", "of": "map", "from": 2022, "to": 2023},
    "overviews": {"kind": "overviews", "of": "map", "levels": 2},
    "areas": {"kind": "zones", "of": "map", "zones": "zones.gpkg", "id": "code"},
    "majority": {
        "kind": "function",
        "of": "map",
        "function": "tile_functions:majority",
        "halo": 2,
        "layers": [{"name": "majority"}],
    },
    "temporal": {"kind": "temporal-model", "of": "map"},
    "spectral": {
        "kind": "spectral-change",
        "of": "map",
        "from": 2022,
        "to": 2023,
        "bands": ["temperature", "index"],
        "register": "off",  # the formula's two years are of other places
    },
    "became": {
        "kind": "transitions",
        "of": "map",
        "from": 2022,
        "to": 2023,
        "zones": "zones.gpkg",
        "id": "code",
    },
    "sieved": {"kind": "minimum-mapping-unit", "of": "map", "hectares": 0.1},
    "smoothed": {"kind": "smooth", "of": "map", "method": "gaussian-markov"},
}
# Steps that read imagery and no map: each is a run of its own.
IMAGERY = ("network", "guarded", "alerts")
QUICK = {("areas", "client")}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An area, zones, and a recipe of the map and of each further step."""
    made = tmp_path_factory.mktemp("steps")
    left, bottom, right, top = shapely.Polygon(AREA).bounds
    zones = {"code": ["west", "east"], "geometry": [
        shapely.box(left, bottom, (left + right) / 2, top),
        shapely.box((left + right) / 2, bottom, right, top)]}  # fmt: skip
    gpd.GeoDataFrame(zones, crs="EPSG:32631").to_file(made / "zones.gpkg")
    options = {"layers": list(LAYERS)}
    for name, step in {"map": None, **STEPS}.items():
        steps = {} if step is None else {name: step}
        recipe = formula_recipe(made, tile=128, periods=[2022, 2023], options=options, steps=steps)
        (made / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    return made


def write_imagery(folder: Path) -> None:
    """Archives, and recipes of steps that read them, where they are not there yet."""
    if (folder / "two-years").exists():
        return
    for name, recipe in imagery_recipes(folder).items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))


def imagery_recipes(folder: Path) -> dict[str, dict[str, Any]]:
    """A siamese network, change without labels with all guards, and alerts of a series."""
    guards = {"register": "correct", "normalise": True}
    archive = two_years.write_archive(folder / "two-years")
    two_years.untrained(folder / "model", "fc-siam-diff")
    network = two_years.recipe_of(archive, folder / "model", tile=64, register="correct")
    spectral = network | {
        "steps": {
            "guarded": {
                "kind": "spectral-change", "of": "s2", "from": 2023, "to": 2024,
                "method": "change-vector", **guards,
            }
        }
    }  # fmt: skip
    (folder / "dated").mkdir()
    for day in dates(date(2021, 1, 5), date(2023, 8, 30), 32):
        write_dated(folder / "dated", day)
    return {
        "network": network | {"steps": {"network": network["steps"]["change"]}},
        "guarded": spectral,
        "alerts": alerts_recipe(folder / "dated", tile=32),
    }


@pytest.fixture(scope="session")
def mapped(folder: Path) -> Path:
    """A finished run of the map alone; steps are added to copies."""
    run = Run(folder / "map", folder / "map.yaml")
    ended = run.do("run")
    assert ended.code == 0, ended.err
    return run.path


@pytest.fixture(scope="session")
def undisturbed(folder: Path, mapped: Path) -> Callable[[str], Run]:
    """The run that a step was added to, and nothing happened."""
    made: dict[str, Run] = {}

    def grown(step: str) -> Run:
        if step not in made:
            if step in IMAGERY:
                write_imagery(folder)
            else:
                shutil.copytree(mapped, folder / f"{step}-undisturbed")
            made[step] = Run(folder / f"{step}-undisturbed", folder / f"{step}.yaml")
            ended = made[step].do("run")
            assert ended.code == 0, ended.err
        return made[step]

    return grown


@pytest.fixture
def run_of(folder: Path, mapped: Path, cluster: Cluster, tmp_path: Path) -> Iterator[Any]:
    """Makes the run of a step, on the cluster, over a copy of the map."""
    made: list[Run] = []

    def make(step: str) -> Run:
        if step not in IMAGERY:
            shutil.copytree(mapped, tmp_path / "run")
        made.append(Run(tmp_path / "run", folder / f"{step}.yaml", cluster.address))
        return made[-1]

    yield make
    for run in made:
        run.close()


def bytes_of(run: Run) -> dict[str, str]:
    """Every stored object of all steps, by its digest."""
    folders = [*run.path.glob("*.zarr"), run.path / "tables"]
    files = (path for one in folders for path in one.rglob("*") if path.is_file())
    return {
        str(path.relative_to(run.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.mark.parametrize(
    ("step", "victim"),
    [
        pytest.param(step, victim, marks=[] if (step, victim) in QUICK else pytest.mark.faults)
        for step in (*STEPS, *IMAGERY)
        for victim in ("worker", "client")
    ],
)
def test_a_step_is_the_same_after_a_kill(
    step: str,
    victim: str,
    cluster: Cluster,
    undisturbed: Callable[[str], Run],
    run_of: Callable[[str], Run],
) -> None:
    reference = undisturbed(step)
    order = [key for key in reference.tiles_in_events() if key[0].startswith(step)]
    assert len(order) >= 20
    tile = order[len(order) // 3][1]
    action = "kill" if victim == "worker" else f"wait:{_STAY}"
    cluster.ensure(f"after-shards@{tile}={action}")
    run = run_of(step)
    before = set(run.entries())
    told = len(run.tiles_in_events())
    command = run.start()
    if victim == "client":
        until(lambda: cluster.once.exists() or not command.alive, "the point")
        os.killpg(command.process.pid, signal.SIGKILL)
    ended = run.wait(command, tick=cluster.heal)
    assert ended.code == (-signal.SIGKILL if victim == "client" else 0), ended.err
    first = run.tiles_in_events()[told:]
    held = {key: when for key, when in run.entries().items() if key not in before}
    resumed: list[Key] = []
    if ended.code:
        assert 0 < len(held) < len(order)
        again = run.resume(cluster.heal)
        assert again.code == 0, again.err
        resumed = run.tiles_in_events()[told + len(first) :]
    # The map was done; of the step, nothing that had its entry was computed again.
    assert not set(first + resumed) & before
    assert recomputed(first, held, resumed) == 0
    assert bytes_of(run) == bytes_of(reference)
    assert set(run.entries()) == set(reference.entries())
