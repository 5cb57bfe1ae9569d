"""Series of observations: each window sees those within it, whatever box they were read with."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from box_model import BOX, GRID
from odc.geo.xr import xr_coords
from torch import nn

from rsscale.errors import ModelError
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.learn.models import Model
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec
from rsscale.prediction.predict import first_windows, predict

DATES = np.array(
    ["2023-01-05", "2023-02-11", "2023-02-11", "2023-05-30", "2023-08-01", "2023-12-31"],
    "datetime64[ns]",
)
MOST = 4


def series(box: PixelBox = BOX, seed: int = 0) -> xr.DataArray:
    """Six observations, each of a part of the box: two at most places, none at some."""
    random = np.random.default_rng(seed)
    values = random.random((6, 2, *box.shape), dtype=np.float32)
    rows, cols = box.shape
    seen = np.zeros((6, rows, cols), bool)
    seen[0, : rows // 2] = True
    seen[1, :, : cols // 3] = True
    seen[2, :, cols // 2 :] = True
    seen[3, rows // 3 :] = random.random((rows - rows // 3, cols)) < 0.5
    seen[4, 20:30, 20:40] = True
    seen[5, rows - 12 :, cols // 4 :] = True
    values[np.broadcast_to(~seen[:, None], values.shape)] = np.nan
    coords = {str(k): v for k, v in xr_coords(GRID.geobox_of(box)).items()}
    return xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={
            "time": DATES,
            "band": ["red", "nir"],
            "observations": (("time", "y", "x"), seen.astype(np.uint8)),
            **coords,
        },
    )


class Weighted(nn.Module):
    """Means over time, weighted by the day: depends on days, validity, and nothing else."""

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        values, days, valid = inputs["s2"], inputs["s2.days"], inputs["s2.valid"]
        weight = valid * (1 + days[:, :, None, None] / 366)  # (N, T, H, W)
        total = (values * weight[:, :, None]).sum(1) / weight.sum(1).clamp(min=1e-6)[:, None]
        mean = nn.functional.avg_pool2d(total, 5, stride=1, padding=2)  # (N, B, H, W)
        return torch.stack([mean[:, 0] - mean[:, 1], mean[:, 1] - mean[:, 0]], 1) * 5


def model(most: int = MOST) -> Model:
    spec = ModelSpec(
        name="weighted",
        inputs=(
            ModelInput("s2", ("red", "nir"), (), (0.5, 0.5), (0.3, 0.3), most, ("days", "valid")),
        ),
        classes=(LandClass(3, "one", "#000000"), LandClass(9, "two", "#ffffff")),
        lattice=Lattice(16, 3),
        architecture="own",
        layout="mapping",
    )
    return Model(spec, Weighted().eval(), torch.device("cpu"))


def test_a_map_of_a_series_does_not_depend_on_the_box() -> None:
    comp, network = series(), model()
    whole = predict(comp, network)
    assert (whole.classification != 255).mean() > 0.7
    assert predict(comp.chunk(time=1, y=25, x=31), network).equals(whole)
    for core in (PixelBox(-30, 1010, -10, 1030), PixelBox(0, 1040, 20, 1079)):
        read = network.spec.lattice.read_box(core) & BOX
        part = comp[(..., *read.slices(BOX))]
        # What has no pixel here is not read for a tile here.
        part = part[[bool(np.isfinite(one).any()) for one in part.values]]
        rows, cols = core.slices(BOX)
        found = predict(part, network, core=GRID.geobox_of(core))
        assert found.equals(whole.isel(y=rows, x=cols))


def test_a_window_gets_its_observations_in_order_then_blanks() -> None:
    comp = series()
    windows = first_windows(comp, model().spec, count=1)
    # The first window: rows -51.., cols 989..: its seen pixels are of the upper left corner.
    assert windows["s2.days"].tolist() == [[5.0, 42.0, 0.0, 0.0]]
    valid = windows["s2.valid"][0]
    assert valid[:2].any()
    assert not valid[2:].any()
    assert (windows["s2"][0, 2:] == 0).all()
    raw = windows["s2"][0, 0, 0] * 0.3 + 0.5
    core = PixelBox(BOX.row0, BOX.col0, BOX.row0 + 4, BOX.col0 + 4)
    window = next(iter(model().spec.lattice.cores(BOX))).pad(3)
    rows, cols = core.slices(window)
    assert np.allclose(raw[rows, cols], comp.values[0, 0, :4, :4], atol=1e-6)


def test_of_too_many_observations_those_with_most_pixels_are_taken() -> None:
    comp = series()
    few, all_of_them = (first_windows(comp, model(n).spec, count=99) for n in (2, 6))
    assert few["s2.days"].shape[1] == 2
    for chosen, every, valid in zip(
        few["s2.days"], all_of_them["s2.days"], all_of_them["s2.valid"], strict=True
    ):
        counts = valid.sum(dim=(1, 2))
        best = sorted(range(6), key=lambda k: (-int(counts[k]), k))[:2]
        want = [float(every[k]) for k in sorted(best) if counts[k]]
        assert [day for day in chosen.tolist() if day] == want


def test_days_need_dates_and_series_need_no_windows() -> None:
    comp, network = series(), model()
    with pytest.raises(ModelError, match="the input has no dates"):
        predict(comp.assign_coords(time=range(6)), network)
    with pytest.raises(ModelError, match=r"wants a series.*has the time windows"):
        predict(comp.assign_coords(window=("time", list("abcdef"))), network)
    windows = ModelInput("s2", ("red", "nir"), ("a", "b"), (0.0, 0.0), (1.0, 1.0))
    spec = replace(network.spec, inputs=(windows,), layout="series")
    with pytest.raises(ModelError, match=r"wants the time windows \['a', 'b'\]"):
        predict(comp, replace(network, spec=spec))


def test_composites_too_may_come_with_days_and_validity() -> None:
    comp = series().isel(time=[0, 3]).assign_coords(window=("time", ["a", "b"]))
    spec = model().spec
    windows = ModelInput(
        "s2", ("red", "nir"), ("a", "b"), (0.5, 0.5), (0.3, 0.3), takes=("days", "valid")
    )
    of_composites = replace(model(), spec=replace(spec, inputs=(windows,)))
    batch = first_windows(comp, of_composites.spec, count=2)
    assert batch["s2.days"].tolist() == [[5.0, 150.0]] * 2
    assert predict(comp, of_composites).equals(predict(comp.chunk(y=16), of_composites))


def test_contracts_that_contradict_themselves_are_refused() -> None:
    spec = model().spec
    with pytest.raises(ModelError, match="which the layout 'channels' has no place for"):
        replace(spec, layout="channels")
    with pytest.raises(ModelError, match="either time windows or a series"):
        replace(spec.inputs[0], times=("a",))
    with pytest.raises(ModelError, match="takes 'date'; expected 'days' or 'valid'"):
        replace(spec.inputs[0], takes=("date",))
    two = (replace(spec.inputs[0], takes=()), ModelInput("s1", ("vv",), ("a",), (0.0,), (1.0,)))
    with pytest.raises(ModelError, match="a network of several inputs takes a 'mapping'"):
        replace(spec, inputs=two, layout="series")
