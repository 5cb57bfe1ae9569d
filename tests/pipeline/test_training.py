"""Training on a recipe's imagery: chips are what the map's windows are, of any kind of input."""

import hashlib
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio.features
import shapely
import torch
import xarray as xr
import yaml
from landscape import Landscape

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.geo.lattice import PixelBox
from rsscale.inference.stack import InputStack
from rsscale.inference.staging import HostStaging
from rsscale.inputs.prepare import prepare
from rsscale.learners.chips import Chips
from rsscale.pipeline.model_card import describe_model, draw_model
from rsscale.pipeline.training import (
    Reading,
    _announce_unlearnt,
    make_chips,
    read_recipe_labels,
    train_recipe,
)
from rsscale.plans.find_items import find_items, index_items
from rsscale.recipe import read_recipe
from rsscale.reference.labels import Labels, read_labels
from rsscale.sampling.label_chips import _together
from rsscale.sampling.work_folder import WorkFolder

pytestmark = pytest.mark.slow
X, Y = 736_000, 4_985_000  # amid the western scenes
WIDTH = 32  # of a chip; with its context it is as wide as a window of stride 32 and halo 32


def labels_file(folder: Path) -> Path:
    """Points of two classes in six places a kilometre apart."""
    places = [(X + 1000 * (k % 3), Y + 1000 * (k // 3)) for k in range(6)]
    points = [shapely.Point(x + 70 * (j % 2), y + 90 * j) for x, y in places for j in range(3)]
    names = ["crop" if k % 2 else "wood" for k in range(len(points))]
    frame = gpd.GeoDataFrame({"kind": names}, geometry=points, crs="EPSG:32631")
    frame.to_file(folder / "labels.gpkg")
    return folder / "labels.gpkg"


def recipe_of(landscape: Landscape, folder: Path, *, series: bool, **train: Any) -> dict[str, Any]:
    recipe = landscape.recipe(model=str(folder / "trained"))
    settings = {"split": {"blocks": 900}, "chip": WIDTH, "stride": WIDTH, "halo": 32, "steps": 3}
    recipe["train"] = {"labels": str(labels_file(folder)), "class": "kind", **settings, **train}
    if series:
        imagery = {k: v for k, v in recipe["inputs"]["s2"].items() if k != "composite"}
        recipe["inputs"] = {"s2": imagery | {"series": True, "merge_days": True}}
        recipe["train"] |= {"architecture": "ltae", "observations": 3}
    return recipe


def chips_of(recipe: rs.Recipe, labels: Labels, folder: Path, takes: tuple[str, ...] = ()) -> Chips:
    """Chips that are kept in a folder."""
    (folder / "work").mkdir(parents=True, exist_ok=True)
    return make_chips(Reading(recipe, labels, WorkFolder(folder / "work")), takes)


@pytest.mark.parametrize("series", [False, True])
def test_a_chip_is_what_the_map_feeds_the_model_there(
    landscape: Landscape, tmp_path: Path, series: bool
) -> None:
    content = recipe_of(landscape, tmp_path, series=series)
    model, _ = train_recipe(content, device="cpu")
    recipe, spec = read_recipe(content), model.spec
    labels = read_labels(labels_file(tmp_path), "kind")
    chips = chips_of(recipe, labels, tmp_path, spec.inputs[0].takes)
    grid = recipe.grid.build()
    x, y = (np.array([X, X + 2100]), np.array([Y + 1300, Y]))
    cols, rows = x // 10, -y // 10
    around = PixelBox(int(rows[0]), int(cols[0]), int(rows[1]), int(cols[1])).pad(200)
    sources = index_items(recipe, grid, find_items(recipe, area(grid, around), 64, (2023,)))
    inputs = prepare(recipe, grid, sources, 2023, around).compute(2)
    stack = InputStack(inputs, spec, around)
    staging = HostStaging(spec, 1, torch.device("cpu"))
    blocks = read_labels(labels_file(tmp_path), "kind").on(grid, 2023).blocks(WIDTH)
    chips_of_blocks = [(block, 0) for block in blocks]
    places = [block for together in _together(chips_of_blocks) for block, _ in together]
    assert len(places) == len(chips) >= 6
    varied = set()
    for number, block in enumerate(places):
        window = staging.load(stack, [block.pad(32)])
        chip = rs_normalized(chips.images[number], spec)
        assert torch.equal(window.channels, chip)
        if series:
            days = window["s2.days"][0].numpy()
            assert np.array_equal(days, chips.days["s2"][number])
            varied.add(tuple(days.tolist()))
    assert not series or len(varied) > 1  # places see other dates


def other_kind(labels: Path, kind: str) -> dict[str, Any]:
    """The same labels in another kind of file, and the keys that it needs."""
    frame = gpd.read_file(labels)
    if kind == "csv":
        path = labels.with_suffix(".csv")
        table = frame.assign(x=frame.geometry.x, y=frame.geometry.y).drop(columns="geometry")
        table.to_csv(path, index=False)
        return {"labels": str(path), "labels_crs": "EPSG:32631"}
    path = labels.with_suffix(".tif")
    west, south, east, north = frame.total_bounds
    transform = rasterio.Affine(10, 0, west // 10 * 10, 0, -10, north // 10 * 10 + 10)
    shape = (int(north - south) // 10 + 2, int(east - west) // 10 + 2)
    codes = {"crop": 211, "wood": 311}
    shapes = zip(frame.geometry, frame["kind"].map(codes), strict=True)
    burnt = rasterio.features.rasterize(shapes, shape, transform=transform, dtype="int16")
    profile = {"driver": "GTiff", "count": 1, "dtype": "int16", "crs": frame.crs, "nodata": 0}
    height, width = shape
    with rasterio.open(path, "w", height=height, width=width, transform=transform, **profile) as f:
        f.write(burnt, 1)
    return {"labels": str(path), "class": None, "merge": {n: [c] for n, c in codes.items()}}


@pytest.mark.parametrize("kind", ["csv", "tif"])
def test_every_kind_of_labels_gives_the_same_chips(
    landscape: Landscape, tmp_path: Path, kind: str
) -> None:
    def chips_at(content: dict[str, Any], name: str) -> Chips:
        recipe = read_recipe(content)
        return chips_of(recipe, read_recipe_labels(recipe), tmp_path / name)

    classes = [
        {"value": 1, "name": "crop", "color": "#ffff00"},
        {"value": 2, "name": "wood", "color": "#006600"},
    ]
    content = recipe_of(landscape, tmp_path, series=False, classes=classes)
    expected = chips_at(content, "of features")
    content["train"] |= other_kind(tmp_path / "labels.gpkg", kind)
    found = chips_at(content, "of another kind")
    assert np.array_equal(found.labels, expected.labels)
    assert np.array_equal(found.groups, expected.groups)
    assert set(np.unique(found.labels)) == {1, 2, 255}
    model, report = train_recipe(content, device="cpu")
    assert [c.name for c in model.spec.classes] == ["crop", "wood"]
    assert report.left_out == expected.left_out


def test_labels_that_are_not_used_are_counted_with_their_reason(
    landscape: Landscape, tmp_path: Path
) -> None:
    content = recipe_of(landscape, tmp_path, series=False, ignore=["cloud"])
    path = tmp_path / "labels.gpkg"
    frame = gpd.read_file(path)
    frame.loc[[0, 1], "kind"] = ["cloud", None]
    frame.loc[[2], "geometry"] = frame.geometry[2:3].translate(-100_000)
    frame.to_file(path)
    recipe = read_recipe(content)
    chips = chips_of(recipe, read_recipe_labels(recipe), tmp_path)
    expected = {
        "1 feature without a class: the cell of the class is empty",
        "1 feature of 'cloud': listed in train.ignore",
        f"1 feature of '{frame['kind'][2]}': outside the area of the recipe",
    }
    assert expected <= set(chips.left_out)
    frame.set_crs("EPSG:32633", allow_override=True).to_file(path)
    with pytest.raises(RecipeError, match="none of them in the area, which is at"):
        read_recipe_labels(recipe)


def rs_normalized(image: np.ndarray, spec: rs.ModelSpec) -> torch.Tensor:
    from rsscale.network.normalize import normalize

    return normalize(torch.from_numpy(image[None]), spec)


def area(grid: rs.Grid, box: PixelBox) -> Any:
    return grid.geobox_of(box).extent.to_crs("EPSG:4326")


@pytest.mark.extended
def test_a_network_of_series_is_trained_and_maps(landscape: Landscape, tmp_path: Path) -> None:
    recipe = recipe_of(landscape, tmp_path, series=True)
    model, report = train_recipe(recipe, device="cpu")
    assert len(report.fit.losses) == 3
    (model_input,) = model.spec.inputs
    assert (model_input.series, model_input.times) == (3, ())
    assert model_input.takes == ("days", "valid")
    assert model.spec.layout == "mapping"
    again, _ = train_recipe(recipe, out=tmp_path / "again", device="cpu")
    same = zip(model.module.state_dict().values(), again.module.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
    found = rs.preview(recipe, bbox=[6.02, 44.98, 6.03, 44.985], device="cpu")
    assert set(np.unique(found.classification)) <= {1, 2, 255}
    composites = recipe_of(landscape, tmp_path, series=False)
    with pytest.raises(rs.ModelError, match="wants a series of observations of input 's2'"):
        rs.preview(composites, bbox=[6.02, 44.98, 6.03, 44.985], device="cpu")


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ({"architecture": "pixel", "crop": 64}, "of networks of images, and 'pixel' sees single"),
        ({"architecture": "unet", "crop": 100}, "train.crop is 100; expected a multiple of 32"),
    ],
)
def test_a_width_of_crops_that_means_nothing_is_refused(
    landscape: Landscape, tmp_path: Path, train: dict[str, Any], told: str
) -> None:
    recipe = recipe_of(landscape, tmp_path, series=False)
    recipe["train"] = {**unet(recipe)["train"], "hyperparameters": {}, **train}
    with pytest.raises(RecipeError, match=told):
        train_recipe(recipe, device="cpu")
    assert not list(tmp_path.glob("trained*"))


def test_years_that_are_mapped_and_not_learnt_from_are_told(
    landscape: Landscape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("rsscale.pipeline.training.announce", said.append)
    recipe = recipe_of(landscape, tmp_path, series=False) | {"periods": [2021, 2022, 2023]}
    recipe["train"] |= {"periods": [2023]}
    _announce_unlearnt(read_recipe(recipe))
    (line,) = said
    assert line.startswith(
        "train.periods are 2023: nothing is learnt of 2021, 2022, which the recipe maps too"
    )
    recipe["train"]["periods"] = [2021, 2022, 2023]
    _announce_unlearnt(read_recipe(recipe))
    assert len(said) == 1


def test_a_series_needs_a_network_that_takes_one(landscape: Landscape, tmp_path: Path) -> None:
    recipe = recipe_of(landscape, tmp_path, series=True)
    recipe["train"]["observations"] = 0
    with pytest.raises(RecipeError, match=r"train\.observations: .*greater than or equal to 1"):
        train_recipe(recipe, device="cpu")
    with pytest.raises(RecipeError, match=r"architecture 'unet' takes time windows.*use tempcnn"):
        train_recipe(unet(recipe), device="cpu")
    with pytest.raises(RecipeError, match="'series' has no 'composite'"):
        read_recipe(replace_inputs(recipe))


@pytest.mark.extended
def test_disagreement_and_applicability_are_mapped(landscape: Landscape, tmp_path: Path) -> None:
    """The same in tiles of any size; the run says how much was never seen in training."""
    wanted = ["classification", "confidence", "disagreement", "dissimilarity", "applicable"]
    recipe = recipe_of(landscape, tmp_path, series=False, members=2, applicability=True)
    recipe["output"] = {"layers": wanted}
    del recipe["area"]
    recipe["bbox"] = [5.99, 44.975, 6.03, 44.995]  # around the labels: some 310 x 220 px
    model, _ = train_recipe(recipe, device="cpu")
    assert model.spec.architecture == "applicability(ensemble(unet))"
    maps = []
    for tile in (160, 256):
        recipe["grid"] = {**recipe["grid"], "tile": tile}
        done = rs.run(recipe, tmp_path / f"run{tile}", device="cpu")
        maps.append(done.open()[wanted].load())
        applicable = maps[-1]["applicable"].values
        seen = applicable[np.isin(applicable, [0, 1])]
        assert len(seen)
        line = next(text for text in str(done.status()).splitlines() if "outside" in text)
        assert f"{(seen == 0).mean():.1%} of what was mapped is outside the area" in line
    first, second = xr.align(*maps, join="inner")
    assert min(first.sizes["x"], first.sizes["y"]) > 200
    for name in wanted:
        np.testing.assert_array_equal(first[name].values, second[name].values)
    assert first["disagreement"].max() > 0


def unet(recipe: dict[str, Any]) -> dict[str, Any]:
    return recipe | {"train": recipe["train"] | {"architecture": "unet", "observations": 3}}


def replace_inputs(recipe: dict[str, Any]) -> dict[str, Any]:
    imagery = recipe["inputs"]["s2"] | {"composite": {"by": "year"}}
    return recipe | {"inputs": {"s2": imagery}}


def test_a_model_folder_tells_what_it_was_made_from(landscape: Landscape, tmp_path: Path) -> None:
    recipe = recipe_of(landscape, tmp_path, series=False, license="CC-BY-4.0")
    _, report = train_recipe(recipe, device="cpu")
    folder = tmp_path / "trained"
    training = json.loads((folder / "training.json").read_text())
    digest = hashlib.sha256((tmp_path / "labels.gpkg").read_bytes()).hexdigest()
    assert training["labels"]["file"] == "labels.gpkg"
    assert training["labels"]["sha256"] == digest
    assert training["inputs"]["s2"]["first"].startswith("2023-")
    again = read_recipe(yaml.safe_load(training["recipe"]))
    assert again.train is not None
    assert again.train.license == training["license"] == "CC-BY-4.0"
    places = training["split"]["places"]
    assert training["split"]["crs"] == "EPSG:32631"
    assert sum(sum(p["labels"].values()) for p in places) == sum(
        training["labels"]["used"].values()
    )
    shapes = [shapely.geometry.shape(place["shape"]) for place in places]
    assert not any(a.overlaps(b) for a in shapes for b in shapes)
    points = gpd.read_file(tmp_path / "labels.gpkg").geometry.values
    assert all(any(shape.covers(point) for shape in shapes) for point in points)
    assert {name for _, _, name in training["split"]["points"]} == {"crop", "wood"}
    lines = str(describe_model(folder)).splitlines()
    assert len(lines) <= 25
    told = dict(line.split(maxsplit=1) for line in lines if not line.startswith(" "))
    assert told["license"] == "CC-BY-4.0"
    assert told["trained"].startswith(
        f"on {sum(report.trained.values())} labelled pixels of labels"
    )
    assert told["split"].startswith(f"{len(places)} places (blocks of 900 m")
    drawn = draw_model(folder)
    assert {path.name for path in drawn} >= {"curves.png", "split.png"}
