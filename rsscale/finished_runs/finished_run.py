"""A finished run as it is to be published: its layers and objects, their versions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import yaml
from odc.geo.geom import Geometry

from rsscale.documents import read_json
from rsscale.errors import RecipeError, RunFolderError, nearest
from rsscale.geo.area import read_area
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer
from rsscale.object_files.step_objects import object_steps, open_objects
from rsscale.run_report.documents import OBJECTS_ACCURACY
from rsscale.runs.run import Run
from rsscale.store.run_folder import RunFolder
from rsscale.store.run_state import run_grid
from rsscale.store.step_version import step_version

_YEAR = re.compile(r"\d{4}")


@dataclass(frozen=True)
class FinishedRun:
    """A run, read once; what is asked of it again and again.

    Attributes
    ----------
    run : Run
    state : mapping
        The content of ``run.json``.
    steps : tuple of str
        Those with layers of their own that are published, in the run's order.
    objects : tuple of str
        Those that hold objects, likewise.
    counts : tuple of str
        Those that count objects by region, likewise.
    versions : mapping of step to str
        Of steps with layers or objects.
        See :func:`rsscale.store.step_version.step_version`.
    """

    run: Run
    state: Mapping[str, Any]
    steps: tuple[str, ...]
    objects: tuple[str, ...]
    counts: tuple[str, ...]
    versions: Mapping[str, str]

    @property
    def stored(self) -> tuple[str, ...]:
        """Steps with layers, then those that hold objects."""
        return tuple(dict.fromkeys((*self.steps, *self.objects)))

    @cached_property
    def all_spans(self) -> list[str]:
        """Spans of all of these."""
        return list(dict.fromkeys(span for step in self.stored for span in self.spans(step)))

    @property
    def folder(self) -> RunFolder:
        """Its files."""
        return self.run.folder

    @cached_property
    def grid(self) -> Grid:
        """Of the full resolution."""
        return run_grid(self.state)

    @cached_property
    def extent(self) -> PixelBox:
        """All tiles."""
        return PixelBox(*self.state["extent"])

    @cached_property
    def area(self) -> Geometry:
        """What was mapped, in EPSG:4326."""
        return read_area(json.loads(self.folder.storage.read(self.state["area"])))

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The frozen recipe as data."""
        content = yaml.safe_load(self.folder.storage.read(self.state["recipe"]))
        return content if isinstance(content, dict) else {}

    @property
    def name(self) -> str:
        """The recipe's name."""
        return str(self.recipe.get("name") or "product")

    @property
    def updated(self) -> str:
        """When the run last changed, ISO 8601 in UTC."""
        return re.sub(r"\+00:00$", "Z", str(self.state["updated"]))

    @property
    def years(self) -> tuple[int, int]:
        """First and last year."""
        every_year = [int(year) for span in self.all_spans for year in _YEAR.findall(span)]
        every_year = every_year or [
            int(y) for y in _YEAR.findall(str(self.recipe.get("periods", "")))
        ]
        return min(every_year), max(every_year)

    def interval(self, span: str) -> tuple[str, str]:
        """First and last moment of a span, ISO 8601; of a span without years, those of the run."""
        years = [int(year) for year in _YEAR.findall(span)] or list(self.years)
        return f"{min(years):04d}-01-01T00:00:00Z", f"{max(years):04d}-12-31T23:59:59Z"

    def layers(self, step: str) -> tuple[Layer, ...]:
        """Of a step."""
        return tuple(Layer.parse(entry) for entry in self.state["steps"][step]["layers"])

    def spans(self, step: str) -> tuple[str, ...]:
        """Of a step; of objects those of which a tile is done."""
        stored = self.state["steps"][step].get("spans")
        return tuple(open_objects(self.folder, step).spans if stored is None else stored)

    def leaves_out(self, step: str) -> bool:
        """Whether a step has layers and is not published."""
        has_layers = self.state["steps"].get(step, {}).get("store") == step
        return bool(has_layers and step not in self.steps)

    def parts(self, step: str) -> list[str]:
        """The steps that write into a step's store: itself, and those of its overviews."""
        steps = self.state["steps"]
        return [name for name in _order(self.state) if steps[name].get("store") == step]

    def document(self, name: str) -> Any:
        """A JSON file of the run folder; None where there is none.

        Raises
        ------
        RunFolderError
            When it is damaged.
        """
        try:
            return read_json(self.folder.storage.read(name))
        except FileNotFoundError:
            return None
        except ValueError:
            raise RunFolderError(
                f"{self.folder.url}/{name} is not JSON; make it again, or remove it"
            ) from None

    @cached_property
    def object_scores(self) -> dict[str, Any] | None:
        """``objects-accuracy.json`` of the objects that are published; None where none has scores.

        Steps that are left out, or are no part of the run any more, are not in it.

        Raises
        ------
        RunFolderError
            When the file has another form than ``rsscale assess`` writes.
        """
        found = self.document(OBJECTS_ACCURACY)
        if found is None:
            return None
        steps = found.get("steps") if isinstance(found, Mapping) else None
        if not isinstance(steps, Mapping) or not all(map(_by_span, steps.values())):
            raise RunFolderError(
                f"{self.folder.url}/{OBJECTS_ACCURACY} has no scores by step and span; measure "
                f"again with: rsscale assess {self.folder.url} --objects FILE, or remove it"
            )
        published = {step: steps[step] for step in self.objects if steps.get(step)}
        return {**found, "steps": published} if published else None

    def check_unchanged(self) -> None:
        """Refuse to go on where the run was changed meanwhile."""
        for step, version in self.versions.items():
            if step_version(self.folder, step) != version:
                raise RunFolderError(
                    f"step {step!r} of {self.folder.url} changed while it was published; publish "
                    "it again once nothing writes to it"
                )


