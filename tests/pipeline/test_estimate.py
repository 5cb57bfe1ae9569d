"""What a run will take, told before it starts; what can't work is refused."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
import torch
from index_pass import index_recipe
from landscape import Landscape

import rsscale as rs
from rsscale.cluster.machine import Machine
from rsscale.errors import ModelError, RecipeError
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.blend import blender
from rsscale.inference.heads import head_of
from rsscale.learn import weights
from rsscale.learn.models import Model, open_model
from rsscale.memory import PROCESS_BYTES
from rsscale.model.files import is_calibrated, read_item, read_spec
from rsscale.passes.map_memory import estimate, network_bytes
from rsscale.pipeline.estimate import _relative_margin, with_untrained
from rsscale.pipeline.estimate_table import Prices
from rsscale.plans import tile_costs
from rsscale.recipe import read_recipe


def test_a_plan_counts_what_is_there(landscape: Landscape) -> None:
    plan = rs.plan(landscape.recipe(), threads=2, device="cpu")
    assert plan.tiles == 9
    assert plan.items == {"s2": 8}
    (step,) = plan.steps
    assert 0 < step.observations[0] <= step.observations[1] <= 8
    # Three bands of uint16, at most eight observations of a whole tile and the windows around it.
    assert 0 < step.tile_bytes[0] < step.tile_bytes[1] <= 8 * 3 * 2 * (4 * 224 + 2 * 24) ** 2
    assert "as stored" in repr(plan)
    assert plan.output_bytes == 9 * 3 * 512**2
    assert plan.seconds is plan.money is None
    assert "--pilot 8" in repr(plan)


def untrained(landscape: Landscape, folder: Path, **train: object) -> dict:
    """A recipe whose model is not trained yet."""
    boxes = [
        shapely.box(731_000 + 900 * k, 4_981_000, 731_600 + 900 * k, 4_985_000) for k in (0, 1)
    ]
    labels = gpd.GeoDataFrame({"class": ["a", "b"]}, geometry=boxes, crs="EPSG:32631")
    labels.to_file(folder / "labels.gpkg")
    settings = {"labels": str(folder / "labels.gpkg"), "class": "class"}
    return landscape.recipe(
        model=str(folder / "to-be"), train={**settings, "architecture": "unet", **train}
    )


def test_a_plan_before_training_counts_what_the_trained_model_will_take(
    landscape: Landscape, tmp_path: Path
) -> None:
    small = {"stride": 224, "halo": 4, "hyperparameters": {"width": 4, "depth": 2}}
    layers = ["classification", "confidence", "observations", "applicable"]
    recipe = untrained(landscape, tmp_path, **small) | {"output": {"layers": layers}}
    plan = rs.plan(recipe, threads=2, device="cpu")
    (note,) = plan.notes
    assert note.startswith(f"there is no model at {tmp_path / 'to-be'} yet (rsscale train); this")
    assert note.endswith("same windows, without the layers applicable")
    trained = rs.plan(landscape.recipe(), threads=2, device="cpu")
    assert plan.steps == trained.steps  # of a network of the same kind, on the same windows
    assert not (tmp_path / "to-be").exists()
    with pytest.raises(ModelError, match=r"there is no model folder at .*to-be; train one"):
        rs.run(recipe, tmp_path / "run", device="cpu")


def test_nobody_is_warned_that_a_model_to_be_is_not_calibrated(
    landscape: Landscape, tmp_path: Path
) -> None:
    folder = tmp_path / "untrained"
    recipe = read_recipe(untrained(landscape, tmp_path))
    planned, _ = with_untrained(recipe, folder)
    assert planned.model == str(folder)
    assert is_calibrated(read_spec(folder), read_item(folder)["properties"])


def test_a_plan_without_any_model_says_what_it_can_not_know(
    landscape: Landscape, tmp_path: Path
) -> None:
    plan = rs.plan(landscape.recipe(model=str(tmp_path / "mine")), device="cpu", threads=2)
    assert plan.tiles == 9
    assert "a network of single pixels, whose windows, memory and time may be others" in repr(plan)
    of_trees = untrained(landscape, tmp_path, architecture="random_forest")
    assert "and not random_forest" in rs.plan(of_trees, device="cpu", threads=2).notes[0]


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ({"architecture": "unett"}, "unett.*did you mean 'unet'"),
        ({"hyperparameters": {"widht": 4}}, "widht.*width"),
        ({"labels": "/nowhere.gpkg"}, "/nowhere.gpkg"),
    ],
)
def test_what_training_would_refuse_is_refused_when_planning(
    landscape: Landscape, tmp_path: Path, train: dict[str, object], told: str
) -> None:
    recipe = untrained(landscape, tmp_path, **train)
    for call in (rs.plan, rs.train):
        with pytest.raises(rs.RsscaleError, match=told):
            call(recipe, device="cpu")
    assert not list(tmp_path.glob("to-be*"))  # no chip was read


def test_a_layer_that_no_training_makes_is_refused_when_planning(
    landscape: Landscape, tmp_path: Path
) -> None:
    recipe = untrained(landscape, tmp_path) | {"output": {"layers": ["clasification"]}}
    said = r"no layer 'clasification'.*did you mean 'classific"
    with pytest.raises(rs.RsscaleError, match=said):
        rs.plan(recipe, device="cpu")


@pytest.mark.slow
def test_a_plan_notes_items_that_contradict_themselves(
    landscape: Landscape, tmp_path: Path
) -> None:
    copy = landscape.copy(tmp_path / "copy")
    documents = {path: json.loads(path.read_text()) for path in copy.folder.rglob("*.json")}
    path = min(path for path, document in documents.items() if document.get("type") == "Feature")
    lying = documents[path]
    code = lying["properties"]["proj:code"]
    lying["properties"]["proj:code"] = code.replace("EPSG:326", "EPSG:327")
    path.write_text(json.dumps(lying))
    plan = rs.plan(copy.recipe(), threads=2, device="cpu")
    (note,) = plan.notes
    assert note.startswith("s2: 1 of 8 items contradict themselves")
    assert repr(lying["id"]) in note
    assert f"note      {note}" in repr(plan)
    assert rs.plan(landscape.recipe(), threads=2, device="cpu").notes == ()


@pytest.mark.extended
def test_a_pilot_estimates_time_and_money(landscape: Landscape) -> None:
    prices = Prices(worker_hour=3600.0, gigabyte=1000.0)
    # A worker's own process: the peak of this one is that of all the tests before.
    recipe = landscape.recipe()
    plan = rs.plan(recipe, client="local:1", threads=2, device="cpu", pilot=4, prices=prices)
    assert plan.seconds is not None
    assert plan.money is not None
    middle, low, high = plan.seconds
    assert 0 < low <= middle <= high
    read = plan.read_bytes / 1e9 * 1000.0
    assert math.isclose(plan.money[0], middle + read)
    assert plan.pilot["tiles"] == 4
    # The estimate is of the peak that the pilot's process had, and not far from it.
    assert 0.5 < plan.memory / plan.pilot["peak_rss_bytes"] < 2.0
    assert re.search(r"time +\d+ min \d\d s \(", repr(plan))


def test_planning_opens_a_model_once(
    landscape: Landscape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trial and the estimates of its memory, one for each width of tiles, share it."""
    model = shutil.copytree(landscape.folder / "model", tmp_path / "model")
    item = json.loads((model / "item.json").read_text())
    item["properties"]["comment"] = "a digest that no other test has opened"
    (model / "item.json").write_text(json.dumps(item))
    grid = {"crs": "EPSG:32631", "resolution": 10, "tile": 8192}
    read, opened = weights.read_model, []

    def counted(folder: Path, *args: object, **kwargs: object) -> Model:
        opened.append(folder)
        return read(folder, *args, **kwargs)

    monkeypatch.setattr(weights, "read_model", counted)
    recipe = landscape.recipe(grid=grid, model=str(model))
    with pytest.raises(RecipeError, match=r"set grid\.tile to"):
        rs.plan(recipe, threads=2, device="cpu", memory=2 * 2**30)
    assert opened == [model]


