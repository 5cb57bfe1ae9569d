"""Model folders: what is saved is opened, and nothing else is."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mlm_schema import schema_errors
from network_inputs import channels

from rsscale.errors import ModelError
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import build
from rsscale.learn.models import Model, open_model, save_model
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec

SQUARE = {"type": "Polygon", "coordinates": [[[6, 47], [7, 47], [7, 48], [6, 48], [6, 47]]]}


def make(classes: int = 2) -> Model:
    torch.manual_seed(0)
    spec = ModelSpec(
        name="landcover",
        inputs=(ModelInput("s2", ("red", "nir"), ("year",), (0.1, 0.3), (0.1, 0.1)),),
        classes=tuple(LandClass(k + 1, f"class {k}", "#00ff00") for k in range(classes)),
        lattice=Lattice(32, 8),
        architecture="unet",
        hyperparameters={"width": 4, "depth": 2},
    )
    module = build("unet", spec.inputs, classes, width=4, depth=2).eval()
    return Model(spec, module, torch.device("cpu"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(make(), tmp_path / "model", geometry=SQUARE, datetime="2023-07-01T00:00:00Z")
    return tmp_path / "model"


def edit(folder: Path, **changes: object) -> None:
    item = json.loads((folder / "item.json").read_text())
    item["properties"] |= changes
    (folder / "item.json").write_text(json.dumps(item))


def output(item: dict) -> dict:
    return item["properties"]["mlm:output"][0]


def test_a_saved_model_is_read_by_other_users(folder: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_an_opened_model_predicts_as_the_saved_one(folder: Path) -> None:
    image = torch.randn(1, 2, 48, 48)
    opened = open_model(folder, device="cpu")
    assert opened.spec == make().spec
    with torch.inference_mode():
        assert torch.equal(opened(image), make()(image))


def test_equal_models_have_equal_bytes(folder: Path, tmp_path: Path) -> None:
    again = save_model(make(), tmp_path / "again", geometry=SQUARE, datetime="2023-07-01T00:00:00Z")
    for name in ("item.json", "model.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert again.digest == open_model(folder).digest != ""


def test_the_item_is_valid_mlm(folder: Path) -> None:
    assert schema_errors(folder / "item.json") == []


def use_weights(folder: Path, href: str) -> None:
    item = json.loads((folder / "item.json").read_text())
    item["assets"]["model"]["href"] = href
    (folder / "item.json").write_text(json.dumps(item))


@pytest.fixture
def program(folder: Path) -> Path:
    dynamic = {0: torch.export.Dim("n"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    exported = torch.export.export(
        make().module, (torch.zeros(2, 2, 48, 48),), dynamic_shapes=(dynamic,)
    )
    torch.export.save(exported, folder / "model.pt2")
    use_weights(folder, "./model.pt2")
    return folder


def test_a_trusted_program_predicts_as_its_network(program: Path) -> None:
    image = torch.randn(3, 2, 32, 64)
    opened = open_model(program, device="cpu", trust=True)
    with torch.inference_mode():
        assert torch.allclose(opened(image), make()(image), atol=1e-5)


class RunsCode:
    """What a pickle can do when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_program_can_run_code_and_is_refused_untrusted(program: Path, tmp_path: Path) -> None:
    samples = io.BytesIO()
    torch.save(((RunsCode(tmp_path / "ran"),), {}), samples)
    with zipfile.ZipFile(program / "model.pt2") as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(program / "model.pt2", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, samples.getvalue() if "sample_inputs" in name else content)
    with pytest.raises(ModelError, match=r"may run any code.*trust=True"):
        open_model(program)
    assert not (tmp_path / "ran").exists()
    open_model(program, trust=True)  # the reason for all this
    assert (tmp_path / "ran").exists()


