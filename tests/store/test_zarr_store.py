"""The layers of a step as other tools see them: plain xarray, warnings as errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401 -- registers .rio
import xarray as xr
import zarr

from rsscale.errors import RecipeError, RunFolderError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Axis, Layer, TileKey
from rsscale.store import zarr_store
from rsscale.store.storage import Folder
from rsscale.store.zarr_store import ZarrStore

GRID = Grid("EPSG:25831", 10, tile=64)
EXTENT = PixelBox(-192, 64, -64, 256)  # two rows of three tiles
TILE = PixelBox(-128, 128, -64, 192)
FLAGS = {"flag_values": [1, 2], "flag_meanings": "water forest", "flag_colors": "#0000ff #00ff00"}
LAYERS = (
    Layer("classification", attributes=FLAGS),
    Layer("probability", axis=Axis("class", (1, 2))),
)


def made(path: Path, layers: tuple[Layer, ...] = LAYERS, extent: PixelBox = EXTENT) -> ZarrStore:
    times = (np.datetime64("2023-01-01"), np.datetime64("2024-01-01"))
    store = ZarrStore(Folder(path), GRID, extent, ("2023", "2024"), times, layers)
    store.create({"title": "t"})
    zarr_store.consolidate(store.storage)
    return store


def key(span: str = "2023") -> TileKey:
    tile = GRID.tile_of(TILE)
    return TileKey("map", span, tile.ix, tile.iy)


@pytest.fixture
def store(tmp_path: Path) -> ZarrStore:
    return made(tmp_path / "product.zarr")


@pytest.fixture
def product(store: ZarrStore) -> Path:
    return store.storage.path


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


def test_a_tile_lands_where_its_coordinates_say(store: ZarrStore, product: Path) -> None:
    store.write(key("2024"), tile_layers(2))
    ds = xr.open_zarr(product)
    box = GRID.geobox_of(TILE).boundingbox
    inside = ds.classification.sel(x=slice(box.left, box.right), y=slice(box.top, box.bottom))
    assert inside.shape == (2, 64, 64)
    assert (inside.sel(time="2024") == 2).all()
    assert int((ds.classification == 2).sum()) == 64 * 64
    assert int((ds.probability == 2).sum()) == 2 * 64 * 64


def test_one_tile_is_one_object_and_its_digest_tells_damage(
    store: ZarrStore, product: Path
) -> None:
    before = {p for p in product.rglob("*") if p.is_file()}
    digests = store.write(key(), tile_layers(1))
    new = sorted(
        str(p.relative_to(product)) for p in product.rglob("*") if p.is_file() and p not in before
    )
    assert new == ["classification/c/0/1/1", "probability/c/0/0/1/1"] == list(store.shards(key()))
    assert store.stored(key()) == digests
    (product / new[0]).write_bytes(b"garbage")
    damaged = store.stored(key())
    assert damaged["classification"] != digests["classification"]
    assert damaged["probability"] == digests["probability"]


def test_an_empty_tile_is_stored_too(store: ZarrStore, product: Path) -> None:
    digests = store.write(key(), tile_layers(255))
    assert all(digests.values())
    assert (product / "classification/c/0/1/1").exists()


def test_a_missing_object_has_no_digest(store: ZarrStore) -> None:
    assert store.stored(key()) == {"classification": "", "probability": ""}


KINDS = (
    Layer("u8"),
    Layer("i8", "int8", -128),
    Layer("i16", "int16", -32768, scale=0.1, offset=5.0),
    Layer("u16", "uint16", 65535),
    Layer("f32", "float32", float("nan"), attributes={"units": "t"}),
    Layer("codes", "float32", -9999.0),
)


def test_layers_of_every_type_are_read_back(tmp_path: Path) -> None:
    store = made(tmp_path / "p.zarr", KINDS)
    random = np.random.default_rng(0)
    values = {
        layer.name: random.integers(0, 100, TILE.shape).astype(layer.dtype) for layer in KINDS
    }
    for layer in KINDS:
        values[layer.name][:5] = layer.nodata
    store.write(key(), xr.Dataset({n: (("y", "x"), v) for n, v in values.items()}))
    around = TILE.pad(7)
    for layer in KINDS:
        found = store.read(layer.name, "2023", around)
        assert found.dtype == layer.numpy_dtype
        rows, cols = TILE.slices(around)
        np.testing.assert_array_equal(found[rows, cols], values[layer.name])
        outside = found.copy()
        outside[rows, cols] = layer.nodata
        assert not layer.is_valid(outside).any()
        # Beyond the extent, too.
        assert not layer.is_valid(store.read(layer.name, "2023", EXTENT.pad(3))[:3]).any()


@pytest.mark.parametrize("value", [7, "nodata"])
@pytest.mark.parametrize(
    "layer",
    [
        Layer("codes"),
        Layer("signed", "int8", -128),
        Layer("values", "float32"),
        Layer("scores", "float32", axis=Axis("class", (1, 2))),
    ],
    ids=lambda layer: layer.name,
)
def test_a_shard_is_what_zarr_writes_and_its_metadata_are_made_once(
    tmp_path: Path, layer: Layer, value: Any
) -> None:
    ours, theirs = (made(tmp_path / name, (layer,)) for name in ("ours", "theirs"))
    fill = layer.nodata if value == "nodata" else value
    values = np.full(layer.shape(*TILE.shape), fill, layer.numpy_dtype)
    tile = xr.Dataset({layer.name: (layer.dims(), values)})
    ours.write(key(), tile)
    known = zarr_store._shard_metadata.cache_info().misses
    ours.write(key("2024"), tile)
    assert zarr_store._shard_metadata.cache_info().misses == known  # for a NaN, too
    array = zarr.open_array(tmp_path / "theirs" / layer.name)
    array = array.with_config({"write_empty_chunks": True})
    rows, cols = TILE.slices(EXTENT)
    array[(slice(None), *[slice(None)] * bool(layer.axis), rows, cols)] = np.stack([values] * 2)
    for span in ("2023", "2024"):
        (name,) = ours.shards(key(span))
        assert ours.storage.read(name) == theirs.storage.read(name)


def test_plain_xarray_knows_scale_and_nodata(tmp_path: Path) -> None:
    store = made(tmp_path / "p.zarr", KINDS)
    filled = {n.name: (("y", "x"), np.full(TILE.shape, 40, n.dtype)) for n in KINDS}
    store.write(key(), xr.Dataset(filled))
    ds = xr.open_zarr(tmp_path / "p.zarr")
    assert {n.name: ds[n.name].dtype for n in KINDS if not n.is_scaled} == {
        n.name: n.numpy_dtype for n in KINDS if not n.is_scaled
    }
    scaled = ds["i16"].sel(time="2023").squeeze().values
    assert np.nanmax(scaled) == pytest.approx(9.0)
    assert np.isnan(scaled).sum() == EXTENT.shape[0] * EXTENT.shape[1] - 64**2
    assert ds["codes"].attrs["nodata"] == -9999
    assert ds["f32"].attrs["units"] == "t"
    assert np.isnan(ds["f32"].sel(time="2024").values).all()


def test_an_axis_is_cut_so_that_a_shard_stays_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zarr_store, "_SHARD_BYTES", 3 * 64 * 64 * 4)
    layer = Layer("embedding", "float32", float("nan"), axis=Axis("feature", tuple(range(8))))
    store = made(tmp_path / "p.zarr", (layer,))
    values = np.random.default_rng(0).random((8, *TILE.shape), np.float32)
    digests = store.write(key(), xr.Dataset({"embedding": (("feature", "y", "x"), values)}))
    assert [n.split("/")[3] for n in store.shards(key())] == ["0", "1", "2"]
    assert store.stored(key()) == digests
    np.testing.assert_array_equal(store.read("embedding", "2023", TILE), values)
    ds = xr.open_zarr(tmp_path / "p.zarr")
    assert ds.embedding.dims == ("time", "feature", "y", "x")
    box = GRID.geobox_of(TILE).boundingbox
    part = ds.embedding.sel(x=slice(box.left, box.right), y=slice(box.top, box.bottom))
    np.testing.assert_array_equal(part.values[0], values)
    (tmp_path / "p.zarr" / list(store.shards(key()))[-1]).unlink()
    assert store.stored(key()) == {"embedding": ""}


def test_a_shard_that_no_axis_chunk_makes_small_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"takes 1074 MB in memory.*smaller grid.tile"):
        zarr_store.axis_chunk(Layer("a", "float32", float("nan")), 16384)
    axis = Axis("feature", tuple(range(128)), chunk=64)
    with pytest.raises(RecipeError, match="or axis chunk"):
        zarr_store.axis_chunk(Layer("a", "float32", float("nan"), axis), 2048)


def test_misaligned_shards_are_refused(tmp_path: Path) -> None:
    off_lines = PixelBox(0, 0, 100, 128)
    with pytest.raises(RunFolderError, match="lose each other's data"):
        made(tmp_path / "p.zarr", (), off_lines)
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
    assert zarr_store.inner_chunk(tile) == chunk


def test_opening_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no product"):
        zarr_store.open_product(Folder(tmp_path / "none.zarr"))
