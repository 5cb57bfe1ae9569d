"""Where a model can be had from: its folder as long as it is what was opened there."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from box_model import CarriedModel, untrained_unet
from torch import nn

from rsscale.errors import ModelError
from rsscale.learn.model_folder import ModelFolder
from rsscale.learn.models import Model, open_model
from rsscale.model.files import model_files
from rsscale.passes.open_models import StepModel, opened_plain
from rsscale.prediction.model_source import PickledModel, opened, source_of
from rsscale.steps.attachments import Attachment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_unet(tmp_path_factory.mktemp("models") / "unet")


def test_an_opened_model_is_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    source = open_model("unet").source()
    assert isinstance(source, ModelFolder)
    assert source.path == str(folder)
    assert source == ModelFolder.at(folder, device="cpu")
    assert source.spec == open_model(folder).spec
    again = source.open()
    assert again.digest == source.digest  # type: ignore[attr-defined]


def test_a_moved_model_is_opened_where_it_was_moved_to(folder: Path) -> None:
    moved = open_model(folder).to("cpu:0")
    source = moved.source()
    assert source is not None
    assert source.device == "cpu:0"


def _trained(model: Model) -> Model:
    with torch.no_grad():
        next(model.module.parameters()).add_(1e-3)
    return model


def _trained_behind(model: Model) -> Model:
    next(model.module.parameters()).data.mul_(1.001)
    return model


def _in_training(model: Model) -> Model:
    model.module.train()
    return model


def _wrapped(model: Model) -> Model:
    return replace(model, module=nn.Sequential(model.module))


@pytest.mark.parametrize("change", [_trained, _trained_behind, _in_training, _wrapped])
def test_a_changed_model_is_no_longer_its_folder(
    folder: Path, change: Callable[[Model], Model]
) -> None:
    model = change(open_model(folder))
    assert model.source() is None
    source = source_of(model)
    assert isinstance(source, PickledModel)
    images = torch.rand(1, 4, 48, 48)
    with torch.inference_mode():
        assert torch.equal(source.open()(images), model(images))


def test_a_pickled_model_is_what_it_was_at_the_call(folder: Path) -> None:
    model = replace(open_model(folder), _opened=None)
    images = torch.rand(1, 4, 48, 48)
    with torch.inference_mode():
        before = model(images)
        source = source_of(model)
        _trained(model)
        assert torch.equal(opened(source)(images), before)


def test_a_model_is_opened_once_in_a_process() -> None:
    source = source_of(CarriedModel(ballast=17))
    before = CarriedModel.arrived
    assert opened(source) is opened(source)
    assert CarriedModel.arrived == before + 1


def test_a_model_that_cannot_travel_says_what_to_do() -> None:
    model = CarriedModel()
    model.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"'box' can't be sent to workers .* rsscale.open_model"):
        source_of(model)


def test_a_step_refuses_another_model_than_it_was_planned_with(
    folder: Path, tmp_path: Path
) -> None:
    here = tmp_path / "model"
    shutil.copytree(folder, here)
    attachment = Attachment("2023", tuple(model_files(here)), "models")
    assert opened_plain(attachment, "cpu") is opened_plain(attachment, "cpu")
    changed = Attachment("2024", attachment.files, "models")
    assert changed.digest == attachment.digest
    untrained_unet(here, width=8)
    assert opened_plain(changed, "cpu").digest == attachment.digest  # this process has it
    with pytest.raises(ModelError, match=r"holds another model .* than the step was planned with"):
        StepModel(changed, "cpu").open()


def test_a_folder_that_is_gone_or_another_is_one_clear_line(folder: Path, tmp_path: Path) -> None:
    here = tmp_path / "model"
    shutil.copytree(folder, here)
    source = ModelFolder.at(here)
    untrained_unet(here, width=8)
    with pytest.raises(ModelError, match=r"holds another model") as other:
        source.open()
    shutil.rmtree(here)
    with pytest.raises(ModelError, match="sees no model folder") as gone:
        source.open()
    assert all(len(str(e.value).splitlines()) == 1 for e in (other, gone))
    with pytest.raises(ModelError, match="there is no model folder"):
        ModelFolder.at(here)
