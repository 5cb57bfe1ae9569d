"""Imagery to look at: a composite in 8 bits, against the composite itself; and its bad options."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from landscape import Landscape

import rsscale as rs
from rsscale.errors import RecipeError

OPTIONS: dict[str, Any] = {"threads": 1, "device": "cpu"}
BANDS = ["nir", "red", "red"]


def recipe(landscape: Landscape, **step: Any) -> dict[str, Any]:
    imagery = {"kind": "imagery", "of": "s2", "bands": BANDS, **step}
    return landscape.part(model=None, steps={"imagery": imagery})


def test_it_is_the_composite_stretched(landscape: Landscape, tmp_path: Path) -> None:
    run = rs.run(recipe(landscape, window="spring", high=0.5), tmp_path / "run", **OPTIONS)
    found = run.open("imagery").rgb.isel(time=0)
    assert found.dtype == np.uint8
    assert found.attrs["long_name"] == "nir, red and red as red, green and blue"
    assert found.dims == ("rgb_band", "y", "x")
    box = found.odc.geobox[90:240, 140:310]
    items = rs.search(str(landscape.folder / "catalog.json"), area=box)
    cube = rs.mask(rs.load(items, box, bands=["nir", "red", "scl"]), "sentinel2-scl", dilate=20)
    windows = {"windows": {"spring": ["03-01", "05-31"]}}
    seen = rs.composite(cube, by=windows, reducer="median").isel(time=0).sel(band=BANDS).values
    core = (slice(None), slice(10, -10), slice(10, -10))  # masks of clouds reach in from beyond
    share = np.clip(seen / 0.5, 0, 1)
    expected = np.where(np.isfinite(seen).all(axis=0), np.rint(254 * share**0.75), 255)
    part = found.sel(y=box.coords["y"].values, x=box.coords["x"].values).values
    part, expected = part[core], expected[core]
    inside = part[0] != 255  # the area has an edge
    assert 0.2 < inside.mean() < 1
    differs = np.abs(part[:, inside] - expected[:, inside])
    assert differs.max() <= 1
    assert (differs > 0).mean() < 0.001  # a power is rounded otherwise than two roots


@pytest.mark.extended
def test_it_is_the_same_for_every_tile_size(landscape: Landscape, tmp_path: Path) -> None:
    found = []
    for tile in (256, 512):
        changed = recipe(landscape)
        changed["grid"] = {**changed["grid"], "tile": tile}
        ds = rs.run(changed, tmp_path / str(tile), **OPTIONS).open("imagery").load()
        found.append(ds.rgb.where(ds.rgb != 255, drop=True))
    first, second = found
    assert first.notnull().any()
    assert first.equals(second.sel(y=first.y, x=first.x))
    assert first.shape == second.shape


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"of": "map"}, r"needs 'of': an input; there are \['s2'\]"),
        ({"bands": ["red", "green", "nir"]}, r"needs the bands .*; 's2' has \['red', 'nir'\]"),
        ({"window": "sumer"}, r"has \['spring', 'summer'\].*did you mean 'summer'"),
        ({"low": 0.3, "high": 0.1}, "has low 0.3 and high 0.1; high must be above"),
    ],
)
def test_what_is_refused(landscape: Landscape, tmp_path: Path, step: Any, message: str) -> None:
    wrong = recipe(landscape, **step)
    if step.get("of") == "map":
        wrong["model"] = str(landscape.folder / "model")
    with pytest.raises(RecipeError, match=message):
        rs.run(wrong, tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()
