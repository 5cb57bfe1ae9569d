"""Ctrl-C and SIGTERM while a run is at work, and while it plans."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rsscale.cluster.engine import Stop


@contextmanager
def sigterm_interrupts(message: str) -> Iterator[None]:
    """SIGTERM as Ctrl-C, where no tiles are in flight: while planning, and at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: Any) -> None:  # noqa: ARG001 -- as the signal module calls it
        raise KeyboardInterrupt(message)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stop_on_signals(grace_s: float) -> Iterator[Stop]:
    """Stop on Ctrl-C after what is in flight, on a second at once; on SIGTERM within the grace."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: Any) -> None:
        if number == signal.SIGTERM:
            stop.ask(grace_s)
        elif stop.asked:
            signal.default_int_handler(number, frame)
        else:
            stop.ask()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
