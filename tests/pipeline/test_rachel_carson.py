"""Real imagery: Sentinel-2 in degrees with pixels that are not square, labels in UTM."""

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr

import rsscale as rs
from rsscale.recipe import Recipe, read_recipe
from rsscale.reference.labels import read_labels

RECIPE = Path(__file__).parent / "rachel_carson.yaml"
DATA = Path(__file__).resolve().parents[2] / "../shared/data/rachel-carson-sentinel2"
FOLDS = 4

pytestmark = pytest.mark.skipif(
    not DATA.exists(), reason=f"the example imagery is not at {DATA}; it is not part of the project"
)


def recipe(folder: Path, **train: object) -> Recipe:
    content = read_recipe(RECIPE)
    assert content.train is not None
    return content.model_copy(
        update={"model": str(folder / "model"), "train": content.train.model_copy(update=train)}
    )


@pytest.mark.extended
def test_train_and_map(tmp_path: Path) -> None:
    job = recipe(tmp_path)
    rs.train(job, device="cpu")
    ds = rs.run(job, tmp_path / "run", device="cpu").open().load()
    classes = ds.classification.isel(time=0)
    assert set(np.unique(classes)) <= {1, 2, 3, 4, 5, 6, 255}
    # Beyond the swath there is nothing; the open sea is in the south, the forest in the north.
    south = classes.sel(y=slice(3_831_000, 3_826_500)).values
    assert (south == 255).mean() > 0.3
    assert (south[south != 255] == 1).mean() > 0.9
    rows = np.argwhere(classes.values == 5)[:, 0]
    assert np.median(rows) < classes.sizes["y"] / 2
    # Fitted: what was labelled is mapped as such.
    accuracy = rs.assess(
        tmp_path / "run", DATA / "labels.parquet", class_column="Classname",
        exclude=_nothing(tmp_path), block=500,
    )  # fmt: skip
    assert accuracy.overall > 0.9
    rs.quicklook(ds, tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 10_000


@pytest.mark.extended
def test_a_network_of_series_is_trained_on_composites(tmp_path: Path) -> None:
    """It gets the day of the composite, in training as in the map."""
    small = {"width": 32, "heads": 4}
    job = recipe(tmp_path, architecture="ltae", hyperparameters=small, steps=120)
    model, report = rs.train(job, device="cpu")
    assert model.spec.layout == "mapping"
    assert model.spec.inputs[0].takes == ("days", "valid")
    assert report.fit.loss < 0.6 < np.log(6)
    assert rs.open_model(tmp_path / "model", device="cpu").spec == model.spec


@pytest.mark.long
def test_polygons_that_were_not_trained_on(
    tmp_path: Path, record_property: Callable[[str, float], None]
) -> None:
    """Cross-validation by whole polygons; a class with one polygon can't be tested."""
    frame = gpd.read_parquet(DATA / "labels.parquet")
    number = frame.groupby("Classname").cumcount()
    alone = frame.groupby("Classname")["Classname"].transform("count") == 1
    right = total = 0
    for fold in range(FOLDS):
        tested = (number % FOLDS == fold) & ~alone
        folder = tmp_path / str(fold)
        folder.mkdir()
        frame[~tested].to_parquet(folder / "train.parquet")
        frame[tested].to_parquet(folder / "test.parquet")
        job = recipe(folder, labels=str(folder / "train.parquet"))
        rs.train(job, device="cpu")
        found = rs.preview(job, frame.to_crs("EPSG:4326").total_bounds, device="cpu")
        reference = _reference(job, folder / "test.parquet", found)
        labelled = reference != 255
        right += int((found.classification.values[0] == reference)[labelled].sum())
        total += int(labelled.sum())
    record_property("accuracy", right / total)
    assert total > 250
    assert right / total > 0.85


def _reference(job: Recipe, path: Path, ds: xr.Dataset) -> np.ndarray:
    assert job.train is not None
    classes = tuple(rs.LandClass(c.value, c.name, c.color) for c in job.train.classes or ())
    grid = job.grid.build()
    labels = read_labels(path, "Classname", classes=classes)
    return labels.on(grid).rasterize(grid.box_of(ds.odc.geobox))


def _nothing(folder: Path) -> Path:
    """Labels far away, so that no block is left out."""
    import shapely

    path = folder / "nothing.parquet"
    gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs="EPSG:4326").to_parquet(path)
    return path
