"""Lazy maps on a user's own cluster of two processes: equal to the bit, the model once in each."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import dask
import numpy as np
import pystac
import pytest
import torch
import xarray as xr
from box_model import BOX, GRID, CarriedModel, composite, untrained_unet
from distributed import Client, LocalCluster
from landscape import Landscape

import rsscale as rs
from rsscale.change.post_classification import detect_change
from rsscale.errors import ModelError
from rsscale.geo.lattice import PixelBox
from rsscale.learn import weights
from rsscale.learn.model_folder import ModelFolder
from rsscale.learn.models import open_model
from rsscale.prediction import lazy as lazy_module
from rsscale.prediction.predict import predict

pytestmark = pytest.mark.extended
OFF = PixelBox(BOX.row0 + 5, BOX.col0 - 9, BOX.row1 + 40, BOX.col1 - 11)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one window of 32 px, or of two of 16: many of them in a small box."""
    monkeypatch.setattr(lazy_module, "_WIDEST", 32)
    monkeypatch.setattr(lazy_module, "_NARROWEST", 32)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    before = dict(os.environ)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        client.run(_count_openings)
        yield client
    # Nannies leave their settings in the environment of who started them.
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {blend: untrained_unet(place / blend, blend) for blend in ("trim", "hann")}


def _count_openings() -> None:
    read = weights.read_model
    weights.openings = []  # type: ignore[attr-defined]

    def counted(folder: Path, *args: object, **options: object) -> object:
        weights.openings.append(str(folder))  # type: ignore[attr-defined]
        return read(folder, *args, **options)  # type: ignore[arg-type]

    weights.read_model = counted


def _openings(folder: str) -> int:
    return weights.openings.count(folder)  # type: ignore[attr-defined,no-any-return]


def assert_same(found: xr.Dataset, expected: xr.Dataset) -> None:
    assert set(found.data_vars) == set(expected.data_vars)
    for name, layer in expected.data_vars.items():
        assert found[name].dtype == layer.dtype
        assert found[name].attrs == layer.attrs
        assert np.array_equal(found[name].values, layer.values), name
    assert found.coords.equals(expected.coords)


@pytest.mark.parametrize("blend", ["trim", "hann"])
@pytest.mark.parametrize("chunks", [{"y": 32, "x": 32}, {"y": 23, "x": 50, "time": 1}, {}])
@pytest.mark.parametrize("part", ["all", "core", "where"])
def test_lazy_equals_eager_to_the_bit(
    client: Client, folders: dict[str, Path], blend: str, chunks: dict[str, int], part: str
) -> None:
    model, comp = open_model(folders[blend]), composite(BOX)
    options = {"probability": True}
    if part != "all":
        options["core"] = GRID.geobox_of(OFF)
    if part == "where":
        options["where"] = np.random.default_rng(3).random(OFF.shape) < 0.02
    maps = predict(comp.chunk(chunks), model, **options)
    expected = predict(comp, model, **options)
    assert len(np.unique(expected.classification)) > 2
    assert_same(client.compute(maps).result(), expected)


def test_two_windows_at_once_are_too(client: Client, folders: dict[str, Path]) -> None:
    del client  # the default scheduler, by now
    model, comp = open_model(folders["hann"]), composite(BOX)
    found = predict(comp.chunk(y=40), model, batch=2).compute()
    assert_same(found, predict(comp, model, batch=2))


def test_a_model_in_a_folder_is_opened_once_in_a_process(
    client: Client, folders: dict[str, Path]
) -> None:
    for _ in range(2):
        predict(composite(BOX).chunk(y=20), open_model(folders["trim"])).compute()
    assert_at_most_once(client.run(_openings, str(folders["trim"])))


def assert_at_most_once(times: Mapping[str, int]) -> None:
    """By worker: which of them is given a task at all, Dask decides by who is idle."""
    assert max(times.values()) == 1, times


def _arrived() -> int:
    return CarriedModel.arrived


def test_any_other_model_travels_once_to_a_process(client: Client) -> None:
    comp, model = composite(BOX).chunk(y=16, x=16), CarriedModel(ballast=100_000)
    before = client.run(_arrived)
    maps = predict(comp, model, probability=True)
    assert_same(maps.compute(), predict(comp.compute(), model, probability=True))
    assert_at_most_once({w: n - before[w] for w, n in client.run(_arrived).items()})


