"""Commands on models: train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsscale.cli.application import command
from rsscale.cli.options import Device, RecipeFile, Set


@command
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
