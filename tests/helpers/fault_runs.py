"""Runs by the command line, and what their folders say, read without any of rsscale's code."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from fault_cluster import PATIENCE, Command, Patience, environment

Key = tuple[str, str]
"""Step and span, and the tile's name."""
TRACEBACK = "Traceback (most recent call last)"
# A run whose client was killed is held until its lease runs out; resuming waits for that.
_HELD = ("lease", "held by", "another run", "still running", "in use")


def key_of(content: dict[str, Any]) -> Key:
    """The key of a ledger entry, an event or a failure."""
    return f"{content['step']}/{content['span']}", content["tile"]


@dataclass(frozen=True)
class Ended:
    """How a command ended: a negative code is the signal that ended it."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines of stderr that are no progress."""
        lines = [line.strip() for line in self.err.replace("\r", "\n").splitlines()]
        return [line for line in lines if line and not line.startswith(("run:", "write:"))]


@dataclass
class Run:
    """One run folder and the commands that worked on it."""

    path: Path
    recipe: Path
    address: str = ""  # works in one process without
    commands: list[Command] = field(default_factory=list)
    logs: Path | None = None

    def start(self, verb: str = "run", *words: str, **env: str) -> Command:
        """``run`` or ``resume`` on the cluster, ``verify`` or ``status`` without."""
        given = {
            "run": [str(self.recipe), "--out", str(self.path), "--device", "cpu", "--threads", "1"],
        }.get(verb, [str(self.path)])
        on_cluster = self.address and verb in ("run", "resume")
        cluster = ["--cluster", self.address] if on_cluster else []
        log = (self.logs or self.path.parent) / f"{self.path.name}-{len(self.commands)}-{verb}.log"
        line = ["-m", "rsscale", "--quiet", verb, *given, *cluster, *words]
        command = Command.start(line, log, environment(**env))
        self.commands.append(command)
        return command

    def wait(
        self, command: Command, tick: Callable[[], None] = lambda: None, within: float = PATIENCE
    ) -> Ended:
        """Wait for a command's end, with ``tick`` called ten times a second meanwhile."""
        patience = Patience(within)
        while command.alive:
            tick()
            if patience.ends():
                command.end()
                found = f"{len(self.entries())} entries; its errors: {command.err[-2000:]}"
                raise AssertionError(f"a command has not ended after {within:.0f} s; {found}")
            time.sleep(0.1)
        return Ended(command.process.wait(), command.out, command.err)

    def do(self, verb: str, *words: str, tick: Callable[[], None] = lambda: None) -> Ended:
        """Run a command to its end."""
        return self.wait(self.start(verb, *words), tick)

    def resume(self, tick: Callable[[], None] = lambda: None) -> Ended:
        """Resume; wait for the lease of a client that died without a word."""
        patience = Patience(PATIENCE)
        ended = self.do("resume", tick=tick)
        while ended.code and any(word in ended.err for word in _HELD) and not patience.ends():
            time.sleep(1)
            ended = self.do("resume", tick=tick)
        return ended

    def close(self) -> None:
        for command in self.commands:
            command.end()

    # What the folder says.

    def entries(self) -> dict[Key, int]:
        """Finished tiles by the ledger, and when each entry was written (ns)."""
        found = {}
        for path in self.path.glob("ledger/*/*/*.json"):
            try:
                entry = json.loads(path.read_text("utf-8"))
                found[key_of(entry)] = path.stat().st_mtime_ns
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return found

    def entry_count(self) -> int:
        """Cheaper: entries by name."""
        return sum(1 for _ in self.path.glob("ledger/*/*/*.json"))

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """Lines of events.jsonl; one that a death cut short is left out."""
        try:
            lines = (self.path / "events.jsonl").read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if not kind or event["event"] == kind:
                found.append(event)
        return found

    def tiles_in_events(self) -> list[Key]:
        """Of every ``tile`` event, in order."""
        return [key_of(event) for event in self.events("tile")]

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.path / "run.json").read_text("utf-8"))
        return state

    def files(self) -> set[str]:
        """Of all stores, tables and the ledger, by name."""
        return {
            str(path.relative_to(self.path))
            for folder in [*self.path.glob("*.zarr"), self.path / "ledger", self.path / "tables"]
            for path in folder.rglob("*")
            if path.is_file()
        }

    def shards(self, layer: str = "classification") -> list[Path]:
        """Stored objects of a layer, sorted."""
        return sorted(
            p for p in (self.path / "product.zarr" / layer / "c").rglob("*") if p.is_file()
        )


def recomputed(first: list[Key], held: dict[Key, int], resumed: list[Key]) -> int:
    """Evaluations of tiles that were done already, counted from events.

    Parameters
    ----------
    first
        Tiles in events when the first command had ended.
    held
        Entries then.
    resumed
        Tiles in events that were written later.
    """
    twice = sum(count - 1 for count in Counter(first + resumed).values())
    # Finished and never reported, since the client was dead: done again, it has one event.
    return twice + len((set(held) - set(first)) & set(resumed))


def differences(one: Path, other: Path) -> list[str]:
    """What tells two maps apart: decoded values of every variable, and their names."""
    with xr.open_zarr(one) as a, xr.open_zarr(other) as b:
        if set(a.variables) != set(b.variables) or dict(a.sizes) != dict(b.sizes):
            return [f"{dict(a.sizes)} {sorted(a.variables)}, {dict(b.sizes)} {sorted(b.variables)}"]
        counts = {n: _differing(a[n].values, b[n].values) for n in map(str, a.variables)}
        return [f"{name}: {count} values" for name, count in counts.items() if count]


def _differing(one: np.ndarray, other: np.ndarray) -> int:
    both_nan = (one != one) & (other != other)
    return int(((one != other) & ~both_nan).sum())


def check_clear(ended: Ended) -> None:
    """A command that failed said so in a line that a person can act on, and no more."""
    check_said(ended)
    assert TRACEBACK not in ended.err, ended.err[-3000:]


def check_said(ended: Ended) -> None:
    """A command that failed said so in one line of its own, whatever libraries log."""
    said = [line for line in ended.errors if line.startswith(("error:", "interrupted"))]
    assert len(said) == 1, ended.err[-3000:]


def check_same(run: Run, reference: Run) -> None:
    """The map, its files and the ledger are those of the undisturbed run; nothing lies about."""
    for store in reference.path.glob("*.zarr"):
        assert differences(run.path / store.name, store) == []
    for table in reference.path.glob("tables/**/*.parquet"):
        assert (run.path / table.relative_to(reference.path)).read_bytes() == table.read_bytes()
    assert set(run.entries()) == set(reference.entries())
    assert run.files() == reference.files()
    assert run.state["state"] == "done"


def check_resumed(run: Run, reference: Run, tick: Callable[[], None] = lambda: None) -> list[Key]:
    """Resume to the end, and find the same map; returns the tiles that were computed for it."""
    before = len(run.tiles_in_events())
    ended = run.resume(tick)
    assert ended.code == 0, f"{ended.code}: {ended.err[-3000:]}"
    check_same(run, reference)
    return run.tiles_in_events()[before:]
