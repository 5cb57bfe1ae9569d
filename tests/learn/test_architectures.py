"""The networks: shapes, and how far a score depends on its surroundings."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_inputs import channels

from rsscale.errors import ModelError
from rsscale.learn.architectures import MAX_DEPTH, build, reach, small_size


@pytest.mark.parametrize(("name", "options"), [("unet", {"depth": 3}), ("pixel", {})])
def test_scores_have_the_size_of_the_image(name: str, options: dict) -> None:
    net = build(name, inputs=channels(5), outputs=3, **options).eval()
    assert net(torch.zeros(2, 5, 32, 48)).shape == (2, 3, 32, 48)


@pytest.mark.parametrize(
    ("name", "options"),
    [("unet", {"width": 4, "depth": d}) for d in (1, 2, 3, 4)] + [("pixel", {"width": 4})],
)
def test_reach_is_how_far_a_change_is_seen(name: str, options: dict) -> None:
    torch.manual_seed(0)
    net = build(name, inputs=channels(2), outputs=2, **options).double().eval()
    size = 256
    image = torch.randn(1, 2, size, size, dtype=torch.float64)
    far = 0
    with torch.inference_mode():
        before = net(image)
        for at in range(size // 2, size // 2 + 8):  # pooling makes it depend on the position
            image_changed = image.clone()
            image_changed[0, :, at, at] += 10
            moved = (net(image_changed) != before).any(dim=1)[0].nonzero() - at
            far = max(far, int(moved.abs().max()))
    assert far <= reach(name, **options)
    assert far >= reach(name, **options) - 2 ** (options.get("depth", 1) - 1)  # not idly large


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ModelError, match="did you mean 'unet'"):
        build("unnet", channels(1), 1)
    with pytest.raises(ModelError, match="widht"):
        build("unet", channels(1), 1, widht=3)
    for depth in (0, 7):
        with pytest.raises(ModelError, match="depth is 1 to 6"):
            build("unet", channels(1), 1, depth=depth)


def test_a_score_does_not_depend_on_the_window_or_the_batch() -> None:
    """No statistic of a window is taken: what lies beyond the reach changes nothing."""
    torch.manual_seed(0)
    net = build("unet", channels(2), 3, width=4, depth=3).double()
    net.train()
    net(torch.randn(4, 2, 64, 64, dtype=torch.float64))  # statistics that are not the first ones
    net.eval()
    image = torch.randn(2, 2, 160, 160, dtype=torch.float64)
    halo = -(-reach("unet", depth=3) // 4) * 4  # windows lie on the coarsest scale's pixels
    with torch.inference_mode():
        whole = net(image)[:1, :, 60:100, 60:100]
        window = net(image[:1, :, 60 - halo : 100 + halo, 60 - halo : 100 + halo])
    assert torch.allclose(window[..., halo:-halo, halo:-halo], whole, atol=1e-12)


@pytest.mark.parametrize("depth", range(1, MAX_DEPTH + 1))
@given(size=st.integers(1, 200))
@settings(max_examples=30)
def test_a_small_size_is_taken_when_the_size_itself_is(depth: int, size: int) -> None:
    network = build("unet", channels(1), 2, width=1, depth=depth).eval()
    assert small_size(size) < 2 ** (MAX_DEPTH + 1)
    assert _takes(network, small_size(size)) == _takes(network, size)


def _takes(network: torch.nn.Module, size: int) -> bool:
    try:
        with torch.inference_mode():
            return network(torch.zeros(1, 1, size, size)).shape == (1, 2, size, size)
    except RuntimeError:
        return False
