"""The area of applicability: a network that says where the imagery is unlike its training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic

import numpy as np
import numpy.typing as npt

from rsscale.learn.architectures import complete
from rsscale.learn.model import Model
from rsscale.learn.wrappers import check_names
from rsscale.learners.base import Design, Fitted, Learner, NetworkLearner, Predictions, S
from rsscale.learners.ensemble import EnsembleLearner
from rsscale.model.map_layers import APPLICABLE, DISSIMILARITY
from rsscale.networks.applicability import WithApplicability

PIXELS = 500
"""Training pixels that dissimilarity is counted to: each pixel of a map is compared with all."""


@dataclass(frozen=True)
class ApplicabilityLearner(Generic[S]):
    """Trains a network, and keeps some of its training pixels to tell what it has never seen.

    Its model maps the layers ``dissimilarity`` and ``applicable`` where they are asked for. The
    features are what the network is given of a pixel, scaled, all of the same weight.

    Attributes
    ----------
    network : NetworkLearner
        Or an ensemble of such.
    features : NetworkLearner
        That the features of pixels come from; the network, or the member of the ensemble.
    pixels : int
        Training pixels that are kept, spread evenly over places.
    seed : int
    """

    network: Learner[S]
    features: NetworkLearner[S]
    pixels: int = PIXELS
    seed: int = 0

    @property
    def name(self) -> str:
        """Of the network."""
        return self.network.name

    def fit(self, training: S, validation: S) -> Fitted:
        """See :class:`~rsscale.learners.base.Learner`."""
        fitted = self.network.fit(training, validation)
        model = fitted.model
        features, groups = self.features.features(model, training)
        chosen = _spread(groups, self.pixels, self.seed)
        module = WithApplicability(model.module, features.shape[1], len(chosen))
        module.set_training(features[chosen].astype(np.float64), groups[chosen])
        spec = replace(
            model.spec,
            architecture=f"applicability({model.spec.architecture})",
            hyperparameters={
                **model.spec.hyperparameters,
                "features": features.shape[1],
                "pixels": len(chosen),
            },
            extras=(*model.spec.extras, DISSIMILARITY, APPLICABLE),
        )
        wrapped = replace(model, spec=spec, module=module.eval().to(model.device))
        return replace(fitted, model=wrapped)

    def predict(self, model: Model, samples: S) -> Predictions:
        """See :class:`~rsscale.learners.base.Learner`."""
        return self.network.predict(model, samples)


def wrapped(
    network: NetworkLearner[S], members: int = 1, *, applicability: bool = False
) -> Learner[S]:
    """A learner of a network as it is asked for: several members, with its area of applicability.

    Parameters
    ----------
    network : NetworkLearner
    members : int
        Networks that are trained from other seeds and averaged.
    applicability : bool
        Whether the model can say where the imagery is unlike its training.

    Raises
    ------
    ModelError
        As :func:`check_wrapped` does.
    """
    check_wrapped(network.design, members, applicability=applicability)
    learner: Learner[S] = EnsembleLearner(network, members) if members > 1 else network
    return ApplicabilityLearner(learner, network) if applicability else learner


def check_wrapped(design: Design, members: int = 1, *, applicability: bool = False) -> None:
    """Refuse what can't be told apart around a network, before imagery is read.

    Raises
    ------
    ModelError
        When a hyperparameter of the network is called as one of what is around it.
    """
    names = complete(design.architecture, design.hyperparameters)
    for wrapper, is_asked_for in (("ensemble", members > 1), ("applicability", applicability)):
        if is_asked_for:
            check_names(wrapper, design.architecture, names)


def _spread(groups: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Numbers of pixels, about as many of each group, all where there are no more."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(groups))
    by_group = order[np.argsort(groups[order], kind="stable")]
    _, first_of, counts = np.unique(groups[by_group], return_index=True, return_counts=True)
    of_group = np.empty(len(groups), np.int64)  # the how many-th of its group each one is
    of_group[by_group] = np.arange(len(groups)) - np.repeat(first_of, counts)
    first = order[np.argsort(of_group[order], kind="stable")]
    return np.sort(first[:count])
