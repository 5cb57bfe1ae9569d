"""What a recipe's training refuses before anything is read."""

from pathlib import Path

import pytest
import yaml

import rsscale as rs
from rsscale.errors import RecipeError


def test_a_series_is_no_image_to_cut_chips_of(tmp_path: Path) -> None:
    recipe = yaml.safe_load((Path(__file__).parent / "rachel_carson.yaml").read_text())
    del recipe["inputs"]["s2"]["composite"]
    recipe["inputs"]["s2"]["series"] = True
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    with pytest.raises(RecipeError, match="input 's2' is a series of observations"):
        rs.train(path, out=tmp_path / "model", device="cpu")
