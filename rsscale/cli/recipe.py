"""Commands on recipes: recipe new, recipe schema."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rsscale.cli.application import app
from rsscale.cli.examples import epilog_of, group_of

_recipes = typer.Typer(help="Help with writing recipes.", no_args_is_help=True)
app.add_typer(_recipes, name="recipe", rich_help_panel=group_of("recipe"))


@_recipes.command(epilog=epilog_of("recipe schema"))
def schema() -> None:
    """Print the JSON Schema of recipes, by which editors complete and check them.

    Write it beside the recipes, `rsscale recipe schema > rsscale.schema.json`, and begin each of
    them with the line `# yaml-language-server: $schema=rsscale.schema.json`.
    """
    from rsscale.recipe_schema import recipe_schema

    print(json.dumps(recipe_schema(), indent=1, ensure_ascii=False))


@_recipes.callback()
def _group() -> None:
    """Help with writing recipes."""


@_recipes.command(epilog=epilog_of("recipe new"))
def new(
    to: Annotated[Path, typer.Option(help="The file; must not be there yet.")] = Path(
        "recipe.yaml"
    ),
    catalog: Annotated[
        str | None, typer.Option(help="STAC API, catalog.json or stac-geoparquet.")
    ] = None,
    collection: Annotated[
        str | None, typer.Option(help="Needed where the catalogue has several.")
    ] = None,
    area: Annotated[
        str | None,
        typer.Option(help="A file with polygons, or west,south,east,north in degrees."),
    ] = None,
    periods: Annotated[
        list[str] | None, typer.Option(help="Years, as 2023,2024; may be repeated.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Comma-separated; by the product when omitted.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="What to train on.")] = None,
    class_: Annotated[
        str | None, typer.Option("--class", help="Column of the class in the labels.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the run; by the area when omitted.")] = None,
    crs: Annotated[
        str | None, typer.Option(help="Of the grid; UTM of the area when omitted.")
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Metres; that of the finest band when omitted.")
    ] = None,
    sign: Annotated[
        str | None, typer.Option(help="How files are reached, e.g. planetary-computer.")
    ] = None,
    cloud_cover: Annotated[
        float, typer.Option(help="Leave out scenes with more per cent of clouds.")
    ] = 60.0,
) -> None:
    """Write a recipe with comments; what is not given is asked on a terminal.

    The catalogue is asked for its collections, bands and pixels; grid, mask and bands are chosen by
    them, and each choice is a line that can be changed.
    """
    from rsscale.recipe_writing.answers import Answers
    from rsscale.recipe_writing.questions import ask_for, parse_years, refuse_missing
    from rsscale.recipe_writing.write import new_recipe, refuse_existing, summary

    refuse_existing(to)
    given: dict[str, Any] = {
        "catalog": catalog,
        "collection": collection,
        "area": area,
        "periods": parse_years(",".join(periods)) if periods else None,
        "labels": labels,
        "sign": sign,
    }
    if all(given[key] for key in ("catalog", "area", "periods")) or not sys.stdin.isatty():
        refuse_missing(given)
    else:
        given = ask_for(given, _ask, print)
    answers = Answers(
        **given,
        bands=tuple(part.strip() for part in bands.split(",")) if bands else (),
        class_=class_,
        name=name,
        crs=crs,
        resolution=resolution,
        cloud_cover=cloud_cover,
    )
    print(summary(new_recipe(answers, to)))


def _ask(question: str, default: str | None) -> str:
    return str(typer.prompt(question, default=default, show_default=bool(default)))
