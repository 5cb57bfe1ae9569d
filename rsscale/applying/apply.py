"""A user's own function over a run, tile by tile, or over arrays, block by block."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr
from pydantic import ValidationError

from rsscale.applying.arrays import apply_to_arrays
from rsscale.applying.runs import RunCall, apply_to_runs
from rsscale.errors import RecipeError
from rsscale.functions.call import check_call
from rsscale.functions.layers import LayerOptions
from rsscale.layers import Layer
from rsscale.runs.run import Run, RunOptions
from rsscale.steps.options import one_line

if TYPE_CHECKING:
    from distributed import Client

Array = xr.Dataset | xr.DataArray
RunStep = Run | tuple[Run, str]

_NAME = re.compile(r"[a-z][a-z0-9_-]*")


def apply(
    f: Callable[..., xr.Dataset],
    of: RunStep | Array | Mapping[str, RunStep] | Mapping[str, Array],
    *,
    layers: Sequence[Layer | Mapping[str, Any]] | None = None,
    halo: int = 0,
    version: str = "1",
    name: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    at: int | str | None = None,
    out: str | Path | None = None,
    client: Client | str | None = None,
    threads: int | None = None,
    watch: RunOptions | None = None,
) -> xr.Dataset:
    """Compute a function of your own over a whole run, or over arrays.

    ``f(inputs, **parameters)`` is given a Dataset for each name of ``of``, in memory, over some box
    and ``halo`` pixels around it, and returns a Dataset with the layers of that box. A pixel of its
    result must depend on nothing but the pixels within the halo around it; then it does not
    depend on how the area was cut. Values are as they are stored: nodata is the attribute
    ``nodata`` of each variable, and what lies beyond the area or the arrays. The result may cover
    the box, or the box and its halo, which is cropped then; its shape tells.

    Parameters
    ----------
    f : callable
        May be defined in the notebook: with a cluster it travels to the workers by value. Two
        tiles of a process are computed at once, so that it must change nothing that they share.
    of : Run, (Run, step), Dataset, DataArray, or mapping of name to these
        Runs alone or arrays alone. A run stands for its step ``map``. By itself, a step is known
        to ``f`` by its own name, an array as ``"data"``. From a step ``f`` gets layers ``(y, x)``
        of one span. Arrays have ``y`` and ``x`` on one grid, and any further dimensions.
    layers : sequence of Layer or mapping, optional
        What ``f`` returns; seen by calling it on a small block of nodata when omitted.
    halo : int
        Pixels around a box that ``f`` needs; at most the width of a tile.
    version : str
        Raise it when ``f`` changes what it computes: all tiles are then computed anew. Nothing
        else tells, since the code itself is not compared.
    name : str, optional
        Of the step; that of ``f`` when omitted.
    parameters : mapping, optional
        Keyword arguments of ``f``; for runs what YAML can hold.
    at : int or str, optional
        For runs: compute it for this span only; ``"all"`` gives ``f`` all spans along ``time``.
    out : path or address, optional
        For runs: the folder of the result; beside the first run, ``<run>-<name>``, when omitted.
    client, threads, watch
        For runs: as for :func:`rsscale.run`.

    Returns
    -------
    xarray.Dataset
        Of runs: lazy, dims ``(time, y, x)``, as :meth:`rsscale.Run.open` gives it; its attribute
        ``run`` is the folder, for ``rs.Run``, ``rs.verify`` and the like. It is a run of one step:
        a call with the same arguments goes on where this one stopped.
        Of arrays: ``(y, x)``, lazy if any of them is, then computed where you compute it.

    Raises
    ------
    RecipeError
        When arguments are wrong, or, for arrays, ``f`` returns what it did not promise.
    FunctionError
        For arrays in memory: when ``f`` raises.
    RunFolderError
        When ``out`` holds something else.
    TilesFailedError
        When all other tiles are done and some failed; call again to try just those.

    Examples
    --------
    The edges of a map's classes, tried on a corner and then computed for the country::

        def edges(inputs, width=1):
            classes = inputs["map"]["classification"]
            seen = classes != classes.attrs["nodata"]
            same = seen
            for shift in [{"y": width}, {"x": width}]:
                there = classes.shift(shift, fill_value=classes.attrs["nodata"])
                same = same & (classes == there)
            return xr.Dataset({"edge": (~same).astype("uint8").where(seen, 255).astype("uint8")})

        run = rs.Run("out/landcover")
        layers = [rs.Layer("edge", "uint8", 255, overview="mode")]
        corner = run.open().isel(time=0, y=slice(0, 500), x=slice(0, 500))
        rs.apply(edges, {"map": corner}, layers=layers, halo=1)
        found = rs.apply(edges, run, layers=layers, halo=1, client=client)
        rs.Run(found.attrs["run"]).summary()
    """
    if not isinstance(halo, int) or halo < 0:
        raise RecipeError(f"halo is {halo!r}; expected a number of pixels, 0 or more")
    parameters = dict(parameters or {})
    check_call("f", f, parameters)
    step = _step_name(f, name)
    declared = None if layers is None else _layers(layers)
    runs = _runs(of)
    if runs:
        call = RunCall(step, f, runs, declared, halo, str(version), parameters, at)
        return apply_to_runs(call, out=out, client=client, threads=threads, watch=watch)
    options = {"out": out, "client": client, "threads": threads, "watch": watch, "at": at}
    for key, value in options.items():
        if value is not None:
            raise RecipeError(f"{key} is for runs; 'of' are arrays, computed where you compute")
    return apply_to_arrays(step, f, _arrays(of), layers=declared, halo=halo, parameters=parameters)


def _step_name(f: Callable[..., Any], name: str | None) -> str:
    step = name
    if name is None:
        own = getattr(f, "__name__", type(f).__name__).lower()
        step = re.sub(r"[^a-z0-9_-]", "", own).strip("_-") or "function"
        step = "function" if own == "<lambda>" else step
    if not _NAME.fullmatch(step or "") or step == "product":
        raise RecipeError(
            f"name is {step!r}; expected small letters, digits, '_' and '-', a letter first, and "
            "not 'product'"
        )
    return str(step)


def _layers(layers: Sequence[Layer | Mapping[str, Any]]) -> tuple[Layer, ...]:
    if isinstance(layers, (str, Layer, Mapping)) or not layers:
        raise RecipeError("layers: expected a list of rs.Layer, one at least")
    return tuple(_layer(number, layer) for number, layer in enumerate(layers))


def _layer(number: int, layer: Layer | Mapping[str, Any]) -> Layer:
    if isinstance(layer, Layer):
        return layer
    try:
        return LayerOptions.model_validate(layer).build()
    except ValidationError as error:
        raise RecipeError(f"layers[{number}]: {one_line(error, LayerOptions, layer)}") from None


def _runs(of: Any) -> dict[str, tuple[Run, str]]:
    """Runs and steps by the names that the function knows; empty where there are arrays."""
    if isinstance(of, Run):
        return {"map": (of, "map")}
    if isinstance(of, tuple):
        run_step = _run_step("of", of)
        return {run_step[1]: run_step}
    is_mapping = isinstance(of, Mapping) and not isinstance(of, xr.Dataset)
    if not is_mapping or not any(isinstance(value, (Run, tuple)) for value in of.values()):
        return {}
    return {str(name): _run_step(f"of[{name!r}]", value) for name, value in of.items()}


def _run_step(name: str, value: Any) -> tuple[Run, str]:
    if isinstance(value, Run):
        return value, "map"
    if isinstance(value, tuple) and [type(part) for part in value] == [Run, str]:
        return value
    raise RecipeError(f"{name} is {type(value).__name__}; expected a Run or (Run, step)")


def _arrays(of: Any) -> dict[str, xr.Dataset]:
    named = of if isinstance(of, Mapping) and not isinstance(of, xr.Dataset) else {"data": of}
    arrays = {str(name): _dataset(str(name), value) for name, value in named.items()}
    if not arrays:
        raise RecipeError("of is empty; expected a Run, arrays, or a mapping of names to these")
    return arrays


def _dataset(name: str, value: Any) -> xr.Dataset:
    if isinstance(value, xr.DataArray):
        value = value.to_dataset(name=value.name or name)
    if not isinstance(value, xr.Dataset):
        raise RecipeError(
            f"of has {name!r} as {type(value).__name__}; expected a Run, (Run, step), Dataset or "
            "DataArray"
        )
    return value
