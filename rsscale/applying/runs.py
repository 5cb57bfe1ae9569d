"""A user's function over runs: a run of its own with one step, whose function is given by value."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from rsscale.cluster.allocator import keep_memory
from rsscale.cluster.machine import Machine
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError, RunFolderError
from rsscale.functions.layers import EMPTY_CORE, as_options, seen_layers
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer, TileKey
from rsscale.passes.function import NOTEBOOK
from rsscale.passes.function_by_value import FunctionByValue
from rsscale.plans.plan import read_frozen
from rsscale.recipe import Recipe, read_recipe
from rsscale.runs.run import Run, RunOptions, carry_out
from rsscale.steps.base import Resources
from rsscale.steps.other_run import stored_in
from rsscale.steps.sources import LayersSource
from rsscale.store.run_folder import AREA, RunFolder

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class RunCall:
    """The arguments of :func:`rsscale.apply`, of runs.

    Attributes
    ----------
    name : str
        Of the step.
    function : callable
    of : mapping of name to (Run, step)
    layers : tuple of Layer, optional
        Seen on an empty block when omitted.
    halo : int
    version : str
    parameters : mapping
    at : int or str, optional
    """

    name: str
    function: Callable[..., xr.Dataset]
    of: Mapping[str, tuple[Run, str]]
    layers: tuple[Layer, ...] | None
    halo: int
    version: str
    parameters: Mapping[str, Any]
    at: int | str | None = None

    @property
    def first(self) -> Run:
        """The run whose grid, area and periods the result has."""
        return next(iter(self.of.values()))[0]


def apply_to_runs(
    call: RunCall,
    *,
    out: str | Path | None,
    client: Client | str | None,
    threads: int | None,
    watch: RunOptions | None,
) -> xr.Dataset:
    """Plan or go on with the run of a function; the lazy result. See :func:`rsscale.apply`."""
    recipe = _recipe(call)
    url = str(out) if out is not None else f"{_address(call.first).rstrip('/')}-{call.name}"
    by_value = FunctionByValue(call.name, call.function)
    if client is None:
        keep_memory()
    else:
        by_value = by_value.packed()  # tells now what can't travel

    def profile(machine: Machine) -> NumericProfile:
        return NumericProfile.on(machine, "cpu", threads)

    run = carry_out(
        recipe,
        url,
        client,
        profile,
        update=_is_outdated(RunFolder.at(url), recipe, call.name),
        watch=watch,
        by_value=by_value,
    )
    return run.open(call.name).assign_attrs(run=str(run.path))


def _recipe(call: RunCall) -> Recipe:
    """The recipe of the result: grid, area and periods of the first run, and one step."""
    try:
        parameters = json.loads(json.dumps(dict(call.parameters), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"parameters are written into the run's recipe, which holds numbers, strings, lists "
            f"and mappings of these: {error}; what else a function needs it may hold itself"
        ) from None
    source, _ = read_frozen(call.first.folder, call.first.state)
    layers = call.layers or _seen(call, source.grid.build())
    step: dict[str, Any] = {
        "kind": "function",
        "of": {name: {"run": _address(run), "step": step} for name, (run, step) in call.of.items()},
        "function": f"{NOTEBOOK}:{call.name}",
        "version": call.version,
        "halo": call.halo,
        "layers": [as_options(layer) for layer in layers],
        "parameters": parameters,
    }
    if call.at is not None:
        step["at"] = str(call.at)
    return read_recipe(
        {
            "name": f"{source.name}-{call.name}".rstrip("_-"),
            "area": str(call.first.folder.storage.local(AREA)),
            "grid": source.grid.model_dump(mode="json"),
            "periods": list(source.periods),
            "steps": {call.name: step},
        }
    )


def _seen(call: RunCall, grid: Grid) -> tuple[Layer, ...]:
    """The function's layers, by what it returns of a block beyond the runs, where all is nodata."""
    size = EMPTY_CORE + 2 * call.halo
    inputs = {}
    for name, (run, step) in call.of.items():
        stored = stored_in(_address(run), step, grid)
        source = LayersSource({0: stored}, at="" if call.at is None else str(call.at))
        corner = stored.store.extent
        beyond = PixelBox(
            corner.row0 - 2 * size, corner.col0 - size, corner.row0 - size, corner.col0
        )
        key = TileKey(call.name, stored.store.spans[0], 0, 0)
        inputs[name] = source.read(beyond, key, Resources(NumericProfile("cpu", 1)))
    return seen_layers(call.name, call.function, inputs, call.parameters)


def _is_outdated(folder: RunFolder, recipe: Recipe, name: str) -> bool:
    """Whether a folder holds the result of another version of the function.

    Raises
    ------
    RunFolderError
        When it holds something else, or was made by the same version in another way.
    """
    if not folder.exists:
        return False
    state = folder.read_state()
    known, _ = read_frozen(folder, state)
    if list(known.steps) != [name]:
        raise RunFolderError(
            f"{folder.url} is a run of another recipe, with the steps {', '.join(known.steps)}; "
            "choose another out"
        )
    old, new = (which.steps[name].model_dump(mode="json") for which in (known, recipe))
    if old.pop("version") != new.pop("version"):
        return True
    differ = [key for key in new if old.get(key) != new[key]]
    if differ:
        raise RunFolderError(
            f"{folder.url} holds {name!r} made with other {', '.join(differ)}; choose another name "
            "or out, or raise version to compute it anew"
        )
    return bool(state["state"] == "updating")


def _address(run: Run) -> str:
    """Absolute address of a run."""
    where = os.fspath(run.path)
    return where if "://" in where else os.path.abspath(where)  # noqa: PTH100 -- keeps links
