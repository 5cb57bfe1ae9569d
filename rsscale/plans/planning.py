"""Plan a run: check everything, freeze what it is made from, make the empty stores.

Nothing is written before all that can be checked has been checked.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from rsscale.cluster.profile import NumericProfile
from rsscale.geo.area import as_geojson
from rsscale.geo.lattice import PixelBox
from rsscale.items.features import Item
from rsscale.items.item_index import extend
from rsscale.items.item_store import INDEX
from rsscale.layers import TileKey
from rsscale.memory import paused_collector
from rsscale.objects.columns import is_of_objects
from rsscale.plans.find_items import (
    find_items,
    index_items,
    item_notes,
    recipe_area,
    write_items,
)
from rsscale.plans.plan import RunPlan
from rsscale.recipe import Recipe
from rsscale.steps.attachments import Attachment, kept_recipe
from rsscale.steps.base import Pass, Step
from rsscale.steps.kinds import attachments, open_steps
from rsscale.steps.setup import RunSetup
from rsscale.steps.sources import imagery
from rsscale.store.ledger import LedgerReader
from rsscale.store.run_folder import AREA, RECIPE, RunFolder
from rsscale.store.zarr_store import axis_chunk, consolidate, describe_levels

if TYPE_CHECKING:
    from rsscale.items.item_store import Lookup

_log = logging.getLogger(__name__)

_VERSIONS = ("rsscale", "torch", "rasterio", "stackstac", "xarray", "zarr", "dask", "numpy")


@dataclass(frozen=True)
class CheckedPlan:
    """All that a plan needs, checked and not yet written.

    Attributes
    ----------
    setup : RunSetup
    steps : tuple of Step
    items : mapping of input name to items
    indexes : mapping of input name to Lookup
    notes : tuple of str
        What is to be said of the items.
    left_out : mapping of input name to mapping of recipe key to int
        How many items the recipe's rules left out.
    """

    setup: RunSetup
    steps: tuple[Step, ...]
    items: Mapping[str, Collection[Item]]
    indexes: Mapping[str, Lookup]
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe as it was given."""
        return self.setup.recipe

    @property
    def passes(self) -> list[Pass]:
        """The steps that compute tiles."""
        return [step for step in self.steps if isinstance(step, Pass)]

    def plan(self) -> RunPlan:
        """The same as a plan, of a folder that need not exist: to count its tiles."""
        return RunPlan(self.setup.run, self.setup, self.steps, "", ())


def open_recipe(
    recipe: Recipe, folder: RunFolder, *, computes: bool = False, device: str = "cpu"
) -> tuple[RunSetup, tuple[Step, ...]]:
    """Open the steps of a recipe where a run would lie; searches nothing, writes nothing.

    Parameters
    ----------
    recipe : Recipe
    folder : RunFolder
        Need not exist.
    computes : bool
        Whether steps that read others compute them, as for a preview.
    device : str
        Where networks compute.
    """
    lookups: dict[str, Lookup] = {}
    setup = RunSetup(
        recipe=recipe,
        grid=recipe.grid.build(),
        area=recipe_area(recipe),
        run=folder,
        attachments=attachments(recipe),
        lookups=lookups.__getitem__,
        ledger=LedgerReader(folder.ledger),
        indexes=lookups,
        computes=computes,
        device=device,
    )
    return setup, tuple(open_steps(setup))


def check_plan(
    recipe: Recipe,
    folder: RunFolder,
    profile: NumericProfile,
    search_at: Mapping[str, str] | None = None,
    frozen: RunPlan | None = None,
) -> CheckedPlan:
    """Open, search and check all that a recipe names; write nothing.

    Parameters
    ----------
    recipe : Recipe
    folder : RunFolder
        Where the run will lie.
    profile : NumericProfile
    search_at : mapping of input name to str, optional
        Other addresses of the inputs' catalogues.
    frozen : RunPlan, optional
        A plan whose items are those of this one too; no catalogue is searched then.

    Raises
    ------
    RsscaleError
        For anything that can't work: see :mod:`rsscale.errors`.
    """
    setup, steps = open_recipe(recipe, folder, device=profile.device)
    passes = [step for step in steps if isinstance(step, Pass)]
    for step in passes:
        step.check(profile)
        for layer in step.layers:
            axis_chunk(layer, setup.grid.tile)
    if frozen is not None and set(inputs_read(passes)) <= set(frozen.items_frozen()):
        setup.indexes.update({name: frozen.setup.lookups(name) for name in inputs_read(passes)})
        return CheckedPlan(setup, steps, {}, {})
    searched = recipe.with_catalogs(search_at or {})
    margin = read_margin(passes, setup.extent())
    with paused_collector():
        imagery_of = find_items(searched, setup.area, margin, inputs=inputs_read(passes))
        indexes = index_items(recipe, setup.grid, imagery_of)  # refuses items without the bands
    setup.indexes.update(indexes)
    boxes = [setup.grid.box(setup.area).pad(margin)]
    notes = item_notes(recipe, setup.grid, indexes, boxes, recipe.periods)
    for note in notes:
        _log.warning("%s", note)
    items = {name: imagery.items for name, imagery in imagery_of.items()}
    left_out = {name: imagery.left_out for name, imagery in imagery_of.items() if imagery.left_out}
    return CheckedPlan(setup, steps, items, indexes, notes, left_out)


