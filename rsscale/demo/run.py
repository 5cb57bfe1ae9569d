"""Run ``rsscale demo``: from a simulated archive to a measured map of change."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from rsscale.demo.serve import find_program, serve_catalog
from rsscale.errors import RunFolderError
from rsscale.pictures.charts import require_matplotlib
from rsscale.pictures.quicklook import quicklook
from rsscale.pipeline.assessment import assess
from rsscale.pipeline.training import train_recipe
from rsscale.recipe import read_recipe
from rsscale.reporting.named_times import open_named
from rsscale.runs.run import Run, run
from rsscale.sample_design.design_sample import design_sample
from rsscale.simulation.simulate import SimulatedArchive, simulate
from rsscale.simulation.truth import interpret

if TYPE_CHECKING:
    from rsscale.accuracy.assess import Accuracy

# Evaluated is what lies at least this far from any training label, in blocks of this width.
_DISTANCE = _BLOCK = 1000.0
_UNITS = 700
# Width of a scene, and acquisitions a year and tile: what two cores see through in two minutes,
# and enough to see each season of most places clearly.
_SIZE, _DATES = 1000, 14


@dataclass(frozen=True)
class Demo:
    """Results of the demo.

    Attributes
    ----------
    folder : Path
    archive : SimulatedArchive
    run : Run
    accuracy : Accuracy
        Of both years together, away from the training labels.
    quicklook : Path
        A PNG of the maps.
    sample : Path
        A probability sample of the change and of what did not change, filled in by the truth.
    """

    folder: Path
    archive: SimulatedArchive
    run: Run
    accuracy: Accuracy
    quicklook: Path
    sample: Path


def run_demo(
    folder: str | Path,
    *,
    seed: int = 0,
    size: int | None = None,
    cluster: str | None = None,
) -> Demo:
    """Simulate an archive, train on a part of it, map all of it, and measure the rest.

    Parameters
    ----------
    folder : path
        New or empty; everything is written into it.
    seed : int
        Another seed, another landscape.
    size : int, optional
        Width of a scene, px.
    cluster : str, optional
        A Dask cluster by name; see :func:`rsscale.run`.

    Raises
    ------
    RunFolderError
        When the folder holds something already.
    MissingExtraError
        When what the extra ``rsscale[demo]`` installs is not there.
    """
    folder = Path(folder)
    require_matplotlib("the demo's picture", "demo")  # now, not after minutes
    find_program()
    _claim(folder)
    say = Console(stderr=True, highlight=False).print
    started = time.monotonic()

    say("[bold]1  Simulate[/] an archive like Sentinel-2's, with a truth that is known")
    archive = simulate(
        folder / "archive", seed=seed, dates=_DATES, size=_SIZE if size is None else size
    )
    recipe_file = folder / "recipe.yaml"
    for name in (recipe_file.name, "objects.yaml"):
        (folder / name).write_text(files("rsscale.demo").joinpath(name).read_text("utf-8"))
    recipe = read_recipe(recipe_file)

    say("[bold]2  Serve[/] it through a STAC API, as a data provider does")
    with serve_catalog(archive.items) as url:
        say(f"   {url}, collection {archive.collection}")
        say("[bold]3  Train[/] a small U-Net on labels in the west")
        _, report = train_recipe(recipe.with_catalogs({"s2": url}))
        say(f"   {report.verdict}")
        say(f"[bold]4  Map[/] the whole area for {', '.join(map(str, recipe.periods))}")
        done = run(recipe, folder / "run", cluster, search_at={"s2": url})

    say(f"[bold]5  Measure[/] the maps at least {_DISTANCE / 1000:g} km from any label")
    accuracy = assess(done, archive.truth, exclude=archive.labels, distance=_DISTANCE, block=_BLOCK)
    picture = quicklook(
        done.open(), folder / "map.png", title="Land cover", change=open_named(done, "change")
    )
    say(f"[bold]6  Sample[/] {_UNITS} points, and ask the truth about them, as interpreters are")
    sample = folder / "sample.gpkg"
    design_sample(done, sample, step="change", strata=["change"], size=_UNITS, seed=seed)
    interpret(sample, archive.truth, archive.classes, recipe.periods[-1])
    demo = Demo(folder, archive, done, accuracy, picture, sample)
    _summary(demo, time.monotonic() - started)
    return demo


def _claim(folder: Path) -> None:
    """Make the folder; one that is not empty is refused, so that nothing is overwritten."""
    if folder.exists() and any(folder.iterdir()):
        raise RunFolderError(
            f"{folder} is not empty; choose another --out, or delete it for a fresh demo"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"{folder} can't be made: {error.strerror}") from None


def _summary(demo: Demo, seconds: float) -> None:
    """Print the accuracy, the paths of all results, and commands to try next."""
    console = Console(highlight=False)
    console.print()
    console.print(demo.accuracy)
    console.print(f"Done in {seconds:.0f} s. Everything lies in [bold]{demo.folder}[/]:")
    for title, path in _places(demo):
        console.print(f"  {title:<10} {path}", soft_wrap=True)
    console.print("Next:")
    for command in _next_steps(demo):
        console.print(f"  {command}", soft_wrap=True)


_IN_RUN = (("map", "product.zarr"), ("change", "change.zarr"), ("accuracy", "accuracy.json"))


def _places(demo: Demo) -> list[tuple[str, Any]]:
    return [
        ("picture", demo.quicklook),
        *((title, f"{demo.run.path}/{name}") for title, name in _IN_RUN),
        ("model", demo.folder / "model"),
        ("sample", demo.sample),
        ("recipe", demo.folder / "recipe.yaml"),
        ("archive", demo.archive.catalog),
    ]


def _next_steps(demo: Demo) -> list[str]:
    rsscale, folder = program("rsscale"), demo.run.path
    return [
        f"{rsscale} assess {folder} --sample {demo.sample}   # areas with their intervals",
        f"{rsscale} report {folder}   # one page, report.html",
        f"{rsscale} view {folder}   # the maps in the browser",
    ]


def program(name: str) -> str:
    """Command for a program of this environment: its name, or its path if not on the PATH.

    After ``.venv/bin/rsscale`` the PATH has no ``rsscale``, and another ``python``.
    """
    here = Path(sys.executable).with_name(name)
    on_path = shutil.which(name)
    if on_path and Path(on_path) == here:
        return name
    return os.path.relpath(here) if here.is_relative_to(Path.cwd()) else str(here)
