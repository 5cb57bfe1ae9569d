"""The command line: ``rsscale demo | simulate | search | train | run | resume | …``.

Every command is one call of the Python API. Exit codes: 0 done; 1 the work failed, in part or
whole, and can be resumed; 2 the recipe, model or arguments are wrong; 130 interrupted.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rsscale.cluster.allocator import keep_memory
from rsscale.cluster.pools import has_abandoned_tasks
from rsscale.errors import RecipeError, RsscaleError, TilesFailedError
from rsscale.progress import show_progress
from rsscale.redaction import redact_logs, scrub

app = typer.Typer(
    help="Deep learning for remote sensing at country scale.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="--quiet shows no progress, --debug shows where an error came from; "
    "both may stand anywhere.",
)

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, YAML.")]
RunPath = Annotated[str, typer.Argument(metavar="FOLDER", help="A run folder, or s3://….")]
Heartbeat = Annotated[
    Path | None, typer.Option(help="A file that is written anew every few seconds.")
]
MetricsPort = Annotated[
    int | None, typer.Option("--metrics", help="Serve Prometheus metrics on this port.")
]
Grace = Annotated[float, typer.Option(help="Seconds that SIGTERM leaves to tiles in flight.")]
Cluster = Annotated[
    str | None,
    typer.Option(help="local, local:N worker processes, or a scheduler's tcp://host:port."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, e.g. grid.tile=1024."),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run models that are programs, as they lie now.")
]


# Newer typer brings its own copy of click, whose errors are not click's.
_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


class _InterruptedError(Exception):
    """Carries the message of a KeyboardInterrupt past click, which would drop it."""


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command that keeps what an interrupted run has to say."""

    @functools.wraps(function)
    def wrapped(*args: Any, **options: Any) -> None:
        try:
            function(*args, **options)
        except KeyboardInterrupt as error:
            raise _InterruptedError(str(error)) from None

    app.command()(wrapped)
    return function


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug, quiet = "--debug" in words, "--quiet" in words
    words = [word for word in words if word not in ("--debug", "--quiet")]
    show_progress(not quiet)
    redact_logs()
    keep_memory()  # before there are threads: training, too, is faster by it
    _leave(_invoke(words, debug=debug))


