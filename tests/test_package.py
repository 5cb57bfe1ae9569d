"""The package as a whole: what importing it costs, and that every public name is there."""

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import rsscale

HEAVY = ("torch", "distributed", "rasterio", "stackstac")
# What a user does, and the modules that it must not import. All of it is done by one process, in
# this order, since each takes seconds to start: what an earlier line may import, a later one may.
LIGHT = {
    "import rsscale": HEAVY,
    "command('--help')": HEAVY,
    "from rsscale.runs.run import Run; import rsscale.runs.verification": HEAVY,
    "import rsscale.composites.time_windows": HEAVY,
    "import rsscale.composites.composite": ("torch",),
    # A notebook's own backend and figures are not touched.
    "from rsscale.pictures.charts import new_figure, save_figure; "
    "save_figure(new_figure(20, 10), folder / 'a.png')": ("matplotlib.pyplot",),
}
PROGRAM = """
import contextlib, io, json, pathlib, sys

def command(*words):
    from rsscale.cli import main
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        main(list(words))
    assert "rsscale" in said.getvalue()

folder = pathlib.Path(sys.argv[1])
found = {}
for line in json.loads(sys.argv[2]):
    exec(line)
    found[line] = sorted(sys.modules)
print(json.dumps(found))
"""


@cache
def modules_after(folder: Path) -> dict[str, list[str]]:
    """What has been imported after each line."""
    words = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(list(LIGHT))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("line", LIGHT)
def test_what_is_light_brings_no_heavy_library(
    tmp_path_factory: pytest.TempPathFactory, line: str
) -> None:
    found = modules_after(tmp_path_factory.getbasetemp())[line]
    assert "rsscale" in found
    assert not set(LIGHT[line]) & set(found)


@pytest.mark.slow
def test_status_and_verify_bring_no_heavy_library(landscape_run: Path, tmp_path: Path) -> None:
    """Over a real run: they know its steps, and neither networks nor rasters."""
    shutil.copytree(landscape_run, tmp_path / "run")
    program = (
        "import sys; from rsscale.cli.application import _invoke; "
        f"codes = [_invoke([verb, {str(tmp_path / 'run')!r}], debug=True) "
        "for verb in ('status', 'verify')]; "
        f"print(codes, sorted(set({HEAVY!r} + ('pystac', 'geopandas')) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "9 of 9 tiles are sound" in done.stdout
    assert done.stdout.splitlines()[-1] == "[0, 0] []"


def test_every_public_name_can_be_used() -> None:
    for name in rsscale.__all__:
        assert getattr(rsscale, name).__doc__, name


def test_a_name_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="predcit"):
        getattr(rsscale, "predcit")  # noqa: B009 -- what a typo does
