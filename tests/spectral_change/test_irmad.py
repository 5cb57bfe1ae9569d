"""IR-MAD against an implementation on whole arrays, by the generalised eigenproblem."""

import numpy as np
import pytest
import scipy.linalg
from scipy.stats import chi2
from sklearn import metrics

from rsscale.errors import BandError
from rsscale.spectral_change.irmad import CanonicalVariates, irmad

CHANGED = 0.08


def pair(pixels: int = 6000, bands: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two dates of other gains and offsets with noise, where the first pixels changed."""
    random = np.random.default_rng(seed)
    mix = random.normal(size=(bands, bands))
    before = mix @ random.gamma(2, 1, (bands, pixels))
    after = before * random.uniform(0.5, 2, (bands, 1)) + random.uniform(-5, 5, (bands, 1))
    after += random.normal(size=after.shape) * 0.3
    count = int(CHANGED * pixels)
    after[:, :count] += mix @ random.normal(0, 3, (bands, count))
    return before, after


def oracle(before: np.ndarray, after: np.ndarray, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlations, rising, and chi-square after so many iterations: Nielsen's equations."""
    bands, pixels = before.shape
    weights = np.ones(pixels)
    for _ in range(iterations):
        both = np.cov(np.concatenate([before, after]), aweights=weights, ddof=0)
        s11, s12, s22 = both[:bands, :bands], both[:bands, bands:], both[bands:, bands:]
        squared, a = scipy.linalg.eigh(s12 @ np.linalg.inv(s22) @ s12.T, s11)
        _, b = scipy.linalg.eigh(s12.T @ np.linalg.inv(s11) @ s12, s22)
        correlations = np.sqrt(squared)
        b *= np.sign(np.diag(a.T @ s12 @ b))
        mean = [np.average(date, axis=1, weights=weights)[:, None] for date in (before, after)]
        variates = a.T @ (before - mean[0]) - b.T @ (after - mean[1])
        chi_square = (variates**2 / (2 * (1 - correlations))[:, None]).sum(axis=0)
        weights = chi2.sf(chi_square, bands)
    return correlations, chi_square


@pytest.mark.parametrize("iterations", [1, 2, 7])
def test_each_iteration_is_that_of_the_equations(iterations: int) -> None:
    before, after = pair()
    found = irmad(before, after, tolerance=0, most=iterations)
    correlations, chi_square = oracle(before, after, iterations)
    np.testing.assert_allclose(found.correlations, correlations, rtol=1e-8)
    np.testing.assert_allclose(found.chi_square(before, after), chi_square, rtol=1e-6)
    assert found.iterations == iterations
    assert not found.converged
    assert len(found.history) == iterations


def test_it_converges_and_finds_what_changed() -> None:
    before, after = pair()
    found = irmad(before, after)
    assert found.converged
    assert 3 < found.iterations < 200
    assert np.abs(found.history[-1] - found.history[-2]).max() <= 1e-6
    probability = found.probability(found.chi_square(before, after))
    changed = np.arange(before.shape[1]) < CHANGED * before.shape[1]
    assert probability[changed].mean() > 0.99
    assert metrics.roc_auc_score(changed, probability) > 0.98


def test_gains_offsets_and_mixtures_of_bands_do_not_matter() -> None:
    before, after = pair()
    random = np.random.default_rng(1)
    found = irmad(before, after).chi_square(before, after)
    mixed = random.normal(size=(5, 5)) @ after * 7 - 3
    np.testing.assert_allclose(irmad(before, mixed).chi_square(before, mixed), found, rtol=1e-3)


def test_order_signs_and_variances_are_fixed() -> None:
    before, after = pair()
    found = irmad(before, after, most=1)
    assert (np.diff(found.correlations) > 0).all()
    variates = found.variates(before, after)
    np.testing.assert_allclose(variates.var(axis=1), 1, rtol=1e-8)
    first = found.before @ (before - found.before_mean[:, None])
    second = found.after @ (after - found.after_mean[:, None])
    standard = (before - before.mean(axis=1, keepdims=True)) / before.std(axis=1, keepdims=True)
    assert ((first @ standard.T).sum(axis=1) > 0).all()
    np.testing.assert_allclose(
        [np.corrcoef(u, v)[0, 1] for u, v in zip(first, second, strict=True)],
        found.correlations, rtol=1e-8,
    )  # fmt: skip
    turned = irmad(-before, -after, most=1)
    np.testing.assert_allclose(turned.variates(-before, -after), -variates, rtol=1e-6, atol=1e-9)


def test_a_pixel_has_the_same_value_in_any_array() -> None:
    """To the bit: what a tile computes must not depend on its size."""
    before, after = (date.astype(np.float32) for date in pair())
    found = irmad(before, after)
    whole = found.variates(before, after)
    for part in (slice(0, 1), slice(3, 1000), slice(17, 18)):
        np.testing.assert_array_equal(
            whole[:, part], found.variates(before[:, part], after[:, part])
        )
    image = found.variates(before.reshape(5, 60, 100), after.reshape(5, 60, 100))
    np.testing.assert_array_equal(image.reshape(5, -1), whole)
    strided = found.variates(np.asfortranarray(before), np.asfortranarray(after))
    np.testing.assert_array_equal(strided, whole)


@pytest.mark.parametrize(
    ("spoil", "used"),
    [
        (lambda date: np.concatenate([date, np.full((1, date.shape[1]), 7.0)]), 5),
        (lambda date: np.concatenate([date, date[:1] * 3 + 1]), 5),
        (lambda date: np.concatenate([date, date[:1] + date[1:2]]), 5),
        (lambda date: np.concatenate([date, 1e6 + 0 * date[:1]]), 5),
    ],
)
def test_bands_that_say_nothing_of_their_own_are_left_out(spoil: object, used: int) -> None:
    before, after = pair()
    wanted = irmad(before, after)
    found = irmad(spoil(before), spoil(after))  # type: ignore[operator]
    assert found.bands == tuple(range(used))
    np.testing.assert_array_equal(found.correlations, wanted.correlations)
    other = np.concatenate([after, after[:1] ** 2])
    one_date = irmad(spoil(before), other, most=2)  # type: ignore[operator]
    assert found.bands == one_date.bands


def test_equal_images_are_refused() -> None:
    """Their differences are rounding, of which a threshold would tell change."""
    before, _ = pair()
    for after in (before, (before * 1.5 + 20).astype(np.float32)):
        with pytest.raises(BandError, match=r"the two dates are the same, but for gains .*; look"):
            irmad(before, after)
    partly = before.copy()
    partly[:, :40] += np.arange(40)
    assert irmad(before, partly).chi_square(before, partly)[200:].max() < 1e-3


def test_what_no_variates_can_be_found_of_is_refused() -> None:
    before, after = pair()
    with pytest.raises(BandError, match="0 pixels have values at both dates, and IR-MAD of 5 ban"):
        irmad(before[:, :0], after[:, :0])
    with pytest.raises(BandError, match=r"4 pixels .* needs 50 or more; look at clouds"):
        irmad(before[:, :4], after[:, :4])
    with pytest.raises(BandError, match="all of the 5 bands are constant at one of the dates"):
        irmad(before, 0 * after)


def test_unrelated_dates_end() -> None:
    """Where all changed there is no background; the iteration ends, and says so."""
    random = np.random.default_rng(3)
    found = irmad(random.normal(size=(3, 2000)), random.normal(size=(3, 2000)))
    assert isinstance(found, CanonicalVariates)
    assert np.isfinite(found.correlations).all()