def inputs_read(passes: Iterable[Pass]) -> tuple[str, ...]:
    """Names of the inputs that any pass reads."""
    sources = (source for step in passes for source in step.sources.values())
    return tuple(dict.fromkeys(source.name for source, _ in imagery(sources)))


def read_margin(passes: Iterable[Pass], extent: PixelBox) -> int:
    """Pixels beyond an extent that its imagery is needed for."""
    return max(
        (
            step.reach + beyond + source.margin(extent)
            for step in passes
            for source, beyond in imagery(step.sources.values())
        ),
        default=0,
    )


def write_plan(
    checked: CheckedPlan,
    profile: NumericProfile,
    generations: list[dict[str, Any]],
    known: Mapping[str, Any] | None = None,
) -> None:
    """Freeze what a run is made from; the stores must be there.

    Parameters
    ----------
    checked : CheckedPlan
    profile : NumericProfile
    generations : list of {"periods", "area"}
        What the run covered at first, and after each extension.
    known : mapping, optional
        The content of ``run.json`` of a run that grows, whose frozen items stay.
    """
    before = known or {}
    setup, folder = checked.setup, checked.setup.run
    for name, collection in checked.items.items():
        write_items(folder, name, collection, checked.indexes[name])
    kept = keep_attachments(folder, setup.attachments)
    area, recipe = write_recipe(setup)
    plan = checked.plan()
    counts = {step.step: plan.count(step) for step in checked.steps}
    folder.write_state(
        {
            "profile": profile.to_dict(),
            "recipe": recipe,
            "area": area,
            "attachments": kept,
            "generations": generations,
            "grid": setup.recipe.grid.model_dump(mode="json"),
            "extent": box_as_list(setup.extent()),
            "items": {**before.get("items", {}), **{n: len(i) for n, i in checked.indexes.items()}},
            "left_out": {**before.get("left_out", {}), **checked.left_out},
            "steps": {s.step: describe_step(s, setup, counts[s.step]) for s in checked.steps},
            "versions": {name: version(name) for name in _VERSIONS}
            | {"python": platform.python_version()},
            "order": [step.step for step in checked.steps],
            "state": "planned",
            "plan": plan_hash(folder, checked.steps, [recipe, area, kept]),
            "tiles": {"total": sum(counts.values()), "done": 0, "failed": 0},
        }
    )


def create_stores(checked: CheckedPlan) -> None:
    """Make the empty stores of all steps: every pixel reads as nodata."""
    setup = checked.setup
    for step in checked.passes:
        if not step.layers:
            continue
        for level in step.levels():
            setup.store(step, level).create(store_attributes(setup, step) if not level else None)
    finish_stores(setup, checked.passes)


def mend_stores(setup: RunSetup, steps: Iterable[Step]) -> list[str]:
    """Write metadata anew where it is not there any more; returns names of those stores."""
    passes = [step for step in steps if isinstance(step, Pass) and step.layers]
    damaged = [
        step for step in passes if any(setup.store(step, level).lost() for level in step.levels())
    ]
    for step in damaged:
        for level in step.levels():
            setup.store(step, level).create(store_attributes(setup, step) if not level else None)
    names = {step.store for step in damaged}
    finish_stores(setup, [step for step in passes if step.store in names])
    return sorted(names)


def finish_stores(setup: RunSetup, passes: Iterable[Pass]) -> None:
    """Write the metadata of a store as a whole: its overviews, consolidated metadata."""
    passes = [step for step in passes if step.layers]
    for name in dict.fromkeys(step.store for step in passes):
        overviews = [
            (setup.store(step, level), step)
            for step in passes
            if step.store == name
            for level in step.levels()
            if level
        ]
        storage = setup.run.store(name)
        if overviews:
            methods = [layer.overview for _, step in overviews[:1] for layer in step.layers]
            describe_levels(storage, [store for store, _ in overviews], methods)
        consolidate(storage)


