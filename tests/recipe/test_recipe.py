"""Recipes: those that ship are valid, and a mistake is told in one line."""

from pathlib import Path

import pytest
import yaml

from rsscale.errors import RecipeError
from rsscale.recipe import read_recipe
from rsscale.simulation.world import CLASSES

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

MINIMAL = {
    "name": "test",
    "bbox": [5.9, 47.4, 6.1, 47.6],
    "grid": {"crs": "EPSG:32631", "resolution": 10},
    "periods": [2023],
    "inputs": {"s2": {"catalog": "catalog.json", "bands": ["red", "nir"]}},
    "model": "model",
}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.name)
def test_shipped_recipes_are_valid(path: Path, tmp_path: Path) -> None:
    recipe = read_recipe(path)
    again = tmp_path / "again.yaml"
    again.write_text(recipe.to_yaml())
    assert read_recipe(again) == recipe


def test_the_country_recipe_shows_every_key() -> None:
    content = yaml.safe_load((RECIPES / "landcover.yaml").read_text())
    text = (RECIPES / "landcover.yaml").read_text()
    for model in ("train", "output", "change", "grid", "inputs"):
        assert model in content
    for key in ("query", "mask", "composite", "harmonize", "resampling", "origin", "period_column"):
        assert key in text


def test_the_demo_classes_are_the_simulators() -> None:
    recipe = read_recipe(RECIPES / "demo.yaml")
    assert recipe.train is not None
    found = [(c.value, c.name, c.color) for c in recipe.train.classes or ()]
    assert found == [(c.value, c.name, c.color) for c in CLASSES]


