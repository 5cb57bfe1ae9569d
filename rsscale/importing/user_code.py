"""Code of users by its name: allowed by an environment variable, then imported."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from rsscale.errors import RecipeError, nearest


def check_allowed(address: str, place: str, variable: str) -> None:
    """Refuse code of a module that the environment does not allow.

    Raises
    ------
    RecipeError
        Which names the variable: a list of modules, separated by commas.
    """
    module = address.partition(":")[0]
    allowed = [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
    if not any(module == name or module.startswith(f"{name}.") for name in allowed):
        raise RecipeError(
            f"{place}: {address!r} is code that this environment does not allow; if you trust "
            f"it, set {variable}={','.join([*allowed, module])}, here and on the workers, where "
            "Python finds it: installed, or its folder in PYTHONPATH"
        )


def load(address: str, place: str) -> Any:
    """Import the object named by ``module:name``.

    Raises
    ------
    RecipeError
        When it can't be imported.
    """
    module, _, name = address.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except SyntaxError as error:
        where = f"{Path(error.filename or module).name}, line {error.lineno}"
        raise RecipeError(
            f"{place}: {address} can't be imported: {type(error).__name__}: {error.msg} ({where})"
        ) from error
    except ModuleNotFoundError as error:
        hint = (
            ""
            if error.name not in (module, module.partition(".")[0])
            else ("; it must be installed, or its folder be in PYTHONPATH, here and on the workers")
        )
        raise RecipeError(f"{place}: {address} can't be imported: {error}{hint}") from error
    except AttributeError as error:
        meant = nearest(name, dir(sys.modules.get(module)))
        raise RecipeError(f"{place}: {address} can't be imported: {error}{meant}") from error
    except ImportError as error:
        raise RecipeError(f"{place}: {address} can't be imported: {error}") from error
    except Exception as error:
        raise RecipeError(f"{place}: {address} can't be imported: {error_line(error)}") from error


def error_line(error: BaseException) -> str:
    """An error of somebody's code on one line, with its type."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
