"""Show progress of stages that take longer than two seconds.

On a terminal or in a notebook a bar with rate and time left; elsewhere (a log, a scheduler, CI)
a line every ten seconds, so that a log stays readable; as JSON where logs are collected. In a
notebook that is plain HTML: rich would ask for ipywidgets at each stage.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from rsscale.progress.json_log import is_json, write_line
from rsscale.progress.notebook import notebook_progress
from rsscale.text.wording import rate_text

_QUIET_S = 2.0
_LINE_EVERY_S = 10.0
# Columns that everything but the text takes.
_BAR_WIDTH = 98
_enabled = True
_part = ""


class Bar(Protocol):
    """Progress of one stage, reported by the code that does the work."""

    def advance(self, n: float = 1) -> None:
        """Count ``n`` more units as done."""

    def keep(self, n: float) -> None:
        """Count ``n`` units that were done before: they tell nothing of the rate."""

    def note(self, text: str) -> None:
        """Show a few words behind the bar."""


def show_progress(enabled: bool) -> None:
    """Switch all progress on or off for this process (``--quiet``)."""
    global _enabled  # noqa: PLW0603 -- one switch for the process, like logging's
    _enabled = enabled


def announce(line: str) -> None:
    """Tell a person something before the work begins, on stderr, unless progress is off."""
    if not _enabled:
        return
    if is_json():
        write_line("info", "message", line)
    else:
        print(line, file=sys.stderr, flush=True)


@contextmanager
def part_of_work(part: str) -> Iterator[None]:
    """Name the part of a longer work in the labels of all stages meanwhile: ``"fold 2 of 5"``."""
    global _part  # noqa: PLW0603 -- one for the process, as the display is
    before, _part = _part, part
    try:
        yield
    finally:
        _part = before


@contextmanager
def progress(label: str, total: float | None = None, unit: str = "steps") -> Iterator[Bar]:
    """Show the progress of one stage while the ``with`` block runs.

    Parameters
    ----------
    label : str
        What the stage does, e.g. ``"search"``.
    total : float, optional
        How many units there are; unknown when omitted.
    unit : str
        What is counted, in the plural.

    Yields
    ------
    Bar
        Call ``bar.advance(n)`` for each ``n`` units done.
    """
    if not _enabled:
        yield _Silent()
        return
    label = f"{label} ({_part})" if _part else label
    console = Console(stderr=True)
    if console.is_jupyter and not is_json():
        with notebook_progress(label, total, unit) as bar:
            yield bar
    elif console.is_terminal and not is_json():
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]} {task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[text]}"),
        )
        with Progress(*columns, console=console) as bars:
            yield _Terminal(bars, label, total, unit)
    else:
        lines = (_JsonLines if is_json() else _Lines)(label, total, unit)
        yield lines
        lines.close()


class _Silent:
    def advance(self, n: float = 1) -> None:
        pass

    def keep(self, n: float) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class _Terminal:
    def __init__(self, bars: Progress, label: str, total: float | None, unit: str) -> None:
        self._bars = bars
        self._start = time.monotonic()
        self._done = 0.0
        self._task = bars.add_task(label, total=total, unit=unit, rate="", text="")

    def advance(self, n: float = 1) -> None:
        self._done += n
        seconds = max(time.monotonic() - self._start, 1e-9)
        self._bars.update(self._task, advance=n, rate=rate_text(self._done / seconds))

    def keep(self, n: float) -> None:
        # Rich takes the time left from the recent advances, to which this is none.
        whole = self._bars.tasks[self._task].completed + n
        self._bars.reset(self._task, completed=int(whole))

    def note(self, text: str) -> None:
        # Rich shrinks all columns for a long text, and the time left would be cut off.
        room = max(self._bars.console.width - _BAR_WIDTH, 0)
        self._bars.update(self._task, text=text[:room])


class _Lines:
    """Progress as one line every ten seconds; none for a stage that ends within two."""

    def __init__(self, label: str, total: float | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._start = self._last = time.monotonic()
        self._done = self._kept = 0.0
        self._text = ""

    def advance(self, n: float = 1) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY_S:
            self._last = now
            self._print(now)

    def keep(self, n: float) -> None:
        self._done += n
        self._kept += n

    def note(self, text: str) -> None:
        self._text = text

    def close(self) -> None:
        now = time.monotonic()
        if now - self._start >= _QUIET_S:
            self._print(now)

    def _print(self, now: float) -> None:
        seconds = now - self._start
        rate = (self._done - self._kept) / max(seconds, 1e-9)
        of = f"/{self._total:g}" if self._total is not None else ""
        line = f"{self._label}: {self._done:g}{of} {self._unit}, {rate_text(rate)}, {seconds:.0f} s"
        if self._total is not None and rate and self._done < self._total:
            line += f", {(self._total - self._done) / rate:.0f} s left"
        print(f"{line} {self._text}".rstrip(), file=sys.stderr, flush=True)


class _JsonLines(_Lines):
    """The same lines as JSON: done, total, unit, rate, seconds, seconds left."""

    def _print(self, now: float) -> None:
        seconds = now - self._start
        rate = (self._done - self._kept) / max(seconds, 1e-9)
        left = None if self._total is None or not rate else (self._total - self._done) / rate
        write_line(
            "info",
            "progress",
            stage=self._label,
            done=self._done,
            total=self._total,
            unit=self._unit,
            per_second=round(rate, 4),
            seconds=round(seconds, 1),
            left_seconds=None if left is None else round(left, 1),
            note=self._text or None,
        )
