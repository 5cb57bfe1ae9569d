"""A run as others see it: events, state, heartbeat, metrics, a bar on the terminal.

All of it is told by the loop that hands out tiles, so that a run that hangs looks like one.
"""

from __future__ import annotations

import json
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rsscale.errors import StorageError
from rsscale.progress import Bar
from rsscale.runs.folder import RunFolder
from rsscale.runs.metrics import Metrics
from rsscale.runs.totals import STAGES, Totals
from rsscale.runs.worker import peak_rss

_SAVE_EVERY_S = 5.0
# Tiles that the rate is taken from: long enough to be steady, short enough to follow a change.
_RECENT = 200
_FAILURES_TOLD = 1000


class Monitor:
    """Tells what a run does.

    Parameters
    ----------
    folder : RunFolder
    bar : Bar
    total : int
        Tiles of the run.
    metrics : Metrics
    heartbeat : Path, optional
        A file that is written anew every few seconds while the run makes its rounds.
    """

    def __init__(
        self,
        folder: RunFolder,
        bar: Bar,
        total: int,
        metrics: Metrics,
        heartbeat: Path | None = None,
    ) -> None:
        self.folder = folder
        self.total = total
        self.totals = Totals()
        self.failed: dict[tuple[int, str], dict[str, Any]] = {}
        self.peak_rss = 0
        self._reached = self._shown = 0
        self._bar = bar
        self._metrics = metrics
        self._heartbeat = heartbeat
        self._started = self._saved = time.monotonic()
        self._before = float(folder.read_state().get("seconds", 0.0))
        self._lines: list[str] = []
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)
        self._busy: deque[dict[str, float]] = deque(maxlen=_RECENT)

    def event(self, kind: str, **fields: Any) -> None:
        """One line of ``events.jsonl``; on disk with the next tick."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._lines.append(json.dumps({"time": now, "event": kind} | fields))

    def found(self, entry: dict[str, Any]) -> None:
        """A tile that was done before."""
        self.totals.add(entry)
        self._advance()

    def done(self, result: dict[str, Any], attempts: int, worker: str) -> None:
        """A tile that was computed."""
        self.event("tile", **result, attempts=attempts, worker=worker)
        self.totals.add(result)
        self.peak_rss = max(self.peak_rss, result["peak_rss_bytes"])
        self._recent.append((time.monotonic(), result["pixels"]))
        self._busy.append(result["seconds"])
        self._metrics.tile(result)
        self._advance()
        if self.folder.place.grows:
            self.flush()

    def failure(self, period: int, tile: str, error: str, attempts: int, worker: str) -> None:
        """A tile that failed for good, in this run."""
        told = {"period": period, "tile": tile, "error": error, "attempts": attempts}
        self.event("tile-failed", **told, worker=worker)
        self.failed[period, tile] = told
        self._metrics.failure()
        self._advance()
        self.flush()

    def look_back(self) -> None:
        """Begin to count anew, from the ledger; what was said before stays said meanwhile."""
        self._reached = max(self._reached, self.totals.done)
        self.totals = Totals()

    def _advance(self) -> None:
        """Move the bar, which does not go back when tiles are looked at again."""
        reached = self.totals.done + len(self.failed)
        self._bar.advance(max(reached - self._shown, 0))
        self._shown = max(self._shown, reached)

    def tick(self, in_flight: int) -> None:
        """Called several times a second."""
        now = time.monotonic()
        if now - self._saved < _SAVE_EVERY_S:
            return
        self._saved = now
        self.peak_rss = max(self.peak_rss, peak_rss())
        self._metrics.state(self.totals.done, self.total, len(self.failed), in_flight)
        self._bar.note(self._note(in_flight))
        self.flush()
        try:
            state = self.snapshot() | {"state": "running", "in_flight": in_flight}
            state["tiles"]["done"] = max(state["tiles"]["done"], self._reached)
            self.save(state)
        except StorageError:
            return  # the disk is full: tiles say so, and the run must not end by it

    def snapshot(self) -> dict[str, Any]:
        """How far the run is, for ``run.json``."""
        done, failed = self.totals.done, len(self.failed)
        return {
            "tiles": {"total": self.total, "done": done, "failed": failed},
            "failed": list(self.failed.values())[:_FAILURES_TOLD],
            "seconds": round(self.seconds, 3),
            "rate": {"tiles_per_s": round(self.rate, 4), "seconds_left": self._left()},
            "peak_rss_bytes": max(self.peak_rss, peak_rss()),
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
            **self.totals.to_dict(),
        }

    def save(self, state: dict[str, Any]) -> None:
        """Put what is known into ``run.json`` and the heartbeat."""
        stored = self.folder.read_state() | state
        stored["peak_rss_bytes"] = max(stored.get("peak_rss_bytes", 0), self.peak_rss)
        self.folder.write_state(stored)
        if self._heartbeat is not None:
            told = {key: state.get(key) for key in ("updated", "state", "tiles", "rate")}
            self._heartbeat.write_text(json.dumps(told) + "\n", "utf-8")

    def flush(self) -> None:
        """Append what was told to ``events.jsonl``."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            self.folder.append_events(lines)
        except StorageError:
            self._lines = lines + self._lines  # until there is room again

    @property
    def seconds(self) -> float:
        """Wall time of this run and of those that it goes on with."""
        return self._before + time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """Tiles a second, of the last ones."""
        if len(self._recent) < 2:
            return 0.0
        first, last = self._recent[0][0], time.monotonic()
        return (len(self._recent) - 1) / max(last - first, 1e-9)

    def _left(self) -> float | None:
        left = self.total - self.totals.done - len(self.failed)
        return round(left / self.rate, 1) if self.rate else None

    def _note(self, in_flight: int) -> str:
        """Where the time of the last tiles went: the longest stage is the bottleneck."""
        sums = {stage: sum(one.get(stage, 0.0) for one in self._busy) for stage in STAGES}
        whole = sum(sums.values())
        if not whole:
            return f"{in_flight} in flight"
        shares = ", ".join(f"{stage} {value / whole:.0%}" for stage, value in sums.items())
        return f"{shares}; {in_flight} in flight"
