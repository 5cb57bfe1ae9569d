"""Networks that learn from series at points: a pixel is told by itself alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from rsscale.errors import RecipeError
from rsscale.learn.architectures import ARCHITECTURES, registered
from rsscale.learn.model import Model, given, move
from rsscale.learners.base import Design, Fitted, Loop, Predictions, Task
from rsscale.learners.checkpoint import Checkpoints, Score
from rsscale.learners.fit import fit
from rsscale.learners.network import (
    check_precision,
    checkpoint_of,
    contract,
    first_network,
    schedule_of,
)
from rsscale.learners.point_batches import (
    TableBatches,
    into_physical,
    predict_numbers,
    table_windows,
)
from rsscale.learners.point_samples import PointSamples, table_input, with_point_statistics
from rsscale.network.receptive_field import reach_of
from rsscale.networks.applicability import features_of


@dataclass(frozen=True)
class PointNetwork:
    """Trains a network that sees single pixels on series at points.

    Attributes
    ----------
    design : Design
    task : Task
    loop : Loop
    observations : int, optional
        Places for observations in the windows of a map; as many as a sample has at most when None.
    checkpoints : Checkpoints, optional
        Where its loops keep what they need to go on.
    """

    design: Design
    task: Task
    loop: Loop = Loop(batch=64, balance="weights")  # noqa: RUF009 -- frozen
    observations: int | None = None
    checkpoints: Checkpoints | None = None

    @property
    def name(self) -> str:
        """Of the architecture."""
        return self.design.architecture

    def fit(self, training: PointSamples, validation: PointSamples) -> Fitted:
        """See :class:`~rsscale.learners.base.Learner`."""
        check_alone(self.design)
        check_precision(self.loop, self.design.device)
        takes, table = registered(self.design.architecture).takes, training.table
        empty = [table_input(part, self.observations, takes) for part in table.inputs]
        inputs = list(map(with_point_statistics, empty, table.inputs))
        spec = contract(self.design, inputs, self.task)
        module = move(first_network(spec, self.loop.seed), self.design.device)
        device = torch.device(self.design.device)
        model = Model(spec, module, device, reach=0)
        batches = TableBatches(
            training,
            spec,
            self.loop,
            device=device,
            scales=spec.architecture in ARCHITECTURES,  # their last layer is linear, and known
        )
        loss, truth = batches.loss(), batches.scaled(validation.targets)

        def validate() -> Score:
            predictions = self.predict(model, validation)
            numbers = torch.from_numpy(predictions.numbers[:, :, None, None])
            value = float(loss(numbers, truth))
            if not self.task.classes:  # values are in units of their standard deviations still
                return (-value,)
            return (self.task.score(predictions).figure, -value)

        schedule = schedule_of(self.loop)
        settings = repr(replace(self, checkpoints=None))
        done = fit(
            module,
            batches,
            loss,
            schedule,
            validate if len(validation) else None,
            checkpoint=checkpoint_of(settings, self.checkpoints, self.task, training, validation),
        )
        into_physical(module, batches.center, batches.spread)
        return Fitted(model, done)

    def from_seed(self, number: int) -> PointNetwork:
        """See :class:`~rsscale.learners.base.NetworkLearner`."""
        return replace(self, loop=replace(self.loop, seed=self.loop.seed + number))

    def features(
        self, model: Model, samples: PointSamples
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """See :class:`~rsscale.learners.base.NetworkLearner`."""
        parts = [
            features_of(given(windows))[:, :, 0, 0].cpu().numpy()
            for windows in table_windows(model, samples.table)
        ]
        return np.concatenate(parts), np.asarray(samples.groups)

    def predict(self, model: Model, samples: PointSamples) -> Predictions:
        """See :class:`~rsscale.learners.base.Learner`."""
        numbers = predict_numbers(model, samples.table)
        return Predictions(numbers, samples.targets, np.asarray(samples.groups))


def check_alone(design: Design) -> None:
    """Refuse a network that looks beyond a pixel: samples at points have no surroundings.

    Raises
    ------
    RecipeError
    """
    reach = reach_of(design.architecture, design.hyperparameters)
    if reach:
        raise RecipeError(
            f"architecture {design.architecture!r} looks {reach} px around a pixel, and samples at "
            "points have no surroundings; use 'tempcnn', 'ltae', 'fusion' or 'pixel', or train on "
            "images (rsscale.train)"
        )
