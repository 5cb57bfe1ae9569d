"""Objects that a detector finds in the imagery of a recipe, as steps of a run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from rsscale.cluster.allocator import trim
from rsscale.cluster.profile import NumericProfile
from rsscale.composites.strips import STRIPS, composite_strips, strip_bytes, strips
from rsscale.detection.windows import detect_windows
from rsscale.errors import ModelError, RecipeError, nearest
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.device_lock import device_lock
from rsscale.inference.stack import InputStack
from rsscale.inputs.windows import times_of
from rsscale.legend.values import check_same_classes
from rsscale.model.files import TRAINING, model_files, read_spec
from rsscale.model.spec import ModelSpec
from rsscale.object_passes.placing import detection_steps
from rsscale.object_passes.windows import WindowsPass, WindowView
from rsscale.objects.deciding import Rules
from rsscale.passes.mapping import ModelOptions
from rsscale.passes.model_checks import check_resolution
from rsscale.recipe import Recipe, StepRecipe
from rsscale.steps.attachments import Attachment, Kept
from rsscale.steps.base import Block, Cost, Fold, PartPass, Result, Setup, Step
from rsscale.steps.options import Options
from rsscale.text.wording import counted

if TYPE_CHECKING:
    from rsscale.learn.model import Model

_TRIM_EVERY_S = 1.0
_SUM: Fold = "sum"
_DROPPED = {
    "zero_area": "have no area",
    "outside": "lie outside of their window",
    "unseen": "lie mostly where no sensor saw anything",
    "no_mask": "have no outline",
}


class DetectOptions(ModelOptions):
    """``{kind: detect, of: INPUT, model: FOLDER, score:, iou:, agnostic:}``.

    ``score`` is the least score of a detection, and ``iou`` the intersection over union above which
    two are one object; those of the model where they are left out. ``agnostic`` lets one object
    have one class only. ``of`` names the input, or the input of each of the model's; the inputs of
    the model's own names where it is left out.
    """

    model: str | dict[int, str]
    """Folder of a model that finds objects, or one a period."""
    score: float | None = Field(default=None, ge=0, le=1)
    """Least score of a detection; that of the model when left out."""
    iou: float | None = Field(default=None, ge=0, le=1)
    """Intersection over union above which two detections are one object; that of the model when
    left out."""
    agnostic: bool = False
    """One object has one class only."""


class DetectStep(PartPass):
    """Opens the steps of a recipe's ``kind: detect``: windows, gather, objects."""

    kind: ClassVar[str] = "detect"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = DetectOptions

    @classmethod
    def attachments(cls, options: Any, recipe: Recipe) -> list[Attachment]:
        """The folder of each period's model."""
        folders = {period: Path(recipe.path(options.path(period))) for period in recipe.periods}
        files = {folder: tuple(model_files(folder)) for folder in set(folders.values())}
        # Where a model was trained is not measured: see rsscale.object_assessment.
        records = {f: (f / TRAINING,) if (f / TRAINING).is_file() else () for f in files}
        return [Attachment(str(p), files[f], "models", records[f]) for p, f in folders.items()]

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> Sequence[Step]:
        """Read each period's contract and check it against the recipe's inputs."""
        models = {period: setup.attachment(step, period) for period in setup.periods()}
        by_digest = {model.digest: model for model in models.values()}
        read = {digest: read_spec(model.folder) for digest, model in by_digest.items()}
        specs = {period: read[model.digest] for period, model in models.items()}
        given: dict[str, str] = {}
        for period, spec in specs.items():
            given = _inputs(recipe, spec, setup.recipe)
            _check(spec, given, int(period), setup)
        check_same_classes({period: spec.classes for period, spec in specs.items()})
        first = next(iter(specs.values()))
        iou = first.objects.iou if options.iou is None else options.iou
        windows = DetectWindows(
            step=f"{step}-windows",
            sources={name: setup.source(reference) for name, reference in given.items()},
            lattices={period: spec.lattice for period, spec in specs.items()},
            rules=Rules(iou, options.agnostic),
            models=models,
            specs=specs,
            recipe=setup.recipe,
            score=options.score,
        )
        digests = {period: model.digest for period, model in models.items()}
        return detection_steps(step, windows, first.classes, digests, setup)


