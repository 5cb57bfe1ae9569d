"""Networks that learn from images: a pixel is told by its surroundings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from rsscale.learn.architectures import registered
from rsscale.learn.model import Model, given, move
from rsscale.learners.base import Design, Fitted, Loop, Predictions, Task
from rsscale.learners.checkpoint import Checkpoints, Score
from rsscale.learners.chips import (
    MULTIPLE,
    UNLABELLED,
    Chips,
    InputBands,
    to_targets,
    with_statistics,
)
from rsscale.learners.crops import Crops
from rsscale.learners.fit import fit
from rsscale.learners.network import (
    check_precision,
    checkpoint_of,
    class_loss,
    class_weights,
    contract,
    first_network,
    schedule_of,
    score_channels,
)
from rsscale.network.batch import WindowBatch
from rsscale.network.normalize import window_batch
from rsscale.networks.applicability import features_of

_FEATURES_OF_A_CHIP = 200


@dataclass(frozen=True)
class ImageNetwork:
    """Trains a network on random crops of labelled chips.

    Attributes
    ----------
    design : Design
    task : Task
        Of classes.
    inputs : tuple of InputBands
        What the channels of the chips are, in order.
    loop : Loop
    checkpoints : Checkpoints, optional
        Where its loops keep what they need to go on.
    """

    design: Design
    task: Task
    inputs: tuple[InputBands, ...]
    loop: Loop = Loop()  # noqa: RUF009 -- frozen
    checkpoints: Checkpoints | None = None

    @property
    def name(self) -> str:
        """Of the architecture."""
        return self.design.architecture

    def fit(self, training: Chips, validation: Chips) -> Fitted:
        """See :class:`~rsscale.learners.base.Learner`."""
        loop = self.loop
        check_precision(loop, self.design.device)
        takes = registered(self.design.architecture).takes
        statistics = with_statistics(training, self.inputs, takes)
        spec = contract(self.design, statistics, self.task)
        module = move(first_network(spec, loop.seed), self.design.device)
        device = torch.device(self.design.device)
        module = module.to(memory_format=torch.channels_last)
        model = Model(spec, module, device)
        counts = training.counts(self.task).sum(axis=0)
        loss = class_loss(class_weights(counts) if loop.balance == "weights" else None)

        def validate() -> Score:
            predictions = self.predict(model, validation)
            numbers, truth = map(torch.from_numpy, (predictions.numbers, predictions.truth))
            scores = self.task.score(predictions)
            return (scores.figure, -float(loss(numbers, truth)))

        has_validation = bool(validation.counts(self.task).any())
        crops = Crops(training, spec, loop.seed, loop.balance, loop.crop)
        batches = crops.batches(loop.batch, device)
        schedule = schedule_of(loop)
        settings = repr(replace(self, checkpoints=None))
        done = fit(
            module,
            batches,
            loss,
            schedule,
            validate if has_validation else None,
            checkpoint=checkpoint_of(settings, self.checkpoints, self.task, training, validation),
        )
        return Fitted(model, done)

    def from_seed(self, number: int) -> ImageNetwork:
        """See :class:`~rsscale.learners.base.NetworkLearner`."""
        return replace(self, loop=replace(self.loop, seed=self.loop.seed + number))

    def features(
        self, model: Model, samples: Chips
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """See :class:`~rsscale.learners.base.NetworkLearner`; a part of the pixels of each chip."""
        of_pixels, groups = [], []
        for number in range(len(samples)):
            flat = np.flatnonzero(to_targets(samples.labels[number], model.spec) != UNLABELLED)
            if not len(flat):
                continue
            labelled = flat[:: max(len(flat) // _FEATURES_OF_A_CHIP, 1)]
            rows, cols = np.unravel_index(labelled, samples.labels.shape[-2:])
            given_features = features_of(given(_windows(model, samples, number)))[0]
            of_pixels.append(given_features[:, rows, cols].T.cpu().numpy())
            groups.append(np.full(len(labelled), samples.groups[number]))
        return np.concatenate(of_pixels), np.concatenate(groups)

    def predict(self, model: Model, samples: Chips) -> Predictions:
        """See :class:`~rsscale.learners.base.Learner`."""
        numbers = [np.zeros((0, score_channels(model.spec)), np.float32)]
        truth, groups = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number in range(len(samples)):
            target = to_targets(samples.labels[number], model.spec)
            known = target != UNLABELLED
            if not known.any():
                continue
            scores = _scores(model, samples, number)
            numbers.append(scores[:, known].T)
            truth.append(target[known].astype(np.int64))
            groups.append(np.full(len(truth[-1]), samples.groups[number]))
        return Predictions(np.concatenate(numbers), np.concatenate(truth), np.concatenate(groups))


def _windows(model: Model, chips: Chips, number: int) -> WindowBatch:
    """A chip as a window of a model, its sides made multiples."""
    image = torch.from_numpy(_padded(chips.images[number])[None]).to(model.device)
    return window_batch(image, chips.days_of(np.array([number])), model.spec)


def _scores(model: Model, chips: Chips, number: int) -> npt.NDArray[np.float32]:
    """Scores ``(K, H, W)`` of a model for a chip."""
    with torch.inference_mode():
        numbers = model(_windows(model, chips, number))[0].float().cpu().numpy()
    rows, cols = chips.labels.shape[-2:]
    scores: npt.NDArray[np.float32] = numbers[: score_channels(model.spec), :rows, :cols]
    return scores


def _padded(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Height and width made multiples with missing values, for any depth of network."""
    rows, cols = (-n % MULTIPLE for n in image.shape[-2:])
    return np.pad(image, ((0, 0), (0, rows), (0, cols)), constant_values=np.nan)
