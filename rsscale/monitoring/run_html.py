"""A run in a notebook: state, a bar of tiles for each step, failures, products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rsscale.monitoring.summary import failure_lines, products, state_word, tile_counts
from rsscale.text.html_tables import AnyCell, Bar, block, heading, small_lines, table
from rsscale.text.wording import counted

_MEBI, _MEGA = 2**20, 1e6


def run_html(state: Mapping[str, Any], url: str) -> str:
    """HTML of a run, finished or not; run the cell again to see how far it is.

    Parameters
    ----------
    state : mapping
        The content of ``run.json``, with ``dead`` as :meth:`rsscale.Run.status` adds it.
    url : str
        The run folder.
    """
    tiles = tile_counts(state)
    done = f"{tiles['done']:,} of {counted(tiles['total'], 'tile')}"
    failed = f", {tiles['failed']:,} failed" if tiles["failed"] else ""
    steps = state.get("steps", {})
    names = [name for name in state.get("order", steps) if name in steps]
    rows = [_row(name, steps[name]) for name in names]
    return block(
        heading(url, f"{state_word(state)}: {done}{failed}"),
        table(rows, ("step", "kind", "tiles", "", "periods"), "llrll"),
        small_lines(_resources(state)),
        small_lines(failure_lines(state)),
        small_lines(f"{name}: {path}" for name, path in products(state, url)),
    )


def _row(name: str, step: Mapping[str, Any]) -> tuple[AnyCell, ...]:
    tiles = tile_counts(step)
    whole = max(tiles["total"], 1)
    bar = Bar(tiles["done"] / whole, tiles["failed"] / whole)
    count = f"{tiles['done']:,} of {tiles['total']:,}"
    return name, str(step.get("kind", "")), count, bar, ", ".join(step.get("spans", ()))


def _resources(state: Mapping[str, Any]) -> Iterator[str]:
    """Time, speed and memory; the time left while it runs."""
    left = state.get("rate", {}).get("seconds_left")
    if state.get("state") == "running" and not state.get("dead"):
        yield f"{state.get('in_flight', 0)} in flight, " + (
            f"about {left:.0f} s left" if left else "starting"
        )
    steps = state.get("steps", {}).values()
    pixels = max((step.get("facts", {}).get("pixels", 0) for step in steps), default=0)
    if pixels:
        yield (
            f"{pixels / _MEGA:.2f} Mpx in {state.get('seconds') or 0.0:.1f} s, peak memory of a "
            f"process {state.get('peak_rss_bytes', 0) / _MEBI:.0f} MiB"
        )
