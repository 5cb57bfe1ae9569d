"""rs.apply: a notebook's function over runs and over arrays."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tile_functions
import xarray as xr
import yaml
from fault_cluster import environment
from index_pass import index_recipe
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import rsscale as rs
from rsscale.cluster.connection import connect
from rsscale.errors import AreaError, FunctionError, RecipeError, RunFolderError, TilesFailedError
from rsscale.passes.function import FunctionOptions

_SHARED = ("kind", "of")
MAJORITY = [rs.Layer("majority", overview="mode")]
HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.fixture(scope="module", autouse=True)
def allowed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RSSCALE_PASSES", "index_pass")
        yield


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsscale.cluster.engine.Patience.pause", lambda *_: 0.0)


@pytest.fixture(scope="module")
def workers(two_workers: str) -> Iterator[Any]:
    with connect(two_workers) as client:
        yield client


@pytest.fixture(scope="module")
def finished(allowed: None, tmp_path_factory: pytest.TempPathFactory) -> rs.Run:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("finished")
    recipe = index_recipe(folder, tile=160, periods=[2022, 2023])
    return rs.run(recipe, folder / "run", threads=1, device="cpu")


def computed(out: Path | str, kind: str = "tile") -> set[tuple[str, str]]:
    """Spans and tiles of events since the last start."""
    lines = [json.loads(line) for line in (Path(out) / "events.jsonl").read_text().splitlines()]
    start = max(n for n, line in enumerate(lines) if line["event"] == "started")
    return {(one["span"], one["tile"]) for one in lines[start:] if one["event"] == kind}


@pytest.mark.extended
def test_over_a_run_on_workers_and_here_and_over_its_arrays(
    finished: rs.Run, workers: Any, tmp_path: Path
) -> None:
    def smooth(inputs: Any, size: int = 5) -> xr.Dataset:
        return tile_functions.majority(inputs, size=size)

    given: dict[str, Any] = {"layers": MAJORITY, "halo": 2, "parameters": {"size": 5}}
    far = rs.apply(smooth, finished, out=tmp_path / "far", client=workers, **given)
    here = rs.apply(smooth, finished, threads=1, **given)
    assert far["majority"].chunks is not None
    assert list(far.time.dt.year.values) == [2022, 2023]
    np.testing.assert_array_equal(far["majority"].values, here["majority"].values)
    assert here.attrs["run"] == f"{finished.path}-smooth"
    state = rs.Run(far.attrs["run"]).state
    assert state["tiles"]["done"] == state["tiles"]["total"] > 8
    assert rs.verify(far.attrs["run"]).sound == state["tiles"]["total"]
    assert not any(b"majority(inputs" in f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    array = rs.apply(smooth, {"map": finished.open().isel(time=1)}, **given)
    inside = far["majority"].values[1] != 255
    np.testing.assert_array_equal(
        array["majority"].values[inside], far["majority"].values[1][inside]
    )


@pytest.mark.extended
def test_a_later_call_goes_on_and_a_version_computes_anew(finished: rs.Run, tmp_path: Path) -> None:
    out, mark = tmp_path / "out", tmp_path / "mark"
    mark.touch()

    def copy(inputs: Any, x: float) -> xr.Dataset:
        return tile_functions.fails_while_there(inputs, mark=str(mark), x=x)

    def call(f: Any = copy, **changes: Any) -> xr.Dataset:
        given: dict[str, Any] = {"name": "copy", "parameters": {"x": 731_005.0}, "out": out}
        return rs.apply(f, finished, threads=1, **(given | changes))

    layers = [rs.Layer("classification")]
    with pytest.raises(TilesFailedError, match=r"KeyError.*go on with: the same call"):
        call(layers=layers)
    failed, done = computed(out, "tile-failed"), computed(out)
    assert failed
    assert done
    with pytest.raises(RunFolderError, match=r"given in a notebook.*call rs\.apply again"):
        rs.resume(out)
    found = rs.verify(out)
    assert (found.sound, found.absent, found.damaged) == (len(done), len(failed), ())
    assert "failed copy/2022" in rs.Run(out).summary()
    mark.unlink()
    call(layers=layers)
    assert computed(out) == failed
    call(layers=layers)
    assert computed(out) == set()
    with pytest.raises(RunFolderError, match=r"made with other parameters; .*raise version"):
        call(layers=layers, parameters={"x": 1.0})
    call(lambda inputs, x: copy(inputs, x=x), layers=layers, version="2")
    assert computed(out) == failed | done
    other = [rs.Layer("classification", "uint8", 0)]
    with pytest.raises(RunFolderError, match="can't be updated: copy would change the shape"):
        call(layers=other, version="3")
    with pytest.raises(RunFolderError, match="run of another recipe, with the steps copy"):
        call(layers=layers, name="other")


@pytest.mark.extended
def test_a_function_of_a_script_travels_to_workers(
    finished: rs.Run, tmp_path: Path, two_workers: str
) -> None:
    script = tmp_path / "notebook.py"
    script.write_text(f"""
import numpy as np
import xarray as xr
import rsscale as rs

