"""A real pair: learnt from the labels of one half of Taizhou, measured on those of the other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import taizhou

import rsscale as rs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not taizhou.DATA.exists(), reason=f"the pair of Taizhou is not at {taizhou.DATA}"
    ),
]
HALVES = {"west": np.s_[:, :200], "east": np.s_[:, 200:]}
LEGEND = (("unchanged", "#e4e4e0"), ("changed", "#d7301f"))


def labels_of(half: str, folder: Path) -> Path:
    """The reference of a half; the other is unlabelled."""
    path = folder / f"{half}.tif"
    with rasterio.open(taizhou.DATA / "reference.tif") as file:
        values, profile = file.read(1), file.profile
    kept = np.full_like(values, 255)
    kept[HALVES[half]] = values[HALVES[half]]
    with rasterio.open(path, "w", **{**profile, "nodata": 255}) as file:
        file.write(kept, 1)
    return path


def recipe_of(half: str, folder: Path) -> dict[str, Any]:
    recipe = taizhou.recipe()
    years = {"from": 2000, "to": 2003}
    (name,) = recipe["inputs"]
    step = {"kind": "change-network", "model": str(folder / f"model-{half}"), "of": name, **years}
    return {
        **{key: value for key, value in recipe.items() if key != "model"},
        "train": {
            "labels": str(labels_of(half, folder)),
            "classes": [
                {"value": value, "name": label, "color": color}
                for value, (label, color) in enumerate(LEGEND)
            ],
            "change": years,
            "architecture": "pixel",
            "chip": 128,
            "steps": 400,
            "split": {"blocks": 1000, "test": 0.0},
        },
        "steps": {"change": step},
    }


@pytest.mark.extended
@pytest.mark.parametrize(("half", "other"), [("west", "east"), ("east", "west")])
def test_what_is_learnt_in_one_half_holds_in_the_other(
    half: str, other: str, tmp_path: Path
) -> None:
    recipe = recipe_of(half, tmp_path)
    rs.train(recipe, device="cpu")
    found = rs.preview(recipe, bbox=recipe["bbox"], step="change", device="cpu", threads=1)
    with rasterio.open(taizhou.DATA / "reference.tif") as file:
        truth, transform = file.read(1), file.transform
    x = transform.c + 30 * (np.arange(400) + 0.5)
    y = transform.f - 30 * (np.arange(400) + 0.5)
    change = found["change"].squeeze("time").sel(x=x, y=y, method="nearest").values
    part = HALVES[other]
    known = truth[part] != 255
    changed, true = change[part][known] == 1, truth[part][known] == 1
    assert (change[part][known] != 255).all()
    f1 = 2 * (changed & true).sum() / (changed.sum() + true.sum())
    assert f1 > 0.9
