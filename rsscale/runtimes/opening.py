"""Open and write models of other libraries than torch, by the kind of their file."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from rsscale.model.spec import ModelSpec
from rsscale.runtimes.base import RuntimeModule

_OPENERS: Mapping[str, str] = {
    ".onnx": "rsscale.runtimes.onnx_session:open_onnx",
    ".skops": "rsscale.runtimes.estimator:open_estimator",
    ".txt": "rsscale.runtimes.boosting:open_booster",
}


def has_runtime(suffix: str) -> bool:
    """Whether files of a suffix are of another library than torch."""
    return suffix in _OPENERS


def open_runtime(path: Path, spec: ModelSpec) -> RuntimeModule:
    """Open a file of another library than torch; what is installed is told by its extra.

    Raises
    ------
    ModelError
        When it is damaged, or does not fit its contract.
    MissingExtraError
        When the library is not installed.
    """
    module, _, name = _OPENERS[path.suffix].partition(":")
    opened: RuntimeModule = getattr(importlib.import_module(module), name)(path, spec)
    return opened
