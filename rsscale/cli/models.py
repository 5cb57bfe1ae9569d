"""Commands on models: train, and model show and check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rsscale.cli.application import app, command
from rsscale.cli.examples import epilog_of, group_of
from rsscale.cli.options import Cluster, Device, RecipeFile, Set, Trust

_models = typer.Typer(help="Show or check a model folder.", no_args_is_help=True)
app.add_typer(_models, name="model", rich_help_panel=group_of("model"))
ModelPath = Annotated[Path, typer.Argument(metavar="FOLDER", help="A model folder.")]


@command
def train(
    recipe: RecipeFile,
    out: Annotated[Path | None, typer.Option(help="Folder of the model.")] = None,
    cluster: Cluster = None,
    device: Device = "auto",
    set_: Set = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, whatever an interrupted training left.")
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Compare the recipe's network with classical learners instead; no model is saved.",
        ),
    ] = False,
    learners: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Compare with these alone: random_forest, gradient_boosting, "
            "nearest_neighbours, or networks; separated by commas.",
        ),
    ] = None,
) -> None:
    """Train the model of a recipe on its labels."""
    if compare or learners:
        _compare(recipe, learners, out, cluster, device, set_ or (), fresh=fresh)
        return
    from rsscale.pipeline.training import train_recipe
    from rsscale.recipe import read_recipe
    from rsscale.sampling.provenance import model_folder

    whole = read_recipe(recipe, set_ or ())
    folder = out or model_folder(whole)
    is_there = (folder / "item.json").exists()
    model, report = train_recipe(whole, out=out, cluster=cluster, device=device, fresh=fresh)
    print(report)
    print(f"model     {model.spec.name}, in {folder}{'; the former one is replaced' * is_there}")


def _compare(
    path: Path,
    learners: str | None,
    out: Path | None,
    cluster: str | None,
    device: str,
    overrides: Sequence[str],
    *,
    fresh: bool,
) -> None:
    """Print a comparison and write it as JSON."""
    from rsscale.comparison.compare import compare
    from rsscale.recipe import read_recipe
    from rsscale.sampling.label_chips import train_settings

    recipe = read_recipe(path, overrides)
    chosen = None
    if learners:
        own = train_settings(recipe).architecture
        chosen = list(dict.fromkeys([own, *(name.strip() for name in learners.split(","))]))
    comparison = compare(recipe, chosen, cluster=cluster, device=device, fresh=fresh)
    target = out or path.with_name(f"{path.stem}-comparison.json")
    comparison.save(target)
    print(comparison)
    print(f"comparison {target}")


@_models.command(epilog=epilog_of("model show"))
def show(
    folder: ModelPath,
    plots: Annotated[
        bool, typer.Option("--plots", help="Draw the pictures of its training again.")
    ] = False,
) -> None:
    """Tell what a model reads, returns and was trained on, and how accurate it is."""
    from rsscale.pipeline.model_card import describe_model, draw_model

    print(describe_model(folder))
    for path in draw_model(folder) if plots else ():
        print(path)


@_models.command(epilog=epilog_of("model check"))
def check(
    folder: ModelPath,
    recipe: Annotated[
        Path | None, typer.Argument(metavar="[RECIPE]", help="A recipe that is to use it.")
    ] = None,
    trust: Trust = False,
) -> None:
    """Open a model, try it on a window, and compare it with a recipe."""
    from rsscale.pipeline.model_card import check_model

    for line in check_model(folder, recipe, trust=trust):
        print(line)