def changed(**changes: object) -> dict:
    return {**MINIMAL, **changes}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(gird=1), r"gird: unknown key; did you mean 'grid'\?"),
        (
            changed(inputs={"s2": {"catalog": "c", "bnads": ["red"], "bands": ["red"]}}),
            r"inputs\.s2\.bnads: unknown key; did you mean 'bands'\?",
        ),
        (changed(grid={"crs": "EPSG:32631"}), r"grid\.resolution: missing"),
        (changed(grid={"crs": "EPSG:32631", "resolution": -1}), "greater than 0, found -1"),
        (changed(periods=[2024, 2023]), "list each year once, in order"),
        (changed(area="a.geojson"), "either 'area'.*or 'bbox'"),
        (changed(model={2022: "a"}), "no model for the period 2023"),
        (changed(change={"from": 2022, "to": 2023}), "both must be among 'periods'"),
        (
            changed(inputs={"s2": {"catalog": "c", "bands": ["red"], "composite": {}}}),
            "either 'by'.*or 'windows'",
        ),
        (
            changed(inputs={"s2": {"catalog": "c", "bands": ["red"], "mask": {"dilate": 3}}}),
            "needs 'preset', or 'band'",
        ),
        (
            changed(inputs={"s2": {"catalog": "c", "bands": ["red"], "mask": "sentinel2-slc"}}),
            r"inputs\.s2\.mask.*did you mean 'sentinel2-scl'",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(content: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe(content)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe at"):
        read_recipe(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: [")
    with pytest.raises(RecipeError, match="not valid YAML") as caught:
        read_recipe(bad)
    assert "\n" not in str(caught.value)
    bad.write_text("- a list")
    with pytest.raises(RecipeError, match="holds list"):
        read_recipe(bad)


def test_overrides_are_yaml_and_can_make_groups() -> None:
    recipe = read_recipe(MINIMAL, ["grid.tile=256", "periods=[2021, 2022]", "change.from=2021",
                                   "change.to=2022"])  # fmt: skip
    assert recipe.grid.tile == 256
    assert recipe.periods == (2021, 2022)
    assert recipe.change is not None
    with pytest.raises(RecipeError, match=r"expected key\.sub=value"):
        read_recipe(MINIMAL, ["grid.tile"])
    with pytest.raises(RecipeError, match="did you mean 'tile'"):
        read_recipe(MINIMAL, ["grid.tlie=3"])


def test_paths_count_from_the_recipes_folder(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(MINIMAL))
    recipe = read_recipe(tmp_path / "r.yaml")
    assert recipe.model == str(tmp_path / "model")
    assert recipe.inputs["s2"].catalog == str(tmp_path / "catalog.json")
    url = "https://example.com/v1"
    remote = read_recipe(changed(inputs={"s2": {"catalog": url, "bands": ["red"]}}))
    assert remote.inputs["s2"].catalog == url


@pytest.mark.parametrize(
    ("override", "decides"),
    [
        ("inputs.s2.harmonize=false", True),
        ("inputs.s2.bands=[red]", True),
        ("inputs.s2.on_error=skip", False),
        ("inputs.s2.catalog=https://mirror.example/v1", False),
        ("inputs.s2.loader=odc-stac", False),
        ("inputs.s2.sign=aws-anonymous", False),
    ],
)
def test_what_only_reaches_an_input_decides_no_pixel(override: str, *, decides: bool) -> None:
    before, after = read_recipe(MINIMAL), read_recipe(MINIMAL, [override])
    assert (before.inputs["s2"].processing() != after.inputs["s2"].processing()) == decides


def with_steps(**steps: object) -> dict:
    return {**{k: v for k, v in MINIMAL.items() if k != "change"}, "steps": steps}


def test_steps_are_sorted_and_the_short_form_is_among_them() -> None:
    recipe = read_recipe(
        with_steps(
            areas={"kind": "zones", "of": "edges", "zones": "communes.gpkg", "id": "code"},
            edges={"kind": "function", "of": {"a": "map", "b": {"run": "../other"}}},
        )
    )
    assert list(recipe.all_steps) == ["map", "edges", "areas"]
    assert recipe.all_steps["map"].kind == "predict"
    assert recipe.all_steps["edges"].references["b"].step == "map"
    assert recipe.all_steps["areas"].options == {"zones": "communes.gpkg", "id": "code"}
    assert read_recipe(yaml.safe_load(recipe.to_yaml())) == recipe


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"a": {"kind": "overviews", "of": "mapp"}}, r"'mapp'.*did you mean 'map'"),
        ({"a": {"kind": "x", "of": "b"}, "b": {"kind": "x", "of": "a"}}, "circle: . of . of ."),
        ({"a": {"kind": "x", "of": "a"}}, "circle: a of a"),
        ({"map": {"kind": "predict", "model": "m"}}, "two steps are called 'map'"),
        ({"s2": {"kind": "x"}}, "steps.s2: an input or a store has this name"),
        ({"product": {"kind": "x"}}, "steps.product: an input or a store"),
        ({"a": {"of": "map"}}, r"steps\.a\.kind: missing"),
        ({"A b": {"kind": "x"}}, "steps.A b"),
    ],
)
def test_steps_that_can_not_be_are_refused(steps: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(with_steps(**steps))


def test_a_recipe_without_model_and_steps_is_refused() -> None:
    bare = {k: v for k, v in MINIMAL.items() if k not in ("model", "change")}
    with pytest.raises(RecipeError, match=r"needs 'model'.*or 'steps'"):
        read_recipe(bare)


def test_a_key_that_stands_twice_is_told(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(MINIMAL) + "steps:\n  a: {kind: x}\n  a: {kind: y}\n")
    with pytest.raises(RecipeError, match=r"line \d+.*'a' stands twice"):
        read_recipe(path)


def test_an_input_named_like_a_part_of_a_step_is_no_part_of_it() -> None:
    picture = {"kind": "imagery", "of": "picture-s2", "bands": ["red", "red", "nir"]}
    s2 = {"catalog": "c.json", "bands": ["red", "nir"]}
    recipe = read_recipe(
        {
            "name": "named",
            "bbox": [6, 49, 7, 50],
            "grid": {"crs": "EPSG:32632", "resolution": 10},
            "periods": [2023],
            "inputs": {"picture-s2": s2},
            "steps": {"levels": {"kind": "overviews", "of": "picture"}, "picture": picture},
        }
    )
    assert list(recipe.all_steps) == ["picture", "levels"]


def test_what_should_be_a_list_is_said_with_an_example() -> None:
    with pytest.raises(
        RecipeError, match=r"periods: input should be a list, such as \[2000\], fou"
    ):
        read_recipe(changed(periods=2000))
