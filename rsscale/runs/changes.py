"""Prepare a run folder before tiles are computed: plan, resume, extend or update it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RunFolderError
from rsscale.recipe import Recipe
from rsscale.runs.growth import compare, refuse_other_layout, widen_stores
from rsscale.runs.plan import RunPlan
from rsscale.runs.planning import (
    CheckedPlan,
    as_geojson,
    check_plan,
    create_stores,
    extend_items,
    finish_stores,
    open_recipe,
    write_access,
    write_plan,
)
from rsscale.runs.tile_costs import must_fit
from rsscale.store.ledger import write_json
from rsscale.store.run_folder import RunFolder


def prepare(
    recipe: Recipe,
    folder: RunFolder,
    profile: Callable[[], NumericProfile],
    search_at: Mapping[str, str] | None,
    *,
    update: bool,
    memory: int,
) -> Callable[[], None]:
    """Check what a recipe asks of a folder; returns what writes it, once the folder is held.

    Parameters
    ----------
    recipe : Recipe
    folder : RunFolder
        New, or with a run of this or another recipe.
    profile : callable
        Gives the numeric profile of a new plan; not called for one that goes on.
    search_at : mapping, optional
        As for :func:`rsscale.run`.
    update : bool
        Whether what changed may be computed anew.
    memory : int
        Bytes that one process may take.

    Raises
    ------
    RsscaleError
        For all that can't work; nothing is written then.
    """
    if not folder.exists:
        new_profile = profile()
        checked = check_plan(recipe, folder, new_profile, search_at)
        must_fit(checked, new_profile, memory)
        return lambda: _write_new(checked, new_profile)
    state = folder.read_state()
    plan = RunPlan.read(folder, cut_short=True)
    setup, _ = open_recipe(recipe, folder)
    difference = compare(plan, setup)
    difference.refuse(folder, update=update)
    if update:
        refuse_other_layout(plan, setup)
        new_profile = profile()
        checked = check_plan(recipe, folder, new_profile, search_at)
        must_fit(checked, new_profile, memory)
        return lambda: _write_update(plan, checked, new_profile, state)
    if state["state"] == "updating":
        raise RunFolderError(
            f"an update of {folder.url} was cut short while it was planned; run the recipe "
            "again with --update"
        )
    if not difference.added and state["state"] != "extending":
        if plan.recipe.with_access(recipe) == plan.recipe:
            return lambda: None
        return lambda: write_access(plan, recipe)
    plan.refuse_other_versions()
    checked = check_plan(
        recipe, folder, plan.profile, search_at, frozen=None if difference.needs_items else plan
    )
    must_fit(checked, plan.profile, memory)
    return lambda: _write_extension(plan, checked, state)


def _write_new(checked: CheckedPlan, profile: NumericProfile) -> None:
    create_stores(checked)
    write_plan(checked, profile, _add_generation(checked, []))


def _write_update(
    plan: RunPlan, checked: CheckedPlan, profile: NumericProfile, state: dict[str, Any]
) -> None:
    """All items anew: what changed is computed anew, what did not stays."""
    state = {**state, "state": "updating"}
    widen_stores(plan, checked.setup, state)
    finish_stores(checked.setup, checked.passes)
    write_plan(checked, profile, _add_generation(checked, []))


def _write_extension(plan: RunPlan, checked: CheckedPlan, state: dict[str, Any]) -> None:
    """Tiles that are done see just the items that they saw before."""
    state = {**state, "state": "extending"}
    widen_stores(plan, checked.setup, state)
    finish_stores(checked.setup, checked.passes)
    generations = list(state["generations"])
    if checked.items:
        checked = extend_items(plan, checked)
        generations = _add_generation(checked, generations)
    write_plan(checked, plan.profile, generations, known=state)


def _add_generation(checked: CheckedPlan, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The generations with one more: what the run covers from now on."""
    setup = checked.setup
    name = f"areas/{len(before)}.geojson"
    write_json(setup.run.storage, name, as_geojson(setup.area))
    return [*before, {"periods": list(setup.periods()), "area": name}]
