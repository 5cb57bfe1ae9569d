"""Members of an array: each process keeps a small file in the run folder as long as it lives."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from rsscale.documents import read_json
from rsscale.errors import RunFolderError, StorageError
from rsscale.store.lease import LEASE_S, Holder
from rsscale.store.storage import Storage

FOLDER = "array"
"""Of a run folder: what the processes of an array say to each other."""

_MEMBERS = f"{FOLDER}/members"


@dataclass(frozen=True)
class Member:
    """A process of an array.

    Attributes
    ----------
    id : str
        Host, process number and some letters of its own.
    holder : Holder
        The process.
    slots : int
        Tiles that it computes at a time.
    """

    id: str
    holder: Holder
    slots: int

    @classmethod
    def me(cls, slots: int) -> Member:
        """The current process."""
        holder = Holder.me(LEASE_S)
        host = re.sub(r"[^A-Za-z0-9.-]", "-", holder.host)
        return cls(f"{host}-{holder.pid}-{uuid.uuid4().hex[:6]}", holder, slots)

    def is_process(self, holder: Holder | None) -> bool:
        """Whether it is the process that holds a lease."""
        return holder is not None and (holder.host, holder.pid) == (
            self.holder.host,
            self.holder.pid,
        )


@contextmanager
def joined(folder: Storage, slots: int, renew_s: float = LEASE_S / 4) -> Iterator[Member]:
    """Be a member of a run folder's array for the ``with`` block.

    Parameters
    ----------
    folder : Storage
        Of the run.
    slots : int
        Tiles that this process computes at a time.
    renew_s : float
        How often its file is written anew; one that is not for a minute is gone.

    Raises
    ------
    StorageError
        When the folder can't be written.
    """
    me = Member.me(slots)
    name = f"{_MEMBERS}/{me.id}.json"
    folder.write(name, _as_json(me))
    left = threading.Event()

    def keep() -> None:
        while not left.wait(renew_s):
            with suppress(RunFolderError, OSError):  # the next one may get through
                folder.write(name, _as_json(me))

    keeper = threading.Thread(target=keep, name="rsscale-member", daemon=True)
    keeper.start()
    try:
        yield me
    finally:
        left.set()
        keeper.join()
        with suppress(StorageError, OSError):
            folder.delete(name)


class Roster:
    """The members that are there now.

    A process of this machine is gone when its number is; any is when its file has not changed for
    a minute by this process's own clock, so that clocks of machines may differ.

    Parameters
    ----------
    folder : Storage
        Of the run.
    every_s : float
        How often the files are looked at, at most.
    """

    def __init__(self, folder: Storage, every_s: float) -> None:
        self._folder, self._every = folder, every_s
        self._seen: dict[str, tuple[str, float, Member]] = {}
        self._alive: dict[str, Member] = {}
        self.read_at = float("-inf")

    def members(self) -> Mapping[str, Member]:
        """Members by their id, as of the last time that their files were read."""
        if time.monotonic() - self.read_at >= self._every:
            self._read()
        return self._alive

    def _read(self) -> None:
        began = time.monotonic()
        known, self._seen = self._seen, {}
        for name in self._folder.names(_MEMBERS):
            with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
                _, token = self._folder.stat(name)
                before = known.get(name)
                if before is None or before[0] != token:
                    before = token, began, _parse(self._folder.read(name))
                self._seen[name] = before
        self._alive = {
            member.id: member
            for _, since, member in self._seen.values()
            if began - since <= LEASE_S and _may_live(member.holder)
        }
        self.read_at = began

    def sweep(self) -> None:
        """Remove the files of members that are gone."""
        for name, (_, _, member) in list(self._seen.items()):
            if member.id not in self._alive:
                self._folder.delete(name)
                del self._seen[name]


def _may_live(holder: Holder) -> bool:
    return holder.host != socket.gethostname() or holder.is_alive()


def _as_json(member: Member) -> bytes:
    return json.dumps(asdict(member)).encode()


def _parse(content: bytes) -> Member:
    record: Any = read_json(content)
    return Member(str(record["id"]), Holder(**record["holder"]), max(int(record["slots"]), 1))
