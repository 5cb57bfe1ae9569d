"""The estimate of a run as people read it: tiles, bytes, memory, time, money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rsscale.decorators.first_argument import made_by
from rsscale.monitoring.summary import describe_left_out
from rsscale.plans.tile_costs import StepEstimate
from rsscale.text.html_tables import block, heading, pairs
from rsscale.text.wording import counted


@dataclass(frozen=True)
class Prices:
    """Prices in any currency.

    Attributes
    ----------
    worker_hour : float
        An hour of one worker process, with its GPU if it has one.
    gigabyte : float
        A GB of imagery read, as it is stored.
    """

    worker_hour: float = 0.0
    gigabyte: float = 0.0

    def of(
        self, seconds: tuple[float, float, float], workers: int, plan: Plan
    ) -> tuple[float, float, float]:
        """The cost of a run of so many seconds."""
        read = plan.read_bytes / 1e9 * self.gigabyte
        middle, low, high = (read + time * workers * self.worker_hour / 3600 for time in seconds)
        return middle, low, high


@made_by("rs.plan(recipe)")
@dataclass(frozen=True)
class Plan:
    """Estimate of a run; its ``repr`` is a table.

    Attributes
    ----------
    name : str
    tile : int
        Width in pixels.
    items : mapping of input name to int
    steps : tuple of StepEstimate
    seconds : (float, float, float), optional
        Estimate and 95 % interval, from a pilot of the first step.
    money : (float, float, float), optional
        Likewise.
    pilot : mapping, optional
        ``tiles``, ``peak_rss_bytes`` and seconds of each stage.
    left_out : mapping of input name to mapping of recipe key to int
        Items that the recipe's rules leave out.
    notes : tuple of str
        What is to be said of the items: those that contradict themselves, or lie outside.
    """

    name: str
    tile: int
    items: Mapping[str, int]
    steps: tuple[StepEstimate, ...]
    seconds: tuple[float, float, float] | None = None
    money: tuple[float, float, float] | None = None
    pilot: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def tiles(self) -> int:
        """Tasks of all steps."""
        return sum(step.tiles for step in self.steps)

    @property
    def read_bytes(self) -> float:
        """Bytes of imagery that all steps take off the network or the disk, as they are stored.

        Whole blocks, halos and headers included; decoded bytes where no file could be opened.
        """
        return sum(
            step.tiles * (step.read_bytes or step.tile_bytes)[0] + step.header_bytes
            for step in self.steps
        )

    @property
    def decoded_bytes(self) -> float:
        """Bytes of what all steps read, as it is in memory, halos included."""
        return sum(step.tiles * step.tile_bytes[0] for step in self.steps)

    @property
    def memory(self) -> int:
        """Bytes of one process: of the step that needs most."""
        return max(step.memory for step in self.steps)

    @property
    def output_bytes(self) -> int:
        """Bytes of all layers before compression."""
        return sum(step.output_bytes for step in self.steps)

    def rows(self) -> list[tuple[str, str]]:
        """The table."""
        items = ", ".join(f"{count} of {name}" for name, count in self.items.items()) or "none"
        first = self.steps[0]
        is_known = first.read_bytes is not None
        of_a_tile = ", at most ".join(map(_bytes, first.read_bytes or first.tile_bytes))
        stored = f"{_bytes(self.read_bytes)} as stored, by the headers of a few files"
        decoded = f"{_bytes(self.decoded_bytes)} decoded, no file could be opened"
        per_tile = f"{first.observations[0]:.1f}, at most {first.observations[1]},"
        rows = [
            ("tiles", f"{self.tiles} of {self.tile} px" + self._by_step()),
            ("items", f"{items}; {per_tile} a tile{_left_out(self.left_out)}"),
            *(("note", note) for note in self.notes),
            ("to read", f"{(stored if is_known else decoded)}; {of_a_tile} a tile of {first.name}"),
            ("overhead", f"{first.overhead:.2f} pixels computed for each of {first.name}"),
            ("memory", f"{_bytes(self.memory)} a process, about"),
            ("output", f"{_bytes(self.output_bytes)} before compression"),
        ]
        if self.pilot:
            peak, stages = self.pilot["peak_rss_bytes"], self.pilot["stages"]
            whole = sum(stages.values()) or 1.0
            shares = ", ".join(f"{name} {value / whole:.0%}" for name, value in stages.items())
            rows.append(
                ("pilot", f"{counted(self.pilot['tiles'], 'tile')}, peak {_bytes(peak)}; {shares}")
            )
        if self.seconds:
            middle, low, high = map(_duration, self.seconds)
            rows.append(("time", f"{middle} ({low} to {high})"))
        else:
            rows.append(("time", "not known without a pilot: --pilot 8"))
        if self.money:
            middle, low, high = (f"{value:,.2f}" for value in self.money)
            rows.append(("money", f"{middle} ({low} to {high})"))
        return rows

    def _by_step(self) -> str:
        if len(self.steps) == 1:
            return ""
        return ": " + ", ".join(f"{step.tiles} of {step.name}" for step in self.steps)

    def _repr_html_(self) -> str:
        return block(heading(f"plan of {self.name}"), pairs(self.rows()))

    def __repr__(self) -> str:
        return "\n".join(f"{name:<9} {text}" for name, text in self.rows())


def _left_out(left_out: Mapping[str, Mapping[str, int]]) -> str:
    words = describe_left_out(left_out)
    return f"; left out: {words}" if words else ""


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit in ("B", "KiB") else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
