"""How a run's recipe may differ from the one that it was planned with, and how the run grows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from odc.geo.geom import Geometry

from rsscale.errors import RunFolderError
from rsscale.plans.plan import RunPlan
from rsscale.recipe import Recipe, StepRecipe
from rsscale.recipe.input_recipe import ACCESS
from rsscale.steps.attachments import kept_paths
from rsscale.steps.base import Pass
from rsscale.steps.setup import RunSetup
from rsscale.store.run_folder import RunFolder
from rsscale.store.zarr_store import ZarrStore

# Share of an area that projecting it may move: its slanted edges are cut into pieces by its size.
_SAME_AREA = 1e-5


@dataclass(frozen=True)
class Difference:
    """A recipe against the one that a run was planned with, by the keys that its author wrote.

    Attributes
    ----------
    changed : tuple of str
        Keys that decide what is stored and have another value.
    removed : tuple of str
        Periods, steps, inputs or area that the run has and the recipe has not.
    added : tuple of str
        What the run can grow by.
    """

    changed: tuple[str, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def needs_items(self) -> bool:
        """Whether catalogues must be searched: not for steps alone."""
        return any(not key.startswith("steps.") for key in self.added)

    def refuse(self, folder: RunFolder, *, update: bool) -> None:
        """Refuse changes that can't be made.

        Raises
        ------
        RunFolderError
        """
        if self.removed == ("area",):
            raise RunFolderError(
                f"{folder.url} has more than the recipe: its area; a run keeps what it has, with "
                "--update too. For the smaller area choose another --out, to go on with this run "
                "let the recipe's area hold that of area.geojson in it"
            )
        if self.removed:
            raise RunFolderError(
                f"{folder.url} has more than the recipe: {', '.join(self.removed)}; a run keeps "
                "what it has, so put that back into the recipe, or choose another --out"
            )
        if self.changed and not update:
            raise RunFolderError(
                f"{folder.url} was made from another recipe: {', '.join(self.changed)} differ; "
                "choose another --out, run the recipe.yaml in it, or recompute what changed with "
                "--update"
            )


def compare(plan: RunPlan, setup: RunSetup) -> Difference:
    """Compare a recipe, opened, with the one that a run was planned with."""
    old, new = plan.recipe, setup.recipe
    changed = list(_changed(old, new, plan.setup, setup))
    removed, added = [], []
    for key, before, after in (
        ("periods.", map(str, old.periods), map(str, new.periods)),
        ("inputs.", old.inputs, new.inputs),
        ("steps.", old.all_steps, new.all_steps),
    ):
        had, has = list(before), list(after)
        removed += [f"{key}{name}" for name in had if name not in has]
        added += [f"{key}{name}" for name in has if name not in had]
    if _is_outside(plan.area, setup.area):
        removed.append("area")
    elif _is_outside(setup.area, plan.area):
        added.append("area")
    return Difference(tuple(changed), tuple(removed), tuple(added))


def _changed(old: Recipe, new: Recipe, before: RunSetup, after: RunSetup) -> Iterator[str]:
    """Keys with other values, of what both recipes have."""
    yield from _differences(_plain(old.grid), _plain(new.grid), "grid")
    for name in old.inputs:
        if name in new.inputs:
            had, has = (_plain(r.inputs[name], exclude=ACCESS) for r in (old, new))
            yield from _differences(had, has, f"inputs.{name}")
    for name, step in old.all_steps.items():
        if name in new.all_steps:
            yield from _changed_step(name, step, new.all_steps[name], before, after)


def _changed_step(
    name: str, old: StepRecipe, new: StepRecipe, before: RunSetup, after: RunSetup
) -> Iterator[str]:
    files = {key: attachment.digest for key, attachment in before.attachments[name].items()}
    others = {key: attachment.digest for key, attachment in after.attachments[name].items()}
    place = {"map": "output", "change": "change"}.get(name, f"steps.{name}")
    place = place if name not in after.recipe.steps else f"steps.{name}"
    if any(files[key] != others[key] for key in files.keys() & others.keys()):
        yield "model" if "model" in old.options else f"{place} (its files)"
    # Paths may be others: what the files hold counts.
    skip = {"model", *files}
    had, has = (
        {k: v for k, v in step.model_dump(mode="json").items() if k not in skip}
        for step in (old, new)
    )
    if had != has:
        yield from _differences(
            kept_paths(had, before.attachments[name].values(), before.recipe),
            kept_paths(has, after.attachments[name].values(), after.recipe),
            place,
        )


def _plain(model: Any, exclude: tuple[str, ...] = ()) -> dict[str, Any]:
    plain: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude=set(exclude))
    return plain


def _differences(old: Any, new: Any, place: str) -> Iterator[str]:
    """Keys that differ, as a recipe's author would write them."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _differences(old.get(key), new.get(key), f"{place}.{key}")
    elif old != new:
        yield place


def _is_outside(inner: Geometry, outer: Geometry) -> bool:
    """Whether some part of an area lies outside another, by more than rounding."""
    rest = inner.geom.difference(outer.geom).area
    return bool(rest > _SAME_AREA * inner.geom.area)


