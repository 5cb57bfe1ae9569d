"""Report a run's progress: events, state, heartbeat, metrics, a bar on the terminal.

Updated only from the scheduling loop: if the loop hangs, the heartbeat stops.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rsscale.cluster.engine import one_line
from rsscale.errors import StorageError
from rsscale.layers import TileKey
from rsscale.memory import peak_rss
from rsscale.monitoring.metrics import Metrics
from rsscale.monitoring.totals import COUNTED, StepTotals, in_order
from rsscale.progress.bars import Bar
from rsscale.steps.base import Pass, Step
from rsscale.store.run_folder import RunFolder

_SAVE_EVERY_S = 5.0
# Tiles that the rate is taken from: long enough to be steady, short enough to follow a change.
_RECENT = 200
_FAILURES_KEPT = 1000


class Monitor:
    """Keeps count of a run and shows it.

    Parameters
    ----------
    folder : RunFolder
    bar : Bar
    steps : sequence of (Step, int)
        In order, with how many tiles each has.
    metrics : Metrics
    heartbeat : Path, optional
        A file that is written anew every few seconds while the run makes its rounds.
    """

    def __init__(
        self,
        folder: RunFolder,
        bar: Bar,
        steps: Sequence[tuple[Step, int]],
        metrics: Metrics,
        heartbeat: Path | None = None,
    ) -> None:
        self.folder = folder
        self.total = sum(count for _, count in steps)
        self.totals = {step.step: StepTotals(_folds(step), count) for step, count in steps}
        self.failed: dict[TileKey, dict[str, Any]] = {}
        self.waiting = 0
        self.computed = 0
        self.peak_rss = 0
        self._steps = {step.step: step for step, _ in steps}
        self._reached = self._shown = 0
        self._bar = bar
        self._metrics = metrics
        self._heartbeat = heartbeat
        self._started = self._saved = time.monotonic()
        state = folder.read_state()
        self._before = float(state.get("seconds", 0.0))
        self._described: dict[str, dict[str, Any]] = state["steps"]
        self._lines: list[str] = []
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._busy: deque[Mapping[str, float]] = deque(maxlen=_RECENT)

    def event(self, kind: str, **fields: Any) -> None:
        """One line of ``events.jsonl``; on disk with the next tick."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._lines.append(json.dumps({"time": now, "event": kind} | fields))

    def found_done(self, entry: Mapping[str, Any]) -> None:
        """Count a tile that was done before."""
        self.totals[entry["step"]].add(entry)
        self._bar.keep(self._further())

    def done(self, result: Mapping[str, Any], attempts: int, worker: str) -> None:
        """Count a tile that was computed."""
        self.computed += 1
        self.event("tile", **result, attempts=attempts, worker=worker)
        self.totals[result["step"]].add(result)
        self.peak_rss = max(self.peak_rss, result["peak_rss_bytes"])
        self._recent.append(time.monotonic())
        self._busy.append(result["seconds"])
        self._metrics.tile(result)
        self._advance()
        if self.folder.storage.supports_append:
            self.flush()

    def failure(self, key: TileKey, error: str, attempts: int, worker: str) -> None:
        """Count a tile that failed for good, in this run."""
        record = {
            "key": str(key),
            "step": key.step,
            "span": key.span,
            "tile": key.tile,
            "error": error,
            "attempts": attempts,
        }
        self.event("tile-failed", **record, worker=worker)
        self.failed[key] = record
        self._bar.note(self._failures())
        self._metrics.failure(key.step)
        self._advance()
        self.flush()

    def look_back(self, step: str) -> None:
        """Begin to count a step anew, from the ledger; the count shown does not go back."""
        self._reached = max(self._reached, self.count_done())
        known = self.totals[step]
        self.totals[step] = StepTotals(known.folds, known.total)

    def count_done(self) -> int:
        """Tiles of all steps that are done."""
        return sum(totals.done for totals in self.totals.values())

    def _advance(self) -> None:
        self._bar.advance(self._further())

    def _further(self) -> int:
        """Tiles that the bar does not show yet; it does not go back when some are seen again."""
        reached = self.count_done() + len(self.failed)
        more, self._shown = max(reached - self._shown, 0), max(self._shown, reached)
        return more

    def tick(self, in_flight: int) -> None:
        """Called several times a second."""
        now = time.monotonic()
        if now - self._saved < _SAVE_EVERY_S:
            return
        self._saved = now
        self.peak_rss = max(self.peak_rss, peak_rss())
        self._metrics.state(self.count_done(), self.total, len(self.failed), in_flight)
        self._bar.note(self._note(in_flight))
        self.flush()
        try:
            state = self.snapshot() | {"state": "running", "in_flight": in_flight}
            state["tiles"]["done"] = max(state["tiles"]["done"], self._reached)
            self.save(state)
        except StorageError:
            return  # the disk is full: tiles say so, and the run must not end by it

    def snapshot(self) -> dict[str, Any]:
        """Progress of the run, for ``run.json``."""
        stages: Counter[str] = Counter()
        for totals in self.totals.values():
            stages.update(totals.stages)
        return {
            "tiles": {
                "total": self.total,
                "done": self.count_done(),
                "failed": len(self.failed),
            },
            "computed": self.computed,
            "steps": {name: self._snapshot_of(name) for name in self.totals},
            "stages": in_order({stage: round(value, 3) for stage, value in stages.items()}),
            "failed": list(self.failed.values())[:_FAILURES_KEPT],
            "waiting": self.waiting,
            "seconds": round(self.seconds, 3),
            "rate": {"tiles_per_s": round(self.rate, 4), "seconds_left": self._left()},
            "peak_rss_bytes": max(self.peak_rss, peak_rss()),
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _snapshot_of(self, name: str) -> dict[str, Any]:
        step, totals = self._steps[name], self.totals[name]
        return self._described[name] | totals.to_dict(_lines_on(step, totals.facts))

    def save(self, state: dict[str, Any]) -> None:
        """Write the state to ``run.json`` and the heartbeat."""
        before = self.folder.read_state()
        stored = before | state
        # A command that found all done took little, and says nothing of the run.
        peaks = (snapshot.get("peak_rss_bytes", 0) for snapshot in (before, state))
        stored["peak_rss_bytes"] = max(*peaks, self.peak_rss)
        self.folder.write_state(stored)
        if self._heartbeat is not None:
            heartbeat = {key: state.get(key) for key in ("updated", "state", "tiles", "rate")}
            self._heartbeat.write_text(json.dumps(heartbeat) + "\n", "utf-8")

    def flush(self) -> None:
        """Append waiting events to ``events.jsonl``."""
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
        first, last = self._recent[0], time.monotonic()
        return (len(self._recent) - 1) / max(last - first, 1e-9)

    def _left(self) -> float | None:
        left = self.total - self.count_done() - len(self.failed)
        return round(left / self.rate, 1) if self.rate else None

    def _failures(self) -> str:
        """How many tiles failed, and why the first did."""
        if not self.failed:
            return ""
        first = next(iter(self.failed.values()))
        return f"{len(self.failed)} failed ({first['key']}: {first['error'][:120]}); "

    def _note(self, in_flight: int) -> str:
        """Failures, and each stage's share of the last tiles' time; the longest limits."""
        sums: Counter[str] = Counter()
        for seconds in self._busy:
            sums.update(seconds)
        whole = sum(sums.values())
        if not whole:
            return f"{self._failures()}{in_flight} in flight"
        shares = ", ".join(f"{stage} {v / whole:.0%}" for stage, v in in_order(sums).items())
        return f"{self._failures()}{shares}; {in_flight} in flight"


def _lines_on(step: Step, facts: Mapping[str, float]) -> list[str]:
    """What a pass says of its facts. A line for people ends no run: an error becomes the line."""
    if not isinstance(step, Pass):
        return []
    try:
        said = step.describe(facts)
        lines = [said] if isinstance(said, str) else [str(line) for line in said or ()]
    except Exception as error:  # noqa: BLE001 -- of somebody else's code
        return [f"{step.step}  describe failed: {type(error).__name__}: {one_line(error)}"]
    return [part for line in lines for part in line.splitlines()]


def _folds(step: Step) -> dict[str, Any]:
    return {**COUNTED, **step.declared_facts()} if isinstance(step, Pass) else dict(COUNTED)
