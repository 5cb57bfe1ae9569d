"""A model of objects where pixels are mapped, and a model of pixels where objects are found."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from blob_detector import (
    CLASSES,
    INPUT,
    BlobDetector,
    Named,
    PeakDetector,
    Returns,
    detector,
    image,
)
from landscape import PART, Landscape

import rsscale as rs
from rsscale.errors import ModelError
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.heads import head_of
from rsscale.layers import Layer
from rsscale.learn.architectures import build, registered
from rsscale.model.outputs import ResultLayout
from rsscale.model.spec import ModelSpec
from rsscale.pipeline.model_card import check_model, describe_model

BOX = PixelBox(0, 0, 96, 96)
ROWS = r"model 'blobs': this model finds objects, .*use rsscale\.detect, or a step of kind 'detect'"


def blobs() -> rs.Model:
    return detector(BlobDetector().eval())


@pytest.mark.parametrize("layers", [None, ["classification"]])
def test_no_map_is_made_of_objects(layers: Any) -> None:
    with pytest.raises(ModelError, match=ROWS):
        rs.predict(image(BOX), blobs(), layers=layers)
    with pytest.raises(ModelError, match=ROWS):
        head_of(blobs().spec, torch.device("cpu"))


def test_a_recipe_that_maps_with_a_detector_is_refused(
    landscape: Landscape, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=ROWS):
        rs.preview(
            recipe_file(landscape, tmp_path), PART, model=detector(Named(PeakDetector()).eval())
        )


def recipe_file(landscape: Landscape, folder: Path) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(landscape.recipe()))
    return path


SAID: dict[str, Any] = {
    "name": "ponds", "inputs": (INPUT,), "classes": CLASSES, "lattice": Lattice(64, 16),
    "architecture": "fasterrcnn", "output": rs.ObjectOutput(),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lattice": Lattice(64, 16, "hann")}, "has the blend 'hann', which is of numbers"),
        ({"result": ResultLayout(factor=2)}, "has the ResultLayout.*factor=2"),
        ({"extras": (Layer("doubt"),)}, r"has the extras \['doubt'\]"),
        ({"classes": ()}, "needs at least one class"),
    ],
)
def test_a_contract_of_objects_has_nothing_of_pixels(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ModelSpec(**(SAID | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "circles"}, "objects are 'circles'; expected one of boxes, outlines, oriented"),
        ({"iou": 1.5}, "iou of objects is 1.5; expected a number from 0 to 1"),
        ({"score_threshold": float("nan")}, "score_threshold of objects is nan"),
        ({"most": 0}, "at most 0 in a window"),
        ({"first_label": 2}, "first label 2; expected at least 1, and 0 or 1"),
    ],
)
def test_an_output_of_objects_is_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        rs.ObjectOutput(**changes)


def test_boxes_can_not_be_averaged() -> None:
    for make in (registered, lambda name: build(name, [INPUT], 2, members=2)):
        with pytest.raises(ModelError, match="'fasterrcnn' finds objects, whose boxes can't be av"):
            make("ensemble(fasterrcnn)")


def test_a_network_of_pixels_with_a_contract_of_objects_is_not_saved_to_be_opened(
    tmp_path: Path,
) -> None:
    model = detector(Returns(torch.zeros(1, 2, 80, 80)).eval())
    rs.save_model(model, tmp_path / "model")
    with pytest.raises(ModelError, match="returns a Tensor for one window; a model that finds obj"):
        rs.open_model(tmp_path / "model", trust=True)


def test_a_card_tells_what_is_found(tmp_path: Path) -> None:
    from rsscale.detectors.detectors import build_detector

    how = {"backbone": "small", "width": 16}
    model = rs.Model.of(
        build_detector("fasterrcnn", 2, 2, how).eval(), inputs=[INPUT], classes=CLASSES,
        output=rs.ObjectOutput(score_threshold=0.4), architecture="fasterrcnn", hyperparameters=how,
    )  # fmt: skip
    rs.save_model(model, tmp_path / "model")
    text = str(describe_model(tmp_path / "model"))
    assert "objects as boxes" in text
    assert "3 pond, 9 shed" in text
    assert "scores of 0.4 or more; of two of a class that overlap by 50%" in text
    assert "layers" not in text
    opened, finds = check_model(tmp_path / "model")
    assert opened == "opened, and takes a window of 320 px"
    assert finds.startswith("finds objects; those more than 32 px wide, its halo, may be put tog")
