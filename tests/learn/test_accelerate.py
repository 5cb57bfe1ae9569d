"""Faster forms of a model: what they say of themselves, and when they are refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rsscale.errors import ModelError
from rsscale.geo.lattice import Lattice
from rsscale.learn import accelerate as module
from rsscale.learn.accelerate import accelerate, label_agreement
from rsscale.learn.architectures import build
from rsscale.learn.models import Model, open_model, save_model
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import WindowBatch

ZEROS, ONES = (0.0, 0.0), (1.0, 1.0)


def model(architecture: str = "pixel") -> Model:
    spec = ModelSpec(
        name="small",
        inputs=(ModelInput("s2", ("red", "nir"), ("a",), ZEROS, ONES),),
        classes=tuple(LandClass(v, f"class {v}", "#000000") for v in (3, 9, 4)),
        lattice=Lattice(16, 4),
        architecture=architecture,
        hyperparameters={"width": 8},
    )
    torch.manual_seed(1)
    return Model(spec, build(architecture, spec.inputs, 3, width=8).eval(), torch.device("cpu"))


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 2, 24, 24, generator=torch.Generator().manual_seed(2))


def windows(count: int = 2) -> WindowBatch:
    return WindowBatch(model().spec, images(count))


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch computes bfloat16 on any CPU, only slowly."""
    monkeypatch.setattr(module, "has_bfloat16", lambda _: True)


def test_nothing_asked_for_changes_nothing() -> None:
    plain = model()
    assert accelerate(plain) == plain
    assert (plain.precision, plain.compiled) == ("float32", False)


@pytest.mark.usefixtures("native")
def test_bfloat16_gives_float32_scores_of_about_the_same_size() -> None:
    plain = model("unet")
    fast = accelerate(plain, precision="bfloat16")
    assert (fast.precision, plain.precision) == ("bfloat16", "float32")
    with torch.inference_mode():
        want, found = plain(images()), fast(images())
    assert found.dtype == torch.float32
    assert not torch.equal(found, want)
    assert torch.allclose(found, want, rtol=0.05, atol=0.05)
    assert 0.9 < label_agreement(plain, fast, windows()) <= 1.0
    again = accelerate(fast, precision="bfloat16")
    assert again is fast


def test_agreement_is_the_share_of_equal_labels() -> None:
    class Scores(torch.nn.Module):
        def __init__(self, wrong: int) -> None:
            super().__init__()
            self.wrong = wrong

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            labels = torch.zeros(len(batch), 24, 24, dtype=torch.int64)
            labels[0].view(-1)[: self.wrong] = 1
            return torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()

    plain = model()
    forms = [Model(plain.spec, Scores(wrong), plain.device) for wrong in (0, 72)]
    assert label_agreement(forms[0], forms[0], windows()) == 1.0
    assert label_agreement(*forms, windows()) == 1 - 72 / (2 * 24 * 24)


def test_bfloat16_without_instructions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not module.has_bfloat16("cpu")
    with pytest.raises(ModelError, match=r"'cpu' has no instructions for it.*use 'float32'"):
        accelerate(model(), precision="bfloat16")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert module.has_bfloat16("cpu")


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'bfloat'; expected .*did you mean 'bfloat16'"):
        accelerate(model(), precision="bfloat")  # type: ignore[arg-type]


def not_compiled(error: Exception) -> Callable[..., Callable[..., torch.Tensor]]:
    def compiled(_: torch.Tensor) -> torch.Tensor:
        raise error

    return lambda *_, **__: compiled


def test_what_cannot_be_compiled_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = model()
    monkeypatch.setattr(torch, "compile", not_compiled(RuntimeError("No working C++\ncompiler")))
    with pytest.warns(UserWarning, match=r"g\+\+ is needed: RuntimeError: No working C\+\+ comp"):
        fast = accelerate(plain, compile=True)
    assert fast == plain


def test_compiled_for_one_device_is_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def compiled(net: torch.nn.Module, **options: object) -> torch.nn.Module:
        assert options == {"dynamic": False, "options": {"freezing": True}}
        net.register_forward_hook(lambda _, given, __: seen.append(tuple(given[0].shape)))
        return net

    monkeypatch.setattr(torch, "compile", compiled)
    fast = accelerate(model(), compile=True, batch=3)
    assert fast.compiled
    assert seen == [(3, 2, 24, 24)]
    with pytest.raises(ModelError, match="move it first"):
        fast.to("cpu")
    with pytest.raises(ModelError, match="compiled already"):
        accelerate(fast, compile=True)


@pytest.mark.usefixtures("native")
def test_a_model_is_opened_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(model(), tmp_path)
    monkeypatch.setattr(torch, "compile", lambda net, **_: net)
    opened = open_model(tmp_path, device="cpu", precision="bfloat16", compile=True)
    assert (opened.precision, opened.compiled) == ("bfloat16", True)
    plain = open_model(tmp_path, device="cpu")
    assert (plain.precision, plain.compiled) == ("float32", False)
    assert plain.digest == opened.digest


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_compiled_network_gives_the_same_labels() -> None:
    plain = model()
    fast = accelerate(plain, compile=True, batch=2)
    assert fast.compiled
    assert label_agreement(plain, fast, windows()) > 0.99
    with torch.inference_mode():
        assert torch.allclose(plain(images()), fast(images()), atol=1e-4)