@dataclass(repr=False, kw_only=True)
class DetectWindows(WindowsPass):
    """What a detector finds in composites, window by window and each by itself.

    Attributes
    ----------
    models : mapping of period to Attachment or Kept
        Where each period's model lies.
    specs : mapping of period to ModelSpec
    recipe : Recipe
    score : float, optional
        Least score, in place of the models' own.
    """

    facts: ClassVar[Mapping[str, Fold]] = {
        **WindowsPass.facts,
        **dict.fromkeys((*_DROPPED, "predicted", "full"), _SUM),
    }

    models: Mapping[str, Attachment | Kept]
    specs: Mapping[str, ModelSpec]
    recipe: Recipe
    score: float | None

    def parameters(self) -> Mapping[str, Any]:
        """The least score too; the rest is in the model's digest."""
        return {**super().parameters(), "score": self.score}

    def digest(self, span: str) -> str:
        """Hash of the period's model: contract and weights."""
        return self.models[span].digest

    def check(self, profile: NumericProfile) -> None:
        """Open each model and try it on a window."""
        from rsscale.learn.weights import try_window

        del profile
        for model in self._distinct():
            try_window(self._opened(model, "cpu"), model.folder)

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """See :func:`rsscale.passes.map_memory.estimate`; of the model that needs most."""
        from rsscale.passes.map_memory import estimate

        threads, observations = profile.threads, cost.observations
        return max(
            estimate(self.recipe, self._opened(m, "cpu"), tile, threads, observations, 0).total
            for m in self._distinct()
        )

    def views(self, block: Block, cores: Sequence[PixelBox]) -> tuple[list[WindowView], Result]:
        """Composites strip by strip, and the windows of each."""
        if not cores:
            return [], Result()
        spec, profile = self.specs[block.key.span], block.resources.profile
        model, lattice = self._opened(self.models[block.key.span], profile.device), spec.lattice
        counts: Counter[str] = Counter()
        views: list[WindowView] = []
        seconds = 0.0
        for part, stack in _strips(block, cores, spec, lattice):
            trim(_TRIM_EVERY_S)
            with device_lock(model.device):
                started = time.perf_counter()
                views += self._looked(stack, model, part, counts)
                seconds += time.perf_counter() - started
            trim(_TRIM_EVERY_S)
        facts = {name: counts[name] for name in (*_DROPPED, "full")}
        return views, Result(
            facts={**facts, "predicted": counts["windows"]}, seconds={"infer": seconds}
        )

    def _looked(
        self, stack: InputStack, model: Model, cores: Sequence[PixelBox], counts: Counter[str]
    ) -> list[WindowView]:
        detections = detect_windows(stack, model, cores, score_threshold=self.score, counts=counts)
        halo = model.spec.lattice.halo
        return [
            WindowView(core, some, stack.seen(core.pad(halo)) if len(some) else None)
            for core, some in zip(cores, detections, strict=True)
        ]

    def describe(self, facts: Mapping[str, float]) -> Iterable[str]:
        """What was dropped by rule, and windows that had more than the model keeps."""
        dropped = [
            f"{int(facts[name]):,} {text}" for name, text in _DROPPED.items() if facts.get(name)
        ]
        if dropped:
            yield f"{self.step}  detections that were dropped: {', '.join(dropped)}"
        if facts.get("full"):
            windows = counted(int(facts["full"]), "window")
            yield (
                f"{self.step}  {windows} had more detections than the model keeps ('most' of its "
                "contract): the weakest are missing"
            )

    def _opened(self, model: Attachment | Kept, device: str) -> Model:
        """As it lies on disk: objects are found in full precision."""
        from rsscale.passes.open_models import opened_plain

        return opened_plain(model, device, self.recipe.trust)

    def _distinct(self) -> list[Attachment | Kept]:
        return list({model.digest: model for model in self.models.values()}.values())


def _strips(
    block: Block, cores: Sequence[PixelBox], spec: ModelSpec, lattice: Lattice
) -> Iterable[tuple[list[PixelBox], InputStack]]:
    """The windows of a tile strip by strip, with the inputs that they read in memory."""
    core, profile = block.core, block.resources.profile
    read = lattice.read_box(core)
    rows, cols = read.slices(block.around)
    lazy = {name: ds["composite"][..., rows, cols] for name, ds in block.inputs.items()}
    channels = sum(array.sizes["time"] * array.sizes["band"] for array in lazy.values())
    parts = strips(core, lattice, channels)
    reads = [lattice.read_box(part) for part in parts]
    composites = composite_strips(lazy, read, reads, profile.threads or None, block.resources.meter)
    times = sum(array.sizes["time"] for array in lazy.values())
    with STRIPS.lend(strip_bytes(core, lattice, channels, times)), closing(composites):
        for part, covered in zip(parts, reads, strict=True):
            # Strips are cut along the lines of windows: each window lies in one.
            yield (
                [core for core in cores if not (core & part).empty],
                InputStack(next(composites), spec, covered),
            )


def _inputs(recipe: StepRecipe, spec: ModelSpec, whole: Recipe) -> dict[str, str]:
    """The recipe's input of each of the model's.

    Raises
    ------
    RecipeError, ModelError
        When the model's inputs and those that ``of`` names do not fit.
    """
    wanted = [model_input.name for model_input in spec.inputs]
    references = recipe.references
    if not references:
        given: dict[str, Any] = {name: name for name in wanted}
    elif len(wanted) == 1 and len(references) == 1:
        given = {wanted[0]: next(iter(references.values()))}
    else:
        given = dict(references)
    for name in wanted:
        if name not in given:
            raise RecipeError(
                f"'of' names no input for {name!r} of model {spec.name!r}, which wants "
                f"{', '.join(wanted)}; expected of: {{{', '.join(f'{n}: INPUT' for n in wanted)}}}"
            )
    for reference in given.values():
        if not isinstance(reference, str) or reference not in whole.inputs:
            known = list(whole.inputs)
            raise RecipeError(
                f"objects are found in imagery, and {reference!r} is no input; there are "
                f"{', '.join(known)}{nearest(str(reference), known)}"
            )
    return {name: str(given[name]) for name in wanted}


def _check(spec: ModelSpec, given: Mapping[str, str], period: int, setup: Setup) -> None:
    """Refuse a model of pixels, of other bands or times, or of another resolution."""
    if not spec.finds_objects:
        raise ModelError(
            f"model {spec.name!r} maps {', '.join(spec.layer_names)}, and finds no objects: use a "
            "step of kind 'predict', and one of kind 'polygons' for objects from its map"
        )
    for name, reference in given.items():
        imagery = setup.recipe.inputs[reference]
        spec.check_input(name, imagery.bands, times_of(imagery, period))
    check_resolution(setup.recipe, spec, setup.grid.geobox_of(setup.extent()))
