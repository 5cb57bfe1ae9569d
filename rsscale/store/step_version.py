"""Versions of what a step of a run has stored: they change when any pixel or row does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from rsscale.store.ledger import Entry, Ledger
from rsscale.store.run_folder import RunFolder


def step_version(folder: RunFolder, step: str = "map") -> str:
    """Hash of what all finished tiles of a step have stored, from the ledger's entries.

    Two runs whose stored objects are the same have the same version, wherever they lie. It reads
    one small entry a tile, and no pixels.

    Returns
    -------
    str
        16 hexadecimal digits; those of an empty text where no tile is done.
    """
    return _hash(Ledger(folder.storage).entries(step))


def span_versions(folder: RunFolder, step: str = "map") -> dict[str, str]:
    """The same of each span by itself: a run that grows by a period keeps those that it had.

    Returns
    -------
    dict of str to str
        By span, in order; empty where no tile is done.
    """
    entries: dict[str, list[Entry]] = {}
    for entry in Ledger(folder.storage).entries(step):
        entries.setdefault(entry.key.span, []).append(entry)
    return {span: _hash(entries[span]) for span in sorted(entries)}


def is_same_version(folder: RunFolder, step: str, known: Mapping[str, Any]) -> bool:
    """Whether a document is of what a step has stored now.

    Parameters
    ----------
    folder : RunFolder
    step : str
    known : mapping
        The document: its ``version`` is of all spans, and ``versions``, where it has them, of each
        span that it is of. Spans that were added since do not count then.
    """
    by_span = known.get("versions")
    if isinstance(by_span, Mapping) and by_span:
        now = span_versions(folder, step)
        return all(now.get(span) == version for span, version in by_span.items())
    return bool(known.get("version") == step_version(folder, step))


def _hash(entries: Iterable[Entry]) -> str:
    lines = sorted(
        " ".join(
            [
                f"{entry.key.span} {entry.key.level} {entry.key.tile}",
                *(f"{name}={digest}" for name, digest in sorted(entry.digests.items())),
            ]
        )
        for entry in entries
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
