"""Classical learners: features of the map, missing values, balance, seeds, and what is refused."""

import importlib
from typing import Any

import numpy as np
import pytest
from point_series import BANDS, long_form
from sklearn.ensemble import RandomForestClassifier

import rsscale as rs
from rsscale.classical.point_estimator import ESTIMATORS, PointEstimator, table_features
from rsscale.errors import MissingExtraError, ModelError, RecipeError
from rsscale.learners.base import Design, Task
from rsscale.learners.point_batches import predict_numbers
from rsscale.learners.point_samples import PointSamples, point_samples

SMALL: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 20},
    "gradient_boosting": {"n_estimators": 10},
    "nearest_neighbours": {},
}


def irregular(**options: Any) -> rs.SeriesTable:
    given = {"bands": BANDS, "label": "label", "nodata": -9999, "scale": 1e-4, "blocks": 2.0}
    return rs.read_series_table(long_form(), **{**given, **options})


def windows(count: int = 90, classes: int = 3, gaps: float = 0.2) -> rs.SeriesTable:
    """Two time windows of two bands; the class shifts them, some are missing."""
    random = np.random.default_rng(0)
    targets = np.arange(count) % classes
    values = random.normal(0, 0.02, (count, 2, 2)) + 0.1 * (1 + targets[:, None, None])
    values[random.random((count, 2)) < gaps] = np.nan
    names = np.array(["oak", "elm", "ash"])[targets]
    return rs.SeriesTable.of_arrays(
        values, [100, 200], names, bands=["red", "nir"], times=["a", "b"],
        groups=np.arange(count) // 6, name="s2",
    )  # fmt: skip


def fitted(
    table: rs.SeriesTable, kind: str, balance: Any = "none", seed: int = 0, **hyperparameters: Any
) -> tuple[PointEstimator, rs.Model, PointSamples]:
    task, samples = point_samples(table)
    design = Design("m", kind, {**SMALL[kind], **hyperparameters})
    learner = PointEstimator(design, task, balance, seed)
    return (
        learner,
        learner.fit(samples, samples.subset(np.zeros(len(samples), bool))).model,
        samples,
    )


def test_the_forest_is_that_of_scikit_learn_on_the_same_features() -> None:
    table = windows(gaps=0.0)
    learner, model, samples = fitted(table, "random_forest", indices=["NDVI"])
    (part,) = table.inputs
    red, nir = part.values[..., 0], part.values[..., 1]
    flat = part.values.reshape(len(table), 4)
    mean, std = np.tile(model.spec.inputs[0].mean, 2), np.tile(model.spec.inputs[0].std, 2)
    features = np.concatenate([(flat - mean) / std, (nir - red) / (nir + red)], axis=1)
    np.testing.assert_allclose(table_features(model.spec, table), features, atol=1e-4)
    expected = RandomForestClassifier(20, random_state=0).fit(
        table_features(model.spec, table), samples.targets
    )
    found = learner.predict(model, samples)
    np.testing.assert_allclose(
        found.numbers, expected.predict_proba(table_features(model.spec, table)), atol=1e-6
    )
    assert found.are_probabilities
    assert [c.name for c in model.spec.classes] == list(learner.task.names)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_classes_keep_the_order_that_they_are_given_in(kind: str) -> None:
    """A legend whose values fall: scores are in its order, not in that of the values."""
    table = windows()
    classes = [rs.LandClass(9, "oak", "#111111"), rs.LandClass(4, "elm", "#222222"),
               rs.LandClass(7, "ash", "#333333")]  # fmt: skip
    task, samples = point_samples(table, classes)
    learner = PointEstimator(Design("m", kind, SMALL[kind]), task)
    model = learner.fit(samples, samples).model
    assert [c.value for c in model.spec.classes] == [9, 4, 7]
    found = learner.predict(model, samples)
    assert (found.numbers.argmax(axis=1) == samples.targets).mean() > 0.9


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("of", ["windows", "irregular"])
def test_a_saved_model_gives_the_same_numbers(kind: str, of: str, tmp_path: Any) -> None:
    table = windows() if of == "windows" else irregular()
    _, model, _ = fitted(table, kind)
    rs.save_model(model, tmp_path / "m")
    opened = rs.open_model(tmp_path / "m")
    assert opened.spec == model.spec
    assert opened.reach == 0
    expected = predict_numbers(model, table)
    np.testing.assert_array_equal(predict_numbers(opened, table), expected)
    _, again, _ = fitted(table, kind)
    rs.save_model(again, tmp_path / "again")
    assert rs.open_model(tmp_path / "again").digest == opened.digest
    some = table.subset(np.arange(7))
    np.testing.assert_array_equal(predict_numbers(opened, some), expected[:7])


