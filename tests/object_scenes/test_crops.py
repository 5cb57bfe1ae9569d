"""Crops of scenes: targets lie on their objects, held-out places are never seen."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
import torch

from rsscale.errors import RecipeError
from rsscale.geo.lattice import Lattice
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.outputs import ObjectOutput
from rsscale.model.spec import ModelSpec
from rsscale.object_scenes.crops import CropRules, ObjectCrops
from rsscale.object_scenes.image_scenes import LoadedImage
from rsscale.object_scenes.scenes import BlockPlaces, ObjectScenes, Scene, scene_objects

SIZE, BLOCK = 96, 48
SPEC = ModelSpec(
    name="objects",
    inputs=(ModelInput("image", ("v",), ("image",), (0.0,), (1.0,)),),
    classes=(LandClass(1, "pond", "#0000ff"), LandClass(4, "shed", "#ff0000")),
    lattice=Lattice(64, 16),
    architecture="fcos",
    output=ObjectOutput(),
)
BOXES = [(5, 6, 15, 12), (40, 10, 56, 20), (60, 60, 70, 80), (20, 70, 26, 92)]


def scenes() -> ObjectScenes:
    """Objects whose pixels hold their number from 10 on, on ground of 1."""
    pixels = np.ones((1, SIZE, SIZE), np.float32)
    for number, (x0, y0, x1, y1) in enumerate(BOXES):
        pixels[0, y0:y1, x0:x1] = 10 + number
    objects = np.array([shapely.box(*box) for box in BOXES], object)
    scene = Scene(
        LoadedImage(pixels, ("v",), None, None), 0, (SIZE, SIZE),
        BlockPlaces(BLOCK, (SIZE, SIZE)), *scene_objects(objects, [0, 1, 1, 0], range(4)),
    )  # fmt: skip
    return ObjectScenes((scene,))


def crops_of(places: list[int], **rules: object) -> ObjectCrops:
    kept = CropRules(**{"size": 64, "visible": 0.5, "jitter": 0.0, **rules})  # type: ignore[arg-type]
    return ObjectCrops(scenes(), np.array(places), SPEC, kept, seed=3, outlines=True)


def test_an_object_is_of_the_place_of_its_centre() -> None:
    assert scenes().groups.tolist() == [0, 1, 3, 2]


def test_targets_are_where_the_objects_are_however_crops_are_turned() -> None:
    images, targets, _ = crops_of([0, 1, 2, 3]).draw(60)
    seen = 0
    for image, target in zip(images[:, 0].numpy(), targets, strict=True):
        for box, label, mask in zip(
            target["boxes"].numpy(), target["labels"].tolist(), target["masks"].numpy(), strict=True
        ):
            x0, y0, x1, y1 = box.astype(int)
            values = image[y0:y1, x0:x1]
            assert len(np.unique(values)) == 1
            number = int(values[0, 0]) - 10
            assert label == [1, 2, 2, 1][number]
            np.testing.assert_array_equal(mask == 1, image == number + 10)
            seen += 1
        rest = image.copy()
        for box in target["boxes"].numpy().astype(int):
            rest[box[1] : box[3], box[0] : box[2]] = 1
        assert not (rest >= 10).any()  # no object that is no target is left to be seen
    assert seen > 60


def test_places_that_are_held_out_are_never_seen() -> None:
    drawn, targets, _ = crops_of([0, 3]).draw(60)
    images = drawn.numpy()
    values = {float(v) for v in np.unique(images[np.isfinite(images)])}
    assert 13.0 not in values
    assert values <= {1.0, 10.0, 11.0, 12.0}  # half of the second lies in place 0
    finite = np.isfinite(images).mean()
    assert 0.2 < finite < 0.9
    assert all(len(t["boxes"]) == len(t["labels"]) == len(t["masks"]) for t in targets)


def test_batches_go_on_from_a_state() -> None:
    first = crops_of([0, 1, 2, 3])
    first.draw(5)
    batches = first.batches(2, torch.device("cpu"))
    state = batches.state()
    (windows, targets), _ = next(batches)
    again = crops_of([0, 1, 2, 3]).batches(2, torch.device("cpu"))
    again.restore(state)
    (others, other_targets), _ = next(again)
    assert windows.equal(others)
    assert all(a["boxes"].equal(b["boxes"]) for a, b in zip(targets, other_targets, strict=True))


def test_brightness_changes_bands_and_not_places() -> None:
    images, _, _ = crops_of([0, 1, 2, 3], jitter=0.2).draw(4)
    assert len({round(float(np.nanmin(i)), 4) for i in images.numpy()}) == 4


def test_an_image_smaller_than_a_crop_can_be_is_refused() -> None:
    scene = replace(scenes().scenes[0], shape=(20, 96))
    with pytest.raises(RecipeError, match="an image is 20 px wide or high; at least 32 px"):
        ObjectCrops(ObjectScenes((scene,)), np.array([0]), SPEC, CropRules(), 0)
