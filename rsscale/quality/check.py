"""Check a finished run by its quality gates, on the same engine that made it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odc.geo.geom import Geometry

from rsscale.cluster.allocator import keep_memory
from rsscale.cluster.machine import Machine
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import MissingExtraError, ModelError, RecipeError, RunFolderError
from rsscale.gate_rules.gate import Gate, Place
from rsscale.geo.grid import Grid
from rsscale.model.files import read_spec
from rsscale.plans.plan import RunPlan, read_frozen
from rsscale.progress.bars import announce
from rsscale.quality.counts import QualityCounts
from rsscale.quality.gates_file import Gates, now, write_gates
from rsscale.quality.gather import gates_of
from rsscale.quality.map_source import map_source
from rsscale.recipe import Recipe, read_recipe
from rsscale.recipe.gates_recipe import GatesRecipe
from rsscale.runs.run import Run, RunOptions, carry_out
from rsscale.store.run_folder import AREA, RunFolder
from rsscale.store.step_version import step_version

if TYPE_CHECKING:
    from distributed import Client

WORK = "quality"
"""Folder in the run's: the run of the check, a folder for each step."""
PICTURES = "gates"
"""Folder in the run's, of the pictures of the worst places."""
_ENDED = ("done", "failed", "interrupted")
# Pictures of a gate: of one that failed, and of another.
_PICTURES = {"failed": 3, "passed": 1, "not checked": 0}


def check_quality(
    run: Run | str | Path,
    *,
    step: str = "map",
    gates: GatesRecipe | None = None,
    client: Client | str | None = None,
    threads: int | None = None,
    watch: RunOptions | None = None,
) -> Gates:
    """Check whether a run's map may be published, and write ``gates.json`` and pictures.

    Every tile is looked at by a pass on the same engine as the map's, so that it is resumable and
    runs on a cluster; a second check computes only the tiles that have changed.

    Parameters
    ----------
    run : Run, path or address
        Ended; a run of which tiles failed is checked too, and fails.
    step : str
        A step with layers: the map, or what was smoothed or sieved of it.
    gates : GatesRecipe, optional
        Thresholds; those of the run's recipe when omitted.
    client, threads, watch
        As for :func:`rsscale.run`.

    Returns
    -------
    Gates
        ``passed``, ``failed``, and each gate with its value, threshold and worst places.

    Raises
    ------
    RunFolderError
        When it is no run, still at work, or has no such step.
    TilesFailedError
        When tiles could not be checked; call again to try just those.
    """
    folder = run.folder if isinstance(run, Run) else RunFolder.at(run)
    _refuse_unended(folder)
    version = step_version(folder, step)
    recipe = _recipe(folder, step, gates)
    url = f"{folder.url.rstrip('/')}/{WORK}/{step}"
    if client is None:
        keep_memory()

    def profile(machine: Machine) -> NumericProfile:
        return NumericProfile.on(machine, "cpu", threads)

    update = _is_outdated(RunFolder.at(url), recipe)
    checked = carry_out(recipe, url, client, profile, update=update, watch=watch)
    judged = gates_of(checked.table(WORK))
    if step_version(folder, step) != version:
        raise RunFolderError(f"{folder.url} was changed while it was checked; check it again")
    opened = next(s for s in RunPlan.read(checked.folder).steps if isinstance(s, QualityCounts))
    pictures = _draw(folder, opened, judged)
    results = tuple(_gate_document(gate, opened.map.store.grid, pictures) for gate in judged)
    result = Gates(now(), {step: version}, results)
    write_gates(folder, result)
    return result


def _refuse_unended(folder: RunFolder) -> None:
    state = Run(folder.url).status()
    if state["state"] not in _ENDED or state.get("dead"):
        remedy = state.get("dead", {}).get("go_on", f"rsscale status {folder.url}")
        raise RunFolderError(
            f"{folder.url} is {state['state']}, and only a run that has ended can be checked; see "
            f"or end it with: {remedy}"
        )


def _recipe(folder: RunFolder, step: str, gates: GatesRecipe | None) -> Recipe:
    """The recipe of the check: grid, area and periods of the run, and one step."""
    frozen, _ = read_frozen(folder, folder.read_state())
    map_source(folder, step)  # refuses a step without layers
    quality: dict[str, Any] = {
        "kind": QualityCounts.kind,
        "of": {"run": os.fspath(folder.url), "step": step},
        "windows": _windows(folder),
        "gates": (gates or frozen.gates).model_dump(mode="json"),
    }
    return read_recipe(
        {
            "name": f"{frozen.name}-quality",
            "area": str(folder.storage.local(AREA)),
            "grid": frozen.grid.model_dump(mode="json"),
            "periods": list(frozen.periods),
            "steps": {WORK: quality},
        }
    )


def _windows(folder: RunFolder) -> dict[str, int]:
    """Distance of the model's windows in each period; nothing where no model made the map."""
    state = folder.read_state()
    steps = [name for name, step in state["steps"].items() if step["kind"] == "predict"]
    windows: dict[str, int] = {}
    for name in steps[:1]:
        for span, (_, digest) in state["attachments"][name].items():
            try:
                windows[span] = read_spec(folder.model_path(digest)).lattice.stride
            except (ModelError, RunFolderError) as error:
                announce(f"the model's windows are not known: {error}")
    return windows


def _is_outdated(work: RunFolder, recipe: Recipe) -> bool:
    """Whether a check before had other thresholds, or a model with other windows."""
    if not work.exists:
        return False
    try:
        state = work.read_state()
        known, _ = read_frozen(work, state)
    except RunFolderError as error:
        raise RunFolderError(
            f"what was checked before is damaged: {error}; it holds nothing else, so delete the "
            f"folder {work.url} and check again"
        ) from None
    is_same = known.steps.get(WORK) == recipe.steps[WORK]
    return not is_same or bool(state["state"] == "updating")


def _draw(folder: RunFolder, step: QualityCounts, gates: list[Gate]) -> dict[Place, str]:
    """Pictures of the worst places: names of the files by place, of those that were drawn."""
    from rsscale.quality.pictures import draw_place

    for name in list(folder.storage.names(PICTURES)):
        folder.storage.delete(name)
    drawn: dict[Place, str] = {}
    for gate in gates:
        for number, place in enumerate(gate.places[: _PICTURES[gate.status]]):
            name = f"{PICTURES}/{gate.name}-{number + 1}.png"
            try:
                content = draw_place(step, gate, place)
            except MissingExtraError as error:
                announce(f"no pictures of the worst places: {error}")
                return drawn
            folder.storage.write(name, content)
            drawn[place] = name
    return drawn


def _gate_document(gate: Gate, grid: Grid, pictures: Mapping[Place, str]) -> dict[str, Any]:
    """A gate as gates.json has it."""
    content = gate.to_dict()
    content["places"] = [
        {
            "tile": place.tile,
            "span": place.span,
            "bounds": _degrees(grid, place),
            "value": place.value,
            "picture": pictures.get(place),
        }
        for place in gate.places
    ]
    return content


def _degrees(grid: Grid, place: Place) -> list[float]:
    """West, south, east, north of a place."""
    extent: Geometry = grid.geobox_of(place.box).extent
    return [round(value, 6) for value in extent.to_crs("EPSG:4326").boundingbox.bbox]


def read_thresholds(path: str | Path) -> GatesRecipe:
    """The gates of a recipe's file.

    Raises
    ------
    RecipeError
    """
    if not Path(path).is_file():
        raise RecipeError(f"there is no recipe at {path}")
    return read_recipe(path).gates
