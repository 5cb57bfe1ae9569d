"""LightGBM: boosters of classes and of values, what is missing, and text that is no model."""

from pathlib import Path

import lightgbm
import numpy as np
import pytest
from box_model import BOX, composite
from model_kinds import CLASSES, table

import rsscale as rs
from rsscale.errors import ModelError
from rsscale.model.outputs import ValueOutput

SAID = {"inputs": {"s2": ["red", "nir"]}, "times": ["a", "b"], "stride": 32}
SMALL = {"n_estimators": 4, "num_leaves": 5, "verbose": -1}
HEIGHT = ValueOutput((rs.Layer("height", "float32"),))


def test_a_booster_of_two_classes_gives_both_probabilities(tmp_path: Path) -> None:
    rows, values = table()
    rows[::3, 0] = np.nan  # without any in training, LightGBM takes what is missing as 0
    fitted = lightgbm.LGBMClassifier(**SMALL).fit(rows, values > 5)
    model = rs.Model.of(fitted.booster_, classes=CLASSES[:2], **SAID)
    rs.save_model(model, tmp_path / "model")
    comp = composite(BOX)
    found = rs.predict(comp, rs.open_model(tmp_path / "model"), probability=True)
    pixels = comp.values.reshape(4, -1).T  # with NaN, as LightGBM takes them
    seen = np.isfinite(pixels).any(axis=1)
    expected = 100 * fitted.predict_proba(pixels[seen])
    percent = found.probability.values.reshape(2, -1).T[seen].astype(int)
    assert np.abs(percent - expected).max() <= 0.5 + 1e-3
    filled = rs.Model.of(fitted.booster_, classes=CLASSES[:2], missing="mean", **SAID)
    other = rs.predict(comp, filled, probability=True)
    assert (other.probability != found.probability).any()  # 0 is another value than none


def test_values_are_those_of_the_regressor() -> None:
    rows, values = table()
    fitted = lightgbm.LGBMRegressor(**SMALL).fit(rows, values / 10)
    comp = composite(BOX)
    found = rs.predict(comp, rs.Model.of(fitted, output=HEIGHT, **SAID)).height.values
    expected = fitted.predict(comp.values.reshape(4, -1).T).astype(np.float32).reshape(BOX.shape)
    expected[np.isnan(comp.values).all(axis=(0, 1))] = np.nan
    np.testing.assert_array_equal(found, expected)


def test_what_does_not_fit_is_refused() -> None:
    rows, values = table()
    three = lightgbm.LGBMClassifier(**SMALL).fit(rows, values)
    heights = lightgbm.LGBMRegressor(**SMALL).fit(rows, values)
    with pytest.raises(ModelError, match=r"was fitted to the classes \[3, 9, 11\]"):
        rs.Model.of(three, classes=CLASSES[:2], **SAID)
    with pytest.raises(ModelError, match="was fitted to 3 classes"):
        rs.Model.of(three.booster_, classes=CLASSES[:2], **SAID)
    with pytest.raises(ModelError, match="is to give classes, and LightGBM was fitted with the"):
        rs.Model.of(heights, classes=CLASSES, **SAID)
    with pytest.raises(ModelError, match="is to give values, and LightGBM was fitted with the"):
        rs.Model.of(three, output=HEIGHT, **SAID)
    with pytest.raises(ModelError, match="is not fitted"):
        rs.Model.of(lightgbm.LGBMClassifier(), classes=CLASSES, **SAID)
    with pytest.raises(ModelError, match="fitted to 4 features"):
        rs.Model.of(three, classes=CLASSES, inputs={"s2": ["red"]}, times=["a"])


def test_features_in_another_order_are_refused_by_their_names() -> None:
    import pandas as pd

    rows, values = table()
    names = ["s2.a.red", "s2.a.nir", "s2.b.red", "s2.b.nir"]
    right, wrong = (
        lightgbm.LGBMClassifier(**SMALL).fit(pd.DataFrame(rows, columns=order), values)
        for order in (names, names[::-1])
    )
    rs.Model.of(right, classes=CLASSES, **SAID)
    with pytest.raises(ModelError, match="features in another order"):
        rs.Model.of(wrong.booster_, classes=CLASSES, **SAID)


@pytest.mark.parametrize("text", ["", "treex", "tree\nversion=v4\n"])
def test_text_that_is_no_model_is_refused(tmp_path: Path, text: str) -> None:
    rows, values = table()
    fitted = lightgbm.LGBMClassifier(**SMALL).fit(rows, values)
    rs.save_model(rs.Model.of(fitted, classes=CLASSES, **SAID), tmp_path / "model")
    (tmp_path / "model/model.txt").write_text(text)
    with pytest.raises(ModelError, match="is no model that LightGBM wrote"):
        rs.open_model(tmp_path / "model")
