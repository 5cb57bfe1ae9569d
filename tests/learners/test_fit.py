"""The loop: the best weights are kept, it ends when nothing gets better, trouble is told."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from rsscale.errors import RecipeError
from rsscale.learners.fit import Fit, Schedule, fit


def line() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def batches(noise: float = 0.0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    random = torch.Generator().manual_seed(1)
    while True:
        x = torch.randn(16, 2, generator=random)
        yield x, x.sum(dim=1, keepdim=True) + noise


def squares(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return (found - truth).square().mean()


def run(module: nn.Module, *scores: float, **options: int) -> Fit:
    """A training whose validations give these scores."""
    given = iter(scores)
    schedule = Schedule(steps=options.pop("steps", 20), learning_rate=0.1, every=2, **options)
    return fit(module, batches(), squares, schedule, lambda: (next(given),))


def test_it_learns() -> None:
    module = line()
    done = fit(module, batches(), squares, Schedule(200, 0.1, weight_decay=0.0))
    assert done.loss < 0.01 < done.losses[0]
    assert done.kept == len(done.losses) == 200
    torch.testing.assert_close(module.weight.detach(), torch.ones(1, 2), atol=0.05, rtol=0)
    assert not module.training


def test_the_weights_of_the_best_validation_are_kept() -> None:
    best, ten = line(), line()
    scores = [0.1, 0.2, 0.9, 0.3, 0.4, 0.5, 0.5, 0.5, 0.5, 0.5]
    done = run(best, *scores)
    seen = []
    given = iter(scores)
    fit(ten, batches(), squares, Schedule(20, 0.1, every=2),
        lambda: seen.append(ten.weight.detach().clone()) or (next(given),))  # fmt: skip
    assert done.kept == 6
    assert torch.equal(best.weight, seen[2])
    assert not torch.equal(best.weight, seen[-1])
    assert [step for step, _ in done.scores] == list(range(2, 21, 2))


def test_it_ends_when_nothing_gets_better() -> None:
    done = run(line(), 0.5, 0.6, 0.6, 0.4, 0.9, patience=2)
    assert len(done.losses) == 8
    assert done.kept == 4


def test_the_network_is_scored_as_it_is_used() -> None:
    module = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    modes = []
    fit(module, batches(), squares, Schedule(4, 0.1, every=1),
        lambda: modes.append(module.training) or (0.0,))  # fmt: skip
    assert modes == [False] * 4


def test_a_loss_that_is_no_number_is_told_at_once() -> None:
    with pytest.raises(RecipeError, match="diverged: at step 1 its loss is nan"):
        fit(line(), batches(float("nan")), squares, Schedule(5, 0.1))
    module = line()
    with torch.no_grad():
        module.bias.fill_(float("nan"))
    with pytest.raises(RecipeError, match="the weights 'bias' are no numbers"):
        fit(module, batches(), squares, Schedule(5, 0.1))


def test_dropout_goes_by_the_seed_and_the_callers_numbers_go_on() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(3)
        module = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        before = torch.get_rng_state()
        fit(module, batches(), squares, Schedule(5, 0.1, seed=seed))
        assert torch.equal(torch.get_rng_state(), before)
        return module[0].weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_sixteen_bits_learn_too() -> None:
    module = line()
    schedule = Schedule(200, 0.1, weight_decay=0.0, precision="bfloat16")
    assert fit(module, batches(), squares, schedule).loss < 0.05
    assert module.weight.dtype == torch.float32
