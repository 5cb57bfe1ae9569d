"""Version of what a step of a run has stored: it changes when any pixel or row does."""

from __future__ import annotations

import hashlib

from rsscale.store.ledger import Ledger
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
    lines = sorted(
        " ".join(
            [
                f"{entry.key.span} {entry.key.level} {entry.key.tile}",
                *(f"{name}={digest}" for name, digest in sorted(entry.digests.items())),
            ]
        )
        for entry in Ledger(folder.storage).entries(step)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
