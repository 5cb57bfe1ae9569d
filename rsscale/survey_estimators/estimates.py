"""An estimate with its standard error and interval, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """An estimate, its standard error and its interval; what is not estimable is None.

    Attributes
    ----------
    value, se, low, high : float, optional
    why : str
        Where one of them is None, the reason.
    """

    value: float | None
    se: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As ``areas.json`` holds it: figures, or ``value`` None and ``why``."""
        if self.value is None:
            return {"value": None, "why": self.why}
        figures: dict[str, Any] = {
            name: None if (value := getattr(self, name)) is None else round(value, 8)
            for name in ("value", "se", "low", "high")
        }
        return figures | ({"why": self.why} if self.why else {})
