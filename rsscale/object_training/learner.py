"""Train a detector on crops of scenes, validated by what it finds in places kept back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from rsscale.errors import RecipeError
from rsscale.learn.architectures import complete, registered
from rsscale.learn.model import Model, move
from rsscale.learners.base import Design, Loop, Task
from rsscale.learners.checkpoint import Checkpoint, Checkpoints, Score, samples_of
from rsscale.learners.chips import Chips, InputBands, with_statistics
from rsscale.learners.fit import Fit, fit
from rsscale.learners.network import check_precision, first_network, schedule_of
from rsscale.model.model_input import ModelInput
from rsscale.model.outputs import ObjectOutput
from rsscale.model.spec import ModelSpec
from rsscale.object_scenes.crops import CropRules, ObjectCrops
from rsscale.object_scenes.scenes import OUTSIDE, ObjectScenes, Scene
from rsscale.object_scores.average_precision import THRESHOLDS
from rsscale.object_training.figures import IOU, FoundObjects, Matched, matched
from rsscale.object_training.finding import find_in_places

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ObjectNetwork:
    """Trains a detector of torchvision, or one that is called as those are.

    Attributes
    ----------
    design : Design
    task : Task
        Of classes.
    inputs : tuple of InputBands
        What the channels of the scenes are, in order.
    output : ObjectOutput
        What it returns; its threshold is chosen by the validation.
    loop : Loop
    crops : CropRules
    checkpoints : Checkpoints, optional
        Where its loop keeps what it needs to go on.
    """

    design: Design
    task: Task
    inputs: tuple[InputBands, ...]
    output: ObjectOutput
    loop: Loop
    crops: CropRules
    checkpoints: Checkpoints | None = None

    @property
    def name(self) -> str:
        """Of the architecture."""
        return self.design.architecture

    def contract(self, inputs: list[ModelInput]) -> ModelSpec:
        """The contract of the detector to be."""
        return ModelSpec(
            name=self.design.name,
            inputs=tuple(inputs),
            classes=self.task.classes,
            lattice=self.design.lattice,
            architecture=self.design.architecture,
            hyperparameters=complete(self.design.architecture, self.design.hyperparameters),
            resolution=self.design.resolution,
            output=self.output,
            layout=registered(self.design.architecture).layout,
            seen=self.design.seen,
        )

    def matched(
        self,
        objects: FoundObjects,
        scenes: ObjectScenes,
        places: Ids,
        ious: Sequence[float] = (IOU,),
    ) -> list[Matched]:
        """Detections beside the truth of some places: what it returns of each."""
        return matched(objects, scenes, places, self.task.names, kind=self.output.kind, ious=ious)

    def check(self) -> None:
        """Build it and try it on a window, before imagery is read.

        Raises
        ------
        ModelError
        MissingExtraError
        """
        takes = registered(self.design.architecture).takes
        first_network(self.contract([i.unscaled(takes) for i in self.inputs]), self.loop.seed)

    def fit(self, scenes: ObjectScenes, training: Ids, validation: Ids) -> tuple[Model, Fit]:
        """Train it on some places; the validation, if any, picks the best weights.

        Parameters
        ----------
        scenes : ObjectScenes
        training, validation : int64 array
            Places.

        Returns
        -------
        (Model, Fit)
            Scores of the validations are average precisions: over intersections over union of
            0.50 to 0.95, as COCO takes the mean, which picks the weights; and at 0.50.
        """
        check_precision(self.loop, self.design.device)
        takes = registered(self.design.architecture).takes
        spec = self.contract(with_statistics(_seen_chips(scenes, training), self.inputs, takes))
        device = torch.device(self.design.device)
        module = move(first_network(spec, self.loop.seed), device)
        module = module.to(memory_format=torch.channels_last)
        model = Model(spec, module, device)

        def validate() -> Score:
            detections = find_in_places(model, scenes, validation)
            by_iou = self.matched(detections, scenes, validation, THRESHOLDS)
            averages = [scores.figures(0.5).total.average_precision for scores in by_iou]
            return (float(np.mean(averages)), averages[0])

        crops = ObjectCrops(
            scenes, training, spec, self.crops, self.loop.seed,
            kind=self.output.kind,
        )  # fmt: skip
        done = fit(
            _LossOf(module),
            crops.batches(self.loop.batch, device),
            _as_it_is,
            schedule_of(self.loop),
            validate if np.isin(scenes.groups, validation).any() else None,
            checkpoint=self._checkpoint(scenes, training, validation),
        )
        return model, done

    def _checkpoint(
        self, scenes: ObjectScenes, training: Ids, validation: Ids
    ) -> Checkpoint | None:
        """Found by all that decides the weights, also the outlines of the objects."""
        if self.checkpoints is None:
            return None
        import shapely

        outlines = b"".join(
            shapely.to_wkb(shapely.normalize(shape), byte_order=1)
            for scene in scenes.scenes
            for shape in scene.objects
        )
        counts = scenes.counts(self.task)
        parts = [
            samples_of(scenes.groups[own], counts[own])
            for own in (np.isin(scenes.groups, training), np.isin(scenes.groups, validation))
        ]
        places = [samples_of(ids, np.zeros(0, np.int64)) for ids in (training, validation)]
        settings = repr(replace(self, checkpoints=None))
        return self.checkpoints.of(settings, *parts, *places, outlines)


class _LossOf(nn.Module):
    """A detector as a network whose result is its loss, while it is trained.

    The sum of what it returns: of Faster R-CNN those of proposals, classes and boxes.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, given: tuple[Any, list[dict[str, torch.Tensor]]]) -> torch.Tensor:
        windows, targets = given
        losses = self.detector(windows, targets)
        if not isinstance(losses, dict):
            raise RecipeError(
                f"the detector returns {type(losses).__name__} while it is trained; expected a "
                "mapping of losses from module(images, targets), as torchvision's detectors do"
            )
        return torch.stack([loss.float() for loss in losses.values()]).sum()


def _as_it_is(loss: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return loss


@dataclass(frozen=True, eq=False)
class _SeenImages:
    """Images of scenes without what is not of the training."""

    scenes: ObjectScenes
    places: Ids

    @property
    def shape(self) -> tuple[int, ...]:
        scenes = self.scenes.scenes
        return (len(scenes), scenes[0].images.shape[1], *scenes[0].shape)

    def __getitem__(self, key: Any) -> npt.NDArray[np.float32]:
        scene: Scene = self.scenes.scenes[key]
        whole = slice(0, scene.shape[0]), slice(0, scene.shape[1])
        image, places = scene.read(*whole), scene.places.window(*whole)
        image[:, (places == OUTSIDE) | ~np.isin(places, self.places)] = np.nan
        return image


def _seen_chips(scenes: ObjectScenes, places: Ids) -> Chips:
    """Scenes as chips, of which the statistics of bands are taken: of the training alone."""
    images = _SeenImages(scenes, places)
    count, _, height, width = images.shape
    labels = np.broadcast_to(np.uint8(0), (count, height, width))  # no memory
    return Chips(images, labels, np.zeros(count, np.int64))
