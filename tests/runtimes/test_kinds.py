"""Every kind of model keeps the contract: in memory, from its folder, lazily, in runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from box_model import BOX, composite
from model_kinds import CLASSES, FEATURES, KINDS, Block, allowed, export_onnx

import rsscale as rs
from rsscale.errors import ModelError
from rsscale.model.files import read_item, weights_of
from rsscale.passes.map_memory import network_bytes

INPUTS, TIMES = {"s2": ["red", "nir"]}, ["a", "b"]
LAYERS = ("classification", "confidence", "probability", "observations")


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def made(kind: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[rs.Model, Path]:
    """A model in memory, and the folder that it was saved to."""
    folder = tmp_path_factory.mktemp(kind)
    model = KINDS[kind].make(INPUTS, TIMES, folder)
    with allowed():
        rs.save_model(model, folder / "model")
    return model, folder / "model"


@pytest.fixture
def opened(kind: str, made: tuple[rs.Model, Path]) -> rs.Model:
    with allowed():
        return rs.open_model(made[1], device="cpu", trust=KINDS[kind].trust)


def equal(one: xr.Dataset, other: xr.Dataset) -> None:
    for name in LAYERS:
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=name)


def test_memory_folder_and_lazy_maps_are_equal(
    kind: str, made: tuple[rs.Model, Path], opened: rs.Model
) -> None:
    comp = composite(BOX)
    first = rs.predict(comp, made[0], probability=True)
    assert set(np.unique(first.classification)) == {3, 9, 11, 255}
    tolerant = kind == "network"  # a program's operators may be others of the same meaning
    again = rs.predict(comp, opened, probability=True)
    if tolerant:
        assert np.abs(first.probability.astype(int) - again.probability.astype(int)).max() <= 1
    else:
        equal(first, again)
    lazy = comp.chunk({"y": 20, "x": 31})
    with allowed():
        equal(again, rs.predict(lazy, opened, probability=True).compute(scheduler="threads"))
    if not tolerant:
        equal(again, rs.predict(lazy, made[0], probability=True).compute(scheduler="threads"))


def test_numbers_are_those_of_the_library(kind: str, opened: rs.Model) -> None:
    comp = composite(BOX)
    found = rs.predict(comp, opened, probability=True)
    rows = comp.values.reshape(FEATURES, -1).T
    own = KINDS[kind].own
    if own is None:
        block = Block(FEATURES, 3, 5 if kind == "factory" else 6).eval()
        image = torch.from_numpy(np.nan_to_num(comp.values.reshape(1, FEATURES, *BOX.shape)))
        padded = torch.nn.functional.pad(image, (8, 8, 8, 8))
        with torch.inference_mode():
            whole = torch.softmax(block(padded)[0, :, 8:-8, 8:-8], dim=0)
        expected = whole.numpy().reshape(3, -1).T
    else:
        expected = own(opened, rows)
    seen = np.isfinite(rows).any(axis=1)
    percent = found.probability.values.reshape(3, -1).T[seen].astype(int)
    exact = 100 * expected[seen]
    # As near as whole percents are, and rounding of float32.
    assert np.abs(percent - exact).max() <= 0.5 + 1e-3


def test_the_item_says_what_runs_it(kind: str, made: tuple[rs.Model, Path]) -> None:
    _, folder = made
    item = read_item(folder)
    assert weights_of(folder).suffix == KINDS[kind].suffix
    asset = item["assets"]["model"]
    frameworks = {".skops": "scikit-learn", ".txt": "LightGBM", ".onnx": "ONNX"}
    assert item["properties"]["mlm:framework"] == frameworks.get(KINDS[kind].suffix, "pytorch")
    assert asset["mlm:artifact_type"]
    assert "/" in asset["type"]


def test_equal_models_have_equal_files(
    kind: str, made: tuple[rs.Model, Path], tmp_path: Path
) -> None:
    model, folder = made
    with allowed():
        rs.save_model(model, tmp_path / "again")
    for name in ("item.json", f"model{KINDS[kind].suffix}"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_worker_can_tell_its_memory(opened: rs.Model) -> None:
    window = opened.spec.lattice.window
    assert 4 * window**2 * (FEATURES + 3) < network_bytes(opened) < 100 * 2**20


def test_only_networks_of_torch_are_accelerated(kind: str, made: tuple[rs.Model, Path]) -> None:
    if KINDS[kind].suffix in (".pt2", ".safetensors"):
        pytest.skip("a network of torch")
    names = {".skops": "scikit-learn", ".txt": "LightGBM", ".onnx": "ONNX"}
    for how in ({"precision": "bfloat16"}, {"compile": True}):
        with pytest.raises(ModelError, match=f"runs by {names[KINDS[kind].suffix]}"):
            rs.open_model(made[1], device="cpu", **how)


def test_threads_change_nothing(opened: rs.Model) -> None:
    comp = composite(BOX)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        two = rs.predict(comp, opened, probability=True)
        torch.set_num_threads(3)
        equal(two, rs.predict(comp, opened, probability=True))
    finally:
        torch.set_num_threads(before)


def test_a_network_in_training_is_set_to_evaluation(caplog: pytest.LogCaptureFixture) -> None:
    block = Block(FEATURES, 3)
    rs.Model.of(block, inputs=INPUTS, times=TIMES, classes=CLASSES)
    assert not block.training
    assert "was in the mode of training" in caplog.text


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"inputs": INPUTS}, "expected lists of names"),
        ({"inputs": {"s2": "red"}, "times": TIMES}, "expected lists of names"),
        ({"inputs": [("s2", "red")]}, "expected ModelInput objects"),
    ],
)
def test_inputs_that_are_none_are_refused(said: dict, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        rs.Model.of(Block(FEATURES, 3).eval(), classes=CLASSES, **said)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    more = {"inputs": INPUTS, "times": TIMES}
    with pytest.raises(ModelError, match=r"a dict can't be made a model.*rsscale\.apply"):
        rs.Model.of({}, classes=CLASSES, **more)
    with pytest.raises(ModelError, match=r"no \.onnx file"):
        rs.Model.of(tmp_path, classes=CLASSES, **more)
    with pytest.raises(ModelError, match="give classes"):
        rs.Model.of(Block(FEATURES, 3).eval(), **more)


def test_an_onnx_of_one_window_is_given_one_at_a_time(tmp_path: Path) -> None:
    single = export_onnx(tmp_path / "single.onnx", dynamic_axes={"image": {2: "h", 3: "w"}})
    any_batch = export_onnx(tmp_path / "any.onnx")
    found = [
        rs.predict(
            composite(BOX),
            rs.Model.of(path, inputs=INPUTS, times=TIMES, classes=CLASSES, stride=32, halo=4),
            probability=True,
            batch=3,
        )
        for path in (single, any_batch)
    ]
    equal(*found)
