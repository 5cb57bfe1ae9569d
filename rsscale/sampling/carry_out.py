"""Carry out reading: tasks to parts, in this process or on a cluster, until all are kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rsscale import errors
from rsscale.cluster.connection import connect
from rsscale.cluster.engine import execute, one_line
from rsscale.cluster.pools import RemoteTaskError
from rsscale.cluster.signals import stop_on_signals
from rsscale.errors import ReadError, RsscaleError
from rsscale.progress.bars import Bar
from rsscale.sampling.chip_parts import ChipParts
from rsscale.sampling.chip_task import ChipReading, ChipTask

if TYPE_CHECKING:
    from distributed import Client

_log = logging.getLogger("rsscale")
_GRACE_S = 25.0


def read_parts(
    tasks: Iterator[ChipTask],
    reading: ChipReading,
    parts: ChipParts,
    cluster: Client | str | None,
    bar: Bar,
) -> bool:
    """Read chips and keep each part as it comes; whether all tasks were carried out.

    Not all are after Ctrl-C or SIGTERM: those in hand are kept, and no other is begun.

    Parameters
    ----------
    tasks : iterator of ChipTask
        Consumed as they are read.
    reading : ChipReading
    parts : ChipParts
    cluster : distributed.Client or str, optional
        As :func:`rsscale.run` takes it; in this process when None.
    bar : Bar

    Raises
    ------
    ReadError
        When an asset can't be read.
    StorageError
        When a part can't be kept.
    """
    noted: set[str] = set()
    with connect(cluster) as client, stop_on_signals(_GRACE_S) as stop:
        for outcome in execute(tasks, reading, client=client, stop=stop):
            if outcome.result is None:
                raise _of_ours(outcome.error)
            missing = outcome.result.missing
            if client is not None:  # in this process they were said as they were met
                for asset in sorted(missing.keys() - noted):
                    _log.warning("counted as not seen: %s", missing[asset])
            noted |= missing.keys()
            parts.write(outcome.result)
            bar.advance(len(outcome.task.blocks))
        return not stop.asked


def _of_ours(error: BaseException | None) -> BaseException:
    """The error of a read, as a class of ours: from another machine it comes as text."""
    if isinstance(error, RemoteTaskError):
        kind = getattr(errors, error.kind, None)
        is_ours = isinstance(kind, type) and issubclass(kind, RsscaleError)
        return kind(one_line(error)) if kind and is_ours else ReadError(one_line(error))
    if isinstance(error, RuntimeError):  # a worker that died
        return ReadError(f"chips could not be read: {one_line(error)}")
    return error or ReadError("chips were not read")
