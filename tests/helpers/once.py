"""What is made once for all processes of a test session: by the first to want it, on disk."""

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Files = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Once:
    """Makes folders that all tests read and none may change.

    Attributes
    ----------
    root : Path
        The same folder for all processes of a test session, and for no other session.
    """

    root: Path
    _used: dict[Path, Files] = field(default_factory=dict)

    @classmethod
    def in_session(cls, basetemp: Path) -> "Once":
        """Beside the folders of pytest-xdist's processes, where there are some."""
        return cls((basetemp.parent if "PYTEST_XDIST_WORKER" in os.environ else basetemp) / "once")

    def __call__(self, name: str, make: Callable[[Path], Any]) -> Any:
        """What ``make(folder)`` returned, in whichever process it ran; others wait for it."""
        folder, kept = self.root / name, self.root / f"{name}.pickle"
        self.root.mkdir(exist_ok=True)
        with _locked(self.root / f"{name}.lock"):
            if not kept.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed or was killed
                made = make(folder)
                partial = kept.with_suffix(".partial")
                partial.write_bytes(pickle.dumps((made, _files(folder))))
                partial.rename(kept)
            result, self._used[folder] = pickle.loads(kept.read_bytes())
        return result

    def changed(self) -> list[str]:
        """Files in what was used here that are not as they were made."""
        return sorted(
            f"{folder.name}/{name}"
            for folder, before in self._used.items()
            for name in dict(before.items() ^ _files(folder).items())
        )


def _files(folder: Path) -> Files:
    """Size and time of each file."""
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {str(p.relative_to(folder)): (s.st_size, s.st_mtime_ns) for p, s in found.items()}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed, or the process is gone
        yield
