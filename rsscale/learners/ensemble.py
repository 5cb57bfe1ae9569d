"""Ensembles: a network trained from several seeds, whose probabilities are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Generic

from rsscale.errors import RecipeError
from rsscale.learn.model import Model
from rsscale.learners.base import Fitted, NetworkLearner, Predictions, S
from rsscale.model.map_layers import DISAGREEMENT
from rsscale.networks.ensemble import Ensemble


@dataclass(frozen=True)
class EnsembleLearner(Generic[S]):
    """Trains the members of an ensemble, each from another seed.

    Its model maps the layer ``disagreement`` where it is asked for.

    Attributes
    ----------
    member : NetworkLearner
        Of classes; its seed is that of the first.
    members : int
    """

    member: NetworkLearner[S]
    members: int

    def __post_init__(self) -> None:
        if self.members < 2 or not self.member.task.classes:
            raise RecipeError(
                f"an ensemble has {self.members} members; expected 2 or more, of networks that "
                "tell classes"
            )

    @property
    def name(self) -> str:
        """Of the member, and how many there are."""
        return f"{self.member.name} ({self.members} members)"

    def fit(self, training: S, validation: S) -> Fitted:
        """See :class:`~rsscale.learners.base.Learner`; the loop that is told is of the first."""
        fitted = [
            self.member.from_seed(number).fit(training, validation)
            for number in range(self.members)
        ]
        first = fitted[0].model
        hyperparameters: Mapping[str, object] = {
            **first.spec.hyperparameters, "members": self.members,
        }  # fmt: skip
        spec = replace(
            first.spec,
            architecture=f"ensemble({first.spec.architecture})",
            hyperparameters=hyperparameters,
            extras=(*first.spec.extras, DISAGREEMENT),
        )
        module = Ensemble([part.model.module for part in fitted]).eval()
        return Fitted(replace(first, spec=spec, module=module), fitted[0].fit)

    def predict(self, model: Model, samples: S) -> Predictions:
        """See :class:`~rsscale.learners.base.Learner`."""
        return self.member.predict(model, samples)
