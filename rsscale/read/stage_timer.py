"""Sum the time that threads worked and read, and the bytes read; note which files they were."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rsscale.read.file_versions import FileVersions


class StageTimer:
    """Counts seconds and bytes of the threads of one box.

    Attributes
    ----------
    reading_s : float
        Of all threads together.
    working_s : float
        Likewise, with what they do besides reading; without waiting for a thread. A read that
        is no part of counted work, such as of a pass that computes by itself, is work too.
    decoded_bytes : int
        Of pixels, as they are in memory.
    files : FileVersions
        Of all files that were read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._here = threading.local()
        self.reading_s = self.working_s = 0.0
        self.decoded_bytes = 0
        self.files = FileVersions()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """Unpickles as a new timer: another process's reading is not counted here."""
        return type(self), ()

    @contextmanager
    def reading(self, nbytes: int) -> Iterator[None]:
        """Count one read."""
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                seconds = time.perf_counter() - started
                self.reading_s += seconds
                self.decoded_bytes += nbytes
                if not getattr(self._here, "depth", 0):
                    self.working_s += seconds

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count one task of a thread, whatever it reads included; one within another once."""
        started = time.perf_counter()
        depth = self._here.depth = getattr(self._here, "depth", 0) + 1
        try:
            yield
        finally:
            self._here.depth = depth - 1
            if depth == 1:
                with self._lock:
                    self.working_s += time.perf_counter() - started
