"""A run folder: names and bytes of its files, whatever the recipe and the models."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsscale.documents import kind_of, read_json
from rsscale.errors import RunFolderError
from rsscale.store.ledger import Ledger, write_json
from rsscale.store.run_state import wrong_in
from rsscale.store.storage import Folder, Storage, open_storage

FORMAT = 1
"""Of the folder's layout: raised when an older rsscale could not read it."""

AREA, RECIPE, STATE, EVENTS = "area.geojson", "recipe.yaml", "run.json", "events.jsonl"
REPLACED = "replaced.json"
# What a planning that was cut short may have left behind; it is planned again.
_KNOWN = {RECIPE, AREA, EVENTS}
_KNOWN |= {"areas", "items", "models", "files", "lease", "ledger", "recipes", "tables", "array"}

KEPT = re.compile(r"(?:models|files)/[0-9a-f]{16}(?:/(?P<name>[^/]+))?(?:/|$)")
"""Where a run keeps a model, or a file that its recipe names: by the digest of the content."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, in a folder or below a prefix of a bucket.

    ``recipe.yaml``, ``area.geojson``, ``items/``, ``models/`` and ``files/`` are what the run is
    made from. ``run.json`` says how far it is, ``ledger/`` which tiles are done; each step has a
    Zarr store of its own, or tables.

    Attributes
    ----------
    storage : Storage
    """

    storage: Storage

    @classmethod
    def at(cls, where: str | os.PathLike[str] | Storage) -> RunFolder:
        """The run folder at a path or address."""
        return cls(open_storage(where))

    @property
    def url(self) -> str:
        """The path or address."""
        return self.storage.url

    def store(self, step: str) -> Storage:
        """Storage of a step's layers: for ``map`` it is ``product.zarr``."""
        return self.storage.child("product.zarr" if step == "map" else f"{step}.zarr")

    @property
    def ledger(self) -> Ledger:
        """The ledger of finished tiles."""
        return Ledger(self.storage)

    @property
    def exists(self) -> bool:
        """Whether a run was planned here."""
        return self.storage.exists(STATE)

    def check_usable(self) -> None:
        """Refuse a folder that can't be written or holds something else; changes nothing."""
        if self.exists:
            return
        if isinstance(self.storage, Folder):
            _check_writable(self.storage.path)
        others = sorted({name.partition("/")[0] for name in self.storage.names()} - _KNOWN)
        strange = [n for n in others if not n.startswith(".") and not n.endswith(".zarr")]
        if strange:
            raise RunFolderError(
                f"{self.url} is not a run folder and holds {strange[0]!r}; choose an empty --out"
            )

    def make(self) -> None:
        """Make the folder, if it is one on a disk."""
        if isinstance(self.storage, Folder):
            try:
                self.storage.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunFolderError(
                    f"{self.url} can't be made: {error.strerror}; choose another --out"
                ) from None

    def keep_file(self, path: Path) -> str:
        """Copy a file that the recipe names into the folder; its name there, by its content."""
        content = path.read_bytes()
        name = f"files/{hashlib.sha256(content).hexdigest()[:16]}/{path.name}"
        if not self.storage.exists(name):
            self.storage.write(name, content)
        return name

    def keep_model(self, digest: str, files: Iterable[Path]) -> None:
        """Copy the files of a model into the folder."""
        for file in files:
            self.storage.write(f"models/{digest}/{file.name}", file.read_bytes())

    def model_path(self, digest: str) -> Path:
        """A local folder with a frozen model."""
        folder = f"models/{digest}"
        names = [name for name in self.storage.names(folder) if name.startswith(f"{folder}/")]
        if not names:
            raise RunFolderError(f"{self.url} is damaged: its model {digest} is not there any more")
        files = [self.storage.local(name) for name in names]
        return files[0].parent

    def read_state(self) -> dict[str, Any]:
        """The content of ``run.json``.

        Raises
        ------
        RunFolderError
            When there is none, it is damaged, or an older or newer rsscale wrote it.
        """
        try:
            state = read_json(self.storage.read(STATE))
        except FileNotFoundError:
            raise RunFolderError(
                f"{self.url} is not a run folder: it has no {STATE}; give the --out of a run"
            ) from None
        except ValueError:
            raise RunFolderError(
                f"{self.url}/{STATE} is not JSON; the folder is damaged, run the recipe "
                "again into an empty one"
            ) from None
        if not isinstance(state, dict):
            raise RunFolderError(
                f"{self.url}/{STATE} is {kind_of(state)}; the folder is damaged, run the recipe "
                "again into an empty one"
            )
        if state.get("format") != FORMAT:
            raise RunFolderError(
                f"{self.url} has the format {state.get('format', 0)} of a run folder, and this "
                f"rsscale reads {FORMAT}; its recipe.yaml can be run again into an empty folder, "
                "and its *.zarr read as they are"
            )
        wrong = wrong_in(state)
        if wrong:
            raise RunFolderError(
                f"{self.url}/{STATE} is damaged: {wrong}; run the recipe again into an empty folder"
            )
        return state

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Replace ``run.json``; numbers that JSON has not, NaN and infinity, become null."""
        write_json(self.storage, STATE, _finite({"format": FORMAT, **state}))

    def append_events(self, lines: Iterable[str]) -> None:
        """Add lines of JSON to ``events.jsonl``."""
        self.storage.append(EVENTS, "".join(f"{line}\n" for line in lines).encode())

    def read_events(self) -> Iterator[dict[str, Any]]:
        """The events of ``events.jsonl``, without lines that a death cut short."""
        for line in self.storage.read_log(EVENTS).splitlines():
            try:
                event = read_json(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def _check_writable(path: Path) -> None:
    """Whether a folder can be made or written, by its first existing parent."""
    there = path
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise RunFolderError(f"{path} can't be made: {there} is a file; choose another --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise RunFolderError(f"{there} can't be written; choose another --out")


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
