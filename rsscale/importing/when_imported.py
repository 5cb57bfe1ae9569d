"""Import a module of ours right after a library is imported, by whoever does.

So that importing rsscale gives xarray its accessor ``.rs``, and takes no time for xarray where that
is not used, as in ``rsscale --help``.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def when_imported(library: str, module: str) -> None:
    """Import ``module`` now if ``library`` has been imported, else once it has been.

    Parameters
    ----------
    library : str
        A package of others, such as ``"xarray"``.
    module : str
        A module of ours, which imports it.
    """
    if library in sys.modules:
        import_module(module)
    else:
        sys.meta_path.insert(0, _Finder(library, module))


class _Finder(MetaPathFinder):
    """Finds one library as it is found without this, and then imports a module of ours."""

    def __init__(self, library: str, module: str) -> None:
        self._library, self._module = library, module

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        if fullname != self._library:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            # The loader is this spec's own.
            loader: Any = spec.loader
            loader.exec_module = self._then(loader.exec_module)
        return spec

    def _then(self, execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        def execute_both(module: ModuleType) -> None:
            execute(module)
            import_module(self._module)

        return execute_both
