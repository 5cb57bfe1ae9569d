"""The recipe that a run keeps names the model that it keeps: that of its author may go."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from landscape import Landscape

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.recipe import read_recipe
from rsscale.sampling.provenance import model_folder

pytestmark = pytest.mark.slow


@pytest.mark.extended
def test_the_kept_recipe_is_run_again_after_its_model_has_gone(
    landscape: Landscape, tmp_path: Path
) -> None:
    gone = Path(shutil.copytree(landscape.folder / "model", tmp_path / "gone"))
    run = rs.run(landscape.part(model=str(gone)), tmp_path / "out", threads=1)
    shutil.rmtree(gone)
    kept, recipe = (
        tmp_path / "out/recipe.yaml",
        yaml.safe_load(run.folder.storage.read("recipe.yaml")),
    )
    assert (tmp_path / "out" / recipe["model"] / "item.json").exists()
    done = run.state["tiles"]["total"]
    assert rs.plan(kept, device="cpu").tiles == done

    again = rs.run(kept, run.path, threads=1)  # computes nothing
    tiles = [event for event in again.events() if event["event"] == "tile"]
    assert len(tiles) == done
    other = rs.run(kept, tmp_path / "other", threads=1)
    assert np.array_equal(other.open().classification, run.open().classification)
    with pytest.raises(RecipeError, match=r"what a run was made from.*--out"):
        model_folder(read_recipe(kept))

    grown = rs.run(
        kept,
        run.path,
        overrides=["steps.smooth={kind: smooth, of: map, method: majority}"],
        threads=1,
    )
    assert "smooth" in grown.state["steps"]
    assert yaml.safe_load(kept.read_text())["model"] == recipe["model"]


def test_a_model_for_each_period_is_kept_by_period(landscape: Landscape, tmp_path: Path) -> None:
    recipe = landscape.part()
    gone = Path(shutil.copytree(landscape.folder / "model", tmp_path / "gone"))
    models = dict.fromkeys(recipe["periods"], str(gone))
    run = rs.run(recipe | {"model": models}, tmp_path / "out", threads=1)
    shutil.rmtree(gone)
    kept = yaml.safe_load((tmp_path / "out/recipe.yaml").read_text())["model"]
    assert list(map(int, kept)) == recipe["periods"]
    assert {Path(path).parent.name for path in kept.values()} == {"models"}
    rs.run(tmp_path / "out/recipe.yaml", run.path, threads=1)
