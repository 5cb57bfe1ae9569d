"""The dissimilarity index is that of its definition, in pixels and in windows."""

import numpy as np
import pytest
import torch
from torch import nn

from rsscale.networks.applicability import WithApplicability, features_of


def training(seed: int = 0, features: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(60, features)), np.repeat(np.arange(6), 10)


def model(**how: object) -> WithApplicability:
    features, groups = training()
    made = WithApplicability(nn.Conv2d(4, 3, 1), 4, 60)
    made.set_training(features, groups, **how)  # type: ignore[arg-type]
    return made.eval()


@pytest.mark.parametrize("weight", [None, np.array([1.0, 0.5, 2.0, 0.0])])
def test_the_index_is_the_distance_to_the_nearest_over_the_mean(weight: np.ndarray | None) -> None:
    made = model(weight=weight)
    windows = torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = made(windows)
        assert torch.equal(found[:, :3], made.network(windows))
    scale = np.ones(4) if weight is None else weight
    points = training()[0] * scale
    pixels = windows.permute(0, 2, 3, 1).reshape(-1, 4).double().numpy() * scale
    nearest = np.linalg.norm(pixels[:, None] - points[None], axis=2).min(axis=1)
    pairs = np.linalg.norm(points[:, None] - points[None], axis=2)
    mean = pairs[~np.eye(60, dtype=bool)].mean()
    want = (nearest / mean).reshape(2, 5, 7)
    assert np.allclose(found[:, 3].numpy(), want, atol=1e-4)
    inside = found[:, 4].numpy().astype(bool)
    assert np.array_equal(inside, want <= float(made.threshold))
    assert 0 < inside.mean() < 1


def test_the_threshold_is_the_upper_whisker_over_other_blocks() -> None:
    points, groups = training()
    pairs = np.linalg.norm(points[:, None] - points[None], axis=2)
    mean = pairs[~np.eye(60, dtype=bool)].mean()
    pairs[groups[:, None] == groups] = np.inf
    own = pairs.min(axis=1) / mean
    low, high = np.percentile(own, [25, 75])
    want = own[own <= high + 1.5 * (high - low)].max()
    assert float(model().threshold) == pytest.approx(want, rel=1e-5)


def test_the_training_itself_is_inside_and_far_places_are_not() -> None:
    made = model()
    points = torch.from_numpy(training()[0].astype(np.float32)).T[None, :, :, None]
    with torch.inference_mode():
        assert (made(points)[:, 4] == 1).all()
        assert (made(points[..., :5, :] + 30)[:, 4] == 0).all()


def test_a_pixel_has_the_same_index_in_any_window() -> None:
    made = model()
    windows = torch.randn(1, 4, 40, 50, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole, part = made(windows), made(windows[..., 10:30, 5:45])
    assert torch.allclose(whole[:, 3, 10:30, 5:45], part[:, 3], atol=1e-4)


def test_features_of_series_are_means_of_what_is_known() -> None:
    values = torch.randn(2, 3, 2, 4, 5)
    valid = torch.rand(2, 3, 4, 5) < 0.6
    found = features_of({"s2": values, "s2.valid": valid, "s2.days": torch.zeros(2, 3)})
    known = np.where(valid[:, :, None], values, np.nan)
    with np.errstate(invalid="ignore"):
        want = np.nan_to_num(np.nansum(known, axis=1) / (~np.isnan(known)).sum(axis=1))
    assert np.allclose(found, want, atol=1e-5)
    assert torch.equal(features_of({"s2": values}), values.mean(dim=1))
    assert torch.equal(features_of(values), values.mean(dim=1))


@pytest.mark.parametrize("pixels", [1, 30])
def test_training_that_does_not_differ_is_measured_in_its_own_units(
    pixels: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One pixel, or the same one everywhere: no distance between them says how far is far."""
    made = WithApplicability(nn.Conv2d(3, 2, 1), 3, pixels).eval()
    alike = np.tile([[0.1, 0.7, -0.3]], (pixels, 1))
    made.set_training(alike, np.arange(pixels) // 10)
    assert float(made.mean_distance) == 1
    assert float(made.threshold) == 1
    far = np.array([[0.0, 0.0, 0.0], [0.9, 0.0, 0.0], [0.0, 3.0, 4.0]])
    windows = torch.from_numpy((alike[:1] + far).astype(np.float32)).T[None, :, :, None]
    with torch.inference_mode():
        found = made(windows)
    assert np.allclose(found[0, 2, :, 0], [0.0, 0.9, 5.0], atol=1e-3)
    assert found[0, 3, :, 0].tolist() == [1, 1, 0]
    assert "do not differ" in caplog.text
