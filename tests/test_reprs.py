"""What a notebook shows of values: the figures that their text has, with colours."""

import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from code_blocks import ROOT, blocks_of

import rsscale as rs
from rsscale.accuracy.confusion import Accuracy
from rsscale.diagnosis.check import Check, Diagnosis
from rsscale.estimation.area_estimates import AreaEstimates
from rsscale.estimation.change_figures import ChangeFigures
from rsscale.items.item_store import ItemChanges
from rsscale.progress.bars import show_progress
from rsscale.runs.changes import Changes, TileChanges
from rsscale.survey_estimators.estimates import Estimate

RECIPES = ROOT / "recipes"
CLASSES = (rs.LandClass(1, "water", "#2b83ba"), rs.LandClass(4, "a < b", "#1b7837"))


class Tables(HTMLParser):
    """Texts of the cells of each table."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.is_cell = False
        self.tables: list[list[list[str]]] = []
        self.feed(value._repr_html_())  # type: ignore[attr-defined]

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.is_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.is_cell &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.is_cell:
            self.tables[-1][-1][-1] += data


def test_an_accuracy_has_its_confusion_matrix() -> None:
    blocks = np.array([[[8, 1], [2, 5]]], np.int64)
    unmapped = np.array([[0, 4]], np.int64)
    areas = np.ones((1, 3, 2))
    found = Accuracy(CLASSES, np.zeros((1, 2), np.int64), blocks, unmapped, areas, 1000.0)
    figures, matrix = Tables(found).tables
    assert [row[0] for row in figures] == ["class", "water", "a < b"]
    assert figures[1][1:3] == ["0.889", "0.800"]  # 8 of 9 mapped, 8 of 10 in the reference
    assert matrix[0][1:] == ["water", "a < b", "all"]
    assert matrix[1:] == [
        ["water", "8", "1", "9"],
        ["a < b", "2", "5", "7"],
        ["no class", "0", "4", "4"],
        ["all", "10", "10", "20"],
    ]
    html = found._repr_html_()
    assert "#2b83ba" in html
    assert "rgba(43,131,186,0.48)" in html  # 8 of 10: 0.8 of the darkest, 0.6


def test_areas_have_intervals_and_the_colours_of_classes() -> None:
    table = pd.DataFrame({"map": ["water"] * 20 + ["a < b"] * 30, "reference": ["water"] * 18
                          + ["a < b"] * 32, "stratum": ["w"] * 20 + ["f"] * 30})  # fmt: skip
    found = rs.estimate(table, strata={"w": 100.0, "f": 300.0}, classes=list(CLASSES))
    (areas,) = Tables(found).tables
    assert areas[0][:3] == ["class", "area ha", "interval ha"]
    assert areas[1][:2] == ["water", "90.0"]  # 18 of 20 of 100 ha, 0 of 30 of 300 ha
    hectares = found.periods[next(iter(found.periods))].classes[0].hectares
    assert areas[1][2] == f"{hectares.low:.1f}-{hectares.high:.1f}"
    assert areas[1][2] in str(found)
    assert "#1b7837" in found._repr_html_()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (Estimate(1619.26, 60.0, 1519.46, 1757.84), "1,619.3 ha changed (1,519.5-1,757.8)"),
        (Estimate(1619.26, why="one unit only"), "1,619.3 ha changed"),
        (Estimate(None, why="no unit"), "hectares of change are not estimable"),
    ],
)
def test_hectares_of_change_have_their_interval(changed: Estimate, expected: str) -> None:
    figures = ChangeFigures((), changed, (), np.zeros((2, 2)), None, None, None, "")
    found = AreaEstimates("simple", 0.95, {}, {"2023-2024": figures})
    assert f"2023-2024: {expected}" in str(found).splitlines()


def test_a_diagnosis_says_what_to_do() -> None:
    found = Diagnosis((Check("GPU", "ok", "H200"), Check("disk", "problem", "full", "free it")))
    (table,) = Tables(found).tables
    assert table[1:] == [["GPU", "", "H200", ""], ["disk", "problem", "full", "free it"]]
    assert "1 would stop a run" in found._repr_html_()
    assert "→ free it" in str(found)
    assert str(found).splitlines()[-1] == "1 would stop a run (X)"


def test_changes_are_two_tables() -> None:
    tiles = {"map": TileChanges(3, 8), "change": TileChanges(4, 4, at_most=True)}
    items, steps = Tables(Changes({"s2": ItemChanges(3, 1, 0, 39)}, tiles)).tables
    assert items[1] == ["s2", "3", "1", "0", "39"]
    assert steps[1:] == [["map", "3", "8"], ["change", "at most 4", "4"]]


@pytest.mark.parametrize("name", ["landcover", "landcover-radar", "alerts", "change-siamese"])
def test_recipes_are_shown_by_their_parts(name: str) -> None:
    recipe = rs.read_recipe(RECIPES / f"{name}.yaml")
    keys, inputs, steps = Tables(recipe).tables
    assert {row[0] for row in keys} >= {"area", "grid", "periods"}
    assert [row[0] for row in inputs[1:]] == list(recipe.inputs)
    assert [row[:2] for row in steps[1:]] == [[n, s.kind] for n, s in recipe.all_steps.items()]


def test_a_recipe_shows_no_secret() -> None:
    recipe = rs.read_recipe(
        {
            "name": "secret-map", "bbox": [0, 0, 1, 1], "model": "m", "periods": [2023],
            "grid": {"crs": "EPSG:32631", "resolution": 10},
            "inputs": {"s2": {"catalog": "https://me:hidden@a.org/stac?token=hidden",
                              "bands": ["red"]}},
        }
    )  # fmt: skip
    assert "a.org/stac" in recipe._repr_html_()
    assert "hidden" not in recipe._repr_html_()


def test_a_model_has_its_contract_and_its_legend() -> None:
    torch = pytest.importorskip("torch")
    network = torch.nn.Conv2d(2, 2, 1)
    model = rs.Model.of(network, inputs={"s2": ["red", "nir"]}, times=["summer"], classes=CLASSES)
    contract, legend = Tables(model).tables
    rows = dict(map(tuple, contract))
    assert rows["input"] == "s2: red, nir; summer"
    assert rows["parameters"] == "6"
    assert legend[1:] == [["water", "1", "#2b83ba"], ["a < b", "4", "#1b7837"]]


@pytest.mark.extended
def test_the_page_runs(
    landscape_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(landscape_run, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = [one for one in blocks_of(ROOT / "docs/notebooks.md") if one.language == "python"]
    try:
        for block in blocks:
            exec(compile(block.text, block.place, "exec"), names)  # noqa: S102 -- our own page
    finally:
        show_progress(True)
    assert len(blocks) == 3
    assert len(list((tmp_path / "maps").glob("*.tif"))) > 2


@pytest.mark.slow
def test_a_run_and_its_plan_are_shown(landscape_run: Path) -> None:
    (steps,) = Tables(rs.Run(landscape_run)).tables
    assert steps[1][:3] == ["map", "predict", "9 of 9"]
    (plan,) = Tables(rs.plan(landscape_run / "recipe.yaml")).tables
    assert "tiles" in dict(map(tuple, plan))
