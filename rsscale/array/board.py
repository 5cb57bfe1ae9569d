"""The tasks of one epoch as files: posted by who leads, each taken by one member, and reported.

``array/<epoch>/tasks/000012-1.json`` is the first attempt at the twelfth task. Who creates
``claims/000012-1.json`` has taken it, which only one can; what came of it lies in ``reports/``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from rsscale.array.members import FOLDER
from rsscale.documents import read_json
from rsscale.store.storage import Storage

_CREW = "crew.json"
# Members that come at the same time should not all reach for the same task.
_CHOICE = 8


class Board:
    """The tasks of one epoch.

    Parameters
    ----------
    folder : Storage
        Of the run.
    epoch : int
    """

    def __init__(self, folder: Storage, epoch: int) -> None:
        self.epoch = epoch
        self._folder = folder
        self._top = f"{FOLDER}/{epoch:06d}"

    def open(self, crew: Mapping[str, Any]) -> None:
        """Let members know what all tasks have in common."""
        self._write(_CREW, crew)

    def crew(self) -> dict[str, Any] | None:
        """What all tasks have in common; None before it is known."""
        return self._read(_CREW)

    def post(self, name: str, task: Mapping[str, Any]) -> None:
        """Offer a task to all members."""
        self._write(f"tasks/{name}.json", task)

    def offered(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Tasks that nobody has taken, in about their order."""
        taken = set(self._names("claims"))
        names = [name for name in self._names("tasks") if name not in taken]
        first = names[:_CHOICE]
        random.shuffle(first)
        for name in [*first, *names[_CHOICE:]]:
            task = self._read(f"tasks/{name}.json")
            if task is not None:
                yield name, task

    def take(self, name: str, member: str) -> bool:
        """Take a task; whether this member has it now."""
        content = json.dumps({"member": member}).encode()
        return self._folder.create(f"{self._top}/claims/{name}.json", content)

    def report(self, name: str, reply: Mapping[str, Any]) -> None:
        """Tell what came of a task."""
        self._write(f"reports/{name}.json", reply)

    def reports(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What was told and not removed."""
        for name in list(self._names("reports")):
            reply = self._read(f"reports/{name}.json")
            if reply is not None:
                yield name, reply

    def claims(self, known: Mapping[str, str]) -> dict[str, str]:
        """Who has taken which task: the name of the task to the id of the member.

        Parameters
        ----------
        known : mapping
            Claims that were read before.
        """
        claims = {}
        for name in list(self._names("claims")):
            claim = None if name in known else self._read(f"claims/{name}.json")
            member = known.get(name) or (claim or {}).get("member")
            if member:
                claims[name] = str(member)
        return claims

    def open_claims(self) -> dict[str, str]:
        """Claims without a report."""
        reports = set(self._names("reports"))
        return {name: member for name, member in self.claims({}).items() if name not in reports}

    def tile_of(self, name: str) -> str:
        """The tile of a task, for people; empty when the task is not there."""
        return str((self._read(f"tasks/{name}.json") or {}).get("tile", ""))

    def remove(self, name: str) -> None:
        """Remove all of a task."""
        for part in ("tasks", "reports", "claims"):
            self._folder.delete(f"{self._top}/{part}/{name}.json")

    def _names(self, part: str) -> Iterator[str]:
        for name in self._folder.names(f"{self._top}/{part}"):
            yield name.rpartition("/")[2].removesuffix(".json")

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        self._folder.write(f"{self._top}/{name}", json.dumps(content).encode())

    def _read(self, name: str) -> dict[str, Any] | None:
        with suppress(FileNotFoundError, ValueError):
            content = read_json(self._folder.read(f"{self._top}/{name}"))
            if isinstance(content, dict):
                return content
        return None


def older_epochs(folder: Storage, epoch: int) -> list[int]:
    """Epochs before this one of which something is left."""
    stems = {name.removeprefix(f"{FOLDER}/").partition("/")[0] for name in folder.names(FOLDER)}
    return sorted(int(stem) for stem in stems if stem.isdigit() and int(stem) < epoch)


def remove_epoch(folder: Storage, epoch: int) -> None:
    """Remove all that is left of an epoch."""
    for name in list(folder.names(f"{FOLDER}/{epoch:06d}")):
        folder.delete(name)
