"""Files that a step is made from: on this machine, and as a run folder keeps them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from rsscale.documents import DocumentError, read_json
from rsscale.errors import RunFolderError
from rsscale.model.files import files_digest
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
