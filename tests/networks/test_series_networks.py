"""Networks of series: gaps change nothing, a year is a circle, and how far each looks."""

import numpy as np
import pytest
import torch

from rsscale.errors import ModelError
from rsscale.learn.architectures import ARCHITECTURES, build, complete, reach
from rsscale.learn.model import call
from rsscale.learners.chips import InputBands
from rsscale.networks.pixels import PixelSeries
from rsscale.networks.tempcnn import on_year

SMALL: dict[str, dict] = {
    "tempcnn": {"width": 8, "places": 12},
    "ltae": {"width": 32, "heads": 4},
    "utae": {"width": 8, "depth": 3, "heads": 4},
    "fusion": {"width": 32},
    "fusion of tempcnn": {"width": 32, "branch": "tempcnn"},
}
TIMES = 7


def inputs_of(name: str) -> list[InputBands]:
    """Two sensors with dates of their own for a network that takes two."""
    times = tuple(f"t{k}" for k in range(TIMES))
    optical = InputBands("s2", ("red", "nir", "swir"), times)
    return [optical, InputBands("s1", ("vv", "vh"), times[:4])] if "fusion" in name else [optical]


def network(name: str) -> torch.nn.Module:
    torch.manual_seed(1)
    module = build(name.split(maxsplit=1)[0], inputs_of(name), 4, **SMALL[name])
    module.train()
    for seed in range(3):  # statistics that are not the first ones
        module(windows(name, seed, size=16))
    return module.double().eval()


def windows(name: str, seed: int, size: int = 8) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    given = {}
    for one in inputs_of(name):
        shape = (2, one.length, len(one.bands), size, size)
        given[one.name] = torch.randn(shape, generator=random)
        days = torch.randint(1, 367, (2, one.length), generator=random).sort(dim=1).values
        given[f"{one.name}.days"] = days.float()
        valid = torch.rand(2, one.length, size, size, generator=random) < 0.6
        valid[:, -2:] = False  # blanks
        valid[0, :, :2, :2] = False  # pixels that were never seen
        given[f"{one.name}.valid"] = valid
    return given


def doubled(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v.double() if v.is_floating_point() else v for k, v in given.items()}


@pytest.mark.parametrize("name", SMALL)
def test_blanks_change_no_bit(name: str) -> None:
    module, given = network(name).float(), windows(name, 5)
    other = dict(given)
    for one in inputs_of(name):
        valid = given[f"{one.name}.valid"]
        noise = torch.full_like(given[one.name], float("nan"))
        other[one.name] = torch.where(valid[:, :, None], given[one.name], noise)
        days = given[f"{one.name}.days"].clone()
        days[:, -2:] = 0  # the day of a blank
        other[f"{one.name}.days"] = days
    with torch.inference_mode():
        before, after = module(given), module(other)
    assert before.shape == (2, 4, 8, 8)
    assert before.isfinite().all()
    assert torch.equal(before, after)
    assert before[0, :, 4:, 4:].std() > 1e-3  # and it does see what is valid


@pytest.mark.parametrize("name", SMALL)
def test_the_place_of_an_observation_does_not_count(name: str) -> None:
    """Its day does: a series is the same with its blanks elsewhere, and in another order."""
    module, given = network(name), doubled(windows(name, 6))
    other, order = dict(given), torch.tensor([5, 2, 0, 6, 1, 4, 3])
    for one in inputs_of(name):
        turned = order[order < one.length]
        for key in (one.name, f"{one.name}.days", f"{one.name}.valid"):
            other[key] = given[key][:, turned]
    moved = {**given, "s2.days": (given["s2.days"] + 60) % 366}
    with torch.inference_mode():
        before, after, later = module(given), module(other), module(moved)
    torch.testing.assert_close(before, after)
    assert (before - later).abs().max() > 1e-3


@pytest.mark.parametrize("name", SMALL)
def test_nothing_but_blanks_gives_numbers_and_gradients(name: str) -> None:
    given = windows(name, 7)
    for one in inputs_of(name):
        given[f"{one.name}.valid"][:] = False
    module = network(name).float().train()
    numbers = module(given)
    numbers.sum().backward()
    assert numbers.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())
    with torch.inference_mode():
        used = module.eval()(given)
    if name != "utae":  # whose window is all edge
        torch.testing.assert_close(used[:, :, 4, 4], used[:, :, 4, 3])


