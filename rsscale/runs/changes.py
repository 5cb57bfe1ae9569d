"""Prepare a run folder before tiles are computed: plan, resume, extend or update it.

Also tells what that would come to: items that are new or changed, tiles to compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsscale.cluster.connection import Cluster
from rsscale.cluster.machine import Precision, machine_of
from rsscale.cluster.profile import NumericProfile
from rsscale.cluster.request import chosen
from rsscale.decorators.first_argument import made_by
from rsscale.errors import RunFolderError
from rsscale.geo.area import as_geojson
from rsscale.items.item_store import ItemChanges, compare_items
from rsscale.layers import TileKey
from rsscale.plans.growth import compare, refuse_other_layout, widen_stores
from rsscale.plans.plan import RunPlan
from rsscale.plans.planning import (
    CheckedPlan,
    check_plan,
    create_stores,
    extend_items,
    finish_stores,
    open_recipe,
    write_access,
    write_plan,
)
from rsscale.plans.tile_costs import must_fit
from rsscale.progress.bars import progress
from rsscale.recipe import Recipe
from rsscale.runs.replaced_files import Versions, is_outdated, read_replaced, take_back_outdated
from rsscale.steps.base import ALL, Gather, NotReadyError
from rsscale.steps.kinds import recipe_of
from rsscale.store.ledger import write_json
from rsscale.store.run_folder import RunFolder
from rsscale.text.html_tables import block, table


@dataclass(frozen=True)
class TileChanges:
    """Tiles of a step that are to be computed.

    Attributes
    ----------
    to_compute : int
    total : int
    at_most : bool
        Whether some of them are computed only if a tile that they read gets other values.
    """

    to_compute: int
    total: int
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'at most ' if self.at_most else ''}{self.to_compute} of {self.total}"


@made_by("rs.changes(run)")
@dataclass(frozen=True)
class Changes:
    """What a run would compute, before it does.

    Attributes
    ----------
    items : mapping of input name to ItemChanges
        Empty where no catalogue is searched.
    tiles : mapping of step name to TileChanges
        By the ledger; stored objects are not read, so that damage is not in it.
    """

    items: Mapping[str, ItemChanges]
    tiles: Mapping[str, TileChanges]

    def __str__(self) -> str:
        """Lines for people."""
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        items = [
            (name, f"{items.new:,}", f"{items.changed:,}", f"{items.gone:,}", f"{items.same:,}")
            for name, items in self.items.items()
        ]
        tiles = [
            (name, f"{'at most ' * tiles.at_most}{tiles.to_compute:,}", f"{tiles.total:,}")
            for name, tiles in self.tiles.items()
        ]
        head = ("items of", "new", "changed", "gone", "as they were")
        return block(
            table(items, head) if items else "", table(tiles, ("step", "tiles to compute", "of"))
        )

    def lines(self) -> Iterator[str]:
        """Items of each input, tiles of each step."""
        for name, items in self.items.items():
            yield f"items     {name}: {items}"
        for name, tiles in self.tiles.items():
            yield f"tiles     {name}: {tiles} to compute"

    def to_dict(self) -> dict[str, Any]:
        """The numbers, for run.json."""
        return {
            "items": {
                name: {k: v for k, v in asdict(items).items() if k != "places"}
                for name, items in self.items.items()
            },
            "tiles": {name: asdict(tiles) for name, tiles in self.tiles.items()},
        }


@dataclass(frozen=True)
class Prepared:
    """A run that was checked, and nothing is written yet.

    Attributes
    ----------
    write : callable
        Writes the plan, once the folder is held.
    changes : callable
        Tells what is to be computed; takes as long as looking at every tile's ledger entry.
    """

    write: Callable[[], None]
    changes: Callable[[], Changes]


def changes(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    out: str | Path | None = None,
    client: Cluster = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: Precision = "float32",
    compile: bool = False,  # noqa: A002 -- torch's word
    trust: bool = False,
    overrides: Sequence[str] = (),
    search_at: Mapping[str, str] | None = None,
    update: bool = False,
) -> Changes:
    """Tell what :func:`rsscale.run` with the same arguments would compute; writes nothing.

    Catalogues are searched as the run would search them.

    Parameters
    ----------
    recipe, out, client, device, threads, precision, compile, trust, overrides, search_at, update
        As for :func:`rsscale.run`.

    Returns
    -------
    Changes
        Items that are new, changed or gone, and tiles to compute; print it.

    Raises
    ------
    RsscaleError
        For all that the run would refuse before its first tile.
    """
    recipe = recipe_of(recipe, overrides, trust=trust)
    folder = RunFolder.at(out if out is not None else Path("out") / recipe.name)
    folder.check_usable()
    machine = machine_of(chosen(recipe.cluster, client))
    prepared = prepare(
        recipe,
        folder,
        lambda: NumericProfile.on(machine, device, threads, precision=precision, compile=compile),
        search_at,
        update=update,
        memory=machine.memory,
    )
    return prepared.changes()


def prepare(
    recipe: Recipe,
    folder: RunFolder,
    profile: Callable[[], NumericProfile],
    search_at: Mapping[str, str] | None,
    *,
    update: bool,
    memory: int,
) -> Prepared:
    """Check what a recipe asks of a folder; writes nothing yet.

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
        return Prepared(
            lambda: _write_new(checked, new_profile),
            lambda: Changes(_compare_items(None, checked), _count_tiles(checked.plan())),
        )
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
        return Prepared(
            lambda: _write_update(plan, checked, new_profile, state),
            lambda: Changes(
                _compare_items(plan, checked),
                _count_tiles(checked.plan(), replaced=read_replaced(folder)),
            ),
        )
    if state["state"] == "updating":
        raise RunFolderError(
            f"an update of {folder.url} was cut short while it was planned; run the recipe "
            "again with --update"
        )
    if not difference.added and state["state"] != "extending":
        has_new_access = plan.recipe.with_access(recipe) != plan.recipe
        return Prepared(
            lambda: write_access(plan, recipe) if has_new_access else None,
            lambda: Changes({}, _count_tiles(plan)),
        )
    plan.refuse_other_versions()
    refuse_other_layout(plan, setup)
    checked = check_plan(
        recipe, folder, plan.profile, search_at, frozen=None if difference.needs_items else plan
    )
    must_fit(checked, plan.profile, memory)
    return Prepared(
        lambda: _write_extension(plan, checked, state),
        # Tiles that are done see the items that they saw before: they stay, but for all periods.
        lambda: Changes(
            _compare_items(plan, checked, grows=True), _count_tiles(checked.plan(), grows=True)
        ),
    )


