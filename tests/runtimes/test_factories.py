"""Networks of functions and of segmentation-models-pytorch, and programs."""

import json
import logging
import socket
from pathlib import Path

import pytest
import torch
from model_kinds import CLASSES, FEATURES, Block, allowed, make_block
from safetensors.torch import load_file, save_file
from torch import nn

import rsscale as rs
from rsscale.errors import ModelError
from rsscale.learn.architectures import build
from rsscale.runtimes.pretrained import adapted_channels, begin_with_encoder
from rsscale.runtimes.torch_program import open_program

SAID = {"inputs": {"s2": ["red", "nir"]}, "times": ["a", "b"], "classes": CLASSES,
        "stride": 32, "halo": 0}  # fmt: skip
SMP = {"encoder_name": "resnet18", "encoder_depth": 3, "decoder_channels": [16, 8, 4]}
INPUTS = (rs.ModelInput("s2", ("red", "nir"), ("a", "b"), (0.0, 0.0), (1.0, 1.0)),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with allowed():
        model = rs.Model.of(make_block(FEATURES, 3).eval(), architecture="model_kinds:make_block",
                            **SAID)  # fmt: skip
        rs.save_model(model, tmp_path / "model")
    return tmp_path / "model"


def test_a_module_must_be_allowed(folder: Path) -> None:
    item = json.loads((folder / "item.json").read_text())
    assert item["properties"]["mlm:architecture"] == "model_kinds:make_block"
    assert item["properties"]["mlm:hyperparameters"] == {"width": 6}  # defaults of today
    with pytest.raises(ModelError, match=r"set RSSCALE_ARCHITECTURES=model_kinds, here and on"):
        rs.open_model(folder)
    with allowed("model"), pytest.raises(ModelError, match="does not allow"):
        rs.open_model(folder)
    with allowed():
        assert isinstance(rs.open_model(folder).module, Block)


@pytest.mark.parametrize(
    ("architecture", "match"),
    [
        ("model_kinds:nothing", "can't be imported"),
        ("model_kinds:table", "returned a tuple; expected a torch.nn.Module"),
        ("model_kinds:network", "TypeError"),
        ("smp:Unett", r"'smp:Unett' is none; .*did you mean 'Unet'"),
    ],
)
def test_addresses_that_make_no_network_are_refused(architecture: str, match: str) -> None:
    hyperparameters = {"more": 1} if architecture.endswith("network") else {}
    with allowed(), pytest.raises(ModelError, match=match):
        build(architecture, INPUTS, 3, **hyperparameters)


@pytest.mark.parametrize(
    ("hyperparameters", "match"),
    [
        ({"checkpoint_path": "evil.pth"}, "no hyperparameter 'checkpoint_path'; it has encoder_n"),
        ({"encoder_name": "tu-hf_hub:some/net"}, "and no address"),
        ({"encoder_name": "tu-local-dir:/tmp"}, "and no address"),
        ({"encoder_name": "resnet17"}, "resnet17"),
    ],
)
def test_hyperparameters_of_smp_name_no_file_and_no_hub(hyperparameters: dict, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        build("smp:Unet", INPUTS, 3, **hyperparameters)


def test_encoders_of_timm_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", None)
    small = {"encoder_name": "tu-resnet18", "encoder_depth": 2, "decoder_channels": [8, 4]}
    network = build("segmentation_models_pytorch.Unet", INPUTS, 3, **small)
    with torch.inference_mode():
        assert network.eval()(torch.zeros(1, FEATURES, 32, 32)).shape == (1, 3, 32, 32)


def test_weights_that_do_not_fit_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    state = load_file(path)
    small = {k: v for k, v in state.items() if k != "last.bias"}
    wrong = {
        "they lack last.bias": small,
        "they have more.weight besides": state | {"more.weight": torch.zeros(600)},
        r"last.bias has the shape \(4,\), expected \(3,\)": state | {"last.bias": torch.zeros(4)},
        "all begin with 'module.': save": {f"module.{k}": v for k, v in state.items()},
        "they are of another network: body.weight, not": {"body.weight": torch.zeros(2000)},
    }
    for match, changed in wrong.items():
        save_file(changed, path)
        with allowed(), pytest.raises(ModelError, match=match) as error:
            rs.open_model(folder)
        assert "\n" not in str(error.value)


def test_networks_of_smp_are_saved_and_opened_without_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    network = build("smp:Unet", INPUTS, 3, **SMP).eval()
    more = {"architecture": "smp:Unet", "hyperparameters": SMP | {"encoder_weights": "imagenet"}}
    rs.save_model(rs.Model.of(network, **SAID, **more), tmp_path / "model")
    opened = rs.open_model(tmp_path / "model", device="cpu")
    image = torch.randn(2, FEATURES, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(opened(image), network(image))
    item = json.loads((tmp_path / "model/item.json").read_text())["properties"]
    assert item["mlm:pretrained"] is True
    assert item["mlm:pretrained_source"].startswith("encoder: imagenet")
    assert item["mlm:hyperparameters"]["decoder_use_norm"] == "batchnorm"  # a default of today


def test_training_begins_with_an_encoder_of_other_channels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rsscale")
    of_three = rs.ModelInput("x", ("r", "g", "b"), ("a",), (0.0,) * 3, (1.0,) * 3)
    source = build("smp:Unet", (of_three,), 3, **SMP)
    state = source.encoder.state_dict()
    save_file({**state, "fc.weight": torch.zeros(9)}, tmp_path / "encoder.safetensors")
    network = build("smp:Unet", INPUTS, 3, **SMP)
    given = SMP | {"encoder_weights": str(tmp_path / "encoder.safetensors")}
    told = begin_with_encoder(network, "smp:Unet", FEATURES, given)
    assert "(conv1.weight) adapted from 3 to 4 channels: repeated in turn, scaled by 3/4" in told
    assert told in caplog.text
    first = network.encoder.conv1.weight
    torch.testing.assert_close(first, adapted_channels(state["conv1.weight"], FEATURES))
    torch.testing.assert_close(first[:, 3], state["conv1.weight"][:, 0] * 0.75)
    torch.testing.assert_close(
        network.encoder.layer1[0].conv1.weight, state["layer1.0.conv1.weight"]
    )
    other = SMP | {"encoder_name": "resnet34"}
    with pytest.raises(ModelError, match=r"are of another encoder: they lack layer1\.2"):
        begin_with_encoder(build("smp:Unet", INPUTS, 3, **other), "smp:Unet", FEATURES, given)
    with pytest.raises(ModelError, match="which networks of segmentation-models-pytorch take"):
        begin_with_encoder(Block(FEATURES, 3), "model_kinds:make_block", FEATURES, given)


def _exported(path: Path, network: nn.Module, dynamic: bool, count: int) -> Path:
    window = torch.zeros(count, FEATURES, 32, 32)
    dims = ({0: torch.export.Dim("n")},) if dynamic else None
    torch.export.save(torch.export.export(network, (window,), dynamic_shapes=dims), path)
    return path


@pytest.mark.parametrize("count", [1, 4])
def test_a_program_of_a_fixed_batch_is_refused(tmp_path: Path, count: int) -> None:
    path = _exported(tmp_path / "p.pt2", Block(FEATURES, 3).eval(), dynamic=False, count=count)
    with pytest.raises(ModelError, match=f"exported for exactly {count} window.*dynamic_shapes"):
        open_program(path)


@pytest.mark.parametrize("part", ["norm", "drop"])
def test_a_program_in_training_is_refused(tmp_path: Path, part: str) -> None:
    network = Block(FEATURES, 3).eval()
    getattr(network, part).train()
    path = _exported(tmp_path / "p.pt2", network, dynamic=True, count=2)
    name = {"norm": "batch_norm", "drop": "dropout"}[part]
    with pytest.raises(ModelError, match=f"exported in the mode of training: {name}.*eval"):
        open_program(path)


def test_a_program_in_memory_is_a_model(tmp_path: Path) -> None:
    network, window = Block(FEATURES, 3).eval(), torch.randn(2, FEATURES, 32, 32)
    dims = ({0: torch.export.Dim("n")},)
    program = torch.export.export(network, (window,), dynamic_shapes=dims)
    for given in (program, program.module()):
        model = rs.Model.of(given, **SAID)
        rs.save_model(model, tmp_path / "model")
        opened = rs.open_model(tmp_path / "model", device="cpu", trust=True)
        with torch.inference_mode():
            torch.testing.assert_close(opened(window[:1]), network(window[:1]))


def test_a_misspelt_function_is_told_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSSCALE_ARCHITECTURES", "collections")
    with pytest.raises(ModelError, match=r"no attribute 'OrderdDict'; did you mean 'OrderedDict'"):
        build("collections:OrderdDict", INPUTS, 3)


@pytest.mark.parametrize("channels", [3, 5])
def test_a_network_of_other_channels_is_told_from_one_that_has_no_export(
    channels: int, tmp_path: Path
) -> None:
    model = rs.Model.of(nn.Conv2d(channels, 3, 1).eval(), **SAID)
    told = r"a Conv2d, can't predict a window of 4 channels: .*given \(2, 4, 32, 32\)"
    with pytest.raises(ModelError, match=told):
        rs.save_model(model, tmp_path / "model")
    assert not (tmp_path / "model/item.json").exists()


class ByValue(nn.Module):
    """Decides by its values, which no export can keep."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :3] if float(x.sum()) > 0 else -x[:, :3]


def test_what_cannot_be_exported_is_said_with_what_to_do(tmp_path: Path) -> None:
    model = rs.Model.of(ByValue().eval(), **SAID)
    with pytest.raises(ModelError, match=r"ByValue, can't be exported .*architecture='module:"):
        rs.save_model(model, tmp_path / "model")
    assert not (tmp_path / "model/item.json").exists()
