"""Several networks of one kind whose probabilities are averaged, and how far they disagree.

Members trained from other seeds, or on other folds, differ most where the training says least
(Lakshminarayanan, Pritzel & Blundell 2017, https://arxiv.org/abs/1612.01474).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from rsscale.layers import Layer

DISAGREEMENT = Layer(
    "disagreement",
    overview="mean",
    attributes={
        "long_name": "mutual information of the class and the member, of its largest possible",
        "units": "percent",
    },
)
"""The layer of what members know differently: 0 where all say the same, 100 where each is sure."""


class Ensemble(nn.Module):
    """Mean of the members' probabilities ``(N, K, H, W)``, and their disagreement as a channel.

    Parameters
    ----------
    members : sequence of torch.nn.Module
        Each returns class scores ``(N, K, H, W)`` before softmax, or one score of a sigmoid.
    """

    temperature: torch.Tensor

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        # Calibrates all members alike; the mean of their probabilities has no scores to divide.
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, inputs: torch.Tensor | Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Probabilities and disagreement in percent, ``(N, K + 1, H, W)``."""
        each = torch.stack([self._probability(member(inputs)) for member in self.members])
        mean = each.mean(dim=0)  # (N, K, H, W)
        # Jensen-Shannon divergence: entropy of the mean less the mean of entropies.
        shared = entropy(mean, dim=1) - entropy(each, dim=2).mean(dim=0)
        most = torch.log(torch.tensor(float(min(len(self.members), mean.shape[1]))))
        share = (shared / most.clamp(min=1e-6)).clamp(0, 1) * 100
        return torch.cat([mean, share[:, None]], dim=1)

    def _probability(self, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.float() / self.temperature
        if scores.shape[1] == 1:
            second = torch.sigmoid(scores)
            return torch.cat([1 - second, second], dim=1)
        return torch.softmax(scores, dim=1)


def entropy(probability: torch.Tensor, dim: int) -> torch.Tensor:
    """Entropy along an axis, in nats."""
    terms: torch.Tensor = torch.special.xlogy(probability, probability)
    return -terms.sum(dim=dim)
