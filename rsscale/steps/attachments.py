"""Files that a step is made from: on this machine, and as a run folder keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rsscale.errors import RunFolderError
from rsscale.model.files import files_digest
from rsscale.store.run_folder import RunFolder


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
    """

    name: str
    files: tuple[Path, ...]
    room: str = "files"

    @cached_property
    def digest(self) -> str:
        """Hash of the content of all files, in their order."""
        return files_digest(*self.files)

    @property
    def folder(self) -> Path:
        """Their folder on this machine."""
        return self.files[0].parent


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