@pytest.mark.parametrize("name", ["tempcnn", "ltae", "fusion", "utae"])
def test_reach_is_how_far_a_change_is_seen(name: str) -> None:
    options = SMALL[name]
    module, size = network(name), 64 if name == "utae" else 16
    given = doubled(windows(name, 8, size=size))
    far = 0
    with torch.inference_mode():
        before = module(given)
        for at in range(size // 2, size // 2 + (8 if name == "utae" else 1)):
            changed = dict(given)
            changed["s2"] = given["s2"].clone()
            changed["s2"][:, :, :, at, at] += 10
            changed["s2.valid"] = given["s2.valid"].clone()
            changed["s2.valid"][:, :, at, at] ^= True
            moved = (module(changed) != before).any(dim=1).any(dim=0).nonzero() - at
            far = max(far, int(moved.abs().max()))
    known = reach(name, **options)
    assert far <= known
    assert far >= known - 4
    assert (known == 0) == (name != "utae")


def test_pixels_are_computed_in_parts_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module, given = network("ltae"), doubled(windows("ltae", 9))
    with torch.inference_mode():
        whole = module(given)
        monkeypatch.setattr("rsscale.networks.pixels._AT_ONCE", 50)
        torch.testing.assert_close(module(given), whole)


def test_a_missing_sensor_leaves_the_other() -> None:
    """What one sensor says alone does not depend on how much the other would have said."""
    module, given = network("fusion"), doubled(windows("fusion", 10))
    given["s1.valid"][:] = False
    other = {**given, "s1": given["s1"] * 100}
    with torch.inference_mode():
        alone = module(given)
        assert torch.equal(alone, module(other))
        given["s1.valid"] = torch.ones_like(given["s1.valid"])
        assert (module(given) - alone).abs().max() > 1e-3


def test_days_and_validity_may_be_absent() -> None:
    """Composites that are known everywhere, at windows spread over the year."""
    module, given = network("tempcnn"), doubled(windows("tempcnn", 11))
    spread = 366 * (torch.arange(TIMES, dtype=torch.float64) + 0.5) / TIMES
    given["s2.valid"][:] = True
    given["s2.days"] = spread.expand(2, TIMES)
    with torch.inference_mode():
        torch.testing.assert_close(module({"s2": given["s2"]}), module(given))


def test_a_year_is_filled_as_by_numpy() -> None:
    """The same as np.interp with a period, whatever is missing."""
    random = np.random.default_rng(0)
    values = random.normal(size=(50, 9, 2))
    days = np.stack([random.choice(np.arange(1, 367), 9, replace=False) for _ in range(50)])
    valid = random.random((50, 9)) < 0.5
    valid[:, 0] |= ~valid.any(axis=1)
    series = PixelSeries(
        torch.tensor(values), torch.tensor(days, dtype=torch.float64), torch.tensor(valid)
    )
    found = on_year(series, 24).numpy()
    places = 366 * (np.arange(24) + 0.5) / 24
    for pixel in range(50):
        known = valid[pixel]
        for band in range(2):
            expected = np.interp(places, days[pixel, known], values[pixel, known, band], period=366)
            np.testing.assert_allclose(found[pixel, :, band], expected, atol=1e-12)


def test_a_pixel_that_was_never_seen_is_zeros() -> None:
    series = PixelSeries(
        torch.ones(1, 3, 2), torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.bool)
    )
    assert torch.equal(on_year(series, 5), torch.zeros(1, 5, 2))


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("tempcnn", {"kernel": 4}, "kernel odd"),
        ("ltae", {"width": 30}, "even multiple of heads"),
        ("utae", {"depth": 9}, "depth is 1 to 6"),
        ("fusion", {"branch": "lstm"}, "'ltae' or 'tempcnn'"),
        ("fusion", {"width": 20}, "multiple of 16"),
    ],
)
def test_bad_hyperparameters_are_refused(name: str, options: dict, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        build(name, inputs_of(name), 3, **options)


def test_a_network_of_one_input_is_given_no_two() -> None:
    with pytest.raises(ModelError, match="'fusion' takes several"):
        build("ltae", inputs_of("fusion"), 3)


@pytest.mark.parametrize("name", ["tempcnn", "ltae", "utae", "fusion"])
def test_a_contract_gives_the_network_what_it_takes(name: str) -> None:
    """Through the windows of a model, with the layout and what its inputs take."""
    from rsscale.geo.lattice import Lattice
    from rsscale.legend.classes import LandClass
    from rsscale.model.model_input import ModelInput
    from rsscale.model.spec import ModelSpec
    from rsscale.network.batch import WindowBatch

    known = ARCHITECTURES[name]
    spec = ModelSpec(
        name=name,
        inputs=(ModelInput("s2", ("red", "nir"), (), (0.0,) * 2, (1.0,) * 2, 5, known.takes),),
        classes=(LandClass(1, "a", "#000000"), LandClass(2, "b", "#ffffff")),
        lattice=Lattice(16, 0),
        architecture=name,
        hyperparameters=complete(name, {}),
        layout=known.layout,
    )
    module = build(name, spec.inputs, spec.output_channels).eval()
    batch = WindowBatch(spec, torch.randn(1, spec.channels, 16, 16))
    with torch.inference_mode():
        assert call(module, batch).shape == (1, 2, 16, 16)
