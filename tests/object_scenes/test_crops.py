"""Crops of scenes: targets lie on their objects, held-out places are never seen."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
import torch

from rsscale.detection.outlines import oriented_corners
from rsscale.errors import RecipeError
from rsscale.geo.lattice import Lattice
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.outputs import ObjectKind, ObjectOutput
from rsscale.model.spec import ModelSpec
from rsscale.object_scenes.crops import CropRules, ObjectCrops
from rsscale.object_scenes.image_scenes import LoadedImage
from rsscale.object_scenes.scenes import BlockPlaces, ObjectScenes, Scene, scene_objects
from rsscale.object_scenes.targets import rectangles_of

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


def crops_of(places: list[int], kind: ObjectKind = "outlines", **rules: object) -> ObjectCrops:
    kept = CropRules(**{"size": 64, "visible": 0.5, "jitter": 0.0, **rules})  # type: ignore[arg-type]
    return ObjectCrops(scenes(), np.array(places), SPEC, kept, seed=3, kind=kind)


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


def test_an_object_larger_than_a_crop_is_learnt_from_with_its_ends() -> None:
    size = 256
    pixels = np.ones((1, size, size), np.float32)
    pixels[0, 20:236, 100:140] = 10
    scene = Scene(
        LoadedImage(pixels, ("v",), None, None), 0, (size, size), BlockPlaces(size, (size, size)),
        *scene_objects(np.array([shapely.box(100, 20, 140, 236)], object), [0], [0]),
    )  # fmt: skip
    rules = CropRules(64, 0.5, jitter=0.0, halo=16)
    crops = ObjectCrops(ObjectScenes((scene,)), np.array([0]), SPEC, rules, 0)
    images, targets, _ = crops.draw(160)
    ends = 0
    for image, target in zip(images[:, 0].numpy(), targets, strict=True):
        for x0, y0, x1, y1 in target["boxes"].numpy().astype(int):
            assert (image[y0:y1, x0:x1] == 10).all()
            assert min(x1 - x0, y1 - y0) >= 16
            ends += sum(map(int, (y0 > 0, y1 < 64, x0 > 0, x1 < 64))) > 2
    assert sum(len(t["boxes"]) for t in targets) > 40
    assert ends > 5


def test_the_part_of_a_large_object_whose_centre_is_elsewhere_is_drawn() -> None:
    size, half = 256, 128
    pixels = np.ones((1, size, size), np.float32)
    pixels[0, 90:170, 90:170] = 10  # on the corner of four places, its centre in the last
    objects = [shapely.box(90, 90, 170, 170), shapely.box(20, 20, 30, 30)]
    scene = Scene(
        LoadedImage(pixels, ("v",), None, None), 0, (size, size), BlockPlaces(half, (size, size)),
        *scene_objects(np.array(objects, object), [1, 0], range(2)),
    )  # fmt: skip
    rules = CropRules(64, 0.5, jitter=0.0, halo=16)
    crops = ObjectCrops(ObjectScenes((scene,)), np.array([0]), SPEC, rules, 0)
    images, targets, _ = crops.draw(60)
    large = [box for t in targets for box in t["boxes"][t["labels"] == 2].numpy()]
    assert len(large) > 10
    assert all(16 <= side <= 38 for box in large for side in (box[2:] - box[:2]).tolist())
    assert np.nanmax(images.numpy()) == 10
    deeper = replace(rules, halo=39)  # than the part that is seen
    none = ObjectCrops(ObjectScenes((scene,)), np.array([0]), SPEC, deeper, 0)
    assert not any((t["labels"] == 2).any() for t in none.draw(40)[1])


def test_enlarged_crops_hold_enlarged_objects() -> None:
    images, targets, _ = crops_of([0, 1, 2, 3], zoom=3.0).draw(60)
    widths = []
    for image, target in zip(images[:, 0].numpy(), targets, strict=True):
        assert image.shape == (64, 64)
        for box in target["boxes"].numpy():
            x0, y0 = np.ceil(box[:2] + 0.5).astype(int)
            x1, y1 = np.floor(box[2:] - 0.5).astype(int)
            assert len(np.unique(image[y0:y1, x0:x1])) <= 1  # but for pixels on its border
            widths.append(float((box[2:] - box[:2]).max()))
    assert max(widths) > 30  # of objects up to 22 px
    with pytest.raises(RecipeError, match="enlarged by up to 9; expected 1, for not, to 8"):
        CropRules(zoom=9)


def test_turned_boxes_are_learnt_as_the_smallest_around_each_outline() -> None:
    upright = shapely.box(-10, -3, 10, 3)
    for degrees in (0, 30, 90, 150):
        # Positive angles of shapely turn clockwise in a picture, whose rows grow downwards.
        turned = shapely.affinity.rotate(upright, -degrees, origin=(0, 0))
        moved = np.array([shapely.affinity.translate(turned, 30, 20)], object)
        (box,) = rectangles_of(moved)
        np.testing.assert_allclose(box[:4], [30, 20, 20, 6], atol=1e-4)
        assert abs((box[4] - degrees + 90) % 180 - 90) < 1e-3
        corners = shapely.polygons(oriented_corners(rectangles_of(moved).astype(np.float64)))
        assert shapely.area(shapely.intersection(corners, moved))[0] > 119.99
    _, targets, _ = crops_of([0, 1, 2, 3], kind="oriented").draw(20)
    for target in targets:
        boxes, turned = target["boxes"].numpy(), target["rectangles"].numpy()
        np.testing.assert_allclose(turned[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2, atol=1e-3)


def test_brightness_changes_bands_and_not_places() -> None:
    images, _, _ = crops_of([0, 1, 2, 3], jitter=0.2).draw(4)
    assert len({round(float(np.nanmin(i)), 4) for i in images.numpy()}) == 4


def test_an_image_smaller_than_a_crop_can_be_is_refused() -> None:
    scene = replace(scenes().scenes[0], shape=(20, 96))
    with pytest.raises(RecipeError, match="an image is 20 px wide or high; at least 32 px"):
        ObjectCrops(ObjectScenes((scene,)), np.array([0]), SPEC, CropRules(), 0)
