"""A scheduler passes on tasks that it can't open: it needs neither rsscale nor torch."""

import operator
import pickle
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from box_model import BOX, GRID, BoxModel, composite
from distributed import Client
from landscape import Landscape
from odc.geo.xr import xr_coords
from plain_scheduler import SITE, plain_scheduler

import rsscale as rs
from rsscale.cluster.engine import execute
from rsscale.cluster.sealed import Sealed
from rsscale.geo.lattice import PixelBox
from rsscale.prediction.predict import first_windows, predict

pytestmark = pytest.mark.extended


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("plain") / "scheduler"
    with plain_scheduler(folder) as address, Client(address, timeout="60s") as client:
        client.wait_for_workers(1, timeout=120)
        yield client


def test_the_scheduler_is_plain(client: Client) -> None:
    for name in ("rsscale", "torch"):
        with pytest.raises(ImportError, match=f"there is no {name} on this machine"):
            client.run_on_scheduler(exec, f"import {name}")
        client.run(exec, f"import {name}")


def square(task: int) -> int:
    return task * task


def test_the_engine_runs_on_it(client: Client) -> None:
    found = {outcome.task: outcome.result for outcome in execute(range(5), square, client=client)}
    assert found == {n: n * n for n in range(5)}


def test_predict_runs_on_it_lazily_and_of_what_is_persisted(client: Client) -> None:
    comp = composite(BOX)
    expected = predict(comp, BoxModel())
    lazy = comp.chunk(y=20, x=30)
    counts = lazy.observations.chunk(y=20, x=30)
    lazy = lazy.assign_coords(observations=counts)
    for form in (lazy, lazy.persist()):
        found = predict(form, BoxModel()).compute()
        for name in ("classification", "confidence", "observations"):
            assert np.array_equal(found[name].values, expected[name].values)
    windows = first_windows(lazy.persist(), BoxModel().spec, count=3)
    eager = first_windows(comp, BoxModel().spec, count=3)
    assert np.array_equal(windows.channels.numpy(), eager.channels.numpy())
    assert client.status == "running"


def cube() -> xr.DataArray:
    import dask.array as da

    box = PixelBox(0, 0, 60, 70)
    values = da.random.default_rng(0).integers(1, 200, (3, 3, 60, 70), chunks=(1, 1, 25, 30))
    return xr.DataArray(
        values.astype("uint16"),
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.array(["2023-03-01", "2023-06-01", "2023-07-01"], "datetime64[ns]"),
            "band": ["red", "nir", "scl"],
            "id": ("time", ["a", "b", "c"]),
            **{str(k): v for k, v in xr_coords(GRID.geobox_of(box)).items()},
        },
        attrs={"nodata": 0},
    )


def test_cubes_masks_composites_and_functions_run_on_it(client: Client) -> None:
    masked = rs.mask(cube(), {"band": "scl", "keep": list(range(150))}, dilate=20)
    made = rs.composite(masked, by="season")
    found = made.persist().compute()
    here = made.compute(scheduler="threads")
    assert np.array_equal(found, here, equal_nan=True)
    assert np.array_equal(found.observations, here.observations)
    layers = [rs.Layer("brightness", dtype="float32", nodata=float("nan"))]
    bright = rs.apply(brightness, {"s2": made}, layers=layers)
    assert np.array_equal(bright.brightness.compute(), found.mean(("time", "band")), equal_nan=True)
    assert client.status == "running"


def brightness(inputs: dict) -> xr.Dataset:
    return inputs["s2"]["composite"].mean(("time", "band")).to_dataset(name="brightness")


def test_a_whole_run_works_on_it(client: Client, landscape: Landscape, tmp_path: Path) -> None:
    recipe = landscape.part()
    here = rs.run(recipe, tmp_path / "here", threads=1)
    there = rs.run(recipe, tmp_path / "there", client, threads=1)
    for name, layer in here.open().data_vars.items():
        assert np.array_equal(layer.values, there.open()[name].values)


def test_a_sealed_callable_is_opened_by_who_calls_it(tmp_path: Path) -> None:
    """In a process without rsscale it passes, and is sent on, unopened."""
    sealed = pickle.dumps([Sealed(partial(square)), Sealed(partial(operator.add, 2)), Sealed(abs)])
    (tmp_path / "sitecustomize.py").write_text(SITE)
    program = (
        "import pickle, cloudpickle, sys; tasks = pickle.load(sys.stdin.buffer);"
        "assert tasks[1](3) == 5 and tasks[2](-1) == 1;"
        "sys.stdout.buffer.write(cloudpickle.dumps(tasks))"
    )
    passed = subprocess.run(
        [sys.executable, "-c", program], input=sealed, capture_output=True, check=True,
        env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert [task(3) for task in pickle.loads(passed.stdout)] == [9, 5, 3]
    assert Sealed(square)(4) == 16
    assert Sealed(partial(square)).__name__ == "square"