def _compare_items(
    plan: RunPlan | None, checked: CheckedPlan, *, grows: bool = False
) -> dict[str, ItemChanges]:
    """Items by input; a run that grows takes new ones and leaves the others as they are."""
    known = plan.items_frozen() if plan else []
    return {
        name: compare_items(
            plan.setup.lookups(name) if plan and name in known else None, index, grows=grows
        )
        for name, index in checked.indexes.items()
    }


def _count_tiles(
    plan: RunPlan, *, grows: bool = False, replaced: Versions | None = None
) -> dict[str, TileChanges]:
    """Tiles by step whose entries are missing, of other inputs, or of files replaced since.

    Tiles that read one which is to be computed count too: whether its values will be others is not
    known.
    """
    ledger = plan.setup.ledger
    ledger.forget()
    counts = {step.step: plan.count(step) for step in plan.steps}
    to_compute, at_most = dict.fromkeys(counts, 0), dict.fromkeys(counts, False)
    with progress("compare", sum(counts.values()), "tiles") as bar:
        for step, level in plan.rounds():
            for key in plan.keys(step, level):
                bar.advance()
                entry = ledger.read(key)
                # What is of all periods reads the new ones, too.
                stays = isinstance(step, Gather) or key.span != ALL
                if entry is not None and grows and stays:
                    continue
                if isinstance(step, Gather):
                    is_old, is_sure = to_compute[step.of] > 0, not at_most[step.of]
                else:
                    try:
                        is_old = (
                            entry is None
                            or plan.task(key).fingerprint != entry.fingerprint
                            or _is_outdated(plan, key, replaced or {})
                        )
                        is_sure = True
                    except NotReadyError:
                        is_old, is_sure = True, False
                if entry is None or is_old:
                    ledger.hide(key)
                    to_compute[step.step] += 1
                    at_most[step.step] |= entry is not None and not is_sure
    return {
        name: TileChanges(to_compute[name], total, at_most[name]) for name, total in counts.items()
    }


def _is_outdated(plan: RunPlan, key: TileKey, replaced: Versions) -> bool:
    entry = plan.folder.ledger.read(key) if replaced else None
    return entry is not None and is_outdated(entry, replaced)


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
    take_back_outdated(plan.folder)
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