def widen_stores(old: RunPlan, setup: RunSetup, state: Mapping[str, Any]) -> None:
    """Enlarge a run's stores by tiles, spans or steps; existing shards keep their bytes.

    Where an extent grows north or west, or a period comes before another, shards get other
    indices: they are moved aside under their new names and then back, so that a death at any
    moment leaves each under a name that says where it belongs.

    Parameters
    ----------
    old : RunPlan
    setup : RunSetup
        Of the recipe that the run is to have.
    state : mapping
        The content of ``run.json``; its ``moving`` says how far an attempt before got.
    """
    pairs = list(_stores(old, setup))
    target = _target([new for _, new, _ in pairs])
    moving = dict(state.get("moving") or {"target": target, "phase": 1})
    if moving["target"] != target:
        raise RunFolderError(
            f"extending {old.folder.url} by another recipe was cut short; run that one again first"
        )
    shifted = [(before, new) for before, new, _ in pairs if before and _shift(before, new)]
    for phase, move in ((1, _move_aside), (2, _move_back)):
        if moving["phase"] == phase:
            old.folder.write_state({**state, "moving": moving})
            for before, new in shifted:
                move(before, new)
            moving["phase"] = phase + 1
    old.folder.write_state({**state, "moving": moving})
    for _, new, attributes in pairs:
        new.create(attributes)


def _stores(
    old: RunPlan, setup: RunSetup
) -> Iterator[tuple[ZarrStore | None, ZarrStore, dict[str, Any] | None]]:
    """Each store as it was, if it was there, and as it is to be, with the attributes of a root."""
    from rsscale.plans.planning import store_attributes

    for step in setup.steps.values():
        if not isinstance(step, Pass) or not step.layers:
            continue
        known = old.setup.steps.get(step.step)
        for level in step.levels():
            is_there = isinstance(known, Pass) and level in known.levels()
            before = old.setup.store(known, level) if is_there else None  # type: ignore[arg-type]
            attributes = None if level else store_attributes(setup, step)
            yield before, setup.store(step, level), attributes


def _shift(before: ZarrStore, new: ZarrStore) -> tuple[dict[int, int], int, int] | None:
    """Shift of shard indices along spans, rows and columns; None without a change."""
    spans = {n: new.spans.index(span) for n, span in enumerate(before.spans)}
    tile = new.grid.tile
    rows = (before.extent.row0 - new.extent.row0) // tile
    cols = (before.extent.col0 - new.extent.col0) // tile
    if (rows, cols) == (0, 0) and all(a == b for a, b in spans.items()):
        return None
    return spans, rows, cols


def _move_aside(before: ZarrStore, new: ZarrStore) -> None:
    """Move all shards to their new names below ``c.moving``."""
    shift = _shift(before, new)
    if shift is None:
        return
    spans, rows, cols = shift
    for folder in _array_folders(before):
        for name in list(before.storage.names(f"{folder}/c")):
            index = list(map(int, name.removeprefix(f"{folder}/c/").split("/")))
            moved = [spans[index[0]], *index[1:-2], index[-2] + rows, index[-1] + cols]
            before.storage.move(name, "/".join([folder, "c.moving", *map(str, moved)]))


def _move_back(before: ZarrStore, new: ZarrStore) -> None:
    """Move all shards from ``c.moving`` to where they belong."""
    del new
    for folder in _array_folders(before):
        for name in list(before.storage.names(f"{folder}/c.moving")):
            index = name.removeprefix(f"{folder}/c.moving/")
            before.storage.move(name, f"{folder}/c/{index}")


def _array_folders(store: ZarrStore) -> list[str]:
    prefix = f"{store.group}/" if store.group else ""
    return [f"{prefix}{layer.name}" for layer in store.layers]


def _target(stores: list[ZarrStore]) -> str:
    content = [
        [s.storage.url, s.group, str(s.extent), s.spans, [layer.name for layer in s.layers]]
        for s in stores
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def refuse_other_layout(plan: RunPlan, setup: RunSetup) -> None:
    """Refuse an update, or a growth, that the run's stores can't hold.

    Raises
    ------
    RunFolderError
        Which names what would change the shape of a product.
    """
    differs = [] if plan.recipe.grid == setup.recipe.grid else ["grid"]
    periods: dict[str, str] = {}
    for name, step in plan.setup.steps.items():
        new = setup.steps.get(name)
        if not isinstance(step, Pass) or not isinstance(new, Pass) or not step.layers:
            continue
        if not set(step.spans()) <= set(new.spans()):
            # What else it has follows from its years, such as the values of a layer of years.
            periods[name] = f"{name} ({', '.join(step.spans())}, now {', '.join(new.spans())})"
            continue
        place = "output.layers" if name == "map" and "map" not in setup.recipe.steps else name
        had, has = ({layer.name: _legend(layer) for layer in s.layers} for s in (step, new))
        if any(had[layer] != has[layer] for layer in had.keys() & has.keys()):
            of = "model of the first period" if name == "map" else name
            differs.append(f"{of} (its classes, or their order)")
        elif [_shape(layer) for layer in step.layers] != [_shape(layer) for layer in new.layers]:
            differs.append(place)
    if differs:
        raise RunFolderError(
            f"{plan.folder.url} can't be updated: {', '.join(differs)} would change the shape of "
            "its product; choose another --out"
        )
    if periods:
        named = [text for name, text in periods.items() if name in setup.recipe.all_steps]
        raise RunFolderError(
            f"{plan.folder.url} can't be updated: {', '.join(named or periods.values())} would be "
            "of other periods; say 'from' and 'to' there, so that it stays, and add a step of "
            "another name for the others, or choose another --out"
        )


def _shape(layer: Any) -> Any:
    return {k: v for k, v in layer.describe().items() if k not in ("attributes", "overview")}


def _legend(layer: Any) -> Any:
    return [layer.attributes.get(key) for key in ("flag_values", "flag_meanings")]
