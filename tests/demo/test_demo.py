"""The demo, small: everything that it promises is there and fits together."""

import json
import os
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path

import pytest
import xarray as xr

from rsscale.demo import run as module
from rsscale.demo.run import program, run_demo
from rsscale.errors import RunFolderError
from rsscale.recipe import read_recipe

# The package of these sources, wherever it is installed.
_HERE = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.parametrize(
    ("steps", "dates", "least"),
    [
        pytest.param(120, 6, 0.8, marks=pytest.mark.extended),
        pytest.param(900, 14, 0.7, marks=pytest.mark.long),
    ],
)
def test_the_whole_demo(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    steps: int,
    dates: int,
    least: float,
) -> None:
    """Short: with the demo's own numbers of steps and dates, the map is only better."""
    short = partial(read_recipe, overrides=[f"train.steps={steps}"])
    monkeypatch.setattr(module, "read_recipe", short)
    monkeypatch.setattr(module, "_DATES", dates)
    demo = run_demo(tmp_path / "demo", seed=3, size=448)
    ds = xr.open_zarr(demo.run.path / "product.zarr")
    assert ds.classification.dims == ("time", "y", "x")
    assert ds.sizes["time"] == 2
    change = xr.open_zarr(demo.run.path / "change.zarr")
    assert {"change", "from", "to", "change_probability"} <= set(change.data_vars)
    accuracy = json.loads((demo.run.path / "accuracy.json").read_text())
    assert accuracy["overall"] == pytest.approx(demo.accuracy.overall, abs=1e-6)
    assert set(accuracy["periods"]) == {"2023", "2024"}
    assert accuracy["overall"] > least  # a small landscape has few labels
    assert demo.quicklook.stat().st_size > 10_000
    _numbers_report_and_viewer(demo.run.path, capsys.readouterr().out)
    # What it leaves behind names the archive's own catalogue, not the server that has gone.
    for recipe in (tmp_path / "demo" / "recipe.yaml", demo.run.path / "recipe.yaml"):
        assert read_recipe(recipe).inputs["s2"].catalog == str(demo.archive.catalog)
    with pytest.raises(RunFolderError, match="not empty"):
        run_demo(tmp_path / "demo")


def _numbers_report_and_viewer(run: Path, printed: str) -> None:
    """Type the three commands that the demo prints."""
    assess, report, view = (
        line.partition("#")[0].strip() for line in printed.partition("Next:")[2].strip().split("\n")
    )
    for command in (assess, report):
        subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True, env=_HERE)
    areas = json.loads((run / "areas.json").read_text())
    assert all(
        one["hectares"]["low"] <= one["hectares"]["value"] <= one["hectares"]["high"]
        for one in areas["periods"]["2024"]["classes"]
        if one["hectares"]["value"] is not None
    )
    assert areas["change"]["2023-2024"]["changed"]["hectares"]["se"] > 0
    assert "95" in (run / "report.html").read_text()
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec {view}"], stdout=subprocess.PIPE, text=True, env=_HERE
    ) as server:
        try:
            url = server.stdout.readline().split()[0]
            with urllib.request.urlopen(url) as page:  # noqa: S310 -- its own address
                assert b"<html" in page.read().lower()
        finally:
            server.terminate()


@pytest.mark.parametrize("path", ["", "/usr/bin", os.path.dirname(sys.executable)])  # noqa: PTH120
@pytest.mark.parametrize("inside", [False, True])
def test_what_to_type_next_is_this_environments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str, inside: bool
) -> None:
    """Whether it is on the PATH or not, and from any folder."""
    here = Path(sys.executable).parent
    monkeypatch.setenv("PATH", path)
    monkeypatch.chdir(here.parent if inside else tmp_path)
    typed = program("python")
    assert (typed == "python") == (path == str(here))
    out = subprocess.run(
        ["/bin/sh", "-c", f"{typed} -c 'import rsscale, sys; print(sys.prefix)'"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert out.stdout.strip() == sys.prefix
