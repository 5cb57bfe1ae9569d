"""The product as other tools see it: plain xarray, warnings as errors."""

from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401 -- registers .rio
import xarray as xr

from rsscale.errors import RunFolderError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.store import zarr_store as store
from rsscale.store.storage import Folder

GRID = Grid("EPSG:25831", 10, tile=64)
EXTENT = PixelBox(-192, 64, -64, 256)  # two rows of three tiles
TILE = PixelBox(-128, 128, -64, 192)
TIMES = [np.datetime64("2023-01-01"), np.datetime64("2024-01-01")]
FLAGS = {"flag_values": [1, 2], "flag_meanings": "water forest", "flag_colors": "#0000ff #00ff00"}


@pytest.fixture
def product(tmp_path: Path) -> Path:
    path = tmp_path / "product.zarr"
    layers = [
        store.Layer("classification", FLAGS),
        store.Layer("probability", {}, classes=(1, 2)),
    ]
    store.create(Folder(path), GRID, EXTENT, times=TIMES, layers=layers, attributes={"title": "t"})
    return path


def tile_layers(value: int) -> xr.Dataset:
    shape = TILE.shape
    return xr.Dataset(
        {
            "classification": (("y", "x"), np.full(shape, value, np.uint8)),
            "probability": (("class", "y", "x"), np.full((2, *shape), value, np.uint8)),
        }
    )


def test_plain_xarray_reads_it(product: Path) -> None:
    ds = xr.open_zarr(product)
    layer = ds.classification
    assert layer.dtype == np.uint8
    assert layer.dims == ("time", "y", "x")
    assert layer.rio.crs.to_epsg() == 25831
    assert list(ds.time.values.astype("datetime64[Y]").astype(int)) == [53, 54]
    assert layer.attrs["flag_meanings"] == "water forest"
    assert layer.attrs["flag_colors"] == "#0000ff #00ff00"
    assert (ds.classification.values == 255).all()
    assert (ds.probability.values == 255).all()


def test_corners_are_the_geoboxes(product: Path) -> None:
    ds = xr.open_zarr(product)
    left, bottom, right, top = GRID.geobox_of(EXTENT).boundingbox.bbox
    assert ds.x.values[0] - 5 == pytest.approx(left, abs=1e-6)
    assert ds.x.values[-1] + 5 == pytest.approx(right, abs=1e-6)
    assert ds.y.values[0] + 5 == pytest.approx(top, abs=1e-6)
    assert ds.y.values[-1] - 5 == pytest.approx(bottom, abs=1e-6)
    assert ds.classification.rio.bounds() == pytest.approx((left, bottom, right, top), abs=1e-6)


def test_a_tile_lands_where_its_coordinates_say(product: Path) -> None:
    store.write_tile(Folder(product), 1, TILE, EXTENT, tile_layers(2))
    ds = xr.open_zarr(product)
    box = GRID.geobox_of(TILE).boundingbox
    inside = ds.classification.sel(x=slice(box.left, box.right), y=slice(box.top, box.bottom))
    assert inside.shape == (2, 64, 64)
    assert (inside.sel(time="2024") == 2).all()
    assert int((ds.classification == 2).sum()) == 64 * 64
    assert int((ds.probability == 2).sum()) == 2 * 64 * 64


def test_one_tile_is_one_object_and_its_digest_tells_damage(product: Path) -> None:
    before = {p for p in product.rglob("*") if p.is_file()}
    digests = store.write_tile(Folder(product), 0, TILE, EXTENT, tile_layers(1))
    new = sorted(
        str(p.relative_to(product)) for p in product.rglob("*") if p.is_file() and p not in before
    )
    assert new == ["classification/c/0/1/1", "probability/c/0/0/1/1"]
    names = ["classification", "probability"]
    assert store.tile_digests(Folder(product), names, 0, TILE, EXTENT) == digests
    (product / new[0]).write_bytes(b"garbage")
    damaged = store.tile_digests(Folder(product), names, 0, TILE, EXTENT)
    assert damaged["classification"] != digests["classification"]
    assert damaged["probability"] == digests["probability"]


def test_an_empty_tile_is_stored_too(product: Path) -> None:
    digests = store.write_tile(Folder(product), 0, TILE, EXTENT, tile_layers(255))
    assert all(digests.values())
    assert (product / "classification/c/0/1/1").exists()


def test_a_missing_object_has_no_digest(product: Path) -> None:
    found = store.tile_digests(Folder(product), ["classification"], 0, TILE, EXTENT)
    assert found == {"classification": ""}


def test_misaligned_shards_are_refused(tmp_path: Path) -> None:
    off_lines = PixelBox(0, 0, 100, 128)
    with pytest.raises(RunFolderError, match="lose each other's data"):
        store.create(
            Folder(tmp_path / "p.zarr"), GRID, off_lines, times=TIMES, layers=[], attributes={}
        )
    assert not (tmp_path / "p.zarr").exists()


def test_georeference_by_zarr_conventions(product: Path) -> None:
    attrs = xr.open_zarr(product).attrs
    assert attrs["proj:code"] == "EPSG:25831"
    assert attrs["spatial:shape"] == list(EXTENT.shape)
    a, b, c, d, e, f = attrs["spatial:transform"]
    assert (a, b, d, e) == (10, 0, 0, -10)
    assert (c, f) == (640, 1920)
    assert [c["name"] for c in attrs["zarr_conventions"]] == ["spatial", "proj:"]


@pytest.mark.parametrize(("tile", "chunk"), [(2048, 512), (384, 384), (768, 384), (509, 509)])
def test_inner_chunks_divide_the_tile(tile: int, chunk: int) -> None:
    assert store.inner_chunk(tile) == chunk


def test_opening_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no product"):
        store.open_product(Folder(tmp_path / "none.zarr"))
