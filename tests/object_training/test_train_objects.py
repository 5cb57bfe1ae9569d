"""Training a detector on an image in memory."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import odc.geo.xr
import pytest
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import rsscale as rs
from benchmarks.aerial_scene import AerialScene, aerial_scene
from rsscale.errors import RecipeError
from rsscale.object_training.detector_kind import object_output
from rsscale.object_training.report import ObjectReport

TINY = {"backbone": "small", "width": 32, "levels": 2}
QUICK = {
    "architecture": "fcos", "hyperparameters": TINY, "crop": 64, "steps": 3, "batch": 2,
    "column": "kind", "stride": 96, "halo": 16, "device": "cpu",
}  # fmt: skip
TO_CRS = Affine(0.5, 0, 734_000, 0, -0.5, 4_985_000)


@pytest.fixture(scope="module")
def scene() -> AerialScene:
    return aerial_scene(192, 5)


def placed(scene: AerialScene) -> tuple[xr.DataArray, gpd.GeoDataFrame]:
    """The same with a CRS."""
    geobox = GeoBox(scene.image.shape[1:], TO_CRS, "EPSG:32631")
    image = odc.geo.xr.wrap_xr(scene.image.to_numpy(), geobox, axis=1, nodata=0)
    shapes = shapely.transform(
        scene.objects.geometry.to_numpy(), lambda xy: np.stack(TO_CRS @ (xy[:, 0], xy[:, 1]), 1)
    )
    return image, scene.objects.set_geometry(shapes, crs="EPSG:32631")


@pytest.mark.extended
def test_an_image_with_a_crs_gives_the_model_that_its_pixels_give(
    scene: AerialScene, tmp_path: Path, drawing: Any
) -> None:
    image, objects = placed(scene)
    image = image.rename(time="band").assign_coords(band=[1, 2, 3, 4])  # as rioxarray has it
    model, report = rs.train_objects(image, objects.to_crs("EPSG:32632"), **QUICK)
    plain, same = rs.train_objects(scene.image.drop_vars("band"), scene.objects, **QUICK)
    states = [m.module.state_dict() for m in (model, plain)]
    assert [i.mean for i in model.spec.inputs] == [i.mean for i in plain.spec.inputs]
    assert report.trained == same.trained
    # Reprojected coordinates differ by rounding, and so do the last digits of weights.
    assert all(np.allclose(states[0][k], states[1][k], atol=1e-3) for k in states[0])
    assert model.spec.resolution == pytest.approx(0.5, rel=0.01)
    found = rs.detect(image.assign_coords(window="image"), model, score=0.0)
    assert set(found["name"]) <= {"shed", "tree"}
    assert len(found) > 0
    with drawing():
        saved = rs.save_model(model, tmp_path / "model", report=report)
    assert saved.digest
    assert (tmp_path / "model" / "split.png").exists()
    assert "blocks of 38 px" in str(report)
    assert "<b>" in report._repr_html_()


@pytest.mark.extended
def test_two_images_learn_together_and_the_seed_decides(scene: AerialScene) -> None:
    other = aerial_scene(128, 6)
    both = ([scene.image, other.image], [scene.objects, other.objects])
    first, report = rs.train_objects(*both, **QUICK)
    again, _ = rs.train_objects(*both, **QUICK)
    assert isinstance(report, ObjectReport)
    used = sum(sum(labels.values()) for labels in report.background.labels.values())
    assert used == len(scene.objects) + len(other.objects)
    a, b = (m.module.state_dict() for m in (first, again))
    assert all(a[name].equal(b[name]) for name in a)


def test_what_does_not_fit_is_refused(scene: AerialScene) -> None:
    image, objects = placed(scene)
    with pytest.raises(RecipeError, match="objects of the image have no CRS, and the image is in"):
        rs.train_objects(image, scene.objects, **QUICK)
    with pytest.raises(
        RecipeError, match="the image has no CRS, and its objects are in EPSG:32631"
    ):
        rs.train_objects(scene.image, objects, **QUICK)
    swapped = scene.objects.set_geometry(scene.objects.translate(5000, 0))
    with pytest.raises(RecipeError, match="objects lie outside the image: in its pixels they span"):
        rs.train_objects(scene.image, swapped, **QUICK)
    with pytest.raises(RecipeError, match=r"an image has the axes \['t', 'z', 'y', 'x'\]"):
        rs.train_objects(xr.DataArray(np.zeros((1, 1, 4, 4)), dims=list("tzyx")), objects, **QUICK)
    with pytest.raises(RecipeError, match="2 images have 1 tables of objects"):
        rs.train_objects([image, image], [objects], **QUICK)
    with pytest.raises(RecipeError, match="architecture 'unet' is no detector; expected one of"):
        rs.train_objects(scene.image, scene.objects, **{**QUICK, "architecture": "unet"})


def test_objects_of_another_kind_than_the_architecture_finds_are_refused() -> None:
    assert object_output("fcos-oriented", "oriented").kind == "oriented"
    assert object_output("fcos", "boxes").kind == "boxes"
    message = "'oriented', and architecture 'fcos' finds boxes; expected fcos-oriented, or leave"
    with pytest.raises(RecipeError, match=message):
        object_output("fcos", "oriented")


@pytest.mark.slow
def test_objects_outside_are_counted_and_what_is_too_large_is_told(scene: AerialScene) -> None:
    far = gpd.GeoDataFrame(
        {"kind": ["tree", "barn"]},
        geometry=[shapely.box(500, 0, 520, 20), shapely.box(20, 20, 170, 170)],
    )
    import pandas as pd

    objects = pd.concat([scene.objects, far], ignore_index=True)
    _, report = rs.train_objects(scene.image, objects, **QUICK)
    assert "1 feature of 'tree': outside the imagery" in report.left_out
    told = "\n".join(report.remarks)
    assert "1 of " in told
    assert "objects are larger than a crop (train.crop) of 64 px: they are never seen whole" in told
    assert "a single object of 'barn'" in told


@pytest.mark.long
def test_simulated_objects_are_found_on_ground_that_was_not_trained_on() -> None:
    """Two minutes of a core: F1 at an intersection over union of 0.5 is 0.9 or more."""
    some = [aerial_scene(640, seed) for seed in (1, 2)]
    model, report = rs.train_objects(
        [one.image for one in some], [one.objects for one in some], column="kind",
        architecture="fcos", hyperparameters={"backbone": "small", "width": 64, "levels": 3},
        crop=192, batch=2, steps=400, device="cpu",
    )  # fmt: skip
    assert report.basis == "test"
    assert report.figures.total.truth > 40
    assert report.figures.total.f1 >= 0.9
    assert 0 < model.spec.objects.score_threshold < 1
