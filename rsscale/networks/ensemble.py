"""Several networks of one kind whose probabilities are averaged, and how far they disagree.

Its logarithm is scores like those of a single network: softmax makes the mean of it again, and a
temperature calibrates it.

Members trained from other seeds, or on other folds, differ most where the training says least
(Lakshminarayanan, Pritzel & Blundell 2017, https://arxiv.org/abs/1612.01474).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

# Of a probability, so that its logarithm is a number.
_LEAST = 1e-12


class Ensemble(nn.Module):
    """Logarithms of the members' mean probabilities, and their disagreement as a channel.

    Parameters
    ----------
    members : sequence of torch.nn.Module
        Each returns class scores ``(N, K, H, W)`` before softmax, or one score of a sigmoid.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: torch.Tensor | Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Scores before softmax and disagreement in percent, ``(N, K + 1, H, W)``."""
        each = torch.stack([probability_of(member(inputs)) for member in self.members])
        mean = each.mean(dim=0)  # (N, K, H, W)
        # Jensen-Shannon divergence: entropy of the mean less the mean of entropies.
        shared = entropy(mean, dim=1) - entropy(each, dim=2).mean(dim=0)
        most = torch.log(torch.tensor(float(min(len(self.members), mean.shape[1]))))
        share = (shared / most.clamp(min=1e-6)).clamp(0, 1) * 100
        return torch.cat([mean.clamp(min=_LEAST).log(), share[:, None]], dim=1)


def probability_of(scores: torch.Tensor) -> torch.Tensor:
    """Probabilities ``(N, K, H, W)`` of scores; of one score of a sigmoid, those of two classes."""
    scores = scores.float()
    if scores.shape[1] == 1:
        second = torch.sigmoid(scores)
        return torch.cat([1 - second, second], dim=1)
    return torch.softmax(scores, dim=1)


def entropy(probability: torch.Tensor, dim: int) -> torch.Tensor:
    """Entropy along an axis, in nats."""
    terms: torch.Tensor = torch.special.xlogy(probability, probability)
    return -terms.sum(dim=dim)