def test_persisted_composites_and_maps(client: Client, folders: dict[str, Path]) -> None:
    del client
    comp, model = composite(BOX), open_model(folders["trim"])
    (lazy,) = dask.persist(comp.chunk(y=25, x=25))
    maps = predict(lazy, model).persist()
    assert_same(maps.compute(), predict(comp, model))
    part = maps.isel(y=slice(3, 9), x=5)
    assert np.array_equal(part.classification, predict(comp, model).classification[3:9, 5])


def test_what_is_written_is_the_map(
    client: Client, folders: dict[str, Path], tmp_path: Path
) -> None:
    del client
    comp, model = composite(BOX), open_model(folders["hann"])
    maps = predict(comp.chunk(y=25, x=25), model, probability=True)
    maps.to_zarr(tmp_path / "map.zarr", consolidated=False)  # begins in the middle of a block
    with xr.open_zarr(tmp_path / "map.zarr", consolidated=False, mask_and_scale=False) as found:
        expected = predict(comp, model, probability=True)
        for name, layer in expected.data_vars.items():
            assert np.array_equal(found[name].values, layer.values)
        assert found.classification.attrs["flag_values"] == [3, 9, 11]


def test_from_files_to_a_map_without_a_pixel_here(client: Client, landscape: Landscape) -> None:
    del client
    recipe = landscape.recipe()["inputs"]["s2"]
    box = PixelBox(-498_500, 73_800, -498_050, 74_300)  # across two scenes
    items = list(pystac.read_file(recipe["catalog"]).get_items())
    cube = rs.load(items, GRID.geobox_of(box), [*recipe["bands"], "scl"])
    comp = rs.composite(
        rs.mask(cube, "sentinel2-scl"),
        recipe["composite"],
        years=[2023],
    )
    maps = predict(comp, ModelFolder.at(landscape.folder / "model"), probability=True)
    expected = predict(comp.compute(), open_model(landscape.folder / "model"), probability=True)
    assert len(np.unique(expected.classification)) > 2
    assert_same(maps.compute(), expected)


def test_change_between_two_lazy_maps(client: Client, folders: dict[str, Path]) -> None:
    del client
    model = open_model(folders["trim"])
    comps = [composite(BOX, seed) for seed in (0, 1)]
    eager = [predict(comp, model, probability=True) for comp in comps]
    lazy = [
        predict(comp.chunk(y=n), model, probability=True)
        for comp, n in zip(comps, (30, 41), strict=True)
    ]
    change = detect_change(*lazy)
    assert all(dask.is_dask_collection(layer.data) for layer in change.values())
    assert_same(change.compute(), detect_change(*eager))


def test_threads_beside_a_cluster(client: Client, folders: dict[str, Path]) -> None:
    del client
    comp, model = composite(BOX), open_model(folders["trim"])
    maps = predict(comp.chunk(y=25), model)
    for scheduler in ("threads", "synchronous"):
        assert_same(maps.compute(scheduler=scheduler), predict(comp, model))


def test_a_worker_that_sees_no_folder_says_so_in_one_line(
    client: Client, folders: dict[str, Path]
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch) / "model"
        shutil.copytree(folders["trim"], here)
        untrained_unet(here, width=8)
        source = ModelFolder.at(here)
        maps = predict(composite(BOX).chunk(y=30), source)
    with pytest.raises(ModelError, match="sees no model folder") as error:
        client.compute(maps.classification, retries=0).result()
    assert len(str(error.value).splitlines()) == 1
    assert str(here) in str(error.value)


@pytest.mark.parametrize("here", [1, 2])
def test_torch_has_the_threads_of_the_worker_or_one_as_here(client: Client, here: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(here)
    try:
        maps = predict(composite(BOX).chunk(y=16), CarriedModel(ballast=here))
    finally:
        torch.set_num_threads(before)
    client.run(_forget_threads)
    set_before = client.run(torch.get_num_threads)
    maps.compute()
    assert set().union(*client.run(_threads_seen).values()) == {here}
    assert client.run(torch.get_num_threads) == set_before


def _forget_threads() -> None:
    CarriedModel.threads.clear()


def _threads_seen() -> set[int]:
    return CarriedModel.threads