def store_attributes(setup: RunSetup, step: Pass) -> dict[str, Any]:
    """Attributes of a step's group, as CF has them."""
    title = setup.recipe.name if step.step == "map" else f"{setup.recipe.name}: {step.step}"
    return {"title": title, "source": f"rsscale {version('rsscale')}, {step.kind}"}


def describe_step(step: Step, setup: RunSetup, count: int) -> dict[str, Any]:
    """Describe a step in run.json, for other runs, ``status`` and people."""
    described: dict[str, Any] = {
        "kind": step.kind,
        "version": step.version,
        "tiles": {"total": count, "done": 0},
    }
    if not isinstance(step, Pass):
        name = TileKey(step.step, "all", 0, 0)
        return described | {"gathered": f"tables/{step.step}/all/{name.tile}.parquet"}
    if step.layers:
        store = setup.store(step)
        described |= {
            "store": step.store,
            "spans": list(store.spans),
            "times": [str(time) for time in store.times],
            "layers": [layer.describe() for layer in step.layers],
        }
    if is_of_objects(step.schema):
        described["objects"] = f"tables/{step.step}"
    return described


def keep_attachments(
    folder: RunFolder, attachments: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, tuple[str, str]]]:
    """Copy the files that steps are made from; where each lies in the folder."""
    kept: dict[str, dict[str, tuple[str, str]]] = {}
    for step, by_name in attachments.items():
        kept[step] = {}
        for name, attachment in by_name.items():
            if isinstance(attachment, Attachment):
                attachment.keep(folder)
            kept[step][name] = (attachment.room, attachment.digest)
    return kept


def extend_items(plan: RunPlan, checked: CheckedPlan) -> CheckedPlan:
    """The items of a run with those that its new periods or area bring, of a next generation.

    Items that the run has stay exactly as they were frozen, whatever the catalogue says of them
    now: tiles that are done were made from them.
    """
    known, number = plan.items_frozen(), len(plan.generations)
    indexes = {
        name: extend(plan.setup.lookups(name), index, number) if name in known else index
        for name, index in checked.indexes.items()
    }
    return replace(checked, indexes=indexes)


def write_recipe(setup: RunSetup) -> tuple[str, str]:
    """Write area and recipe under names by their content; ``run.json`` says which ones are true.

    Beside them the newest ones lie as ``area.geojson`` and ``recipe.yaml``, for people: a plan that
    is cut short has changed nothing that the run is read from.
    """
    area = json.dumps(as_geojson(setup.area), sort_keys=True).encode()
    named = kept_recipe(setup.recipe, setup.attachments)
    local = named.model_copy(update={"area": AREA, "area_layer": None, "bbox": None})
    recipe = local.to_yaml().encode()
    names = []
    for content, name in ((area, AREA), (recipe, RECIPE)):
        stem, _, ending = name.partition(".")
        kept = f"recipes/{stem}-{hashlib.sha256(content).hexdigest()[:16]}.{ending}"
        setup.run.storage.write(kept, content)
        setup.run.storage.write(name, content)
        names.append(kept)
    return names[0], names[1]


def plan_hash(folder: RunFolder, steps: Iterable[Step], kept: Any) -> str:
    """Hash of all that decides what is stored: recipe, area, items, files, algorithms."""
    parts = [
        json.dumps([s.step, s.kind, s.version, dict(s.parameters())], sort_keys=True, default=str)
        for s in steps
    ]
    parts.append(json.dumps(kept, sort_keys=True))
    items = sorted(n for n in folder.storage.names("items") if n.endswith(INDEX))
    parts += [hashlib.sha256(folder.storage.read(file)).hexdigest() for file in items]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def write_access(plan: RunPlan, recipe: Recipe) -> None:
    """Let a run go on with other keys of access: how inputs are reached, what a failure does.

    Nothing of it decides a pixel, so that tiles which are done stay done.
    """
    folder, state = plan.folder, plan.folder.read_state()
    setup = replace(plan.setup, recipe=plan.recipe.with_access(recipe))
    area, kept = write_recipe(setup)
    parts = [kept, area, state["attachments"]]
    folder.write_state(
        {**state, "recipe": kept, "area": area, "plan": plan_hash(folder, plan.steps, parts)}
    )


def box_as_list(box: PixelBox) -> list[int]:
    """The box for run.json."""
    return [box.row0, box.col0, box.row1, box.col1]
