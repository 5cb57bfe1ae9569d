"""The map as a pass: imagery to composites, or series, to the layers of a model.

A person previews it on a small box, training takes its composites, a run evaluates it for
every tile of a country. It depends on nothing but the recipe, the frozen items, the model
and the box; and the value of a pixel does not depend on the box.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy.typing as npt

from rsscale.cluster.allocator import trim
from rsscale.cluster.profile import NumericProfile
from rsscale.composites.strips import STRIPS, composite_strips, strip_bytes, strips
from rsscale.errors import RecipeError
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.device_lock import device_lock
from rsscale.inference.map_facts import MAP_FACTS, map_facts, share_outside
from rsscale.inference.predict_box import BoxLayers, predict_box
from rsscale.inference.sampled_values import SampledValues, band_facts
from rsscale.inference.seams import Seams
from rsscale.inference.stack import InputStack
from rsscale.layers import Layer
from rsscale.legend.values import class_order
from rsscale.memory import mmap_array
from rsscale.model.files import is_calibrated, model_files, read_item, read_spec, weights_of
from rsscale.model.map_layers import with_doubt
from rsscale.model.spec import ModelSpec
from rsscale.network.receptive_field import exact_reach, warn_of_context
from rsscale.network.scores import check_classes_to_map
from rsscale.passes.model_checks import check_model, check_same_outputs
from rsscale.recipe import Recipe, StepRecipe
from rsscale.steps.attachments import Attachment, Kept
from rsscale.steps.base import Block, Cost, Fold, Pass, Result, Setup, Source
from rsscale.steps.options import Options

if TYPE_CHECKING:
    from rsscale.learn.model import Model

# Around each strip, where these are long: see there what it may cost.
_TRIM_EVERY_S = 1.0


class ModelOptions(Options):
    """Keys of a step that computes with a model, which may be another one each period."""

    model: str | dict[int, str]
    """Folder of the model, or one a period."""

    def path(self, period: int) -> str:
        """Folder of the model of a period."""
        if isinstance(self.model, str):
            return self.model
        if period not in self.model:
            raise RecipeError(f"'model' names no model for the period {period}")
        return self.model[period]


class MapOptions(ModelOptions):
    """``{kind: predict, model: FOLDER, layers: [...]}``."""

    layers: tuple[str, ...] | None = None
    """Layers that are written; the usual ones when left out."""


@dataclass(repr=False, kw_only=True)
class MapPass(Pass):
    """Composites of the inputs, predicted window by window with each period's model.

    Attributes
    ----------
    names : tuple of str
        Of the layers that are written.
    models : mapping of period to Attachment or Kept
        Where each period's model lies.
    specs : mapping of period to ModelSpec
    recipe : Recipe
    looks : tuple of int or None
        How far each model looks around a pixel, px; None where that is not known.
    """

    kind: ClassVar[str] = "predict"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = MapOptions
    facts: ClassVar[Mapping[str, Fold]] = MAP_FACTS

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Layer, ...]
    models: Mapping[str, Attachment | Kept]
    specs: Mapping[str, ModelSpec]
    recipe: Recipe
    looks: tuple[int | None, ...] = (None,)

    @classmethod
    def attachments(cls, options: Any, recipe: Recipe) -> list[Attachment]:
        """The folder of each period's model."""
        folders = {p: Path(recipe.path(options.path(p))) for p in recipe.periods}
        files = {folder: tuple(model_files(folder)) for folder in set(folders.values())}
        return [Attachment(str(p), files[folder], "models") for p, folder in folders.items()]

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Pass]:
        """Read each period's contract and check it against the recipe's inputs."""
        del recipe
        models = {period: setup.attachment(step, period) for period in setup.periods()}
        by_digest = {model.digest: model for model in models.values()}
        read = {digest: read_spec(model.folder) for digest, model in by_digest.items()}
        specs = {period: read[model.digest] for period, model in models.items()}
        for period, spec in specs.items():
            check_classes_to_map(spec)
            check_model(setup.recipe, spec, int(period), setup.grid.geobox_of(setup.extent()))
        first = next(iter(specs.values()))
        check_same_outputs(specs)
        layers = first.layers(options.layers)
        properties = {d: read_item(m.folder)["properties"] for d, m in by_digest.items()}
        if not all(is_calibrated(read[digest], said) for digest, said in properties.items()):
            layers = with_doubt(layers)
        return [
            cls(
                step=step,
                sources={
                    model_input.name: setup.source(model_input.name) for model_input in first.inputs
                },
                layers=layers,
                models=models,
                specs=specs,
                recipe=setup.recipe,
                looks=tuple(
                    exact_reach(spec, weights_of(by_digest[digest].folder), setup.device)
                    for digest, spec in read.items()
                ),
            )
        ]

    def spans(self) -> Sequence[str]:
        """The periods."""
        return tuple(self.specs)

    def parameters(self) -> Mapping[str, Any]:
        """Nothing but the model, which :meth:`digest` has, and how inputs are processed."""
        return {}

    def digest(self, span: str) -> str:
        """Hash of the period's model: contract and weights."""
        return self.models[span].digest

    def around(self, core: PixelBox) -> PixelBox:
        """All pixels that the windows with a share in the core read, of any period's model."""
        boxes = [lattice.read_box(core) for lattice in self._lattices()]
        around = boxes[0]
        for box in boxes[1:]:
            around = around | box
        return around

    def depends_on(self, core: PixelBox) -> PixelBox:
        """Less than whole windows where the networks are known to look less far on the CPU."""
        if None in self.looks:
            return self.around(core)
        return core.pad(max(far for far in self.looks if far is not None)) & self.around(core)

    @property
    def reach(self) -> int:
        """A whole window: the lattice may lie in any way beside the tile."""
        return max(lattice.window for lattice in self._lattices())

    def check(self, profile: NumericProfile) -> None:
        """Open each model and try it on a window; say so if it looks further than its halo."""
        from rsscale.learn.weights import try_window
        from rsscale.passes.open_models import opened_plain

        del profile
        for attachment in self._distinct_models():
            model = opened_plain(attachment, "cpu", self.recipe.trust)
            try_window(model, attachment.folder)
            warn_of_context(model, 1)

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """See :func:`rsscale.passes.map_memory.estimate`; of the model that needs most."""
        from rsscale.passes.map_memory import estimate
        from rsscale.passes.open_models import opened_plain

        pixel_bytes = sum(layer.pixel_bytes for layer in self.layers)
        return max(
            estimate(
                self.recipe,
                opened_plain(model, "cpu", self.recipe.trust),
                tile,
                profile.threads,
                cost.observations,
                pixel_bytes,
            ).total
            for model in self._distinct_models()
        )

    def overhead(self, tile: int) -> float:
        """Pixels that the model computes for each one of the map."""
        return max(lattice.redundancy(tile) for lattice in self._lattices())

    def run(self, block: Block) -> Result:
        """Map one tile, strip by strip."""
        span, core, profile = block.key.span, block.core, block.resources.profile
        model, spec = self._model(span, profile), self.specs[span]
        lattice = spec.lattice
        read = lattice.read_box(core)
        rows, cols = read.slices(block.around)
        lazy = {n: ds["composite"][..., rows, cols] for n, ds in block.inputs.items()}
        # Of a series there may be more observations than the model takes of a window.
        channels = sum(array.sizes["time"] * array.sizes["band"] for array in lazy.values())
        cores = strips(core, lattice, channels)
        reads = [lattice.read_box(part) for part in cores]
        composites = composite_strips(
            lazy, read, reads, profile.threads or None, block.resources.meter
        )
        order = self._order(span)
        seconds = {"infer": 0.0}
        values: dict[str, npt.NDArray[Any]] = {}
        non_finite, batch, agreement, sampled = 0, profile.batch, None, SampledValues()
        windows = sum(array.sizes["time"] for array in lazy.values())
        room = strip_bytes(core, lattice, channels, windows)
        with STRIPS.lend(room), closing(composites):
            for part, covered in zip(cores, reads, strict=True):
                stack = InputStack(next(composites), spec, covered)
                if agreement is None:
                    agreement = self._compared(span, model, stack, profile)
                trim(_TRIM_EVERY_S)  # what reading left would lie beside what the network takes
                with device_lock(model.device), _timed(seconds, "infer"):
                    strip = self._predict(stack, model, part, block, batch=batch)
                del stack  # its composites are not to stay with this frame, see composite_strips
                if order is not None and "probability" in strip.layers:
                    strip.layers["probability"] = strip.layers["probability"][order]
                _place(strip.layers, part, values, core)
                trim(_TRIM_EVERY_S)  # and what the network took beside the next strip
                batch, non_finite = strip.batch, non_finite + strip.non_finite
                sampled += strip.sampled
        facts = map_facts(
            values, self.layers, non_finite, where=block.where, core=block.core, lattice=lattice
        )
        written = {layer.name: values[layer.name] for layer in self.layers}
        return Result(
            layers=block.dataset(self.layers, written),
            facts={
                **facts,
                "batch": batch,
                "agreement": agreement,
                **sampled.to_facts(span, spec),
            },
            seconds=seconds,
        )

    def declared_facts(self) -> Mapping[str, Fold]:
        """Those of every map, and the means of the bands of each period."""
        return {**self.facts, **dict.fromkeys(band_facts(self.specs), "sum")}

    def describe(self, facts: Mapping[str, float]) -> Iterable[str]:
        """Agreement with the plain model, and how visible window lines are."""
        if "agreement" in facts:
            yield f"agreement {facts['agreement']:.6f} of labels are the plain model's"
        if facts.get("non_finite"):
            yield (
                f"no number {facts['non_finite']} px for which the model returned none; they are "
                "nodata"
            )
        of_periods = {p: SampledValues.from_facts(facts, p, s) for p, s in self.specs.items()}
        first = next(iter(of_periods.values()))
        if first.other_units:
            yield f"units     {first.other_units}"
        for period, values in of_periods.items():
            if values.shift and not first.other_units:
                yield f"unlike    {period}: {values.shift}"
        outside = share_outside(facts)
        if outside is not None:
            yield f"outside   {outside:.1%} of what was mapped is outside the area of applicability"
        seams = Seams.from_dict(facts)
        if seams.line.pairs:
            yield f"seams     {seams}{self._remedy(seams)}"

    def _remedy(self, seams: Seams) -> str:
        """What a person can do about seams that are visible."""
        if not seams.is_visible:
            return ""
        by_pixel = all(spec.architecture == "pixel" for spec in self.specs.values())
        if by_pixel or set(self.looks) == {0}:
            return "; not by the model, which sees single pixels"
        return "; a model with a larger halo, or with blend: hann, hides them"

    def _distinct_models(self) -> list[Attachment | Kept]:
        return list({model.digest: model for model in self.models.values()}.values())

    def _order(self, span: str) -> list[int] | None:
        """Where a period's model has each class of the layers, which are those of the first one."""
        return class_order(self.specs[span].classes, next(iter(self.specs.values())).classes)

    def _lattices(self) -> list[Lattice]:
        return list(dict.fromkeys(spec.lattice for spec in self.specs.values()))

    def _predict(
        self, stack: InputStack, model: Model, core: PixelBox, block: Block, *, batch: int
    ) -> BoxLayers:
        return predict_box(
            stack,
            model,
            core,
            block.where[core.slices(block.core)],
            layers=self.layers,
            batch=batch,
        )

    def _model(self, span: str, profile: NumericProfile) -> Model:
        from rsscale.passes.open_models import opened

        return opened(self.models[span], profile, self.recipe.trust)

    def _compared(
        self, span: str, model: Model, stack: InputStack, profile: NumericProfile
    ) -> float | None:
        """Share of labels that are the plain model's, once a process and model; else None."""
        from rsscale.learn.accelerate import label_agreement
        from rsscale.passes.open_models import plain_once
        from rsscale.prediction.predict import windows_to_try

        if profile.is_plain:
            return None
        windows = windows_to_try(stack, model.spec, profile.batch)
        if windows.count < profile.batch:
            return None  # nothing was seen
        plain = plain_once(self.models[span], profile, self.recipe.trust)
        if plain is None:
            return None
        with device_lock(model.device):
            return label_agreement(plain, model, windows)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] += time.perf_counter() - started


def _place(
    strip: Mapping[str, npt.NDArray[Any]],
    part: PixelBox,
    tile: dict[str, npt.NDArray[Any]],
    core: PixelBox,
) -> None:
    """Write a strip's layers into those of the tile, which are made with the first."""
    for name, values in strip.items():
        if part == core:
            tile[name] = values
            continue
        if name not in tile:
            tile[name] = mmap_array((*values.shape[:-2], *core.shape), values.dtype)
        tile[name][(..., *part.slices(core))] = values
