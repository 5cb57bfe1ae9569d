"""A recipe with a model that is given in memory, and lies in a folder while it is needed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsscale.recipe.reading import read_recipe
from rsscale.recipe.schema import Recipe

if TYPE_CHECKING:
    from rsscale.learn.model import Model
    from rsscale.learn.model_folder import ModelFolder

    GivenModel = Model | ModelFolder
    """A model in memory, or a folder."""


@contextmanager
def reading(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    overrides: Sequence[str] = (),
    model: GivenModel | Mapping[int, GivenModel] | None = None,
) -> Iterator[Recipe]:
    """Read a recipe, with the models that are given in place of its own.

    A run copies what a model's folder holds, by its digest, so that the folder may go afterwards.
    What is given by the caller is trusted to run.

    Parameters
    ----------
    recipe, overrides
        As for :func:`rsscale.run`.
    model : Model, ModelFolder, or mapping of period to those, optional

    Raises
    ------
    RecipeError, ModelError
        When the recipe is wrong, or the model can't be saved.
    """
    # A recipe needs to say a model; which, is known once it has been saved.
    given = [] if model is None else ["model=given"]
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe, [*overrides, *given])
    with ExitStack() as stack:
        if model is not None:
            scratch = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="rsscale-model-"))
            )
            recipe = _with_model(recipe, model, scratch)
        yield recipe


def _with_model(
    recipe: Recipe, model: GivenModel | Mapping[int, GivenModel], scratch: Path
) -> Recipe:
    if not isinstance(model, Mapping):
        folder, trusted = _folder(model, scratch / "model")
        update: dict[str, Any] = {"model": folder}
    else:
        kept = {p: _folder(given, scratch / str(p)) for p, given in model.items()}
        update = {"model": {p: folder for p, (folder, _) in kept.items()}}
        trusted = [digest for _, digests in kept.values() for digest in digests]
    update["trust"] = tuple(sorted({*recipe.trust, *trusted}))
    return recipe.model_copy(update=update)


def _folder(model: GivenModel, scratch: Path) -> tuple[str, list[str]]:
    """Where a model lies, and its digest where it is trusted."""
    from rsscale.learn.model import Model
    from rsscale.learn.models import save_model
    from rsscale.model.artifacts import PROGRAM
    from rsscale.model.files import weights_of

    known = model.source() if isinstance(model, Model) else model
    if not isinstance(model, Model) or known is not None:
        return known.path, [known.digest] if known.trust else []
    saved = save_model(model, scratch)
    is_program = weights_of(scratch).suffix == PROGRAM.suffix
    return str(scratch), [saved.digest] if is_program else []
