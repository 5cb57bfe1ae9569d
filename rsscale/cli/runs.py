"""Commands on runs: plan, run, resume, status, verify."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rsscale.cli.application import command
from rsscale.cli.options import (
    Cluster,
    Device,
    Grace,
    Heartbeat,
    MetricsPort,
    RecipeFile,
    RunPath,
    Set,
    Trust,
    Walltime,
)
from rsscale.errors import TilesFailedError
from rsscale.progress.json_log import is_json

if TYPE_CHECKING:
    from rsscale.runs.run import Run


@command
def plan(
    recipe: RecipeFile,
    pilot: Annotated[
        int, typer.Option(help="Map so many tiles, and one to warm up, to estimate.")
    ] = 0,
    worker_hour: Annotated[float, typer.Option(help="Price of an hour of one worker.")] = 0.0,
    gigabyte: Annotated[float, typer.Option(help="Price of a GB read.")] = 0.0,
    cluster: Cluster = None,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(help="Threads of each process.")] = None,
    memory: Annotated[float | None, typer.Option(help="GiB that one process may take.")] = None,
    trust: Trust = False,
    set_: Set = None,
) -> None:
    """Tell what a run will take, and what can't work, before anything is written."""
    from rsscale.pipeline.estimate import plan as forecast
    from rsscale.pipeline.estimate_table import Prices

    estimate = forecast(
        recipe,
        client=cluster,
        device=device,
        threads=threads,
        trust=trust,
        overrides=set_ or (),
        pilot=pilot,
        prices=Prices(worker_hour, gigabyte) if worker_hour or gigabyte else None,
        memory=None if memory is None else int(memory * 2**30),
    )
    print(estimate)


@command
def run(
    recipe: RecipeFile,
    out: Annotated[
        str | None, typer.Option(help="The run folder, or s3://…; out/NAME when omitted.")
    ] = None,
    cluster: Cluster = None,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(help="Threads of each process.")] = None,
    precision: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="What the network computes in.")
    ] = "float32",
    compile_: Annotated[
        bool, typer.Option("--compile", help="Compile the network with torch.compile.")
    ] = False,
    update: Annotated[
        bool, typer.Option(help="Compute tiles anew whose recipe, model or items changed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be computed; write nothing.")
    ] = False,
    metrics: MetricsPort = None,
    heartbeat: Heartbeat = None,
    grace: Grace = 25.0,
    walltime: Walltime = None,
    trust: Trust = False,
    set_: Set = None,
) -> None:
    """Map everything that a recipe asks for; in an existing run folder, what is missing."""
    from rsscale.runs.changes import changes
    from rsscale.runs.run import RunOptions
    from rsscale.runs.run import run as start

    options: dict[str, Any] = {
        "device": device,
        "threads": threads,
        "precision": precision,
        "compile": compile_,
        "trust": trust,
        "overrides": set_ or (),
        "update": update,
    }
    if dry_run:
        print(changes(recipe, out, cluster, **options))
        return
    watch = RunOptions(metrics, heartbeat, grace, _seconds(walltime))
    with _summary_to_come():
        map_run = start(recipe, out, cluster, **options, watch=watch)
    _print_outcome(map_run)


@command
def resume(
    folder: RunPath,
    cluster: Cluster = None,
    metrics: MetricsPort = None,
    heartbeat: Heartbeat = None,
    grace: Grace = 25.0,
    walltime: Walltime = None,
) -> None:
    """Go on with a run: compute what is missing, failed or damaged."""
    from rsscale.runs.run import RunOptions
    from rsscale.runs.run import resume as go_on

    watch = RunOptions(metrics, heartbeat, grace, _seconds(walltime))
    with _summary_to_come():
        map_run = go_on(folder, cluster, watch=watch)
    _print_outcome(map_run)


def _print_outcome(map_run: Run) -> None:
    """What the run has made, and of a whole one what to do with it."""
    print(map_run.summary())
    if map_run.state["state"] == "done":
        folder = shlex.quote(str(map_run.path))
        print(f"next      rsscale quicklook {folder} | gates {folder} | view {folder}")


@contextmanager
def _summary_to_come() -> Iterator[None]:
    """Do not log what the summary of a run says; collectors of logs do not read that."""
    logger = logging.getLogger("rsscale.runs.run")
    before = logger.level
    logger.setLevel(before if is_json() else logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _seconds(walltime: str | None) -> float | None:
    from rsscale.cluster.walltime import parse_walltime

    return None if walltime is None else parse_walltime(walltime)


@command
def status(
    folder: RunPath,
    as_json: Annotated[
        bool, typer.Option("--json", help="All of run.json, and whether it is dead.")
    ] = False,
) -> None:
    """Tell how far a run is, also from another terminal while it runs."""
    from rsscale.runs.run import Run

    map_run = Run(folder)
    if as_json:
        print(json.dumps(map_run.status(), indent=1))
    else:
        print(map_run.summary())


@command
def verify(
    folder: RunPath,
    repair: Annotated[
        bool, typer.Option(help="Take back the ledger entries of damaged tiles.")
    ] = False,
) -> None:
    """Read every shard of a run again and compare it with the ledger."""
    from rsscale.runs.verification import verify as check

    report = check(folder, repair=repair)
    print(f"{report.sound} of {report.total} tiles are sound, {report.absent} have not run")
    for damage in report.damaged:
        print(f"damaged {damage.key}: {damage.reason}")
    for store in report.stores:
        print(f"damaged {store}")
    if report.damaged or report.stores:
        stores = f" and {len(report.stores)} stores" if report.stores else ""
        raise TilesFailedError(
            f"{len(report.damaged)} tiles{stores} are not what was written; mend them with: "
            f"rsscale resume {folder}"
        )
