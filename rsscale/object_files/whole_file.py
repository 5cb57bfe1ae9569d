"""Write a file by a library that wants its name, whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from rsscale import durable
from rsscale.errors import StorageError


def replaced_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Replace a file by what is written under another name beside it.

    Parameters
    ----------
    path : Path
        Its folder exists.
    write : callable
        Given a path of the same ending in a folder of its own, which it writes.

    Raises
    ------
    StorageError
        When it can't be written; what was there before is still there.
    """
    try:
        with tempfile.TemporaryDirectory(
            dir=path.parent, prefix=f".{path.name}.", suffix=".partial"
        ) as folder:
            made = Path(folder) / path.name
            write(made)
            made.chmod(0o644)
            durable.sync(made)
            made.replace(path)
        durable.sync(path.parent)
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror or error}") from error
