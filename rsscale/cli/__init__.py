"""The command line: ``rsscale demo | simulate | search | train | run | resume | …``.

Every command is one call of the Python API. Exit codes: 0 done; 1 the work failed, in part or
whole, and can be resumed; 2 the recipe, model or arguments are wrong; 130 interrupted.
"""

from __future__ import annotations

import importlib

from rsscale.cli.application import order_commands
from rsscale.cli.application import run_command_line as main

__all__ = ["main"]

# Importing a module adds its commands.
for _module in (
    "archives",
    "recipe",
    "models",
    "runs",
    "assess",
    "products",
    "samples",
    "publishing",
    "machine",
):
    importlib.import_module(f"rsscale.cli.{_module}")
order_commands()
