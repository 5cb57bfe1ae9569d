"""Change without labels as a pass: that of whole images, however they were cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from formula_pass import allowed, formula_recipe

import rsscale as rs

STEP = {"kind": "spectral-change", "of": "map", "from": 2019, "to": 2020}
# Of the formula's layers: seven bands, some of them without a value, and one of another scale.
BANDS = ["confidence", "probability", "temperature", "index"]
METHODS = ("ir-mad", "change-vector", "spectral-angle", "embedding-distance")


def recipe_of(folder: Path, tile: int = 384, **step: Any) -> dict[str, Any]:
    steps = {
        method: STEP | {"bands": BANDS, "method": method, "variates": method == "ir-mad"} | step
        for method in (METHODS if "method" not in step else (step["method"],))
    }
    return formula_recipe(folder, tile=tile, periods=[2019, 2020], steps=steps)


def mapped(folder: Path, tile: int = 384, client: Any = None, **step: Any) -> rs.Run:
    with allowed():
        recipe = recipe_of(folder, tile, **step)
        return rs.run(recipe, folder / f"run-{tile}", client, threads=1, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return mapped(tmp_path_factory.mktemp("spectral"))


def over_the_area(ds: xr.Dataset) -> xr.Dataset:
    return ds.sel(x=slice(729_005, 742_001), y=slice(4_989_003, 4_980_000)).load()


def layers(run: rs.Run) -> dict[str, xr.DataArray]:
    """All layers of all methods."""
    return {
        f"{method}-{name}": array
        for method in METHODS
        for step in (method, f"{method}-magnitude")
        for name, array in over_the_area(run.open(step)).items()
    }


def both(run: rs.Run) -> xr.DataArray:
    """The two dates in memory, ``(time, band, y, x)``."""
    ds = run.open().load()
    known = ds["classification"] != 255
    one = [
        ds["confidence"].astype("float32").where(known).expand_dims("band", 1),
        ds["probability"].astype("float32").where(known).rename({"class": "band"}),
        (ds["temperature"].astype("float32") * np.float32(0.01) + 15).where(known)
        .expand_dims("band", 1),
        ds["index"].expand_dims("band", 1),
    ]  # fmt: skip
    return xr.concat([a.drop_vars("band", errors="ignore").transpose("time", "band", "y", "x")
                      for a in one], "band")  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_it_is_the_change_of_the_whole_images(run: rs.Run, method: str) -> None:
    dates = both(run)
    seen = dates.notnull().all(("time", "band")).values
    change = run.open(method).squeeze("time").load()
    assert set(change.data_vars) == {"change", "change_probability"}
    name = "chi_square" if method == "ir-mad" else "magnitude"
    stored = run.open(f"{method}-magnitude")[name].squeeze("time").load()
    np.testing.assert_array_equal(np.isfinite(stored.values), seen)
    for layer in change.data_vars:
        np.testing.assert_array_equal(change[layer].values != 255, seen)
    (row,) = run.table(f"{method}-threshold").to_pylist()
    heights = np.sqrt(stored.values) if method == "ir-mad" else stored.values
    np.testing.assert_array_equal(change["change"].values[seen] == 1,
                                  heights[seen] > np.float32(row["threshold"]))  # fmt: skip
    facts = run.state["steps"][method]["facts"]
    assert facts["compared"] == seen.sum()
    assert facts["changed"] == (change["change"].values == 1).sum() > 0
