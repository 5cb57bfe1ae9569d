"""Change without labels of a real pair, through a recipe, against its reference of change."""

from pathlib import Path

import numpy as np
import pytest
import taizhou
from sklearn import metrics

import rsscale as rs

pytestmark = pytest.mark.skipif(
    not taizhou.DATA.exists(), reason=f"the pair of Taizhou is not at {taizhou.DATA}"
)
# What an independent IR-MAD with Otsu's threshold, and change vectors, reach without labels.
IR_MAD = {"auc": 0.9945, "f1": 0.9465, "kappa": 0.934}
CHANGE_VECTORS = {"auc": 0.990, "f1": 0.924, "kappa": 0.907}


def scores(run: rs.Run, step: str = "change") -> dict[str, float]:
    """AUC of the magnitude, and F1, kappa and overall accuracy of the change."""
    place = {
        "x": slice(203_325, 215_325), "y": slice(3_604_935, 3_592_935), "time": "2003",
    }  # fmt: skip
    change = run.open(step)["change"].sel(place).squeeze().values
    magnitude = run.open(f"{step}-magnitude")
    name = next(name for name in ("magnitude", "chi_square") if name in magnitude)
    truth = taizhou.reference()
    assert change.shape == truth.shape
    known = truth != 255
    found, wanted = change[known], truth[known]
    assert (found != 255).all()
    return {
        "auc": metrics.roc_auc_score(wanted, magnitude[name].sel(place).squeeze().values[known]),
        "f1": metrics.f1_score(wanted, found),
        "kappa": metrics.cohen_kappa_score(wanted, found),
        "accuracy": float((wanted == found).mean()),
    }


@pytest.mark.parametrize(
    ("method", "threshold", "least"),
    [
        # In memory the same threshold is asked of in the default suite, see below.
        pytest.param("ir-mad", "otsu", IR_MAD, marks=pytest.mark.long),
        pytest.param("ir-mad", "kittler-illingworth", IR_MAD, marks=pytest.mark.extended),
        pytest.param(
            "change-vector", "kittler-illingworth", CHANGE_VECTORS, marks=pytest.mark.extended
        ),
    ],
)
def test_the_change_is_found_without_labels(
    tmp_path: Path, method: str, threshold: str, least: dict[str, float]
) -> None:
    recipe = taizhou.recipe(method=method, threshold=threshold)
    run = rs.run(recipe, tmp_path / "run", threads=1, device="cpu")
    found = scores(run)
    assert all(found[name] >= value for name, value in least.items()), found


@pytest.mark.extended
def test_in_memory_it_is_as_good() -> None:
    import xarray as xr

    before, after = (
        xr.DataArray(
            taizhou.image(year), dims=("band", "y", "x"),
            coords={"band": list(taizhou.BANDS), "y": -np.arange(400.0), "x": np.arange(400.0)},
        )
        for year in (2000, 2003)
    )  # fmt: skip
    found = rs.detect_spectral_change(before, after, threshold="otsu")
    truth = taizhou.reference()
    known = truth != 255
    wanted, change = truth[known], found["change"].values[known]
    assert metrics.f1_score(wanted, change) >= IR_MAD["f1"]
    assert found["change"].attrs["threshold"] > 50
    np.testing.assert_array_equal(
        found["change"].values == 1,
        found["chi_square"].values > found["change"].attrs["threshold"],
    )


def test_a_preview_is_of_the_two_dates() -> None:
    """Of what needs no whole area; the maps of others of the recipe's steps are not in its way."""
    recipe = taizhou.recipe(method="change-vector", scale="none", threshold=45)
    recipe["steps"]["other"] = {"kind": "spectral-change", "of": "etm", "from": 2000, "to": 2003}
    box = [119.9, 32.48, 119.92, 32.50]
    magnitude = rs.preview(recipe, box, step="change-magnitude", device="cpu")["magnitude"]
    change = rs.preview(recipe, box, step="change", device="cpu")["change"]
    rows = np.round((3_604_920 - magnitude.y.values) / 30).astype(int)
    cols = np.round((magnitude.x.values - 203_340) / 30).astype(int)
    before, after = (taizhou.image(year)[:, rows][:, :, cols] for year in (2000, 2003))
    wanted = np.sqrt(((after - before) ** 2).sum(axis=0))
    np.testing.assert_allclose(magnitude.values[0], wanted, rtol=1e-5)
    np.testing.assert_array_equal(change.values, magnitude.values > 45)
