"""Commands on recipes: recipe schema."""

from __future__ import annotations

import json

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
