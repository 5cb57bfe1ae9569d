"""Exclusive lease on a run folder, with epochs that stop writes of superseded runs.

Whoever works on a run folder holds its newest epoch: ``lease/000007.json``. An epoch is taken by
creating its file, which only one can; the holder renews it while it works. Work of an older epoch
checks before each write whether a newer one is there, so that a worker that was stopped, or cut
off, and wakes up later writes nothing.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from rsscale.documents import read_json
from rsscale.errors import FolderHeldError, RunFolderError, StorageError
from rsscale.store.storage import Storage

LEASE_S = 60.0
"""How long a lease is valid without renewal; on the holder's own machine its process decides."""

_FOLDER = "lease"
_EPOCH = re.compile(r"\d{1,15}")


@dataclass(frozen=True)
class Holder:
    """The process that holds the lease of a folder."""

    host: str
    pid: int
    born: float
    until: float
    released: bool = False

    @classmethod
    def me(cls, seconds: float) -> Holder:
        """The current process as holder, for so many seconds from now."""
        born = psutil.Process().create_time()
        return cls(socket.gethostname(), os.getpid(), born, time.time() + seconds)

    def is_alive(self) -> bool:
        """Whether it may still be at work."""
        if self.released:
            return False
        if self.host != socket.gethostname():
            return time.time() < self.until
        try:
            # A number is given to another process some day; the time of birth tells them apart.
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.born) < 1.0
            return is_same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class Lease:
    """The right to work on a run folder; from :func:`acquire`."""

    def __init__(self, folder: Storage, epoch: int, seconds: float) -> None:
        self.epoch = epoch
        self._folder = folder
        self._seconds = seconds
        self._ended = threading.Event()
        self.lost = threading.Event()

    def renew(self) -> None:
        """Extend the lease, or set ``lost`` if another process has taken over."""
        if is_superseded(self._folder, self.epoch):
            self.lost.set()
            return
        _write(self._folder, self.epoch, Holder.me(self._seconds))

    def release(self) -> None:
        """Mark the lease as released, so that another process can acquire it at once."""
        self._ended.set()
        if self.lost.is_set():
            return
        mine = Holder.me(0.0)
        with suppress(StorageError):  # a full disk: it ends with this process, or by its time
            _write(self._folder, self.epoch, Holder(mine.host, mine.pid, mine.born, 0.0, True))

    def renew_until_released(self) -> None:
        """Renew periodically until released; run in a thread."""
        while not self._ended.wait(self._seconds / 4):
            try:
                self.renew()
            except (RunFolderError, OSError):
                continue  # a full disk or a bucket out of reach; the next one may get through


@contextmanager
def acquire(folder: Storage, seconds: float = LEASE_S) -> Iterator[Lease]:
    """Acquire the lease of a run folder for the ``with`` block.

    Raises
    ------
    FolderHeldError
        When another process works on it; says which and until when.
    """
    newest = latest_epoch(folder)
    holder = _read(folder, newest)
    if holder is not None and holder.is_alive():
        raise _is_held(folder, holder)
    lease = Lease(folder, newest + 1, seconds)
    if not folder.create(_name(lease.epoch), _as_json(Holder.me(seconds))):
        raise _is_held(folder, _read(folder, lease.epoch))
    keeper = threading.Thread(target=lease.renew_until_released, name="rsscale-lease", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        lease.release()
        keeper.join()


def latest_epoch(folder: Storage) -> int:
    """The newest epoch of a run folder; 0 before the first."""
    stems = (name.rpartition("/")[2].removesuffix(".json") for name in folder.names(_FOLDER))
    return max((int(stem) for stem in stems if _EPOCH.fullmatch(stem)), default=0)


def dead_holder(folder: Storage) -> Holder | None:
    """The last process that worked on a folder, if it does not any more.

    On this machine its process decides, elsewhere whether it still renews the lease.
    """
    holder = _read(folder, latest_epoch(folder))
    return holder if holder and not holder.is_alive() else None


def holder_of(folder: Storage, epoch: int) -> Holder | None:
    """The process that took an epoch; None when it can't be read."""
    return _read(folder, epoch)


def is_superseded(folder: Storage, epoch: int) -> bool:
    """Whether a newer epoch exists."""
    return folder.exists(_name(epoch + 1))


def _is_held(folder: Storage, holder: Holder | None) -> FolderHeldError:
    who = f"process {holder.pid} on {holder.host}" if holder else "another process"
    left = max(holder.until - time.time(), 0.0) if holder else LEASE_S
    return FolderHeldError(
        f"{who} is working on {folder.url}; wait for it, stop it, or, if it is dead, try again "
        f"in {left:.0f} s"
    )


def _name(epoch: int) -> str:
    return f"{_FOLDER}/{epoch:06d}.json"


def _read(folder: Storage, epoch: int) -> Holder | None:
    try:
        holder = Holder(**read_json(folder.read(_name(epoch))))
        right = (
            isinstance(holder.host, str)
            and type(holder.pid) is int
            and 0 < holder.pid < 2**31
            and isinstance(holder.born, (int, float))
            and isinstance(holder.until, (int, float))
        )
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return holder if right else None


def _write(folder: Storage, epoch: int, holder: Holder) -> None:
    folder.write(_name(epoch), _as_json(holder))


def _as_json(holder: Holder) -> bytes:
    return json.dumps(holder.__dict__).encode()
