"""How a run ended, and the error that says what is left."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rsscale.cluster.engine import Stop
from rsscale.errors import MoreToDoError, TilesFailedError
from rsscale.monitoring.monitor import Monitor
from rsscale.text.wording import counted

ENDED = ("done", "failed", "interrupted")
"""States of a run on which nobody works."""


_ASSET = re.compile(r"item '[^']+', asset '")  # as a source calls itself


def ended(monitor: Monitor, stop: Stop) -> str:
    """The state of a run that comes to its end."""
    if stop.asked:
        return "interrupted"
    return "done" if monitor.count_done() == monitor.total else "failed"


def raise_unless_done(
    state: Mapping[str, Any], problem: str, go_on: str, *, is_late: bool = False
) -> None:
    """Raise what says why a run is not done.

    Parameters
    ----------
    state : mapping
        The content of ``run.json``.
    problem : str
        What stopped it, if anything.
    go_on : str
        What to do.
    is_late : bool
        Whether it was interrupted since the time of this process was over.

    Raises
    ------
    KeyboardInterrupt
        When it was interrupted.
    MoreToDoError
        When the time was over.
    TilesFailedError
        When tiles failed, or all did.
    """
    failed, tiles = state["failed"], state["tiles"]
    if state["state"] == "interrupted":
        done = f"{tiles['done']} of {tiles['total']} tiles done"
        if is_late:
            raise MoreToDoError(f"the time is over with {done}; {go_on}")
        raise KeyboardInterrupt(f"interrupted with {done}; {go_on}")
    if problem:
        raise TilesFailedError(
            f"{problem}; {tiles['done']} of {tiles['total']} tiles are done; {go_on}"
        )
    if failed:
        names = ", ".join(f["key"] for f in failed[:5])
        more = ", …" if len(failed) > 5 else ""
        waits = counted(state["waiting"], "waits", "wait") if state["waiting"] else ""
        waiting = f", {waits} for {'it' if len(failed) == 1 else 'them'}" if waits else ""
        raise TilesFailedError(
            f"{counted(len(failed), 'tile')} failed ({names}{more}){waiting}, {tiles['done']} of "
            f"{tiles['total']} are done; the first: {failed[0]['error']}; {go_on}"
            f"{_unreadable(failed)}"
        )
    if state["state"] != "done":
        raise TilesFailedError(
            f"only {tiles['done']} of {tiles['total']} tiles hold what was written; {go_on}"
        )


def _unreadable(failed: Iterable[Mapping[str, Any]]) -> str:
    """What to do where files of items can't be read and trying again does not help."""
    if not any(_ASSET.search(str(failure.get("error"))) for failure in failed):
        return ""
    return (
        "; where a file stays unreadable, the input's 'on_error: skip' counts it as not seen, and "
        "'exclude: [ITEM]' with --update leaves the item out"
    )
