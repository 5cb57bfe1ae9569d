"""Named points in the code at which tests make a process die, wait or fail.

Off unless ``RSSCALE_FAILPOINTS`` is set, to ``NAME=ACTION[,NAME=ACTION…]``:

=================  ==========================================================
``tile-start``     a worker has taken a tile
``before-rename``  a shard's bytes are in a temporary file, under no name yet
``between-layers`` one layer's shard is durable, the next is not
``after-shards``   all shards of a tile are durable, the ledger has no entry
``after-ledger``   the ledger has the entry, nobody was told
=================  ==========================================================

``NAME@TILE`` binds a point to the tile of that id: the one that the code there names, or that
its thread last named. The actions:

================  ===========================================================
``kill``          SIGKILL of this process
``kill/N``        the same, with a chance of one in N
``wait:SECONDS``  sleep
``nospace``       OSError ENOSPC, as on a full disk
================  ===========================================================

``RSSCALE_FAILPOINT_ONCE=PATH``: the process that creates PATH acts, all later ones pass.
``RSSCALE_FAILPOINT_SEED=TEXT`` decides the chances of ``kill/N``, together with the point, the
tile, and how often that tile has come by: ``RSSCALE_FAILPOINT_COUNTS=FOLDER`` keeps this count
for all processes; without it each counts its own.
"""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rsscale.errors import RecipeError

POINTS = ("tile-start", "before-rename", "between-layers", "after-shards", "after-ledger")
"""Every name that code passes to :func:`failpoint`, in the order in which a tile meets them."""

_FORM = re.compile(
    r"(?P<name>[a-z-]+)(@(?P<tile>[^=]+))?="
    r"(?P<action>kill(?=/|$)|wait(?=:)|nospace(?=$))(/(?P<chances>\d+)|:(?P<seconds>\d+(\.\d+)?))?"
)
_passes: Counter[str] = Counter()
# What writes shards knows of no tiles.
_thread = threading.local()


@dataclass(frozen=True)
class _Rule:
    """One ``NAME[@TILE]=ACTION``; an empty tile is any."""

    name: str
    tile: str
    action: str
    number: float

    def act(self, tile: str) -> None:
        if self.action == "kill":
            if self.number > 1 and not _drawn(f"{self.name}@{tile}", self.number):
                return
            if _first(f"{self.name}@{tile}"):
                os.kill(os.getpid(), signal.SIGKILL)
        elif _first(f"{self.name}@{tile}"):
            if self.action == "wait":
                time.sleep(self.number)
            else:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failpoint(name: str, tile: str = "") -> None:
    """Do what ``RSSCALE_FAILPOINTS`` says for this place; nothing when it is not set.

    Parameters
    ----------
    name : str
        One of :data:`POINTS`.
    tile : str
        Id of the tile in hand; when omitted, the one that this thread named last.

    Raises
    ------
    OSError
        ENOSPC, for ``nospace``.
    RecipeError
        When the variable is not what the module's docstring says.
    """
    text = os.environ.get("RSSCALE_FAILPOINTS")
    if not text:
        return
    tile = _thread.tile = tile or getattr(_thread, "tile", "")
    for rule in _rules(text):
        if rule.name == name and rule.tile in ("", tile):
            rule.act(tile)


@lru_cache(maxsize=4)
def _rules(text: str) -> tuple[_Rule, ...]:
    return tuple(_rule(part.strip()) for part in text.split(",") if part.strip())


def _rule(part: str) -> _Rule:
    match = _FORM.fullmatch(part)
    if match is None or match["name"] not in POINTS:
        raise RecipeError(
            f"RSSCALE_FAILPOINTS has {part!r}; expected NAME[@TILE]=ACTION with a name of "
            f"{', '.join(POINTS)} and kill, kill/N, wait:SECONDS or nospace"
        )
    number = float(match["chances"] or match["seconds"] or 1)
    return _Rule(match["name"], match["tile"] or "", match["action"], number)


def _drawn(place: str, chances: float) -> bool:
    """Whether this pass is the one in ``chances``: the same in every run of one seed."""
    seed = os.environ.get("RSSCALE_FAILPOINT_SEED", "")
    return random.Random(f"{seed} {place} {_pass(place)}").random() * chances < 1


def _pass(place: str) -> int:
    """Earlier passes through a place, in all processes that share a folder of counts."""
    folder = os.environ.get("RSSCALE_FAILPOINT_COUNTS")
    if not folder:
        _passes[place] += 1
        return _passes[place] - 1
    Path(folder).mkdir(parents=True, exist_ok=True)
    name = place.replace("/", "_")
    handle = os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, b".")  # appended as one step, so that no two processes get one number
        return os.lseek(handle, 0, os.SEEK_CUR) - 1
    finally:
        os.close(handle)


def _first(place: str) -> bool:
    """Whether to act: always, or for the first process alone."""
    path = os.environ.get("RSSCALE_FAILPOINT_ONCE")
    if not path:
        return True
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    os.write(handle, place.encode())
    os.close(handle)
    return True