def _leave(code: int) -> None:
    """End the process, also when tiles that were abandoned are still computed by its threads."""
    if has_abandoned_tasks():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _invoke(words: list[str], *, debug: bool) -> int:
    """Run one command; errors become one line, and an exit code."""
    try:
        result = app(words, standalone_mode=False, prog_name="rsscale")
    except _UsageError as error:
        error.show()
        return 2
    except RsscaleError as error:
        if debug:
            _show_where(error)
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except (_InterruptedError, typer.Abort, KeyboardInterrupt) as error:
        print(f"\n{scrub(str(error))}" if str(error) else "\ninterrupted", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 -- a person gets one line of anything
        hint = "" if debug else " (--debug shows where)"
        if debug:
            _show_where(error)
        print(f"error: {type(error).__name__}: {scrub(str(error))}{hint}", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


def _show_where(error: BaseException) -> None:
    """Print where an error came from; other libraries' messages quote addresses and headers."""
    print(scrub("".join(traceback.format_exception(error))), file=sys.stderr, end="")


def _version(value: bool) -> None:
    if value:
        from rsscale import __version__

        print(f"rsscale {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Deep learning for remote sensing at country scale."""


@_command
def demo(
    out: Annotated[Path, typer.Option(help="Where everything is written.")] = Path("rsscale-demo"),
    seed: Annotated[int, typer.Option(help="Another seed, another landscape.")] = 0,
    size: Annotated[int | None, typer.Option(help="Width of a scene in pixels.")] = None,
    cluster: Cluster = None,
) -> None:
    """Simulate an archive, train a model, map it for two years, and measure the map."""
    from rsscale.demo.run import run_demo

    run_demo(out, seed=seed, size=size, cluster=cluster)


@_command
def simulate(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="An empty folder.")],
    size: Annotated[int | None, typer.Option(help="Width of a scene in pixels.")] = None,
    years: Annotated[str, typer.Option(help="Comma-separated.")] = "2023,2024",
    dates: Annotated[int, typer.Option(help="Acquisition dates a year.")] = 15,
    seed: Annotated[int, typer.Option(help="Another seed, another landscape.")] = 0,
) -> None:
    """Write a synthetic Sentinel-2-like archive whose truth is known."""
    from rsscale.demo.simulate import simulate as make

    try:
        numbers = tuple(int(year) for year in years.split(","))
    except ValueError:
        raise RecipeError(f"--years {years!r}: expected years such as 2023,2024") from None
    options: dict[str, Any] = {} if size is None else {"size": size}
    archive = make(out, years=numbers, dates=dates, seed=seed, **options)
    print(f"archive   {archive.catalog}")


def _from_json(option: str, text: str | None, *, is_secret: bool = False) -> Any:
    """The value of an option that is JSON; what may hold a secret is not repeated."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        found = "" if is_secret else f" {text!r}"
        raise RecipeError(f"{option}{found} is not JSON; see rsscale search --help") from None


@_command
def search(
    catalog: Annotated[str, typer.Argument(help="STAC API, catalog.json or stac-geoparquet.")],
    collection: Annotated[
        list[str] | None, typer.Option(help="Id of a collection; may be repeated.")
    ] = None,
    area: Annotated[Path | None, typer.Option(help="A vector file with polygons.")] = None,
    bbox: Annotated[str | None, typer.Option(help="west,south,east,north in degrees.")] = None,
    datetime: Annotated[str | None, typer.Option(help="2023, 2023-05/2023-09, …")] = None,
    query: Annotated[str | None, typer.Option(help='JSON: {"eo:cloud_cover": {"lt": 60}}')] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Id of an item to leave out; may be repeated.")
    ] = None,
    sign: Annotated[
        str | None, typer.Option(help="How files are reached, e.g. planetary-computer.")
    ] = None,
    headers: Annotated[
        str | None,
        typer.Option(
            help='JSON: {"data.example.org": {"Authorization": "Bearer env:EXAMPLE_TOKEN"}}'
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the items to stac-geoparquet.")] = None,
) -> None:
    """List the items of a catalogue, or freeze them to a file."""
    from rsscale.catalog.search import search as find
    from rsscale.items.freeze import freeze

    where = str(area) if area else [float(v) for v in bbox.split(",")] if bbox else None
    items = find(
        catalog,
        collection,
        area=where,
        datetime=datetime,
        query=_from_json("--query", query),
        sign=sign,
        headers=_from_json("--headers", headers, is_secret=True),
        exclude=exclude or (),
    )
    for item in [] if out else items:
        cover = item.properties.get("eo:cloud_cover")
        print(f"{item.id}  {item.properties.get('datetime')}  cloud cover {cover}")
    if out:
        freeze(items, out)
        print(f"{len(items)} items to {out}")


@_command
def train(
    recipe: RecipeFile,
    out: Annotated[Path | None, typer.Option(help="Folder of the model.")] = None,
    device: Device = "auto",
    set_: Set = None,
) -> None:
    """Train the model of a recipe on its labels."""
    from rsscale.pipeline.training import train_recipe

    model, report = train_recipe(recipe, out=out, device=device, overrides=set_ or ())
    print(report)
    print(f"model     {model.spec.name}")


@_command
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

    found = forecast(
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
    print(found)


@_command
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
    found = start(recipe, out, cluster, **options, watch=RunOptions(metrics, heartbeat, grace))
    print(found.summary())


@_command
def resume(
    folder: RunPath,
    cluster: Cluster = None,
    metrics: MetricsPort = None,
    heartbeat: Heartbeat = None,
    grace: Grace = 25.0,
) -> None:
    """Go on with a run: compute what is missing, failed or damaged."""
    from rsscale.runs.run import RunOptions
    from rsscale.runs.run import resume as go_on

    print(go_on(folder, cluster, watch=RunOptions(metrics, heartbeat, grace)).summary())


@_command
def status(
    folder: RunPath,
    as_json: Annotated[
        bool, typer.Option("--json", help="All of run.json, and whether it is dead.")
    ] = False,
) -> None:
    """Tell how far a run is, also from another terminal while it runs."""
    from rsscale.runs.run import Run

    found = Run(folder)
    if as_json:
        print(json.dumps(found.status(), indent=1))
    else:
        print(found.summary())


@_command
def verify(
    folder: RunPath,
    repair: Annotated[
        bool, typer.Option(help="Take back the ledger entries of damaged tiles.")
    ] = False,
) -> None:
    """Read every shard of a run again and compare it with the ledger."""
    from rsscale.runs.verification import verify as check

    found = check(folder, repair=repair)
    print(f"{found.sound} of {found.total} tiles are sound, {found.absent} have not run")
    for damage in found.damaged:
        print(f"damaged {damage.key}: {damage.reason}")
    for store in found.stores:
        print(f"damaged {store}")
    if found.damaged or found.stores:
        stores = f" and {len(found.stores)} stores" if found.stores else ""
        raise TilesFailedError(
            f"{len(found.damaged)} tiles{stores} are not what was written; mend them with: "
            f"rsscale resume {folder}"
        )


@_command
def assess(
    folder: RunPath,
    reference: Annotated[Path, typer.Option(help="Raster of class values, or labelled polygons.")],
    period: Annotated[int | None, typer.Option(help="Which map; the last when omitted.")] = None,
    class_: Annotated[
        str | None, typer.Option("--class", help="Column of the class name, for polygons.")
    ] = None,
    period_column: Annotated[
        str | None, typer.Option(help="Column of the year that a label is true for.")
    ] = None,
    exclude: Annotated[Path | None, typer.Option(help="Training labels to keep away from.")] = None,
    distance: Annotated[float, typer.Option(help="How far, metres.")] = 1000.0,
    block: Annotated[float, typer.Option(help="Width of an evaluation block, metres.")] = 1000.0,
    design: Annotated[
        Literal["random"] | None, typer.Option(help="random: points are a simple random sample.")
    ] = None,
) -> None:
    """Measure a map against a reference, away from what it was trained on."""
    from rsscale.pipeline.assessment import assess as measure

    accuracy = measure(
        folder,
        reference,
        period=period,
        class_column=class_,
        period_column=period_column,
        exclude=exclude,
        distance=distance,
        block=block,
        design=design,
    )
    print(accuracy)


@_command
def quicklook(
    folder: RunPath,
    out: Annotated[Path | None, typer.Option(help="PNG; in the run folder when omitted.")] = None,
) -> None:
    """Draw a run's maps with a legend."""
    from rsscale.publish.quicklook import quicklook as draw
    from rsscale.runs.run import Run

    if out is None and "://" in folder:
        raise RecipeError(f"{folder} is in a bucket; say with --out where the picture goes")
    run = Run(folder)
    change = run.open_change() if _is_done(run.state["steps"].get("change")) else None
    print(draw(run.open(), out or Path(folder) / "quicklook.png", change=change))


def _is_done(step: dict[str, Any] | None) -> bool:
    """Whether a run has a step that writes a change layer, and all of its tiles."""
    if step is None or not any(layer["name"] == "change" for layer in step.get("layers", ())):
        return False
    return bool(step["tiles"]["done"] == step["tiles"]["total"])


@_command
def export(
    folder: RunPath,
    to: Annotated[Path, typer.Option(help="A folder, or NAME.tif for one layer and period.")],
    step: Annotated[str, typer.Option(help="Whose layers.")] = "map",
    layer: Annotated[list[str] | None, typer.Option(help="All when omitted.")] = None,
    period: Annotated[list[str] | None, typer.Option(help="All when omitted.")] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also where tiles are not done; they are nodata.")
    ] = False,
) -> None:
    """Write layers as Cloud Optimized GeoTIFFs, with colours, names and overviews."""
    from rsscale.pipeline.exporting import export as write

    paths = write(folder, to, step=step, layers=layer or (), periods=period or (), partial=partial)
    for path in paths:
        print(path)
