"""A run in a few lines: what it is, what it took, where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
    return "\n".join([*_lines(state), f"map       {url.rstrip('/')}/product.zarr"])


def _lines(state: Mapping[str, Any]) -> Iterator[str]:
    tiles = state["tiles"]
    yield f"{state['state']}: {tiles['done']} of {tiles['total']} tiles, {tiles['failed']} failed"
    if state.get("pixels"):
        rate = state["pixels"] / max(state["seconds"], 1e-9) / 1e6
        yield (
            f"{state['pixels'] / 1e6:.2f} Mpx in {state['seconds']:.1f} s ({rate:.2f} Mpx/s), "
            f"peak memory of a process {state['peak_rss_bytes'] / 2**20:.0f} MiB"
        )
        whole = sum(state["stages"].values()) or 1.0
        shares = (f"{name} {v:.1f} s ({v / whole:.0%})" for name, v in state["stages"].items())
        yield f"stages    {', '.join(shares)}, of all tiles together"
    if state["state"] == "running":
        left = state.get("rate", {}).get("seconds_left")
        yield f"{state['in_flight']} in flight; " + (f"{left:.0f} s left" if left else "starting")
    if state.get("missing"):
        yield f"missing   {state['missing']} assets could not be read and count as not seen"
    if state.get("agreement") is not None:
        yield f"agreement {state['agreement']:.6f} of labels are the plain model's"
    yield from _seams(state.get("seams") or {})
    for failure in state.get("failed", [])[:_FAILURES]:
        yield f"failed {failure['period']}/{failure['tile']}: {failure['error']}"


def _seams(seams: Mapping[str, Any]) -> Iterator[str]:
    """How labels disagree along the lines of model windows, and elsewhere."""
    if seams.get("line_pairs") and seams.get("pairs"):
        line = seams["line_differ"] / seams["line_pairs"]
        inside = seams["differ"] / seams["pairs"]
        yield (
            f"seams     neighbours differ at {line:.2%} along window lines, {inside:.2%} elsewhere"
        )