def _by_span(scores: Any) -> bool:
    """Whether these are the scores of a step: a mapping of each span."""
    return isinstance(scores, Mapping) and all(
        isinstance(of_span, Mapping) for of_span in scores.values()
    )


def read_finished(run: Run, steps: Sequence[str], *, partial: bool) -> FinishedRun:
    """Read a run that is to be published.

    Parameters
    ----------
    run : Run
    steps : sequence of str
        Names of steps with layers or objects, or that count objects; all when empty.
    partial : bool
        Accept a run of which tiles are not done.

    Raises
    ------
    RunFolderError
        When the run is still running, has failed tiles, or was interrupted.
    RecipeError
        When there is no such step.
    """
    state, url = run.state, run.folder.url
    own = [name for name in _order(state) if state["steps"][name].get("store") == name]
    objects = object_steps(run.folder)
    counts = _count_steps(state)
    known = list(dict.fromkeys((*own, *objects, *counts)))
    for name in steps:
        if name not in known:
            raise RecipeError(
                f"step {name!r} of {url} has no layers or objects; there are "
                f"{', '.join(known) or 'none'}{nearest(name, known)}"
            )

    def chosen(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name in steps or not steps)

    finished = FinishedRun(run, state, chosen(own), chosen(objects), chosen(counts), {})
    if not finished.stored:
        counted = ", ".join(finished.counts)
        raise RunFolderError(
            f"{url} has no layers or objects to publish; run its recipe first"
            if not counted
            else f"{counted} of {url} counts objects, and a product has layers or objects too; "
            f"name a step that holds some: {', '.join([*own, *objects]) or 'none is done'}"
        )
    if not partial:
        _check_done(run, state, finished.stored)
    return replace(finished, versions={n: step_version(run.folder, n) for n in finished.stored})


def _count_steps(state: Mapping[str, Any]) -> list[str]:
    """Steps of kind object-counts whose sums are there."""
    steps = state["steps"]
    return [
        name
        for name in _order(state)
        if steps[name]["kind"] == "object-counts"
        and "gathered" in steps[name]
        and steps[name]["tiles"]["done"] == steps[name]["tiles"]["total"]
    ]


def _order(state: Mapping[str, Any]) -> list[str]:
    return list(state.get("order") or state["steps"])


def _check_done(run: Run, state: Mapping[str, Any], steps: Sequence[str]) -> None:
    url, tiles = run.folder.url, state["tiles"]
    how_far = f"{tiles['done']} of {tiles['total']} tiles are done"
    if state["state"] == "failed":
        failed = state.get("failed") or [{"key": "some", "error": "see events.jsonl"}]
        raise RunFolderError(
            f"{url} has failed tiles ({failed[0]['key']}: {failed[0]['error']}); {how_far}; "
            f"compute them with: rsscale resume {url}, or publish what is there with --partial"
        )
    unfinished = [
        name
        for name in steps
        if state["steps"][name]["tiles"]["done"] < state["steps"][name]["tiles"]["total"]
    ]
    if state["state"] != "done" or unfinished:
        dead = run.status().get("dead")
        state_now = (
            "was cut short" if dead or state["state"] == "interrupted" else "is not finished"
        )
        go_on = dead["go_on"] if dead else f"rsscale resume {url}"
        raise RunFolderError(
            f"{url} {state_now}: {how_far} ({state['state']}); wait for it, or go on with: "
            f"{go_on}, or publish what is there with --partial"
        )
