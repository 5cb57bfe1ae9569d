"""Samples that are drawn from a run, interpreted, and assessed: of each design, from end to end."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from formula_pass import CLASSES, allowed

import rsscale as rs

YEARS = [2022, 2023]
NAMES = {one.value: one.name for one in CLASSES}
DESIGNS = {
    "simple": {"design": "simple", "size": 200},
    "stratified": {"size": 200, "minimum": 20},
    "systematic": {"design": "systematic", "size": 200},
    "starts": {"design": "systematic", "size": 17},  # of one start, to which eleven are added
    "two-stage": {"design": "two-stage", "block": 640.0, "blocks": 30, "per_block": 6},
    "change": {"step": "change", "strata": ("change",), "size": 200, "minimum": 20},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["stratified", "change"]
    + [
        pytest.param(n, marks=pytest.mark.extended)
        for n in DESIGNS
        if n not in ("stratified", "change")
    ],
)
def test_what_was_drawn_is_assessed(run: rs.Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "sample.gpkg"
    given: dict[str, Any] = dict(DESIGNS[name])
    with allowed():
        rs.design_sample(run, path, step=given.pop("step", "map"), threads=1, **given)
        if name == "starts":
            before, path = path, tmp_path / "more.gpkg"
            rs.design_sample(run, path, add_to=before, starts=11, threads=1)
            assert sorted(gpd.read_file(path)["cluster"].unique()) == list(range(1, 13))
    frame, maps = gpd.read_file(path), run.open().classification
    x, y = maps.x.to_numpy(), maps.y.to_numpy()
    col = np.rint((frame.geometry.x - x[0]) / 10).astype(int)
    row = np.rint((y[0] - frame.geometry.y) / 10).astype(int)
    columns = [column for column in frame.columns if column.startswith("reference")]
    # Interpreters agree with the map, but call every tenth unit the first class.
    for column in columns:
        layer = maps[YEARS.index(int(column[-4:])) if column[-4:].isdigit() else -1].to_numpy()
        truth = [NAMES[value] for value in layer[row, col]]
        frame[column] = [CLASSES[0].name if n % 10 == 0 else t for n, t in enumerate(truth)]
    frame.to_file(path, layer="sample")
    with allowed():
        found = rs.assess_sample(run, path)
    kinds = {"change": "stratified", "starts": "systematic"}
    assert found.design == kinds.get(name, name)
    assert found.drawn == found.used == len(frame)
    assert not any("areas are those of the strata" in note for note in found.notes)
    for figures in found.periods.values():
        mapped = sum(one.mapped_hectares for one in figures.classes)
        estimated = sum(one.hectares.value for one in figures.classes)
        assert estimated == pytest.approx(mapped, rel=1e-6)
        assert 0.85 < figures.overall.value < 1
        first = figures.classes[0]
        assert first.hectares.value > first.mapped_hectares
        assert first.producers.value < 0.9 < first.users.value + 0.1
    # Hectares of the map help wherever strata are not its classes.
    if name != "change":
        assisted = found["2023"].estimator.startswith("model-assisted")
        assert assisted == (name != "stratified")
    if name == "starts":
        assert "between its 12 random starts" in found["2023"].estimator
