"""The folder beside a model in which its training keeps what it has read and learnt so far."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rsscale import durable
from rsscale.errors import RecipeError, StorageError
from rsscale.learners.checkpoint import Checkpoints
from rsscale.progress.bars import announce

_READING, _LOOP, _LOCK = "reading.json", "loop.json", "lock"


class WorkFolder:
    """What a training has done so far; see :func:`open_work_folder`.

    Parameters
    ----------
    path : Path
        It exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chips = path / "chips"
        self.checkpoints = Checkpoints(path / "loops")

    @property
    def is_empty(self) -> bool:
        """Whether nothing in it is worth keeping."""
        return not any(self.chips.glob("part-*")) and not any(self.checkpoints.folder.glob("*"))

    def begin_reading(self, settings: Mapping[str, Any]) -> None:
        """Keep what was read if it was read by these settings; else begin anew, and say so.

        Parameters
        ----------
        settings : mapping
            All that decides what is read, as JSON.
        """
        changed = self._changed(_READING, settings)
        if changed and not self.is_empty:
            announce(f"begins anew: {changed} of the training in {self.path}")
        if changed is not None:
            self.clear()
        self.chips.mkdir(exist_ok=True)
        self._note(_READING, settings)

    def begin_loops(self, settings: Mapping[str, Any]) -> None:
        """Keep what was learnt if it was by these settings; else begin anew, and say so."""
        changed = self._changed(_LOOP, settings)
        if changed and any(self.checkpoints.folder.glob("*")):
            announce(f"learns anew: {changed} of the training in {self.path}; chips are kept")
            shutil.rmtree(self.checkpoints.folder)
        self._note(_LOOP, settings)

    def _changed(self, name: str, settings: Mapping[str, Any]) -> str | None:
        """What differs from the settings that are noted there; None when nothing does."""
        try:
            noted = json.loads((self.path / name).read_text("utf-8"))
        except (OSError, ValueError):
            return "nothing is noted"
        plain = json.loads(json.dumps(settings))
        differs = sorted(k for k in {*noted, *plain} if noted.get(k) != plain.get(k))
        verb = "differs" if len(differs) == 1 else "differ"
        return f"{', '.join(differs)} {verb} from that" if differs else None

    def _note(self, name: str, settings: Mapping[str, Any]) -> None:
        text = json.dumps(settings, indent=1, sort_keys=True)
        durable.replace(self.path / name, lambda file: file.write(text.encode()))

    def clear(self) -> None:
        """Remove all that a training keeps here, and nothing else."""
        shutil.rmtree(self.chips, ignore_errors=True)
        shutil.rmtree(self.checkpoints.folder, ignore_errors=True)
        for path in (self.path / _READING, self.path / _LOOP, *self.path.glob(".*.partial")):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder too, unless somebody else keeps things in it."""
        self.clear()
        (self.path / _LOCK).unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()


@contextmanager
def open_work_folder(path: Path, *, fresh: bool = False) -> Iterator[WorkFolder]:
    """The work folder of a training, which goes when the block ends well.

    It stays where the block raises, if there is something in it, and the error or a line on stderr
    says so.

    Parameters
    ----------
    path : Path
    fresh : bool
        Remove what an earlier training left.

    Raises
    ------
    RecipeError
        When another training uses it.
    StorageError
        When it can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / _LOCK).open("w")
    except OSError as error:
        raise StorageError(f"{path} can't be made: {error.strerror or error}") from error
    with lock:
        _take(lock, path)
        work = WorkFolder(path)
        if fresh:
            work.clear()
        try:
            yield work
        except BaseException as error:
            if work.is_empty:
                work.remove()
            elif isinstance(error, KeyboardInterrupt) and not str(error):
                raise KeyboardInterrupt(_kept(path)) from error
            elif not isinstance(error, KeyboardInterrupt):
                announce(_kept(path))
            raise
        work.remove()


def _kept(path: Path) -> str:
    return (
        f"what was read and learnt so far is kept in {path}; the same command goes on, with "
        "--fresh it begins anew"
    )


def _take(lock: Any, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RecipeError(
            f"another training is at work in {path}; wait for it, or train into another folder "
            "with --out"
        ) from None
    except OSError:  # a file system without locks
        return
