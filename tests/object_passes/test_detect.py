"""Objects of imagery, found by a detector in a run: the same however it is cut."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from imagery_detector import allowed_detector, save_detector
from landscape import Landscape
from odc.geo.geobox import GeoBox
from once import Once

import rsscale as rs
from rsscale.errors import ModelError, RecipeError, TilesFailedError
from rsscale.model.files import read_training
from rsscale.object_passes.detecting import DetectOptions, DetectStep
from rsscale.store.run_folder import RunFolder

GRID = {"crs": "EPSG:32631", "resolution": 10}


@pytest.fixture(autouse=True)
def detectors_allowed() -> Iterator[None]:
    with allowed_detector():
        yield


@pytest.fixture(scope="module")
def detectors(once: Once) -> Path:
    """Folders ``boxes``, ``outlines`` and ``broken`` with detectors."""

    def make(folder: Path) -> Path:
        save_detector(folder / "boxes")
        save_detector(folder / "outlines", kind="outlines")
        save_detector(folder / "broken", broken=True)
        save_detector(folder / "two bands", bands=("red", "green"))
        return folder

    return once("detectors", make)


def recipe_of(landscape: Landscape, model: Path, tile: int = 256, **step: Any) -> dict[str, Any]:
    steps = {"things": {"kind": "detect", "of": "s2", "model": str(model), **step}}
    recipe = landscape.part(grid={**GRID, "tile": tile}, steps=steps)
    del recipe["model"]
    return recipe


def found(recipe: dict[str, Any], out: Path, client: Any = None) -> pa.Table:
    run = rs.run(recipe, out, client, threads=1, device="cpu")
    return run.table("things").sort_by("id")


@pytest.fixture(scope="module")
def run(landscape: Landscape, detectors: Path, tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    out = tmp_path_factory.mktemp("things") / "run"
    with allowed_detector():
        return rs.run(recipe_of(landscape, detectors / "boxes"), out, threads=1, device="cpu")


def test_a_run_keeps_the_record_of_its_models_training(detectors: Path, tmp_path: Path) -> None:
    shutil.copytree(detectors / "boxes", tmp_path / "model")
    (tmp_path / "model" / "training.json").write_text('{"format": 1}')
    recipe: Any = SimpleNamespace(periods=[2023], path=str)
    options = DetectOptions(model=str(tmp_path / "model"))
    (kept,) = DetectStep.attachments(options, recipe)
    assert kept.digest == rs.open_model(detectors / "boxes").digest
    folder = RunFolder.at(tmp_path / "run")
    kept.keep(folder)
    assert read_training(folder.model_path(kept.digest)) == {"format": 1}


def test_rows_say_where_they_come_from(run: rs.Run, detectors: Path) -> None:
    table = run.table("things")
    assert table.num_rows > 200
    assert set(table["name"].to_pylist()) == {"bright", "dark"}
    assert set(table["model"].to_pylist()) == {rs.open_model(detectors / "boxes").digest}
    assert set(table["run"].to_pylist()) == {"test"}
    scores = table["score"].to_numpy()
    assert scores.min() >= 0.3
    shapes = shapely.from_wkb(table["geometry"].to_pylist())
    assert shapely.is_valid(shapes).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    assert len(set(table["id"].to_pylist())) == table.num_rows
    assert "put together from pieces" in run.summary()
    facts = run.state["steps"]["things-windows"]["facts"]
    assert facts["predicted"] <= facts["windows"]


@pytest.mark.slow
@pytest.mark.extended
def test_any_tiles_and_workers_give_the_same(
    run: rs.Run, landscape: Landscape, detectors: Path, tmp_path: Path, two_workers: str
) -> None:
    wanted = run.table("things").sort_by("id")
    for tile, client in ((160, None), (200, two_workers), (512, None)):
        recipe = recipe_of(landscape, detectors / "boxes", tile)
        assert found(recipe, tmp_path / f"run-{tile}", client).equals(wanted), tile


@pytest.mark.extended
def test_outlines_are_the_same_in_other_tiles(
    landscape: Landscape, detectors: Path, tmp_path: Path
) -> None:
    first, second = (
        found(recipe_of(landscape, detectors / "outlines", tile), tmp_path / str(tile))
        for tile in (160, 512)
    )
    assert first.equals(second)
    shapes = shapely.from_wkb(first["geometry"].to_pylist())
    assert np.median(shapely.area(shapes) / shapely.area(shapely.envelope(shapes))) < 1


def test_options_decide(landscape: Landscape, detectors: Path, tmp_path: Path, run: rs.Run) -> None:
    recipe = recipe_of(landscape, detectors / "boxes", 512, score=0.6, iou=0.1, agnostic=True)
    table = found(recipe, tmp_path / "run")
    assert 0 < table.num_rows < run.table("things").num_rows
    assert table["score"].to_numpy().min() >= 0.6
    boxes = shapely.from_wkb(table["geometry"].to_pylist())[table["parts"].to_numpy() == 1]
    one, other = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    one, other = one[one < other], other[one < other]
    common = shapely.area(shapely.intersection(boxes[one], boxes[other]))
    both = shapely.area(shapely.union(boxes[one], boxes[other]))
    assert (common <= 0.1 * both + 1e-6).all()


def test_a_detector_that_returns_no_numbers_fails_its_tiles(
    landscape: Landscape, detectors: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(landscape, detectors / "broken")
    with pytest.raises(TilesFailedError, match="tiles failed"):
        rs.run(recipe, tmp_path / "run", threads=1, device="cpu")
    events = (tmp_path / "run" / "events.jsonl").read_text()
    assert "in the window of rows" in events


@pytest.mark.parametrize(
    ("model", "step", "message"),
    [
        ("model", {}, "maps classification.*finds no objects: use a step of kind 'predict'"),
        ("boxes", {"of": "s3"}, "'of' names 's3', which is no step and no input"),
        ("boxes", {"score": 2}, "score: input should be less than or equal to 1"),
        ("boxes", {"iou": -1}, "iou: input should be greater than or equal to 0"),
        ("boxes", {"layers": ["classification"]}, "layers: unknown"),
        ("boxes", {"scores": 0.5}, "scores: unknown.*did you mean 'score'"),
        ("two bands", {}, "wants|bands"),
        ("nowhere", {}, "nowhere"),
    ],
)
def test_what_can_not_be_is_refused(
    landscape: Landscape, detectors: Path, model: str, step: dict[str, Any], message: str
) -> None:
    folder = landscape.folder if model == "model" else detectors
    with pytest.raises((RecipeError, ModelError), match=message) as refused:
        rs.plan(recipe_of(landscape, folder / model, **step))
    assert refused.value.exit_code == 2


def test_a_plan_says_what_it_takes(landscape: Landscape, detectors: Path) -> None:
    text = str(rs.plan(recipe_of(landscape, detectors / "boxes")))
    assert "6 of things-windows, 6 of things" in text
    assert "pixels computed for each of things-windows" in text


def test_a_preview_has_the_objects_of_the_run(
    landscape: Landscape, detectors: Path, run: rs.Run
) -> None:
    recipe = recipe_of(landscape, detectors / "boxes")
    bbox = [6.022, 44.975, 6.034, 44.984]
    frame = rs.preview(recipe, bbox, step="things", threads=1, device="cpu")
    assert frame.crs == "EPSG:32631"
    rows = run.table("things").to_pandas().set_index("id")
    x, y = frame["x"], frame["y"]
    inside = rows["x"].between(x.min(), x.max()) & rows["y"].between(y.min(), y.max())
    # All windows of the box are looked at, and one more on each side.
    assert set(frame["id"]) == set(rows.index[inside])
    assert len(frame) > 20
    for row in frame.itertuples():
        assert rows.loc[row.id, "score"] == row.score
        assert rows.loc[row.id, "geometry"] == row.geometry.wkb


def test_a_preview_of_no_step_names_those_there_are(landscape: Landscape, detectors: Path) -> None:
    recipe = recipe_of(landscape, detectors / "boxes")
    with pytest.raises(RecipeError, match=r"no step 'thing' with layers or objects.*'things'"):
        rs.preview(recipe, [6.02, 44.98, 6.03, 44.99], step="thing")


def test_in_memory_the_objects_are_those_of_the_run(
    landscape: Landscape, detectors: Path, run: rs.Run
) -> None:
    rows = run.table("things").to_pandas().set_index("id")
    grid = rs.Grid(**GRID)
    x0, y0, x1, y1 = rows.x.min(), rows.y.min(), rows.x.max(), rows.y.max()
    around = GeoBox.from_bbox((x0, y0, x1, y1), "EPSG:32631", resolution=10).pad(150)
    area = grid.geobox(around.extent)
    items = rs.search(str(landscape.folder / "catalog.json"), area=area)
    cube = rs.mask(rs.load(items, area, bands=["red", "nir", "scl"]), "sentinel2-scl", dilate=20)
    windows = {"windows": {"spring": ["03-01", "05-31"], "summer": ["06-01", "09-30"]}}
    composite = rs.composite(cube, by=windows, reducer="median")
    frame = rs.detect(composite, rs.open_model(detectors / "boxes", device="cpu")).set_index("id")
    margin = 600  # metres: what lies beyond the run's area is not looked at there
    inner = rows.x.between(x0 + margin, x1 - margin) & rows.y.between(y0 + margin, y1 - margin)
    assert inner.sum() > 50
    same = frame.loc[rows.index[inner]]
    assert (same.geometry.to_wkb() == rows.geometry[inner]).all()
    for name in ("class", "score", "x", "y", "area_m2", "parts", "cut", "model"):
        assert (same[name] == rows.loc[inner, name]).all(), name
