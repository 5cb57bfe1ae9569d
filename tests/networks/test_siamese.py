"""Networks of two dates: what they take, how far they look, and what makes no difference."""

import pytest
import torch

from rsscale.errors import ModelError
from rsscale.learn.architectures import build, reach
from rsscale.learners.chips import InputBands

KINDS = ("fc-ef", "fc-siam-conc", "fc-siam-diff")
DATES = [InputBands(name, ("red", "nir"), ("spring", "summer")) for name in ("before", "after")]


def network(kind: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(2)
    module = build(kind, DATES, 3, width=4, **options)
    for _ in range(3):  # statistics that are not the first ones
        module(torch.randn(2, 8, 32, 32))
    return module.double().eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_scores_are_as_wide_as_the_window_and_depend_on_their_reach(kind: str, depth: int) -> None:
    module, far = network(kind, depth=depth), reach(kind, depth=depth)
    window = torch.randn(1, 8, 160, 160, dtype=torch.float64)
    one = module(window)
    assert one.shape == (1, 3, 160, 160)
    other = window.clone()
    other[..., 80, 80] += 100
    moved = (module(other) - one).abs().amax(dim=(0, 1)) > 0
    rows, cols = torch.nonzero(moved, as_tuple=True)
    assert int(max((rows - 80).abs().max(), (cols - 80).abs().max())) <= far
    assert far < 80


def test_of_differences_equal_dates_are_all_alike_and_the_order_does_not_matter() -> None:
    module = network("fc-siam-diff", depth=3)
    one, other = torch.randn(2, 1, 4, 32, 32, dtype=torch.float64)
    same = module(torch.cat([one, one], 1))
    torch.testing.assert_close(same, module(torch.cat([other, other], 1)))
    there, back = module(torch.cat([one, other], 1)), module(torch.cat([other, one], 1))
    torch.testing.assert_close(there, back)
    assert (there - same).abs().max() > 0.01


def test_a_date_goes_through_one_encoder() -> None:
    """Half the channels: the first convolution of a siamese form sees a date alone."""
    shapes = {kind: next(network(kind, depth=2).parameters()).shape[1] for kind in KINDS}
    assert shapes == {"fc-ef": 8, "fc-siam-conc": 4, "fc-siam-diff": 4}


@pytest.mark.parametrize("kind", KINDS[1:])
def test_an_encoder_of_a_library(kind: str) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    module = network(kind, depth=3, encoder="resnet18")
    scores = module(torch.randn(1, 8, 64, 64, dtype=torch.float64))
    assert scores.shape == (1, 3, 64, 64)
    with pytest.raises(ModelError, match="encoder 'resnt18' of depth 3 can't be made"):
        build(kind, DATES, 2, encoder="resnt18")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "inputs",
    [
        DATES[:1],
        [*DATES, InputBands("dem", ("height",), ("static",))],
        [DATES[0], InputBands("after", ("red", "swir"), ("spring", "summer"))],
        [DATES[0], InputBands("after", ("red", "nir"), ("summer",))],
    ],
)
def test_other_inputs_are_refused(kind: str, inputs: list[InputBands]) -> None:
    with pytest.raises(ModelError, match="takes two dates of the same bands and time windows"):
        build(kind, inputs, 2)
