"""Estimators: classes, features and indices are those of the contract; files run no code."""

import functools
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
import torch
from box_model import BOX, composite
from model_kinds import CLASSES, table
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

import rsscale as rs
from rsscale.errors import ModelError
from rsscale.model.outputs import ClassOutput, ValueOutput
from rsscale.runtimes.by_pixel import PixelFeatures

INPUTS, TIMES = {"s2": ["red", "nir"]}, ["a", "b"]
HEIGHT = ValueOutput((rs.Layer("height", "float32"),))


def forest(**more: object) -> RandomForestClassifier:
    return RandomForestClassifier(4, random_state=0, max_depth=4, **more).fit(*table())


def of(estimator: object, **more: object) -> rs.Model:
    said = {"inputs": INPUTS, "times": TIMES, "classes": CLASSES, "stride": 32} | more
    return rs.Model.of(estimator, **said)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rs.save_model(of(forest()), tmp_path / "model")
    return tmp_path / "model"


def test_classes_are_found_by_value_or_name_in_any_order() -> None:
    rows, values = table()
    names = np.array(["one", "two", "six"])[np.searchsorted([3, 9, 11], values)]
    by_name = RandomForestClassifier(4, random_state=0, max_depth=4).fit(rows, names)
    backwards = of(by_name, classes=CLASSES[::-1])
    assert [c.name for c in backwards.spec.classes] == ["one", "six", "two"]  # as sklearn sorts
    comp = composite(BOX)
    one, other = (rs.predict(comp, model) for model in (of(forest()), backwards))
    # Trees of other orders of classes break ties in other ways.
    assert (one.classification == other.classification).mean() > 0.95


@pytest.mark.parametrize(
    "classes", [CLASSES[:2], (*CLASSES, rs.LandClass(4, "more", "#000000")),
                (*CLASSES[:2], rs.LandClass(12, "seven", "#000000"))]
)  # fmt: skip
def test_other_classes_are_refused_in_one_line(classes: tuple) -> None:
    with pytest.raises(ModelError, match=r"was fitted to the classes \[3, 9, 11\].*3 one") as error:
        of(forest(), classes=classes)
    assert "\n" not in str(error.value)


def test_what_does_not_predict_probabilities_is_refused() -> None:
    rows, values = table()
    with pytest.raises(ModelError, match="without probabilities of classes"):
        of(LinearSVC().fit(rows, values))
    with pytest.raises(ModelError, match="is not fitted"):
        of(RandomForestClassifier())
    with pytest.raises(ModelError, match=r"knows the classes .*give classes"):
        of(forest(), classes=())
    with pytest.raises(ModelError, match="gives probabilities, and its output says activation"):
        of(forest(), output=ClassOutput())
    with pytest.raises(ModelError, match="is a classifier; give classes"):
        of(forest(), classes=(), output=HEIGHT)
    with pytest.raises(ModelError, match="takes channels"):
        of(forest(), layout="series")


def test_features_are_counted_and_named() -> None:
    with pytest.raises(ModelError, match=r"fitted to 4 features.* make 2: s2\.a\.red, s2\.a\.nir"):
        of(forest(), times=["a"])


def test_columns_in_another_order_are_refused_others_are_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    import pandas as pd

    rows, values = table()
    names = ["s2.a.red", "s2.a.nir", "s2.b.red", "s2.b.nir"]
    with pytest.raises(ModelError, match="features in another order"):
        of(RandomForestClassifier(3).fit(pd.DataFrame(rows, columns=names[::-1]), values))
    right = RandomForestClassifier(4, random_state=0, max_depth=4)
    # sklearn would warn of names that it misses, and a warning fails a test.
    named = rs.predict(composite(BOX), of(right.fit(pd.DataFrame(rows, columns=names), values)))
    assert not caplog.records
    plain = rs.predict(composite(BOX), of(forest()))
    assert (named.confidence == plain.confidence).all()
    of(RandomForestClassifier(3).fit(pd.DataFrame(rows, columns=list("pqrs")), values))
    assert "given by position" in caplog.text


def test_what_cannot_take_nan_says_so() -> None:
    model = of(GaussianNB().fit(*table()), missing="nan")
    with pytest.raises(
        ModelError, match=r"scikit-learn can't predict .*NaN.*begin with an imputer"
    ):
        rs.predict(composite(BOX), model)


def test_values_are_those_of_the_regressor(tmp_path: Path) -> None:
    rows, values = table()
    fitted = RandomForestRegressor(3, random_state=0, max_depth=4).fit(rows, values / 10.0)
    rs.save_model(of(fitted, classes=(), output=HEIGHT), tmp_path / "model")
    comp = composite(BOX)
    found = rs.predict(comp, rs.open_model(tmp_path / "model")).height.to_numpy()
    pixels = np.nan_to_num(comp.to_numpy().reshape(4, -1).T)
    expected = fitted.predict(pixels).astype(np.float32).reshape(BOX.shape)
    expected[np.isnan(comp.values).all(axis=(0, 1))] = np.nan
    np.testing.assert_array_equal(found, expected)


