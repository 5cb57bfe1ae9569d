"""Commands that make or look for imagery: demo, simulate, search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rsscale.cli.application import command
from rsscale.cli.options import Cluster
from rsscale.errors import RecipeError
from rsscale.text.wording import counted


@command
def demo(
    out: Annotated[Path, typer.Option(help="Where everything is written.")] = Path("rsscale-demo"),
    seed: Annotated[int, typer.Option(help="Another seed, another landscape.")] = 0,
    size: Annotated[int | None, typer.Option(help="Width of a scene in pixels.")] = None,
    cluster: Cluster = None,
) -> None:
    """Simulate an archive, train a model, map it for two years, and measure the map."""
    from rsscale.demo.run import run_demo

    run_demo(out, seed=seed, size=size, cluster=cluster)


@command
def simulate(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="An empty folder.")],
    size: Annotated[int | None, typer.Option(help="Width of a scene in pixels.")] = None,
    years: Annotated[str, typer.Option(help="Comma-separated.")] = "2023,2024",
    dates: Annotated[int, typer.Option(help="Acquisition dates a year.")] = 15,
    seed: Annotated[int, typer.Option(help="Another seed, another landscape.")] = 0,
) -> None:
    """Write a synthetic Sentinel-2-like archive whose truth is known.

    Besides the catalogue and its images DIR gets labels.gpkg, polygons of classes to train on;
    truth/landcover_YEAR.tif, the class of every pixel, with truth/change_YEAR_YEAR.tif between the
    years; area.geojson, what to map, and training_area.geojson, the part of it that has labels.
    """
    from rsscale.simulation.simulate import simulate as make

    try:
        numbers = tuple(int(year) for year in years.split(","))
    except ValueError:
        raise RecipeError(f"--years {years!r}: expected years such as 2023,2024") from None
    options: dict[str, Any] = {} if size is None else {"size": size}
    archive = make(out, years=numbers, dates=dates, seed=seed, **options)
    print(f"archive   {archive.catalog}")
    print(f"labels    {archive.labels}")
    print(f"truth     {archive.root / 'truth'}")
    print(f"area      {archive.area}")


@command
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
        print(f"{counted(len(items), 'item')} to {out}")


def _from_json(option: str, text: str | None, *, is_secret: bool = False) -> Any:
    """The value of an option that is JSON; what may hold a secret is not repeated."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        quote = "" if is_secret else f" {text!r}"
        raise RecipeError(f"{option}{quote} is not JSON; see rsscale search --help") from None