TIMES = 2

class Helper:
    def twice(self, values):
        return values * TIMES

def doubled(inputs):
    array = inputs["map"]["classification"]
    seen = array.values != array.attrs["nodata"]
    values = np.where(seen, Helper().twice(array.values), 255).astype(np.uint8)
    return xr.Dataset({{"doubled": array.copy(data=values)}})

if __name__ == "__main__":
    found = rs.apply(doubled, rs.Run({str(finished.path)!r}), client={two_workers!r}, threads=1,
                     out={str(tmp_path / "out")!r})
    print(int(found["doubled"].max()), found["doubled"].dtype, found.attrs["run"])
""")
    env = environment(RSSCALE_PASSES="index_pass")
    env["PYTHONPATH"] += f":{HELPERS}"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", script],
        env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-3:] == ["255", "uint8", str(tmp_path / "out")]
    values = rs.Run(tmp_path / "out").open("doubled")["doubled"].values
    original = finished.open()["classification"].values
    np.testing.assert_array_equal(values, np.where(original == 255, 255, original * 2))


@pytest.mark.extended
def test_the_functions_of_the_page(finished: rs.Run, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "functions.md").read_text("utf-8")
    space: dict[str, Any] = {"xr": xr}
    exec(page.split("```python\n")[1].split("```")[0], space)  # noqa: S102
    layers = [rs.Layer("edge", dtype="uint8", nodata=255, overview="mode")]
    found = rs.apply(
        space["edges"], finished, layers=layers, halo=1, out=tmp_path / "out", threads=1
    )
    whole = rs.apply(space["edges"], {"map": finished.open().isel(time=0)}, layers=layers, halo=1)
    np.testing.assert_array_equal(found["edge"].values[0], whole["edge"].values)
    assert {0, 1, 255} == set(np.unique(whole["edge"]))
    (step,) = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])["steps"].values()
    options = FunctionOptions.model_validate({k: v for k, v in step.items() if k not in _SHARED})
    assert options.layers[0].build().attributes == {"long_name": "edge of a class"}


@pytest.mark.extended
def test_two_steps_and_all_periods(finished: rs.Run, tmp_path: Path) -> None:
    found = rs.apply(tile_functions.years, finished, at="all", out=tmp_path / "all", threads=1)
    every = finished.open()["classification"].values
    inside = found["ones"].values[0] != 255
    np.testing.assert_array_equal(found["ones"].values[0][inside], (every == 1).sum(axis=0)[inside])
    assert list(found["each"].sizes) == ["time", "value", "y", "x"]
    of = {"a": finished, "b": (finished, "map")}
    same = rs.apply(tile_functions.differs, of, at=2022, out=tmp_path / "differs", threads=1)
    assert set(np.unique(same["differs"])) == {0, 255}


def array(shape: tuple[int, int] = (70, 90), chunks: Any = None) -> xr.DataArray:
    """Classes on a grid, with two times."""
    values = np.random.default_rng(0).integers(1, 4, (2, *shape)).astype(np.uint8)
    values[:, 10:13, 20:40] = 255
    box = GeoBox.from_bbox((0, 0, shape[1] * 10, shape[0] * 10), "EPSG:32631", resolution=10)
    made = xr.DataArray(
        values,
        dims=("time", "y", "x"),
        coords={"time": [2022, 2023], **xr_coords(box)},
        attrs={"nodata": 255},
        name="classification",
    )
    return made if chunks is None else made.chunk(chunks)


@pytest.mark.parametrize(
    "chunks", [{}, {"y": 30, "x": 41}, {"y": 3, "x": 90}, {"y": (1, 50, 19), "x": (80, 10)}]
)
@pytest.mark.parametrize(
    ("function", "given"),
    [
        (tile_functions.majority, {"halo": 2}),
        (tile_functions.distance, {"halo": 6, "parameters": {"most": 6}}),
        (tile_functions.same, {}),
    ],
)
def test_lazy_arrays_give_the_same_for_any_chunks(function: Any, given: Any, chunks: Any) -> None:
    eager = rs.apply(function, {"map": array().isel(time=0)}, **given)
    lazy = rs.apply(function, {"map": array(chunks=chunks).isel(time=0)}, **given)
    assert all(one.chunks is None for one in eager.data_vars.values())
    assert all(one.chunks is not None for one in lazy.data_vars.values())
    xr.testing.assert_identical(lazy.compute(scheduler="threads"), eager)
    assert lazy.odc.geobox == array().odc.geobox


@pytest.mark.extended
def test_lazy_arrays_are_computed_on_a_cluster(workers: Any) -> None:
    def numbers(inputs: Any) -> xr.Dataset:
        return tile_functions.process(inputs)

    del workers  # the default of Dask while its client is there
    lazy = rs.apply(numbers, {"map": array(chunks={"y": 7, "x": 9}).isel(time=0)})
    assert len(np.unique(lazy["process"].compute())) == 2


def test_further_dims_coordinates_and_several_arrays() -> None:
    def seen(inputs: Any) -> xr.Dataset:
        data, observations = inputs["data"]["classification"], inputs["data"]["observations"]
        assert data.dims == ("time", "y", "x")
        assert list(data.time.values) == [2022, 2023]
        assert data.odc.geobox.shape == observations.shape[-2:]
        assert float(data.x[1] - data.x[0]) == 10
        height = inputs["height"]["height"]
        return xr.Dataset(
            {
                "sum": (observations.max("time") + height).astype("float32"),
                "each": data.rename(time="year"),
            }
        )

    observations = xr.DataArray(np.ones((2, 70, 90), np.uint8), dims=("time", "y", "x"))
    data = array(chunks={"y": 20}).assign_coords(observations=observations.chunk({"x": 11}))
    height = array().isel(time=0).astype("float32").drop_vars("time").rename("height")
    found = rs.apply(seen, {"data": data, "height": height}, halo=4)
    assert found["each"].dims == ("year", "y", "x")
    assert list(found.year.values) == [2022, 2023]
    loaded = found.compute(scheduler="threads")
    np.testing.assert_array_equal(loaded["sum"], height.values + 1)
    np.testing.assert_array_equal(loaded["each"], array().values)


def test_a_function_cannot_change_what_it_is_given() -> None:
    def spoil(inputs: Any) -> xr.Dataset:
        inputs["data"]["classification"].values[:] = 0
        return tile_functions.same(inputs)

    given = array().isel(time=0)
    assert int(rs.apply(spoil, given)["classification"].max()) == 0
    assert int(given.max()) == 255


def test_what_a_function_does_wrong_on_arrays_is_told() -> None:
    data = array().isel(time=0)
    with pytest.raises(RecipeError, match=r"raised ZeroDivisionError on an empty.*say layers=\["):
        rs.apply(tile_functions.raises, data)
    with pytest.raises(FunctionError, match=r"'raises' raised ZeroDivisionError on rows 0 to 70"):
        rs.apply(tile_functions.raises, data, layers=[{"name": "a"}])
    with pytest.raises(RecipeError, match=r"'classification' as float64 \(y, x\).*\.astype"):
        rs.apply(tile_functions.wrong_type, data)
    with pytest.raises(RecipeError, match=r"as uint8 \(y 69, x 90\).*declared is uint8 \(y 70"):
        rs.apply(tile_functions.wrong_shape, data)
    with pytest.raises(RecipeError, match="does not say what lies beyond its edge"):
        rs.apply(tile_functions.same, data.assign_attrs(nodata=None).drop_attrs(), halo=1)
    with pytest.raises(AreaError, match="no variable with a georeference"):
        rs.apply(tile_functions.same, data.drop_vars(["y", "x", "spatial_ref"]))
    with pytest.raises(AreaError, match="use one grid"):
        rs.apply(tile_functions.same, {"a": data, "b": data[1:]})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"f": 3}, "f is int; expected a function"),
        ({"halo": -1}, "halo is -1"),
        ({"halo": 1.5}, "halo is 1.5"),
        ({"name": "Big"}, "name is 'Big'"),
        ({"layers": []}, "expected a list of rs.Layer"),
        ({"layers": [{"nam": "a"}]}, r"layers\[0\]: nam: unknown key; did you mean 'name'"),
        ({"parameters": {"size": 3}}, r"parameters \['size'\]: .*'size'"),
        ({"of": "out/run"}, "'data' as str; expected a Run"),
        ({"of": {}}, "of is empty"),
        ({"of": {"a": 1}}, "'a' as int"),
        ({"client": "local"}, "client is for runs"),
        ({"out": "there"}, "out is for runs"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict[str, Any], said: str) -> None:
    given = {"f": tile_functions.same, "of": array()} | arguments
    with pytest.raises(RecipeError, match=said):
        rs.apply(**given)


def test_what_a_run_or_its_workers_cannot_take_is_told(finished: rs.Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RecipeError, match="parameters are written into the run's recipe"):
        rs.apply(lambda inputs, **_: inputs["map"], finished, out=out, parameters={"a": np.ones(2)})
    with pytest.raises(RecipeError, match=r"has no step 'mp' with layers.*did you mean 'map'"):
        rs.apply(tile_functions.same, (finished, "mp"), out=out)
    with pytest.raises(RecipeError, match=r"is not of 2020"):
        rs.apply(tile_functions.same, finished, out=out, at=2020)
    with pytest.raises(RecipeError, match=r"of\['b'\] is Dataset; expected a Run"):
        rs.apply(tile_functions.same, {"a": finished, "b": finished.open()}, out=out)
    large = np.zeros(3 * 2**20)
    layers = [rs.Layer("classification")]
    with pytest.raises(RecipeError, match="holds 24 MiB, which would travel with every tile"):
        rs.apply(
            lambda inputs: inputs["map"] + large[0],
            finished,
            out=out,
            client="local",
            layers=layers,
        )
    held = threading.Lock()
    with pytest.raises(RecipeError, match="can't be sent to workers"):
        rs.apply(lambda _: held, finished, out=out, client="local", layers=layers)
    assert not out.exists()
