"""A model in hand maps the same in runs of two tile sizes, and in a preview; the run keeps it.

Kinds that are not here map from their folders in ``tests/passes/test_model_kinds.py``.
"""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from landscape import Landscape
from model_kinds import KINDS, allowed

import rsscale as rs

LAYERS = ("classification", "confidence", "observations")
INPUTS, TIMES = {"s2": ["red", "nir"]}, ["spring", "summer"]
BBOX = [6.02, 44.975, 6.035, 44.985]  # degrees; some 120 px
pytestmark = pytest.mark.slow


def mapped(landscape: Landscape, model: rs.Model, out: Path, tile: int) -> xr.Dataset:
    recipe = landscape.part(bbox=BBOX, grid={"crs": "EPSG:32631", "resolution": 10, "tile": tile})
    del recipe["model"]
    rs.run(recipe, out, threads=2, device="cpu", model=model)
    return rs.Run(out).open().load()


@pytest.mark.parametrize(
    "kind",
    [
        "network",
        pytest.param("forest", marks=pytest.mark.extended),
        pytest.param("factory", marks=pytest.mark.extended),
        pytest.param("pipeline", marks=pytest.mark.extended),
    ],
)
def test_tiles_previews_and_folders_give_the_same_map(
    landscape: Landscape, tmp_path: Path, kind: str
) -> None:
    model = KINDS[kind].make(INPUTS, TIMES, tmp_path)
    with allowed():
        small, large = (mapped(landscape, model, tmp_path / str(t), t) for t in (64, 256))
        recipe = landscape.part(bbox=BBOX)
        preview = rs.preview(recipe, BBOX, threads=2, device="cpu", model=model)
        # Once more into the same folder: the model is the same, so nothing is to be done.
        again = mapped(landscape, model, tmp_path / "64", 64)
    over = preview.classification.x.values, preview.classification.y.values
    parts = [ds.sel(x=over[0], y=over[1], method="nearest") for ds in (small, large, again)]
    for name in LAYERS:
        for part in parts:
            np.testing.assert_array_equal(part[name].values, preview[name].values)
    assert len(np.unique(preview.classification)) > 2
    if kind == "forest":
        plan = rs.plan(recipe, threads=2, device="cpu", model=model)
        assert plan.steps[0].memory > 2**20
        by_period = rs.preview(recipe, BBOX, threads=2, device="cpu", model={2023: model})
        assert (by_period.confidence == preview.confidence).all()
    kept = list((tmp_path / "64/models").glob("*/model*"))
    assert [path.suffix for path in kept] == [KINDS[kind].suffix]