def test_indices_are_features_of_each_time() -> None:
    rows, values = table()
    index = (rows[:, 1::2] - rows[:, ::2]) / (rows[:, 1::2] + rows[:, ::2])  # NDVI of a, of b
    together = np.concatenate([rows, index], axis=1)
    fitted = RandomForestClassifier(4, random_state=0).fit(together, values)
    model = of(fitted, hyperparameters={"indices": ["NDVI"]})
    assert model.module.features[4:] == ["s2.a.NDVI", "s2.b.NDVI"]
    image = torch.from_numpy(rows.T.reshape(1, 4, 20, 20).copy())
    found = model(image)[0].reshape(3, -1).T.numpy()
    np.testing.assert_allclose(found, fitted.predict_proba(together), atol=1e-6)
    scaled = rs.ModelInput("s2", ("red", "nir"), ("a", "b"), (0.2, 0.4), (0.5, 0.25))
    physical = of(fitted, inputs=[scaled], times=None, hyperparameters={"indices": ["NDVI"]})
    normal = (image.view(2, 2, 400) - torch.tensor([0.2, 0.4]).view(1, 2, 1)) / torch.tensor(
        [0.5, 0.25]
    ).view(1, 2, 1)
    (features,) = PixelFeatures(physical.spec).batches(normal.reshape(1, 4, 20, 20), 400)
    np.testing.assert_allclose(features()[:, 4:], index, atol=1e-5)


@pytest.mark.parametrize(
    ("hyperparameters", "match"),
    [
        ({"indices": ["NDVX"]}, "no spectral index 'NDVX'"),
        ({"indices": ["NDWI"]}, "is made of the bands G, N, which no input has"),
        ({"indices": "NDVI"}, "expected a list of names"),
    ],
)
def test_indices_that_cannot_be_made_are_refused(hyperparameters: dict, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        of(forest(), hyperparameters=hyperparameters)


def touch(rows: np.ndarray, path: str = "") -> np.ndarray:
    """A function that a file could name."""
    Path(path).touch()
    return rows


@pytest.mark.parametrize("kind", ["function", "partial", "numpy", "class"])
def test_files_that_would_run_code_are_refused_unrun(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    ran = tmp_path / "ran"
    rows, values = table()
    if kind == "class":
        # A type by name, whose making would create the file.
        content = skops.io.dumps(forest())
        schema = {"__class__": "_TemporaryFileWrapper", "__module__": "tempfile"}
        changed = _with_schema(content, schema)
    else:
        step = {
            "function": FunctionTransformer(touch, kw_args={"path": str(ran)}),
            "partial": FunctionTransformer(functools.partial(touch, path=str(ran))),
            "numpy": FunctionTransformer(functools.partial(np.savetxt, str(ran))),
        }[kind]
        fitted = make_pipeline(step, GaussianNB())
        if kind == "numpy":  # returns nothing to fit to
            fitted.steps[1][1].fit(rows, values)
        else:
            fitted.fit(rows, values)
            ran.unlink()
            with pytest.raises(ModelError, match="could not be opened again"):
                rs.save_model(of(fitted), tmp_path / "not")
        changed = skops.io.dumps(fitted)
    (folder / "model.skops").write_bytes(changed)
    with pytest.raises(ModelError, match=r"only classes of scikit-learn are opened"):
        rs.open_model(folder)
    assert not ran.exists()


def _with_schema(content: bytes, changes: dict) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w") as archive:
        for name in source.namelist():
            data = source.read(name)
            if name == "schema.json":
                data = json.dumps(json.loads(data) | changes).encode()
            archive.writestr(name, data)
    return out.getvalue()


class RunsCode:
    """What a pickle can do when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("content", ["pickle", "cut", "empty"])
def test_pickles_and_damaged_files_are_refused(folder: Path, tmp_path: Path, content: str) -> None:
    path = folder / "model.skops"
    kinds = {
        "pickle": pickle.dumps(RunsCode(tmp_path / "ran")),
        "cut": path.read_bytes()[:-200],
        "empty": b"",
    }
    path.write_bytes(kinds[content])
    with pytest.raises(ModelError, match=r"is no file of skops\.io\.dump, or damaged"):
        rs.open_model(folder)
    assert not (tmp_path / "ran").exists()


def test_a_joblib_file_is_refused_by_name(folder: Path) -> None:
    item = json.loads((folder / "item.json").read_text())
    item["assets"]["model"]["href"] = "./model.joblib"
    (folder / "item.json").write_text(json.dumps(item))
    (folder / "model.joblib").write_bytes(b"not even a pickle")
    with pytest.raises(ModelError, match=r"is a pickle.*rsscale\.save_model"):
        rs.open_model(folder)


def test_an_item_of_another_framework_or_order_is_refused(folder: Path) -> None:
    path = folder / "item.json"
    item = json.loads(path.read_text())
    classes = item["properties"]["mlm:output"][0]["classification:classes"]
    path.write_text(json.dumps(item).replace("scikit-learn", "LightGBM"))
    with pytest.raises(ModelError, match=r"mlm:framework is LightGBM; \.skops is a file of sci"):
        rs.open_model(folder)
    classes.reverse()
    path.write_text(json.dumps(item))
    with pytest.raises(ModelError, match="has classes in another order"):
        rs.open_model(folder)
