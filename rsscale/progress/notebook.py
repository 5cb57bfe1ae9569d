"""Progress in a notebook: one display for all stages of a cell, plain HTML, renewed in place.

It needs no widgets. A stage that ends within two seconds leaves nothing, unless it was the only
one; longer ones leave a line each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rsscale.text.html_tables import Bar, block, table
from rsscale.text.wording import rate_text

_QUIET_S = 2.0
_RENEW_EVERY_S = 0.25


@dataclass
class _Stage:
    label: str
    total: float | None
    unit: str
    start: float
    done: float = 0.0
    kept: float = 0.0
    text: str = ""
    seconds: float | None = None
    failed: bool = False

    def row(self, now: float) -> tuple[str, Bar | str, str, str, str]:
        """Cells of the table: label, bar, count, time, note."""
        seconds = self.seconds if self.seconds is not None else now - self.start
        of = f" of {self.total:,g}" if self.total is not None else ""
        made = self.done - self.kept
        rate = rate_text(made / max(seconds, 1e-9)) if made else ""
        count = f"{self.done:,g}{of} {self.unit} {rate}".rstrip()
        spent = _clock(seconds)
        if self.seconds is None and self.total and made and self.done < self.total:
            spent += f", {_clock((self.total - self.done) * seconds / made)} left"
        share = min(self.done / self.total, 1.0) if self.total else float(self.seconds is not None)
        bar = Bar(0.0 if self.failed else share, share if self.failed else 0.0)
        return self.label, bar, count, spent, self.text if self.seconds is None else ""


@dataclass
class _Display:
    """What one cell shows: its stages, the finished and the running ones."""

    cell: Any
    stages: list[_Stage] = field(default_factory=list)
    handle: Any = None
    renewed: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def renew(self, *, now: float | None = None) -> None:
        """Show the stages as they are."""
        from IPython import display as ipython

        show: Any = ipython
        moment = time.monotonic() if now is None else now
        rows = [stage.row(moment) for stage in self.stages]
        shown = show.HTML(block(table(rows, align="lllrl")))
        self.renewed = moment
        if self.handle is None:
            self.handle = show.display(shown, display_id=True)
        else:
            self.handle.update(shown)


class NotebookBar:
    """Progress of one stage of a cell."""

    def __init__(self, shown: _Display, stage: _Stage) -> None:
        self._display, self._stage = shown, stage

    def advance(self, n: float = 1) -> None:
        """Count ``n`` more units as done."""
        with self._display.lock:
            self._stage.done += n
            now = time.monotonic()
            if now - self._display.renewed >= _RENEW_EVERY_S:
                self._display.renew(now=now)

    def keep(self, n: float) -> None:
        """Count ``n`` units that were done before: they tell nothing of the rate."""
        self._stage.kept += n
        self.advance(n)

    def note(self, text: str) -> None:
        """Show a few words behind the bar."""
        self._stage.text = text


_current: _Display | None = None


@contextmanager
def notebook_progress(label: str, total: float | None, unit: str) -> Iterator[NotebookBar]:
    """Show one stage among those of its cell; arguments as of ``progress``."""
    shown = _display()
    stage = _Stage(label, total, unit, time.monotonic())
    with shown.lock:
        shown.stages = [*_lasting(shown.stages), stage]
        shown.renew()
    try:
        yield NotebookBar(shown, stage)
    except BaseException:
        stage.failed = True
        raise
    finally:
        with shown.lock:
            stage.seconds = time.monotonic() - stage.start
            shown.renew()


def _lasting(stages: list[_Stage]) -> list[_Stage]:
    """Without the finished ones that took no time."""
    return [
        stage
        for stage in stages
        if stage.seconds is None or stage.seconds >= _QUIET_S or stage.failed
    ]


def _display() -> _Display:
    """The display of the cell that runs; another cell gets another."""
    global _current  # noqa: PLW0603 -- one notebook runs one cell at a time
    from IPython.core.getipython import get_ipython

    cell = getattr(get_ipython(), "execution_count", None)
    if _current is None or _current.cell != cell:
        _current = _Display(cell)
    return _current


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if seconds >= 9.5 else f"{seconds:.1f} s"
