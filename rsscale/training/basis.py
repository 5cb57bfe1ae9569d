"""Which labelled pixels the figures of a training are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Basis = Literal["folds", "test", "validation", "none"]
WHERE: Mapping[Any, str] = {
    "folds": "folds of places that their models were not trained on",
    "test": "places that were not trained on",
    "validation": "places that were not trained on, but chose the weights",
}
"""The places that figures are of, in words."""
