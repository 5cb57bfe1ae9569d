"""A network of one's own in a large run: trusted by name, recorded by digest, never silently."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from landscape import Landscape

import rsscale as rs
from rsscale.errors import ModelError, TilesFailedError
from rsscale.learn.models import open_model

pytestmark = pytest.mark.slow


def export(landscape: Landscape, folder: Path) -> Path:
    """The landscape's model as a torch.export program."""
    shutil.copytree(landscape.folder / "model", folder)
    model = open_model(folder, device="cpu")
    dynamic = {0: torch.export.Dim("n"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    images = torch.zeros(2, model.spec.channels, 232, 232)
    module = model.module.to(memory_format=torch.contiguous_format)  # as one would have it
    program = torch.export.export(module, (images,), dynamic_shapes=(dynamic,))
    torch.export.save(program, folder / "model.pt2")
    item = json.loads((folder / "item.json").read_text())
    item["assets"]["model"]["href"] = "./model.pt2"
    item["properties"]["mlm:architecture"] = "my own"
    (folder / "item.json").write_text(json.dumps(item))
    (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture(scope="module")
def program(landscape: Landscape, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(landscape, tmp_path_factory.mktemp("program") / "model")


def test_what_is_not_trusted_is_refused_everywhere_with_the_way(
    landscape: Landscape, program: Path, tmp_path: Path
) -> None:
    recipe = landscape.part(model=str(program))
    for refused in (
        lambda: rs.plan(recipe),
        lambda: rs.run(recipe, tmp_path / "out"),
        lambda: rs.preview(recipe, [6.02, 44.98, 6.03, 44.99]),
    ):
        with pytest.raises(ModelError, match=r"trust=True.*--trust.*trust: \['[0-9a-f]{16}'\]"):
            refused()
    assert not (tmp_path / "out").exists()


@pytest.mark.extended
def test_a_trusted_program_is_planned_run_previewed_and_recorded(
    landscape: Landscape, program: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = landscape.part(model=str(program))
    with caplog.at_level(logging.WARNING, "rsscale"):
        assert rs.plan(recipe, trust=True).tiles > 0
    assert "around a pixel, and its windows have a halo of 4 px" in caplog.text
    run = rs.run(recipe, tmp_path / "out", threads=1, trust=True)
    plain = rs.run(landscape.part(), tmp_path / "plain", threads=1)
    found, expected = run.open(), plain.open()
    same = found.classification == expected.classification
    assert float(same.mean()) > 0.999  # exported kernels may round in another way
    box = [6.02, 44.98, 6.03, 44.99]
    seen = rs.preview(recipe, box, threads=1, trust=True)
    part = found.sel(y=seen.y, x=seen.x).classification
    assert np.array_equal(seen.classification.values, part.values)

    digest = open_model(program, trust=True).digest
    written = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    assert written["trust"] == [digest]
    assert rs.plan(landscape.part(model=str(program), trust=[digest])).tiles > 0


def test_a_program_that_was_changed_since_is_not_trusted(
    landscape: Landscape, program: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(program, tmp_path / "model")
    digest = open_model(other, trust=True).digest
    with (other / "model.pt2").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ModelError, match="may run any code"):
        rs.plan(landscape.part(model=str(other), trust=[digest]))


def test_a_run_whose_kept_program_was_changed_does_not_open_it(
    landscape: Landscape, program: Path, tmp_path: Path
) -> None:
    run = rs.run(landscape.part(model=str(program)), tmp_path / "out", threads=1, trust=True)
    (kept,) = (tmp_path / "out" / "models").glob("*/model.pt2")
    kept.write_bytes(kept.read_bytes() + b"more")
    for entry in list((tmp_path / "out" / "ledger").rglob("*.json"))[:1]:
        entry.unlink()
    from rsscale.prediction import model_source

    model_source._MODELS.forget()  # as in a new process
    with pytest.raises((TilesFailedError, ModelError), match="may run any code"):
        rs.resume(run.path)


@pytest.mark.parametrize("trust", ["yes", ["abc"], [5], True])
def test_only_digests_are_taken_in_a_recipe(landscape: Landscape, trust: object) -> None:
    with pytest.raises(rs.RecipeError, match="trust"):
        rs.read_recipe(landscape.part(trust=trust))


def test_a_program_that_does_not_take_what_it_declares_is_refused(
    program: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(program, tmp_path / "model")
    item = json.loads((other / "item.json").read_text())
    (one,) = item["properties"]["mlm:input"]
    one["input"] = {
        "shape": [-1, 2, 2, 232, 232],
        "dim_order": ["batch", "time", "bands", "height", "width"],
        "data_type": "float32",
    }
    (other / "item.json").write_text(json.dumps(item))
    with pytest.raises(ModelError, match=r"can't predict a window.*has the layout 'channels'"):
        open_model(other, trust=True)
