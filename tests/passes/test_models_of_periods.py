"""Models of one run: the same classes in any order make one product, other classes none."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import rsscale as rs
from rsscale.errors import ModelError, RunFolderError
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import build
from rsscale.learn.models import Model, save_model
from rsscale.legend.values import check_same_classes, class_order
from rsscale.model.spec import LandClass, ModelInput, ModelSpec

CRS, SIDE = "EPSG:32631", 96
PLACE = Affine(10, 0, 499_200, 0, -10, 4_600_320)
CLASSES = {
    "field": LandClass(7, "field", "#aa8800"),
    "forest": LandClass(3, "forest", "#007700"),
    "water": LandClass(200, "water", "#0000ff"),
}
# Of a score for each class: red rising, red falling, neither.
SLOPES = {"field": 9.0, "forest": -9.0, "water": 0.0}
SETTINGS: dict[str, Any] = {"device": "cpu", "threads": 1}


def write_model(folder: Path, names: tuple[str, ...]) -> str:
    """A model that tells field from forest by red, with its classes in some order."""
    spec = ModelSpec(
        name="order",
        inputs=(ModelInput("s2", ("red",), ("year",), (0.3,), (0.1,)),),
        classes=tuple(CLASSES[name] for name in names),
        lattice=Lattice(64, 0),
        architecture="pixel",
        hyperparameters={"width": 2},
        resolution=10.0,
    )
    network: Any = build("pixel", spec.inputs, len(names), width=2)
    with torch.no_grad():
        network.hidden.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        network.hidden.bias.zero_()
        network.head.weight.zero_()
        network.head.bias.zero_()
        for row, name in enumerate(names):
            network.head.weight[row, 0] = SLOPES[name]
            network.head.weight[row, 1] = -SLOPES[name]
    save_model(Model(spec, network.eval(), torch.device("cpu")), folder)
    return str(folder)


def write_catalog(folder: Path) -> tuple[str, list[float]]:
    """The same scene in both years."""
    red = np.random.default_rng(0).uniform(0.1, 0.5, (SIDE, SIDE)).astype("float32")
    with rasterio.open(
        folder / "red.tif", "w", driver="GTiff", height=SIDE, width=SIDE, count=1,
        dtype="float32", crs=CRS, transform=PLACE,
    ) as file:  # fmt: skip
        file.write(red, 1)
    extent = GeoBox((SIDE, SIDE), PLACE, CRS).extent.to_crs("EPSG:4326")
    bbox = list(extent.boundingbox.bbox)
    items = [
        {
            "type": "Feature", "stac_version": "1.0.0", "id": f"scene-{year}", "links": [],
            "geometry": extent.json, "bbox": bbox, "assets": {"red": {"href": "red.tif"}},
            "properties": {"datetime": f"{year}-06-15T10:00:00Z"},
        }
        for year in (2023, 2024)
    ]  # fmt: skip
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return str(path), bbox


def mapped(
    folder: Path, models: dict[int, str], periods: Sequence[int] = (2023, 2024), **options: Any
) -> xr.Dataset:
    """The map of some years."""
    catalog, bbox = write_catalog(folder)
    recipe = {
        "name": "order",
        "bbox": bbox,
        "grid": {"crs": CRS, "resolution": 10, "tile": 64},
        "periods": list(periods),
        "inputs": {"s2": {"catalog": catalog, "bands": ["red"], "composite": {"by": "year"}}},
        "model": models,
        "output": {"layers": ["classification", "confidence", "observations", "probability"]},
    }
    return rs.run(recipe, folder / "run", **SETTINGS, **options).open().load()


ORDERS = [("forest", "field", "water"), ("water", "forest", "field"), ("field", "water", "forest")]


@pytest.mark.parametrize(
    "order", [ORDERS[0], *(pytest.param(order, marks=pytest.mark.extended) for order in ORDERS[1:])]
)
def test_another_order_of_classes_gives_the_same_map(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    first = write_model(tmp_path / "a", ("field", "forest", "water"))
    ds = mapped(tmp_path, {2023: first, 2024: write_model(tmp_path / "b", order)})
    assert set(np.unique(ds.classification)) >= {3, 7}
    assert ds["class"].values.tolist() == [7, 3, 200]
    for name in ("classification", "confidence", "probability"):
        xr.testing.assert_equal(ds[name].isel(time=0, drop=True), ds[name].isel(time=1, drop=True))
    # What is called the probability of a class is that of the class which the map has there.
    seen = ds.classification.values != 255
    own = ds.probability.values.transpose(0, 2, 3, 1)[seen]
    place = np.searchsorted([3, 7, 200], ds.classification.values[seen])
    column = np.array([1, 0, 2])[place]
    found = own[np.arange(len(own)), column]
    np.testing.assert_array_equal(found, ds.confidence.values[seen])


@pytest.mark.extended
def test_a_run_keeps_the_order_of_its_classes(tmp_path: Path) -> None:
    """A store has one order: an update, or an earlier period, of another order is refused."""
    b = write_model(tmp_path / "b", ("forest", "field", "water"))
    mapped(tmp_path, {2024: b}, periods=[2024])
    c = write_model(tmp_path / "c", ORDERS[1])
    for models, periods, options in (
        ({2023: c, 2024: b}, [2023, 2024], {}),
        ({2024: c}, [2024], {"update": True}),
    ):
        with pytest.raises(
            RunFolderError, match=r"model of the first period.*order.*another --out"
        ):
            mapped(tmp_path, models, periods=periods, **options)
    grown = mapped(tmp_path, {2023: b, 2024: b}, periods=[2023, 2024])
    assert grown["class"].values.tolist() == [3, 7, 200]


def test_where_a_model_has_each_class() -> None:
    field, forest, water = CLASSES.values()
    assert class_order([field, forest, water], [field, forest, water]) is None
    assert class_order([forest, water, field], [field, forest, water]) == [2, 0, 1]


@pytest.mark.parametrize(
    "other",
    [
        (LandClass(7, "forest", "#007700"), LandClass(3, "field", "#aa8800")),  # names exchanged
        (LandClass(7, "field", "#aa8800"), LandClass(4, "forest", "#007700")),  # another value
        (LandClass(7, "field", "#aa8800"),),  # one class less
        (*list(CLASSES.values())[:2], LandClass(9, "bare", "#cccccc")),  # one more
    ],
)
def test_other_classes_are_refused_with_both_lists(other: tuple[LandClass, ...]) -> None:
    legend = list(CLASSES.values())[:2]
    with pytest.raises(ModelError, match=r"2023 and 2024 have the classes 7 field, 3 forest, and"):
        check_same_classes({"2023": legend, "2024": other})