def test_a_pickle_is_refused_unread(folder: Path) -> None:
    use_weights(folder, "weights.pth")
    (folder / "weights.pth").write_bytes(b"not even a pickle")
    with pytest.raises(ModelError, match=r"is a pickle.*safetensors"):
        open_model(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    edit(folder, **{"mlm:hyperparameters": {"width": 8, "depth": 2}})
    with pytest.raises(ModelError, match="does not hold the weights"):
        open_model(folder)


def test_windows_that_the_network_cannot_take_are_refused(folder: Path) -> None:
    edit(folder, **{"rsscale:stride": 33})
    with pytest.raises(
        ModelError, match=r"result.shape is \[-1, 2, 48, 48\]; it is \[-1, 2, 49, 49\]"
    ):
        open_model(folder)
    item = json.loads((folder / "item.json").read_text())
    for part in (item["properties"]["mlm:input"][0]["input"], output(item)["result"]):
        part["shape"][2:] = [-1, -1]
    (folder / "item.json").write_text(json.dumps(item))
    with pytest.raises(ModelError, match="can't predict a window of 2 channels and 49 px"):
        open_model(folder)


@pytest.mark.parametrize("keep", [0, 100])
def test_damaged_weights_are_refused(folder: Path, keep: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(ModelError, match="damaged"):
        open_model(folder)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        open_model(folder)
    (folder / "item.json").write_text("{")
    with pytest.raises(ModelError, match="not JSON"):
        open_model(folder)
    (folder / "item.json").unlink()
    with pytest.raises(ModelError, match=r"no item\.json"):
        open_model(folder)
    with pytest.raises(ModelError, match="no model folder"):
        open_model(tmp_path / "none")


@pytest.mark.parametrize("content", ["[]", '{"properties": {}}', '{"assets": []}'])
def test_other_json_is_refused(folder: Path, content: str) -> None:
    (folder / "item.json").write_text(content)
    with pytest.raises(ModelError, match="not a STAC item with assets"):
        open_model(folder)


def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="can't be moved to 'nowhere'"):
        open_model(folder, device="nowhere")
    with pytest.raises(ModelError, match="can't be moved"):
        make().to("nowhere")


def test_moving_leaves_the_first_where_it_is() -> None:
    first = make()
    moved = first.to("meta")
    assert moved.device.type == next(moved.module.parameters()).device.type == "meta"
    assert next(first.module.parameters()).device.type == "cpu"


def test_defaults_are_written_out(tmp_path: Path) -> None:
    """A default that changes some day must not change a model that relied on it."""
    spec = replace(make().spec, architecture="pixel", hyperparameters={})
    saved = save_model(
        Model(spec, build("pixel", spec.inputs, 2), torch.device("cpu")), tmp_path / "pixel"
    )
    opened = open_model(tmp_path / "pixel", device="cpu")
    assert opened.spec == saved.spec
    assert dict(opened.spec.hyperparameters) == {"width": 32}


def test_a_model_that_could_not_be_opened_again_is_not_saved(tmp_path: Path) -> None:
    model = make()
    other = build("unet", channels(3), 2, width=4, depth=2)
    with pytest.raises(ModelError, match="weights are of another network"):
        save_model(replace(model, module=other), tmp_path / "a")
    assert not (tmp_path / "a/item.json").exists()


def test_a_network_that_has_no_name_is_saved_as_a_program(tmp_path: Path) -> None:
    model = replace(make(), spec=replace(make().spec, architecture="mine"))
    save_model(model, tmp_path / "a")
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"item.json", "model.pt2"}
    image = torch.randn(3, 2, 48, 48)
    with torch.inference_mode():
        opened = open_model(tmp_path / "a", device="cpu", trust=True)(image)
        assert torch.allclose(opened, make()(image), atol=1e-5)


def test_saving_again_never_mixes_two_models(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_file = Path.replace

    def crash(self: Path, target: Path) -> Path:
        if target.name == "item.json":
            raise KeyboardInterrupt
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        save_model(make(classes=2), folder)
    with pytest.raises(ModelError, match=r"no item\.json"):
        open_model(folder)
    assert {p.name for p in folder.iterdir()} == {"model.safetensors"}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="can't be written to"):
        save_model(make(), tmp_path / "file")
