"""The command line: one line a person can act on, and the right exit code."""

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
from landscape import Landscape

from rsscale.cli import main
from rsscale.cli.assess import _MEASURES


def write(path: Path, content: dict) -> Path:
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


def s2(landscape: Landscape, **changes: object) -> dict:
    return {"s2": {**landscape.recipe()["inputs"]["s2"], **changes}}


# Replaced keys of a good recipe; keys of the input are under "s2".
BAD: dict[str, tuple[dict, str]] = {
    "a typo": ({"perriods": [2023]}, "did you mean 'periods'"),
    "an unknown band": ({"s2": {"bands": ["red", "nri"]}}, "'nir'"),
    "a band less than the model's": ({"s2": {"bands": ["red"]}}, "wants band 'nir'"),
    "other time windows": ({"s2": {"composite": {"by": "year"}}}, "time windows"),
    "an area outside the catalogue": ({"area": None, "bbox": [20, 10, 20.1, 10.1]}, "area"),
    "no items": ({"periods": [1999]}, "1999"),
    "no such catalogue": ({"s2": {"catalog": "/none/catalog.json"}}, "/none/catalog.json"),
    "no such API": ({"s2": {"catalog": "http://127.0.0.1:9/"}}, "127.0.0.1:9"),
    "no such area": ({"area": "/none.gpkg"}, "/none.gpkg"),
    "no such model": ({"model": "/none"}, "no model folder at /none"),
    "another resolution": (
        {"grid": {"crs": "EPSG:32631", "resolution": 20}},
        "trained at a resolution of 10",
    ),
    "an unknown CRS": ({"grid": {"crs": "EPSG:99", "resolution": 10}}, "EPSG:99"),
    "an unknown mask": ({"s2": {"mask": "sentinel2-slc"}}, "sentinel2-scl"),
    "the mask's band for the model": ({"s2": {"bands": ["red", "nir", "scl"]}}, "mask's band"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recipe_is_told_before_anything_is_written(
    landscape: Landscape,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    changes, message = BAD[name]
    changes = {**changes, "inputs": s2(landscape, **changes.get("s2", {}))}
    content = landscape.recipe(**changes)
    content = {k: v for k, v in content.items() if v is not None and k != "s2"}
    recipe = write(tmp_path / "recipe.yaml", content)
    code, _, err = run(capsys, "run", recipe, "--out", tmp_path / "out", "--quiet")
    assert message in one_line(err)
    assert code == 2
    assert not (tmp_path / "out" / "run.json").exists()
    assert not (tmp_path / "out" / "product.zarr").exists()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([[6, 45], [6.1, 45.1], [6.1, 45], [6, 45.1], [6, 45]], "Self-intersection"),
        ([[6, 45], [6, 45], [6, 45], [6, 45]], "is not a valid polygon|covers nothing|empty"),
    ],
)
def test_a_bad_polygon_is_told(
    landscape: Landscape, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    shape: list, message: str,
) -> None:  # fmt: skip
    import re

    area = write(tmp_path / "area.geojson", {"type": "Polygon", "coordinates": [shape]})
    recipe = write(tmp_path / "recipe.yaml", landscape.recipe(area=str(area)))
    code, _, err = run(capsys, "run", recipe, "--out", tmp_path / "out", "--quiet")
    assert re.search(message, one_line(err))
    assert code == 2


def test_a_run_its_status_and_another_recipe_in_its_folder(
    landscape: Landscape, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = landscape.part()
    recipe = write(tmp_path / "recipe.yaml", content)
    out = tmp_path / "out"
    code, text, _ = run(capsys, "run", recipe, "--out", out, "--quiet")
    assert code == 0
    assert "done: " in text
    assert run(capsys, "status", out)[1].startswith("done: ")
    before = sorted(p for p in out.rglob("*") if p.name != "events.jsonl")
    other = write(tmp_path / "other.yaml", {**content, "inputs": s2(landscape, harmonize=False)})
    code, _, err = run(capsys, "run", other, "--out", out, "--quiet")
    assert code == 2
    assert "inputs.s2.harmonize" in one_line(err)
    assert sorted(p for p in out.rglob("*") if p.name != "events.jsonl") == before
    # What lies in the folder can be run again as it is.
    code, _, _ = run(capsys, "run", out / "recipe.yaml", "--out", tmp_path / "again", "--quiet")
    assert code == 0


def test_a_folder_of_something_else_is_left_alone(
    landscape: Landscape, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write(tmp_path / "recipe.yaml", landscape.recipe())
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    code, _, err = run(capsys, "run", recipe, "--out", tmp_path / "photos", "--quiet")
    assert code == 2
    assert "cat.jpg" in one_line(err)


def test_a_folder_that_cannot_be_made_is_told(
    landscape: Landscape, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write(tmp_path / "recipe.yaml", landscape.recipe())
    code, _, err = run(capsys, "run", recipe, "--out", "/proc/none/out", "--quiet")
    assert code == 2
    assert "choose another --out" in one_line(err)


def test_arguments_that_do_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "rnu")[0] == 2
    assert run(capsys, "run", "r.yaml", "--tile", "3")[0] == 2
    assert run(capsys, "resume", "/none")[0] == 2
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert out.startswith("rsscale ")


@pytest.mark.extended
def test_a_read_that_fails_fails_its_tiles_and_resume_does_only_those(
    landscape: Landscape, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = landscape.copy(tmp_path / "archive")
    recipe = write(tmp_path / "recipe.yaml", own.part())
    broken = next((tmp_path / "archive").glob("S2_w_2023-07-05_red.tif"))
    content = broken.read_bytes()
    broken.write_bytes(b"<html>gone</html>")
    code, _, err = run(capsys, "run", recipe, "--out", tmp_path / "out", "--quiet")
    line = one_line(err)
    assert code == 1
    assert "S2_w_2023-07-05" in line
    assert "'red'" in line
    assert "rsscale resume" in line
    state = json.loads((tmp_path / "out" / "run.json").read_text())
    assert 0 < state["tiles"]["failed"] < state["tiles"]["total"]
    broken.write_bytes(content)
    events = (tmp_path / "out" / "events.jsonl").read_text().count('"event": "tile"')
    code, text, _ = run(capsys, "resume", tmp_path / "out", "--quiet")
    assert code == 0
    assert "done: " in text
    again = (tmp_path / "out" / "events.jsonl").read_text().count('"event": "tile"') - events
    assert again == state["tiles"]["failed"]


@pytest.mark.extended
def test_ctrl_c_leaves_a_run_that_resumes_to_the_same_map(
    landscape: Landscape,
    landscape_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import xarray as xr

    content = landscape.recipe(grid={"crs": "EPSG:32631", "resolution": 10, "tile": 256})
    recipe = write(tmp_path / "recipe.yaml", content)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "rsscale", "run", recipe, "--out", out, "--device", "cpu"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    events = out / "events.jsonl"
    for _ in range(1200):  # until the first tile is done
        if events.exists() and '"event": "tile"' in events.read_text():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert f"rsscale resume {out}" in err
    assert "Traceback" not in err
    state = json.loads((out / "run.json").read_text())
    assert state["state"] == "interrupted"
    assert 0 < state["tiles"]["done"] < state["tiles"]["total"]
    assert run(capsys, "resume", out, "--quiet")[0] == 0
    # In tiles of another size, the whole has other margins around the area.
    area = {"x": slice(729_000, 744_910), "y": slice(4_989_510, 4_979_990)}
    one, whole = (xr.open_zarr(p / "product.zarr").sel(area).load() for p in (out, landscape_run))
    assert one.sizes == whole.sizes
    for name in one.data_vars:
        assert (one[name].values == whole[name].values).all(), name


def test_damage_is_found_and_computed_again(
    landscape: Landscape, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = landscape.part()
    recipe = write(tmp_path / "recipe.yaml", content)
    out = tmp_path / "out"
    assert run(capsys, "run", recipe, "--out", out, "--quiet")[0] == 0
    shards = sorted((out / "product.zarr" / "classification" / "c").rglob("*"))
    shards = [p for p in shards if p.is_file()]
    content_before = {p: p.read_bytes() for p in shards}
    shards[0].write_bytes(b"garbage")
    shards[1].unlink()
    assert run(capsys, "resume", out, "--quiet")[0] == 0
    assert {p: p.read_bytes() for p in shards} == content_before
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    second = max(n for n, e in enumerate(events) if e["event"] == "started")
    assert sum(e["event"] == "tile" for e in events[second:]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sample", "s.gpkg", "--exclude", "labels.gpkg"), "it goes with --reference"),
        (("--reference", "t.tif", "--iou", "0.7"), "it goes with --objects"),
        (("--reference", "t.tif", "--map-changed"), "it goes with --sample"),
        (("--objects", "o.gpkg", "--distance", "500"), "--distance does nothing with --objects"),
        (("--objects", "o.gpkg", "--period", "2024", "--span", "2023"), "give one of them"),
        (("--sample", "s.gpkg", "--objects", "o.gpkg"), "give one of --sample"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    code, _, err = run(capsys, "assess", tmp_path, *words)
    assert message in one_line(err)
    assert code == 2


def test_assess_takes_the_arguments_of_its_functions() -> None:
    for measure in _MEASURES.values():
        module, name = measure.function.split(":")
        arguments = inspect.signature(getattr(import_module(module), name)).parameters
        assert set(measure.arguments.values()) <= set(arguments)


@pytest.mark.parametrize(
    ("before", "after"), [(None, "10000"), pytest.param("7", "7", marks=pytest.mark.extended)]
)
def test_threads_of_torch_spin_shortly_while_they_wait_unless_told_otherwise(
    before: str | None, after: str
) -> None:
    """Of commands alone, before torch is there, which reads it once: not of `import rsscale`."""
    code = (
        "import os, sys, rsscale, rsscale.cli\n"
        "told = lambda: print(os.environ.get('GOMP_SPINCOUNT'), file=sys.stderr)\n"
        "told(); print('torch' in sys.modules, file=sys.stderr)\n"
        "try: rsscale.cli.main(['recipe', 'schema'])\n"
        "except SystemExit: told()\n"
    )
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "GOMP_SPINCOUNT": before} if before else environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines() == [str(before), "False", after]
