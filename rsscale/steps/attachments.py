"""Files that a step is made from: on this machine, and as a run folder keeps them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from rsscale.documents import DocumentError, read_json
from rsscale.errors import RunFolderError
from rsscale.model.files import files_digest
from rsscale.recipe import Recipe
from rsscale.store.run_folder import RunFolder
from rsscale.text.redaction import secret_places

_log = logging.getLogger(__name__)
_MOST_TOLD = 3
_LARGEST = 2**24  # bytes of JSON that are looked through


@dataclass(frozen=True)
class Attachment:
    """Files that a step is made from; a run keeps them under the digest of their content.

    Attributes
    ----------
    name : str
        What the step calls them: the period of a model, the option that names a file.
    files : tuple of Path
        On this machine.
    room : str
        Folder of the run folder that they go into.
    beside : tuple of Path
        Files that tell of them and decide nothing: kept too, and no part of the digest.
    """

    name: str
    files: tuple[Path, ...]
    room: str = "files"
    beside: tuple[Path, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Hash of the content of all files, in their order."""
        return files_digest(*self.files)

    @property
    def folder(self) -> Path:
        """Their folder on this machine."""
        return self.files[0].parent

    def keep(self, run: RunFolder) -> None:
        """Copy the files into a run folder, byte for byte: their digest is what a step is made by.

        What may be a secret in JSON among them is told, by its place.
        """
        for file in (*self.files, *self.beside):
            content = file.read_bytes()
            places = list(islice(_secret_places(file, content), _MOST_TOLD + 1))
            if places:
                more = " and more" if len(places) > _MOST_TOLD else ""
                _log.warning(
                    "%s is copied into the run's folder as it is, and may hold secrets in %s%s; "
                    "take them out of the file, or keep the folder to yourself",
                    file, ", ".join(places[:_MOST_TOLD]), more,
                )  # fmt: skip
            run.storage.write(f"{self.room}/{self.digest}/{file.name}", content)


def _secret_places(file: Path, content: bytes) -> Iterator[str]:
    if file.suffix.lower() not in (".json", ".geojson") or len(content) > _LARGEST:
        return
    try:
        yield from secret_places(read_json(content))
    except DocumentError:
        return  # whoever reads it says so


@dataclass(frozen=True)
class Kept:
    """An attachment as a run folder keeps it: ``<room>/<digest>``."""

    digest: str
    room: str
    run: RunFolder

    @property
    def folder(self) -> Path:
        """A local folder with its files: the run's own, or copies for this process."""
        prefix = f"{self.room}/{self.digest}"
        names = list(self.run.storage.names(prefix))
        if not names:
            raise RunFolderError(f"{self.run.url} is damaged: {prefix} is not there any more")
        files = [self.run.storage.local(name) for name in names]
        return files[0].parent


def kept_recipe(recipe: Recipe, files: Mapping[str, Mapping[str, Attachment | Kept]]) -> Recipe:
    """The recipe that names the copies that a run keeps, counted from its folder.

    So it runs, grows and is planned once the files of its author are gone, or elsewhere. Those of
    passes of a user's own are named as they were.

    Parameters
    ----------
    recipe : Recipe
    files : mapping of step to mapping of name to Attachment or Kept
    """
    every = [file for of_step in files.values() for file in of_step.values()]
    # What a pass of a user's own makes of its options is not known: they stay as they are.
    steps = {
        name: step
        if ":" in step.kind
        else step.model_copy(update=kept_paths(step.options, files[name].values(), recipe))
        for name, step in recipe.steps.items()
    }
    update: dict[str, Any] = {"steps": steps, "model": _kept_model(recipe, files.get("map", {}))}
    if recipe.train:
        labels = kept_paths(recipe.train.labels, every, recipe)
        update["train"] = recipe.train.model_copy(update={"labels": labels})
    return recipe.model_copy(update=update)


def kept_paths(options: Any, files: Collection[Attachment | Kept], recipe: Recipe) -> Any:
    """Options of a step, plain data, with where a run keeps files in place of where they lay."""
    if isinstance(options, Mapping):
        return {key: kept_paths(value, files, recipe) for key, value in options.items()}
    if isinstance(options, list | tuple):
        return [kept_paths(value, files, recipe) for value in options]
    if not isinstance(options, str) or "://" in options:
        return options
    path, bar, layer = options.partition("|")  # a layer's name, as QGIS has it
    places = (_kept_path(path, file, recipe) for file in files)
    place = next(filter(None, places), None)
    return options if place is None else f"{place}{bar}{layer}"


def _kept_path(path: str, file: Attachment | Kept, recipe: Recipe) -> str | None:
    """Where the run keeps what a path names, if that is this file or the folder of these."""
    place = f"{file.room}/{file.digest}"
    if isinstance(file, Kept):  # the recipe of a run names it already
        return path[path.rindex(place) :] if f"{place}/" in f"{path}/" else None
    try:
        named = Path(recipe.path(path))
    except (RuntimeError, ValueError):  # a home of nobody, a zero byte: no path
        return None
    if file.room == "models":
        return place if named == file.folder else None
    return f"{place}/{named.name}" if named == file.files[0] else None


def _kept_model(
    recipe: Recipe, files: Mapping[str, Attachment | Kept]
) -> str | dict[int, str] | None:
    """Where the run keeps the map's models."""
    model = recipe.model
    if model is None:
        return None
    kept = {p: f"{a.room}/{a.digest}" for p, a in files.items() if a.room == "models"}
    if isinstance(model, str):
        return next(iter(kept.values()), model)
    return {period: kept.get(str(period), path) for period, path in model.items()}
