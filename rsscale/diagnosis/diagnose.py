"""Look at a machine: software, hardware, disks, network, credentials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rsscale.diagnosis.check import Check, Diagnosis
from rsscale.diagnosis.hardware import hardware_checks
from rsscale.diagnosis.software import software_checks, terminal_check
from rsscale.diagnosis.surroundings import credential_checks, disk_checks, network_checks
from rsscale.errors import RsscaleError
from rsscale.recipe import read_recipe

if TYPE_CHECKING:
    from rsscale.recipe import Recipe


def diagnose(recipe: str | Path | None = None, *, folder: str | Path = ".") -> Diagnosis:
    """Tell whether this machine has what runs need; nothing is changed.

    Versions and extras, cores, memory, GPU and allocator, room and speed of disks, proxies and
    credentials by name. No address is asked but the catalogues of a recipe.

    Parameters
    ----------
    recipe : path, optional
        It is read and checked, and its catalogues are asked whether they answer.
    folder : path
        Where runs are to be written.

    Returns
    -------
    Diagnosis
        Printed, a table with what to do; ``problems`` would stop a run.
    """
    checks = [
        *software_checks(),
        terminal_check(),
        *hardware_checks(),
        *disk_checks(Path(folder)),
        *credential_checks(),
    ]
    addresses: tuple[str, ...] = ()
    if recipe is not None:
        outcome = _recipe(recipe)
        if isinstance(outcome, Check):
            checks.append(outcome)
        else:
            checks.append(Check("recipe", "ok", f"{recipe} can be read"))
            addresses = tuple(dict.fromkeys(_catalogs(outcome)))
    return Diagnosis((*checks, *network_checks(addresses)))


def _recipe(path: str | Path) -> Recipe | Check:
    try:
        return read_recipe(path)
    except RsscaleError as error:
        return Check("recipe", "problem", str(error), "see docs: every key of a recipe")


def _catalogs(recipe: Recipe) -> list[str]:
    return [
        str(each.catalog)
        for each in recipe.inputs.values()
        if str(each.catalog).startswith(("http://", "https://"))
    ]
