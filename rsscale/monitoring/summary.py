"""Summarise a run in a few lines: progress, time and resources, place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rsscale.inference.constant_pixels import constant_lines, fold_constant
from rsscale.text.wording import counted

_FAILURES = 10


def summary(state: Mapping[str, Any], url: str) -> str:
    """Lines on a run, for people.

    Parameters
    ----------
    state : mapping
        The content of ``run.json``.
    url : str
        The run folder.
    """
    places = (f"{name:<9} {path}" for name, path in products(state, url))
    return "\n".join([*_lines(state), *places])


def _missing(state: Mapping[str, Any], steps: Mapping[str, Any]) -> Iterator[str]:
    """Items and assets that are not in the result, and pixels that should not be, perhaps."""
    if state.get("left_out"):
        yield f"left out  {describe_left_out(state['left_out'])}"
    unreadable = sum(step.get("facts", {}).get("unreadable", 0) for step in steps.values())
    if unreadable:
        yield f"missing   {unreadable} assets could not be read and count as not seen"
    yield from (f"constant  {line}" for line in remarks_on_constant(steps))


def remarks_on_constant(steps: Mapping[str, Any]) -> list[str]:
    """What a person should know of pixels that are one number in all bands, of all steps."""
    return constant_lines(fold_constant(step.get("facts", {}) for step in steps.values()))


def describe_left_out(left_out: Mapping[str, Mapping[str, int]]) -> str:
    """Items that a recipe's rules left out, in words: ``2 of s2 (missing_asset: skip)``."""
    words = {"exclude": "exclude", "missing_asset": "missing_asset: skip"}
    return ", ".join(
        f"{count} of {name} ({words.get(key, key)})"
        for name, by_key in left_out.items()
        for key, count in by_key.items()
    )


def _lines(state: Mapping[str, Any]) -> Iterator[str]:
    tiles, steps = tile_counts(state), _in_order(state)
    of = counted(tiles["total"], "tile")
    yield f"{state_word(state)}: {tiles['done']} of {of}, {tiles['failed']} failed"
    if state.get("dead"):
        yield describe_dead(state["dead"])
    yield from _changes(state)
    if len(steps) > 1:
        for name, step in steps.items():
            done = tile_counts(step)
            yield f"{name:<9} {done['done']} of {counted(done['total'], 'tile')}"
    pixels = max((step.get("facts", {}).get("pixels", 0) for step in steps.values()), default=0)
    if pixels:
        seconds = state.get("seconds") or 0.0
        rate = pixels / max(seconds, 1e-9) / 1e6
        yield (
            f"{pixels / 1e6:.2f} Mpx in {seconds:.1f} s ({rate:.3g} Mpx/s), "
            f"peak memory of a process {state.get('peak_rss_bytes', 0) / 2**20:.0f} MiB"
        )
    if state.get("stages"):
        whole = sum(state["stages"].values()) or 1.0
        shares = (f"{name} {v:.1f} s ({v / whole:.0%})" for name, v in state["stages"].items())
        yield f"stages    {', '.join(shares)}, of all tiles together"
    if state.get("state") == "running" and not state.get("dead"):
        left = state.get("rate", {}).get("seconds_left")
        yield f"{state.get('in_flight', 0)} in flight; " + (
            f"{left:.0f} s left" if left else "starting"
        )
    yield from _missing(state, steps)
    for step in steps.values():
        yield from step.get("lines", ())
    yield from _failed(state)


def _failed(state: Mapping[str, Any]) -> Iterator[str]:
    for failure in state.get("failed", [])[:_FAILURES]:
        yield f"failed {failure.get('key', '?')}: {failure.get('error', '?')}"
    if state.get("waiting"):
        waiting = counted(state["waiting"], "tile")
        yield f"waiting   {waiting} for tiles of earlier steps that are not done"


def failure_lines(state: Mapping[str, Any]) -> Iterator[str]:
    """What stands in the way: a process that is gone, items left out, tiles that failed."""
    if state.get("dead"):
        yield describe_dead(state["dead"])
    yield from _missing(state, state.get("steps", {}))
    yield from _failed(state)


def state_word(state: Mapping[str, Any]) -> str:
    """The state of a run in a word; ``dead`` where its process is gone."""
    return "dead" if state.get("dead") else str(state.get("state", "unknown"))


def _changes(state: Mapping[str, Any]) -> Iterator[str]:
    """How many tiles the last command computed, where it kept others, and why."""
    computed = state.get("computed", 0)
    if 0 < computed < tile_counts(state)["done"] or "changes" in state:
        yield f"computed  {counted(computed, 'tile')} by the last command, the others are kept"
    for name, items in state.get("changes", {}).get("items", {}).items():
        counts = ", ".join(f"{items.get(kind, 0)} {kind}" for kind in ("new", "changed", "gone"))
        yield f"items     {name}: {counts}, {items.get('same', 0)} as they were, at the last update"


def _in_order(state: Mapping[str, Any]) -> dict[str, Any]:
    """The steps as they are computed; JSON has them by name."""
    steps: dict[str, Any] = state.get("steps", {})
    return {name: steps[name] for name in state.get("order", steps) if name in steps}


def tile_counts(state: Mapping[str, Any]) -> dict[str, int]:
    """Tiles of a run or step; a state that was written by hand, or half, may lack them."""
    return {"total": 0, "done": 0, "failed": 0, **state.get("tiles", {})}


def describe_dead(dead: Mapping[str, Any]) -> str:
    """A run whose process is gone, and what to do, on one line."""
    return (
        f"process {dead['pid']} on {dead['host']}, which worked on it, is gone; go on with: "
        f"{dead['go_on']}"
    )


def products(state: Mapping[str, Any], url: str) -> Iterator[tuple[str, str]]:
    """Steps, and the paths of their layers and tables."""
    url = url.rstrip("/")
    # What steps of objects gather on the way is no product.
    objects = [name for name, step in _in_order(state).items() if step.get("objects")]
    for name, step in _in_order(state).items():
        if step.get("layers") and step.get("store") == name:
            yield name, f"{url}/{'product' if name == 'map' else name}.zarr"
        if step.get("objects"):
            yield (
                name,
                f"{url}/{step['objects']} (in one file: rsscale objects {url} --step {name})",
            )
        elif step.get("gathered") and not any(name.startswith(f"{other}-") for other in objects):
            yield name, f"{url}/{step['gathered']}"
