"""Tell when a file that was read is replaced during a run, so that no map mixes both versions.

Each ledger entry has the versions of the files that its tile read. A run compares those of every
tile that it computes with those of all tiles done before, in this process or an earlier one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from rsscale.documents import read_json
from rsscale.errors import ReadError
from rsscale.steps.base import NotReadyError
from rsscale.store.ahead import AHEAD, ahead_in_order
from rsscale.store.ledger import Entry, write_json
from rsscale.store.run_folder import REPLACED, RunFolder

if TYPE_CHECKING:
    from rsscale.plans.plan import RunPlan

Versions = Mapping[str, Mapping[str, str]]
"""Item to asset to version, as :attr:`Entry.files` has them."""


class KnownVersions:
    """The version of each file that tiles which are done have read."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    @classmethod
    def of_run(cls, plan: RunPlan) -> KnownVersions:
        """Those of all tiles that are done; of two that differ, that of the first."""
        known = cls()
        for entry in _entries_in_force(plan):
            with suppress(ReadError):  # it is told when all tiles are judged
                known.add(entry.files)
        return known

    def add(self, files: Versions) -> None:
        """Take what another tile has read as known.

        Raises
        ------
        ReadError
            When that has another version of a file; then nothing of it is taken.
        """
        differing = self._differing(files)
        if differing:
            item, asset, now = differing[0]
            more = f", as were {len(differing) - 1} other files" if len(differing) > 1 else ""
            raise ReadError(
                f"item {item!r}, asset {asset.rpartition(' ')[0]!r} was replaced during the run"
                f"{more}: tiles done before read [{self._known[item][asset]}], this one [{now}]; "
                "put the former file back and resume, or run the recipe again with --update, "
                "which computes anew what was made from the former"
            )
        for item, asset, version in _flat(files):
            self._known.setdefault(item, {})[asset] = version

    def keep_replaced(self, folder: RunFolder, files: Versions) -> None:
        """Keep in the run folder, for an update, what another tile has read in another version."""
        kept = {item: dict(assets) for item, assets in read_replaced(folder).items()}
        for item, asset, version in self._differing(files):
            kept.setdefault(item, {})[asset] = version
        if kept != read_replaced(folder):
            write_json(folder.storage, REPLACED, kept)

    def _differing(self, files: Versions) -> list[tuple[str, str, str]]:
        return [
            (item, asset, version)
            for item, asset, version in _flat(files)
            if self._known.get(item, {}).get(asset, version) != version
        ]


def read_replaced(folder: RunFolder) -> Versions:
    """Versions of the files that a run found replaced, as they were found last."""
    try:
        document = read_json(folder.storage.read(REPLACED))
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {item: assets for item, assets in document.items() if isinstance(assets, dict)}


def is_outdated(entry: Entry, replaced: Versions) -> bool:
    """Whether a tile was made from a file of which another version was found since."""
    return any(
        replaced.get(item, {}).get(asset, version) != version
        for item, asset, version in _flat(entry.files)
    )


def take_back_outdated(folder: RunFolder) -> None:
    """Take back the entries of tiles that were made from files which were replaced since."""
    replaced = read_replaced(folder)
    if replaced:
        for entry in folder.ledger.entries():
            if is_outdated(entry, replaced):
                folder.ledger.delete(entry.key)
        folder.storage.delete(REPLACED)


def _entries_in_force(plan: RunPlan) -> Iterator[Entry]:
    """Entries with versions of files, of tiles whose fingerprint is today's."""
    if not plan.folder.ledger.count():
        return
    plan.setup.ledger.forget()
    with ThreadPoolExecutor(AHEAD) as threads:
        for step, level in plan.rounds():
            for entry in ahead_in_order(threads, plan.folder.ledger.read, plan.keys(step, level)):
                if entry is not None and entry.files and _is_in_force(plan, entry):
                    yield entry


def _is_in_force(plan: RunPlan, entry: Entry) -> bool:
    try:
        return plan.task(entry.key).fingerprint == entry.fingerprint
    except NotReadyError:
        return False


def _flat(files: Versions) -> Iterator[tuple[str, str, str]]:
    for item, assets in files.items():
        for asset, version in assets.items():
            yield item, asset, version
