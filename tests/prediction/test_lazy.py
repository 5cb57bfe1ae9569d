"""Lazy in, lazy out, in this process: the values of the eager call, and nothing too early."""

import pickle
import subprocess
import sys
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import torch
import xarray as xr
from box_model import BOX, GRID, BoxModel, CarriedModel, composite, untrained_unet
from dask.callbacks import Callback
from hypothesis import given, settings
from hypothesis import strategies as st

from rsscale.errors import AreaError, ModelError
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.learn.model_folder import ModelFolder
from rsscale.learn.models import open_model
from rsscale.prediction import lazy as lazy_module
from rsscale.prediction.chunk_parts import ChunkParts
from rsscale.prediction.lazy import block_width, lattice_blocks
from rsscale.prediction.predict import predict


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two windows: many of them in a small box."""
    monkeypatch.setattr(lazy_module, "_WIDEST", 32)
    monkeypatch.setattr(lazy_module, "_NARROWEST", 32)


def assert_same(found: xr.Dataset, expected: xr.Dataset) -> None:
    assert set(found.data_vars) == set(expected.data_vars)
    for name, layer in expected.data_vars.items():
        assert found[name].dtype == layer.dtype
        assert found[name].attrs == layer.attrs
        assert np.array_equal(found[name].values, layer.values), name
    assert found.coords.equals(expected.coords)


class Blocks(Callback):
    """Counts the blocks that are predicted."""

    def __init__(self) -> None:
        self.count = 0
        super().__init__(pretask=self.see)

    def see(self, key: tuple, _dsk: dict, _state: object) -> None:
        name = str(key[0])
        self.count += name.startswith("rsscale-predict-") and "-part" not in name


def refuse(_block: np.ndarray) -> np.ndarray:
    raise AssertionError("a pixel was computed at the call")


def untouchable(comp: xr.DataArray) -> xr.DataArray:
    """The same to look at, but without pixels that could be computed."""
    chunked = comp.chunk(y=20, x=20)
    observations = chunked["observations"].data
    observations = observations.map_blocks(refuse, meta=np.empty((0, 0, 0), np.uint8))
    values = chunked.data.map_blocks(refuse, meta=np.empty((0, 0, 0, 0), np.float32))
    return chunked.copy(data=values).assign_coords(observations=(("time", "y", "x"), observations))


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", None])
def test_lazy_equals_eager_on_each_scheduler(scheduler: str | None) -> None:
    comp = composite(BOX)
    maps = predict(comp.chunk(y=25, x=31), BoxModel(), probability=True)
    assert all(dask.is_dask_collection(layer.data) for layer in maps.values())
    assert maps.attrs == {"batch": 1}
    assert_same(maps.compute(scheduler=scheduler), predict(comp, BoxModel(), probability=True))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_no_cut_of_composite_or_map_can_be_seen(data: st.DataObject) -> None:
    model = BoxModel()
    blend = data.draw(st.sampled_from(["trim", "hann"]))
    model.spec = type(model.spec)(**{**vars(model.spec), "lattice": Lattice(16, 3, blend)})
    comp = composite(BOX)
    axes = {"time": 2, "band": 2, "y": BOX.shape[0], "x": BOX.shape[1]}
    chunks = {axis: data.draw(st.integers(-(-n // 6), n)) for axis, n in axes.items()}
    row, col = (data.draw(st.integers(-20, 40)) for _ in range(2))
    height, width = (data.draw(st.integers(1, 70)) for _ in range(2))
    core = PixelBox(BOX.row0 + row, BOX.col0 + col, BOX.row0 + row + height,
                    BOX.col0 + col + width)  # fmt: skip
    where = np.random.default_rng(height).random((height, width)) < data.draw(
        st.sampled_from([0.0, 0.01, 0.5, 1.0])
    )
    options = {"core": GRID.geobox_of(core), "where": where, "probability": True}
    found = predict(comp.chunk(chunks), model, **options)
    expected = predict(comp, model, **options)
    assert_same(found.compute(scheduler="synchronous"), expected)


def test_where_may_be_lazy() -> None:
    comp = composite(BOX)
    where = np.random.default_rng(0).random(BOX.shape) < 0.3
    lazy = xr.DataArray(da.from_array(where, chunks=17), dims=("y", "x"))
    found = predict(comp.chunk(y=20), BoxModel(), where=lazy)
    assert_same(found.compute(scheduler="synchronous"), predict(comp, BoxModel(), where=where))


def test_one_of_several_inputs_may_be_in_memory() -> None:
    model = BoxModel()
    (s2,) = model.spec.inputs
    terrain = type(s2)("dem", ("height",), ("all",), (0.5,), (0.2,))
    model.spec = type(model.spec)(**{**vars(model.spec), "inputs": (s2, terrain)})
    comp = composite(BOX)
    height = (
        comp.isel(time=[0], band=[0])
        .drop_vars("observations")
        .assign_coords(window=("time", ["all"]), band=["height"])
        .fillna(0.25)
    )
    expected = predict({"s2": comp, "dem": height}, model)
    mixed = {"s2": comp.chunk(y=30, x=30), "dem": height}
    assert_same(predict(mixed, model).compute(scheduler="synchronous"), expected)
    mixed = {"s2": comp, "dem": height.chunk(x=11)}
    assert_same(predict(mixed, model).compute(scheduler="synchronous"), expected)


def test_observations_alone_may_be_lazy() -> None:
    comp = composite(BOX)
    found = predict(comp.assign_coords(observations=comp.observations.chunk()), BoxModel())
    assert dask.is_dask_collection(found.classification.data)
    assert_same(found.compute(scheduler="synchronous"), predict(comp, BoxModel()))


def test_nothing_is_computed_at_the_call_and_mistakes_are_found_there() -> None:
    comp = untouchable(composite(BOX))
    maps = predict(comp, BoxModel(), probability=True)
    assert maps.odc.geobox == GRID.geobox_of(BOX)
    assert maps.classification.dtype == np.uint8
    assert maps.probability.shape == (2, *BOX.shape)
    with pytest.raises(ModelError, match="wants band 'nir'"):
        predict(comp.sel(band=["red"]), BoxModel())
    with pytest.raises(ModelError, match="time windows"):
        predict(comp.isel(time=[1, 0]), BoxModel())
    with pytest.raises(AreaError, match="no georeference"):
        predict(comp.drop_vars(["spatial_ref", "x", "y"]), BoxModel())
    with pytest.raises(AreaError, match=r"shape \(3, 3\), the core has \(61, 74\)"):
        predict(comp, BoxModel(), where=np.ones((3, 3), bool))
    between = GRID.geobox_of(BOX).translate_pix(0.5, 0)
    with pytest.raises(AreaError, match="does not lie on the pixels"):
        predict(comp, BoxModel(), core=between)
    with pytest.raises(AssertionError, match="was computed at the call"):
        maps.compute(scheduler="synchronous")


def test_a_part_costs_only_its_blocks() -> None:
    box = PixelBox(0, 1024, 192, 1216)  # begins with a block
    maps = predict(composite(box).chunk(y=50, x=50), BoxModel())
    part = maps.isel(y=slice(70, 90), x=slice(3, 5))
    with Blocks() as blocks:
        found = part.compute(scheduler="synchronous")
    assert blocks.count == 1
    whole = predict(composite(box), BoxModel())
    assert_same(found, whole.isel(y=slice(70, 90), x=slice(3, 5)))


def test_chunks_are_blocks_of_the_lattice_where_the_box_begins_with_one() -> None:
    box = PixelBox(-64, 1024, 40, 1100)
    maps = predict(composite(box).chunk(y=10), BoxModel())
    assert maps.chunks["y"] == (32, 32, 32, 8)
    assert maps.chunks["x"] == (32, 32, 12)


def test_blocks_that_are_not_wanted_are_not_read() -> None:
    comp = untouchable(composite(BOX))
    where = np.zeros(BOX.shape, bool)
    maps = predict(comp, BoxModel(), where=where, probability=True)
    found = maps.compute(scheduler="synchronous")
    assert all((layer == 255).all() for layer in found.values())


def test_blocks_take_turns_on_the_device() -> None:
    CarriedModel.most = 0
    maps = predict(composite(BOX).chunk(y=16), CarriedModel())
    maps.compute(scheduler="threads", num_workers=4)
    assert CarriedModel.most == 1


def test_no_numbers_are_nodata_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    box = PixelBox(0, 0, 32, 32)
    found = predict(composite(box, gaps=False).chunk(), Broken()).compute(scheduler="synchronous")
    assert "non_finite" not in found.attrs
    assert np.argwhere(found.classification.values == 255).tolist() == [[0, 0]]
    assert "returned no number for 1 pixels" in caplog.text


class Broken(BoxModel):
    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        scores = super().__call__(batch)
        if not self.batches[1:]:
            scores[:, 0, 3, 3] = float("nan")
        return scores


@pytest.mark.parametrize("blend", ["trim", "hann"])
@pytest.mark.parametrize(("stride", "halo"), [(16, 3), (17, 8), (512, 64), (3000, 10)])
def test_blocks_cover_a_box_once_and_share_few_windows(blend: str, stride: int, halo: int) -> None:
    lattice = Lattice(stride, halo, blend)  # type: ignore[arg-type]
    width = block_width(lattice, 16)
    assert width % stride == 0
    box = PixelBox(-2 * stride - 3, stride // 2, 2 * stride, 3 * stride + 1)
    seen = np.zeros(box.shape, np.uint8)
    for one in lattice_blocks(box, lattice, width).values():
        seen[one.slices(box)] += 1
        if one.shape == (width, width):
            across = len(list(lattice.cores(one))) ** 0.5
            assert across == width // stride + (blend == "hann")
    assert (seen == 1).all()


def test_blocks_are_about_2048_px_and_fewer_of_many_channels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    assert block_width(Lattice(512, 64), 48) == 2048
    assert block_width(Lattice(224, 16), 16) == 2016
    assert block_width(Lattice(512, 64), 240) == 1024
    assert block_width(Lattice(3000, 64), 240) == 3000


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_parts_are_what_slicing_gives(data: st.DataObject) -> None:
    rows, cols = (data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=5)) for _ in range(2))
    inside = PixelBox(-7, 11, -7 + sum(rows), 11 + sum(cols))
    values = np.arange(3 * sum(rows) * sum(cols)).reshape(3, sum(rows), sum(cols))
    array = da.from_array(values, chunks=((2, 1), tuple(rows), tuple(cols)))
    corners = [data.draw(st.integers(-9, 40)) for _ in range(4)]
    box = inside & PixelBox(*corners)
    graph: dict = {}
    part, keys = ChunkParts(array, inside, "cut", graph).of(box, (0, 0))
    pieces = dask.get({**dict(array.__dask_graph__()), **graph}, list(keys))
    if not box.empty:
        assert np.array_equal(part.join(pieces), values[(..., *box.slices(inside))])
    assert part.shape == (3, *box.shape)


def test_a_graph_holds_no_weights_of_a_model_in_a_folder(tmp_path: Path) -> None:
    comp = composite(BOX).chunk(y=30, x=30)
    sizes, files = [], []
    for width in (4, 64):
        folder = untrained_unet(tmp_path / str(width), width=width)
        files.append((folder / "model.safetensors").stat().st_size)
        maps = predict(comp, open_model(folder))
        sizes.append(len(pickle.dumps(maps.__dask_graph__())))
    assert files[1] - files[0] > 1_000_000
    assert abs(sizes[1] - sizes[0]) < 200  # digits, and the length of names


def test_a_graph_holds_the_weights_of_another_model_once() -> None:
    comp = composite(BOX).chunk(y=30, x=30)
    light, heavy = (
        len(pickle.dumps(predict(comp, CarriedModel(ballast=n)).__dask_graph__()))
        for n in (0, 1_000_000)
    )
    assert 1_000_000 <= heavy - light < 1_000_500


@pytest.mark.extended
def test_a_graph_is_built_without_torch(tmp_path: Path) -> None:
    untrained_unet(tmp_path / "model")
    code = f"""
import sys
import dask.array as da, numpy as np, xarray as xr
from odc.geo.xr import xr_coords
import rsscale as rs
box = rs.Grid("EPSG:32631", 10).geobox((3.0, 45.0, 3.01, 45.01))
comp = xr.DataArray(
    da.zeros((2, 2, *box.shape), dtype="float32"), dims=("time", "band", "y", "x"),
    coords=dict(xr_coords(box, always_yx=True), band=["red", "nir"], window=("time", ["a", "b"])),
)
maps = rs.predict(comp, rs.ModelFolder.at({str(tmp_path / "model")!r}))
import pickle
pickle.loads(pickle.dumps(maps.__dask_graph__()))  # as a scheduler does
assert "torch" not in sys.modules
assert int(maps.classification.max()) in (3, 9, 11)
assert "torch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_stands_for_its_model(tmp_path: Path) -> None:
    folder = ModelFolder.at(untrained_unet(tmp_path / "model"))
    comp = composite(BOX)
    expected = predict(comp, open_model(folder.path))
    assert_same(predict(comp, folder), expected)
    assert_same(predict(comp.chunk(), folder).compute(scheduler="synchronous"), expected)
