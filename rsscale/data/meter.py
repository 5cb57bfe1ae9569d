"""How long reading took, and how much was read: many threads, one sum."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self


class Meter:
    """Counts what the readers of one cube do.

    Attributes
    ----------
    seconds : float
        Of all threads together.
    decoded_bytes : int
        Of pixels, as they are in memory.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds = 0.0
        self.decoded_bytes = 0

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """In another process it starts anew: what is read there is not counted here."""
        return type(self), ()

    @contextmanager
    def reading(self, nbytes: int) -> Iterator[None]:
        """Count one read."""
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds += time.perf_counter() - started
                self.decoded_bytes += nbytes
