"""A first argument of another kind is refused in one line that says what to give."""

import pickle
from pathlib import Path

import pytest
from landscape import make_model

import rsscale as rs
from rsscale.decorators.first_argument import made_by

FUNCTIONS = {
    "composite": "rs.load",
    "mask": "rs.load",
    "merge_days": "rs.load",
    "series": "rs.load",
    "to_reflectance": "rs.load",
    "to_decibel": "rs.composite",
    "rgb": "rs.composite",
    "coregister": "rs.composite",
    "detect_spectral_change": "rs.composite",
    "predict": "rs.composite",
    "detect": "rs.composite",
    "detect_change": "rs.predict",
    "quicklook": r"rs.Run\(folder\).open",
    "to_netcdf": "rs.predict",
    "polygonize": "maps.classification",
    "train_table": "rs.read_series_table",
    "compare_table": "rs.read_series_table",
    "estimate": "pandas.read_csv",
}
CLASSES = {
    "AreaEstimates": "rs.assess_sample",
    "Changes": "rs.changes",
    "Comparison": "rs.compare",
    "Coregistered": "rs.coregister",
    "Gates": "rs.check_quality",
    "Model": "rs.open_model",
    "ObjectScores": "rs.score_objects",
    "Plan": "rs.plan",
    "Publication": "rs.publish",
    "Recipe": "rs.read_recipe",
    "SampleDesign": "rs.design_sample",
    "SeriesTable": "rs.read_series_table",
    "TransitionMatrix": "rs.transition_matrix",
}


@pytest.mark.parametrize(("name", "remedy"), FUNCTIONS.items())
@pytest.mark.parametrize("given", ["out/product.zarr", Path("out"), 5, None])
def test_functions(name: str, remedy: str, given: object) -> None:
    # The second arguments of those that need some: nothing looks at them.
    more = {"mask": ["scl"], "quicklook": ["a.png"], "to_netcdf": ["a.nc"]}.get(name, [])
    if name in ("coregister", "detect_spectral_change", "detect_change", "predict", "detect"):
        more = [given]
    with pytest.raises(
        TypeError, match=rf"^rs\.{name} got .* first; expected .*{remedy}"
    ) as caught:
        getattr(rs, name)(given, *more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "remedy"), CLASSES.items())
def test_classes_are_not_made_of_a_path(name: str, remedy: str) -> None:
    with pytest.raises(TypeError, match=rf"^rs\.{name} is not made of .*'out'.*; call {remedy}"):
        getattr(rs, name)("out")


def test_a_class_that_is_made_by_a_function_is_copied_as_before() -> None:
    plan = rs.Plan("name", 512, {}, ())
    assert pickle.loads(pickle.dumps(plan)) == plan
    recipe = rs.read_recipe(
        {"name": "area", "bbox": [0, 0, 1, 1], "grid": {"crs": "EPSG:32631", "resolution": 10},
         "periods": [2023], "inputs": {"s2": {"catalog": "c.json", "bands": ["red"]}},
         "model": "model"}
    )  # fmt: skip
    assert pickle.loads(pickle.dumps(recipe)) == recipe == recipe.model_copy()


def test_one_path_among_several_arguments_is_left_to_the_class() -> None:
    @made_by("rs.make()")
    class Pair:
        def __init__(self, first: str, second: str) -> None:
            self.both = first, second

    assert Pair("a", "b").both == ("a", "b")


def test_a_model_folder_is_made_of_a_path(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    assert rs.ModelFolder(str(tmp_path / "model")) == rs.ModelFolder.at(tmp_path / "model")
    with pytest.raises(rs.ModelError, match="nothing"):
        rs.ModelFolder(str(tmp_path / "nothing"))


def test_a_run_is_no_number() -> None:
    with pytest.raises(TypeError, match="5 is no run; give its folder"):
        rs.verify(5)  # type: ignore[arg-type]


def test_a_legend_is_made_of_classes() -> None:
    with pytest.raises(TypeError, match=r"made of LandClass\(value, name, color\), and got 'w'"):
        rs.Legend("water")  # type: ignore[arg-type]
    legend = rs.Legend([rs.LandClass(1, "water", "#2b83ba")])
    assert pickle.loads(pickle.dumps(legend)) == legend
