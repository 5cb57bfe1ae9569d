"""A real pair that was shifted: what change without labels makes of it, told of and corrected."""

from pathlib import Path

import numpy as np
import pytest
import taizhou
from scipy.ndimage import shift as moved
from sklearn.metrics import f1_score
from two_dates import TwoDates

import rsscale as rs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not taizhou.DATA.exists(), reason=f"the pair of Taizhou is not at {taizhou.DATA}"
    ),
]


def scored(folder: Path, dates: TwoDates, **step: object) -> tuple[rs.Run, float]:
    """A run of change vectors, and F1 of its change where the reference knows it."""
    recipe = dates.recipe(folder, tile=512, kind="spectral-change", method="change-vector", **step)
    recipe["grid"]["origin"] = [15, 15]  # the files' pixels, as they are
    run = rs.run(recipe, folder / f"run-{'-'.join(map(str, step.values()))}", threads=1)
    x, y = dates.corner
    pixels = {"x": x + 15 + 30 * np.arange(400), "y": y - 15 - 30 * np.arange(400)}
    change = run.open("pair")["change"].squeeze().load().reindex(pixels, fill_value=255).values
    truth = taizhou.reference()
    known = (truth != 255) & (change != 255)
    assert known.sum() > 17_000
    return run, float(f1_score(truth[known], change[known]))


@pytest.mark.extended
def test_a_shift_costs_change_that_correction_gives_back(tmp_path: Path) -> None:
    """Real, the dates are 0.1 px apart; 0.7 px more are put between them here."""
    after = np.stack([moved(b, (0, 0.7), order=5, mode="mirror") for b in taizhou.image(2003)])
    corner = (203_325.0, 3_604_935.0)
    dates = TwoDates(taizhou.image(2000), after, bands=taizhou.BANDS, corner=corner)
    run, warned = scored(tmp_path, dates, register="warn")
    (row,) = run.table("pair-shift").to_pylist()
    assert (row["dx"], row["dy"]) == pytest.approx((0.6, 0.0), abs=0.06)
    assert row["spread"] < 0.1
    assert row["other_place"] == 0
    _, corrected = scored(tmp_path, dates, register="correct")
    assert warned < 0.91
    assert corrected > 0.955  # 0.960 of the images as they are