def test_series_are_put_on_places_of_the_year_whatever_their_dates() -> None:
    """Other dates of the same course are the same features, blanks at the end too."""
    _, model, _ = fitted(irregular(), "random_forest", places=6)
    days = np.array([[10, 100, 190, 280, 350, 0]], np.float32)
    values = np.repeat(days[..., None] / 1000, 2, axis=2)
    values[0, 5] = np.nan
    denser = np.arange(10, 351, 10, dtype=np.float32)[None]
    sparse, dense = (
        rs.SeriesTable(
            (rs.SeriesInput("series", BANDS, v.astype(np.float32), d),),
            np.array(["early"]), np.zeros(1, np.int64),
        )
        for v, d in ((values, days), (np.repeat(denser[..., None] / 1000, 2, axis=2)[:, :25],
                                      denser[:, :25]))
    )  # fmt: skip
    one, other = (table_features(model.spec, table)[0] for table in (sparse, dense))
    assert one.shape == (12,)
    # Places in the middle of the year lie between observations of both.
    np.testing.assert_allclose(one[2:8], other[2:8], atol=1e-4)


@pytest.mark.parametrize("kind", ["random_forest", "gradient_boosting"])
def test_weights_move_the_line_towards_the_common_class(kind: str) -> None:
    random = np.random.default_rng(1)
    rare = np.arange(400) % 10 == 0
    values = random.normal(0, 1, (400, 1, 1)) + 1.0 * rare[:, None, None]
    table = rs.SeriesTable.of_arrays(
        values, [100], np.where(rare, "rare", "common"), bands=["red"], times=["a"]
    )
    less = {"random_forest": {"min_samples_leaf": 20}, "gradient_boosting": {}}[kind]
    counts = []
    for balance in ("none", "weights", "sampling"):
        learner, model, samples = fitted(table, kind, balance, **less)
        said = learner.predict(model, samples).numbers.argmax(axis=1)
        counts.append(int((said == learner.task.names.index("rare")).sum()))
    assert counts[0] < counts[1] < counts[2]


def test_a_class_that_a_fold_lacks_has_no_probability() -> None:
    table = windows()
    task, samples = point_samples(table)
    learner = PointEstimator(Design("m", "random_forest", SMALL["random_forest"]), task)
    model = learner.fit(samples.subset(samples.targets != 1), samples).model
    found = learner.predict(model, samples)
    assert found.numbers.shape == (len(samples), 3)
    assert (found.numbers[:, 1] == 0).all()
    np.testing.assert_allclose(found.numbers.sum(axis=1), 1, atol=1e-6)
    with pytest.raises(RecipeError, match="has samples of 1 class to learn from"):
        learner.fit(samples.subset(samples.targets == 1), samples)


def test_the_seed_decides_the_forest() -> None:
    numbers = [predict_numbers(fitted(windows(), "random_forest", seed=s)[1], windows())
               for s in (0, 0, 1)]  # fmt: skip
    np.testing.assert_array_equal(numbers[0], numbers[1])
    assert (numbers[0] != numbers[2]).any()


@pytest.mark.parametrize("kind", ["random_forest", "nearest_neighbours"])
def test_several_values_are_learnt_at_once(kind: str) -> None:
    random = np.random.default_rng(0)
    values = random.random((200, 1, 2))
    truth = np.stack([values[:, 0, 0] * 3, values[:, 0, 1] - 1], axis=1)
    table = rs.SeriesTable.of_arrays(
        values, [100], truth, bands=BANDS, times=["a"], quantities=["height", "depth"]
    )
    learner, model, samples = fitted(table, kind)
    scores = learner.task.score(learner.predict(model, samples))
    assert min(scores.r2.values()) > 0.95
    with pytest.raises(RecipeError, match="gradient_boosting learns one value"):
        fitted(table, "gradient_boosting")


def test_hyperparameters_are_checked_by_name_and_value() -> None:
    with pytest.raises(ModelError, match="no hyperparameter 'depth'; it has indices, bands"):
        fitted(windows(), "random_forest", depth=3)
    with pytest.raises(ModelError, match=r"can't be fitted with .*n_estimators"):
        fitted(windows(), "random_forest", n_estimators=-1)
    with pytest.raises(ModelError, match="with 0 places of the year"):
        fitted(irregular(), "random_forest", places=0)
    with pytest.raises(RecipeError, match="has no 'epochs'; it has balance, validation, seed"):
        rs.train_table(windows(), architecture="random_forest", epochs=3)


@pytest.mark.parametrize(
    ("kind", "lacking"), [("random_forest", "skops.io"), ("gradient_boosting", "lightgbm")]
)
def test_the_extra_is_named_where_it_is_missing(
    kind: str, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name == lacking:
            raise ImportError(f"No module named {name!r}")
        return known(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    learner = PointEstimator(Design("m", kind), Task())
    with pytest.raises(MissingExtraError, match=r"pip install 'rsscale\[classical\]'"):
        learner._estimator()
