"""What a run amounts to, summed from its ledger entries without keeping them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rsscale.inference.seams import Seams

STAGES = ("read", "prepare", "infer", "write")


@dataclass
class Totals:
    """Sums over finished tiles.

    Attributes
    ----------
    done : int
        Finished tiles.
    pixels, unseen, non_finite, missing, decoded_bytes : int
        As in :class:`rsscale.store.ledger.Entry`; ``missing`` counts assets.
    stages : Counter of stage to float
        Seconds of all tiles together.
    seams : Seams
    batch : int, optional
        The smallest.
    agreement : float, optional
        The smallest of those that were measured.
    """

    done: int = 0
    pixels: int = 0
    unseen: int = 0
    non_finite: int = 0
    missing: int = 0
    decoded_bytes: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    seams: Seams = field(default_factory=Seams)
    batch: int | None = None
    agreement: float | None = None

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add a finished tile, as :func:`rsscale.runs.worker.summary` tells it."""
        self.done += 1
        for name in ("pixels", "unseen", "non_finite", "decoded_bytes"):
            setattr(self, name, getattr(self, name) + entry[name])
        self.missing += len(entry["missing"])
        self.seams += Seams(**entry["seams"])
        for name in ("batch", "agreement"):
            known = [v for v in (getattr(self, name), entry[name]) if v is not None]
            setattr(self, name, min(known, default=None))
        for stage, seconds in entry["seconds"].items():
            self.stages[stage] += seconds

    def to_dict(self) -> dict[str, Any]:
        """For run.json."""
        return {
            "pixels": self.pixels,
            "unseen": self.unseen,
            "non_finite": self.non_finite,
            "missing": self.missing,
            "decoded_bytes": self.decoded_bytes,
            "stages": {stage: round(self.stages[stage], 3) for stage in STAGES},
            "seams": self.seams.to_dict(),
            "batch": self.batch,
            "agreement": self.agreement,
        }
