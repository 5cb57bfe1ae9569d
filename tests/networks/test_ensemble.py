"""Ensembles: the mean of probabilities, and disagreement that is 0 to 100 percent."""

import numpy as np
import pytest
import torch
from torch import nn

from rsscale.networks.ensemble import Ensemble


class Fixed(nn.Module):
    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.scores


def said(*scores: torch.Tensor) -> torch.Tensor:
    return Ensemble([Fixed(s) for s in scores])(torch.zeros(1))


def test_probabilities_are_averaged() -> None:
    scores = torch.randn(3, 2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    found = said(*scores)
    want = torch.softmax(scores, dim=2).mean(dim=0)
    assert torch.allclose(torch.softmax(found[:, :5], dim=1), want, atol=1e-6)
    p = torch.softmax(scores, dim=2).double().numpy()
    entropies = -(p * np.log(p)).sum(axis=2)
    mean = p.mean(axis=0)
    shared = -(mean * np.log(mean)).sum(axis=1) - entropies.mean(axis=0)
    assert np.allclose(found[:, 5].numpy(), shared / np.log(3) * 100, atol=1e-3)


def test_equals_do_not_disagree_and_opposites_wholly() -> None:
    scores = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert said(scores, scores, scores)[:, 4].abs().max() < 1e-3
    sure = torch.eye(4)[:2, None, :, None, None] * 200.0  # (2, 1, 4, 1, 1)
    assert said(*sure)[0, 4] == pytest.approx(100, abs=1e-3)


def test_the_score_of_a_sigmoid_is_two_probabilities() -> None:
    scores = torch.tensor([[[[-1.0, 2.0]]]])
    found = said(scores, scores)
    assert torch.allclose(found[:, 1:2].exp(), torch.sigmoid(scores))
    assert torch.allclose(found[:, :2].exp().sum(dim=1), torch.ones(1, 1, 2))


def test_scores_are_numbers_where_all_are_sure() -> None:
    sure = torch.tensor([[[[200.0]], [[-200.0]]]])
    assert torch.isfinite(said(sure, sure)).all()