def test_tiles_are_sampled_evenly(landscape: Landscape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_costs, "_SAMPLE", 3)
    assert rs.plan(landscape.recipe(), threads=2, device="cpu").tiles == 9


@pytest.mark.parametrize("command", [rs.plan, rs.run])
def test_a_tile_that_does_not_fit_is_refused_with_one_that_does(
    landscape: Landscape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: object
) -> None:
    recipe = landscape.recipe(grid={"crs": "EPSG:32631", "resolution": 10, "tile": 8192})
    for module in ("pipeline.estimate", "runs.run"):
        monkeypatch.setattr(f"rsscale.{module}.machine_of", lambda _: Machine(2, 2 * 2**30))
    out = {"out": tmp_path / "run"} if command is rs.run else {}
    with pytest.raises(RecipeError, match=r"needs about \d+\.\d GiB .* set grid.tile to \d+"):
        command(recipe, threads=2, device="cpu", **out)
    assert not (tmp_path / "run").exists()


def test_each_kind_of_step_counts_the_process_that_computes_it(
    landscape: Landscape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSSCALE_FUNCTIONS", "tile_functions")
    zone = shapely.box(6.0, 44.9, 6.1, 45.0)
    gpd.GeoDataFrame({"code": ["a"]}, geometry=[zone], crs=4326).to_file(tmp_path / "zones.gpkg")
    function = {"function": "tile_functions:majority", "halo": 2, "layers": [{"name": "majority"}]}
    steps = {
        "areas": {
            "kind": "zones",
            "of": "map",
            "zones": str(tmp_path / "zones.gpkg"),
            "id": "code",
        },
        "majority": {"kind": "function", "of": "map", **function},
        "overviews": {"kind": "overviews", "of": "map", "levels": 1},
    }
    plan = rs.plan(landscape.part(steps=steps), threads=2, device="cpu")
    memory = {step.name: step.memory for step in plan.steps}
    assert memory.keys() == {"map", "areas-tiles", "majority", "overviews"}
    assert all(PROCESS_BYTES < bytes_ < 2 * PROCESS_BYTES for bytes_ in memory.values())


def test_more_of_anything_needs_more_memory(landscape: Landscape) -> None:
    recipe = read_recipe(landscape.recipe())
    model = open_model(landscape.folder / "model", device="cpu")
    least = estimate(recipe, model, 512, 1, 4)
    assert least.blending == 0
    hann = replace(model, spec=replace(model.spec, lattice=Lattice(224, 24, "hann")))
    cpu = torch.device("cpu")
    head = head_of(hann.spec, cpu)
    held = blender(hann.spec.lattice, PixelBox(0, 0, 512, 512), head, cpu)._sum
    assert estimate(recipe, hann, 512, 1, 4).blending > held.numel() * 4
    assert estimate(recipe, model, 2048, 1, 4).total > least.total
    assert estimate(recipe, model, 512, 8, 4).reading == 8 * least.reading
    assert estimate(recipe, model, 512, 1, 40).reading > least.reading
    assert network_bytes(model) > 4 * sum(p.numel() for p in model.module.parameters())
    assert next(model.module.parameters()).device.type == "cpu"


def test_a_model_that_does_not_fit_its_inputs_is_refused(landscape: Landscape) -> None:
    wrong = landscape.recipe()
    wrong["inputs"]["s2"]["bands"] = ["red"]
    with pytest.raises(ModelError):
        rs.plan(wrong)


@pytest.mark.parametrize(("tile", "asked", "measured"), [(64, 2, 2), (64, 4, 4), (2048, 3, 1)])
def test_a_pilot_measures_as_many_tiles_as_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tile: int, asked: int, measured: int
) -> None:
    monkeypatch.setenv("RSSCALE_PASSES", "index_pass")
    plan = rs.plan(index_recipe(tmp_path, tile=tile), threads=1, device="cpu", pilot=asked)
    assert plan.pilot["tiles"] == measured
    assert plan.seconds is not None
    # An area of one tile is not computed twice: its own time is the estimate.
    assert plan.seconds[0] > 0.5 * sum(plan.pilot["stages"].values()) / measured


@pytest.mark.parametrize(
    ("seconds", "least", "most"),
    [([10.0], 0.5, 1.2), ([10.0, 10.0], 0.2, 0.7), ([9.0, 11.0] * 4, 0.05, 0.25)],
)
def test_few_tiles_tell_little_of_the_time_and_nothing_silly(
    seconds: list[float], least: float, most: float
) -> None:
    """One tile has no spread, and Student's interval of two is some ten times their mean."""
    assert least < _relative_margin(seconds) < most


def test_an_interval_of_time_is_wider_where_tiles_differ() -> None:
    assert _relative_margin([1.0, 19.0] * 2) > 2 * _relative_margin([9.0, 11.0] * 2)
    assert _relative_margin([10.0, 10.0]) == pytest.approx(_relative_margin([0.1, 0.1]))
