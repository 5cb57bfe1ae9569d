"""Several inputs on one grid, strips of a tile, and reads that fail: told, or counted."""

import gc
import json
import logging
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import shapely
import torch
import xarray as xr
from landscape import DATES, SIZE, ZONES, Landscape
from odc.geo.geom import Geometry

import rsscale as rs
from rsscale.cluster.engine import Patience
from rsscale.composites import strips
from rsscale.errors import ReadError, RecipeError, TilesFailedError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inputs.prepare import _noted, prepare
from rsscale.inputs.windows import bands_to_read
from rsscale.items.item_index import ItemIndex, extend
from rsscale.items.item_store import Lookup, write_index
from rsscale.learn.models import Model, save_model
from rsscale.legend.classes import LandClass
from rsscale.memory import SharedBytes
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec
from rsscale.passes import mapping
from rsscale.plans.find_items import _with_margin, find_items, index_items, recipe_area
from rsscale.read.reader import Reader
from rsscale.read.stage_timer import StageTimer
from rsscale.recipe import read_recipe

CRS, TRANSFORM = ZONES["w"]
SAR_NODATA = -9999.0
SAR_EDGE = 800  # rows beyond the radar's swath
# Across the edge of the radar's swath, and of the scenes of either zone: some 280 x 390 px.
BOX = [6.0, 44.935, 6.035, 44.97]


@pytest.fixture(scope="module")
def archive(landscape: Landscape, tmp_path_factory: pytest.TempPathFactory) -> Landscape:
    """A copy of the landscape, with radar and elevation of the western scene beside it."""
    land = landscape.copy(tmp_path_factory.mktemp("inputs") / "archive")
    rng = np.random.default_rng(5)
    shape = (SIZE, SIZE)
    radar = pystac.Catalog("s1", "radar")
    for number, date in enumerate(DATES[:3]):
        power = rng.gamma(4, 0.02, shape).astype("float32")
        power[:SAR_EDGE] = SAR_NODATA
        power[SAR_EDGE : SAR_EDGE + 20 + number] = 0.0  # a border of noise that was subtracted away
        radar.add_item(item(land.folder, f"s1_{date}", date, {"vv": power, "vh": power / 4}))
    radar.normalize_and_save(str(land.folder / "s1"), pystac.CatalogType.SELF_CONTAINED)
    terrain = pystac.Catalog("dem", "elevation")
    height = np.add.outer(np.arange(SIZE), np.arange(SIZE)).astype("float32")
    terrain.add_item(item(land.folder, "dem", "2011-02-03", {"elevation": height}))
    terrain.normalize_and_save(str(land.folder / "dem"), pystac.CatalogType.SELF_CONTAINED)
    save_model(three_inputs(), land.folder / "model3")
    return land


def item(folder: Path, name: str, date: str, bands: dict) -> pystac.Item:
    """An item on the western grid, of float bands."""
    scene = pystac.Item.from_file(folder / f"S2_w_{DATES[0]}" / f"S2_w_{DATES[0]}.json")
    made = pystac.Item(name, scene.geometry, scene.bbox, pystac.utils.str_to_datetime(date), {})
    made.properties |= {k: v for k, v in scene.properties.items() if k.startswith("proj:")}
    for band, data in bands.items():
        path = folder / f"{name}_{band}.tif"
        options = {"driver": "GTiff", "width": SIZE, "height": SIZE, "count": 1, "tiled": True}
        with rasterio.open(
            path, "w", dtype="float32", crs=CRS, transform=TRANSFORM, nodata=SAR_NODATA, **options
        ) as target:
            target.write(data, 1)
        fields = {"raster:bands": [{"data_type": "float32", "nodata": SAR_NODATA}]}
        made.add_asset(band, pystac.Asset(str(path), extra_fields=fields))
    return made


def three_inputs() -> Model:
    """A pixel-wise network that every channel moves."""
    spec = ModelSpec(
        name="three",
        inputs=(
            ModelInput("s2", ("red", "nir"), ("spring", "summer"), (0.35, 0.35), (0.1, 0.1)),
            ModelInput("s1", ("vv", "vh"), ("year",), (-12.0, -18.0), (2.0, 2.0)),
            ModelInput("dem", ("elevation",), ("static",), (1000.0,), (500.0,)),
        ),
        classes=tuple(LandClass(k, f"class {k}", "#1b7837") for k in (1, 2, 3)),
        lattice=Lattice(stride=256, halo=0),
        architecture="pixel",
        hyperparameters={"width": 8},
        resolution=10.0,
    )
    torch.manual_seed(3)
    from rsscale.learn.architectures import build

    return Model(spec, build("pixel", spec.inputs, 3, width=8).eval(), torch.device("cpu"))


def recipe(land: Landscape, **changes: object) -> dict:
    base = land.part(bbox=BOX)
    base["inputs"] |= {
        "s1": {
            "catalog": str(land.folder / "s1" / "catalog.json"),
            "bands": ["vv", "vh"],
            "composite": {"by": "year"},
            "decibel": True,
        },
        "dem": {
            "catalog": str(land.folder / "dem" / "catalog.json"),
            "bands": ["elevation"],
            "static": True,
        },
    }
    base["model"] = str(land.folder / "model3")
    return base | changes


@pytest.fixture(scope="module")
def prepared(archive: Landscape) -> tuple[dict[str, xr.DataArray], PixelBox]:
    one = read_recipe(recipe(archive))
    grid = one.grid.build()
    sources = index_items(one, grid, find_items(one, recipe_area(one), 0))
    row, col = -int(TRANSFORM.f) // 10, int(TRANSFORM.c) // 10
    box = PixelBox(row, col, row + SIZE, col + SIZE)
    return prepare(one, grid, sources, 2023, box).compute(2), box


@pytest.mark.slow
def test_radar_is_decibel_of_the_median_and_safe_at_nodata(
    archive: Landscape, prepared: tuple[dict[str, xr.DataArray], PixelBox]
) -> None:
    got = prepared[0]["s1"].sel(band="vv").values[0]
    scenes = [rasterio.open(archive.folder / f"s1_{d}_vv.tif").read(1) for d in DATES[:3]]
    power = np.where(np.stack(scenes) == SAR_NODATA, np.nan, scenes)
    assert np.isnan(got[: SAR_EDGE + 20]).all()  # nodata, and zero power in the median
    clear = slice(SAR_EDGE + 30, None)
    np.testing.assert_allclose(got[clear], 10 * np.log10(np.median(power[:, clear], 0)), rtol=1e-5)


@pytest.mark.slow
def test_elevation_is_one_static_window_that_sees_nothing(
    prepared: tuple[dict[str, xr.DataArray], PixelBox],
) -> None:
    dem = prepared[0]["dem"]
    assert dem["window"].values.tolist() == ["static"]
    assert "observations" not in dem.coords
    np.testing.assert_array_equal(
        dem.values[0, 0], np.add.outer(np.arange(SIZE), np.arange(SIZE)).astype("float32")
    )


ALONE = """
import json, sys
from pathlib import Path

from rsscale.geo.lattice import PixelBox
from rsscale.items.item_store import FrozenItems
from rsscale.inputs.prepare import prepare
from rsscale.recipe import read_recipe

folder = Path(sys.argv[1])
recipe = read_recipe(json.loads((folder / "recipe.json").read_text()))
sources = {name: FrozenItems(folder / f"{name}.index.npz", folder / f"{name}.records")
           for name in recipe.inputs}
box = PixelBox(*json.loads(sys.argv[2]))
found = prepare(recipe, recipe.grid.build(), sources, 2023, box, generation=0).compute(2)
told = {name: array.values.tobytes().hex() for name, array in found.items()}
print(json.dumps([told, sorted(sys.modules)]))
"""


@pytest.mark.extended
def test_a_worker_needs_no_stac(archive: Landscape, tmp_path: Path) -> None:
    """Composites from frozen records alone: equal, and nothing that reads STAC is imported."""
    plain = recipe(archive)
    one = read_recipe(plain)
    grid = one.grid.build()
    sources = index_items(one, grid, find_items(one, recipe_area(one), 0))
    for name, index in sources.items():
        write_index(index, lambda e, content, name=name: put(tmp_path / f"{name}.{e}", content))
    (tmp_path / "recipe.json").write_text(json.dumps(plain))
    row, col = -int(TRANSFORM.f) // 10, int(TRANSFORM.c) // 10
    box = [row + SAR_EDGE - 40, col + 300, row + SAR_EDGE + 60, col + 400]
    command = [sys.executable, "-c", ALONE, str(tmp_path), json.dumps(box)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told, modules = json.loads(done.stdout)
    expected = prepare(one, grid, sources, 2023, PixelBox(*box)).compute(2)
    assert told == {name: array.values.tobytes().hex() for name, array in expected.items()}
    assert np.isfinite(expected["s2"].values).any()
    roots = {name.partition(".")[0] for name in modules}
    assert not roots & {"pystac", "pystac_client", "stackstac", "odc.stac", "rustac"}
    dialects = ("assets", "bands", "products", "radiometry", "versions", "freeze", "features")
    assert not {f"rsscale.items.{name}" for name in (*dialects, "item_index")} & set(modules)
    assert not [name for name in modules if name.startswith(("rsscale.catalog", "odc.stac"))]


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def test_a_generation_sees_what_was_there_then(archive: Landscape) -> None:
    one = read_recipe(archive.recipe())
    grid = one.grid.build()
    found = find_items(one, recipe_area(one), 0)["s2"]
    first = ItemIndex(found[::2], grid.crs, bands_to_read(one.inputs["s2"]))
    grown = extend(first, ItemIndex(found, grid.crs, bands_to_read(one.inputs["s2"])))
    row, col = -int(TRANSFORM.f) // 10, int(TRANSFORM.c) // 10
    box = PixelBox(row + 300, col + 300, row + 364, col + 364)

    def prepared(index: Lookup, generation: int | None) -> xr.DataArray:
        return prepare(one, grid, {"s2": index}, 2023, box, generation=generation).compute(2)["s2"]

    before, then, now = prepared(first, None), prepared(grown, 0), prepared(grown, None)
    xr.testing.assert_identical(before, then)
    assert (now.observations.values >= then.observations.values).all()
    assert (now.observations.values > then.observations.values).any()


def run(land: Landscape, out: Path, **changes: object) -> xr.Dataset:
    ds = rs.run(recipe(land, **changes), out, threads=2, device="cpu").open()
    left, bottom, right, top = rs.read_area(BOX).to_crs(CRS).boundingbox
    return ds.sel(x=slice(left, right), y=slice(top, bottom)).load()


@pytest.fixture(scope="module")
def reference(archive: Landscape, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    return run(archive, tmp_path_factory.mktemp("reference") / "run")


@pytest.mark.slow
def test_a_pixel_that_only_the_static_layer_knows_is_nodata(reference: xr.Dataset) -> None:
    known = reference.sel(  # where the elevation model has a value
        x=slice(TRANSFORM.c, TRANSFORM.c + 10 * SIZE), y=slice(TRANSFORM.f, TRANSFORM.f - 10 * SIZE)
    )
    unseen = known.observations.values == 0
    assert unseen.any()
    assert (known.classification.values[unseen] == 255).all()
    # Radar scenes count like optical ones.
    assert reference.observations.where(reference.observations < 255).max() > len(DATES)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [384, pytest.param(1024, marks=pytest.mark.extended)])
@pytest.mark.extended
def test_strips_and_tiles_do_not_show(
    archive: Landscape,
    reference: xr.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tile: int,
) -> None:
    monkeypatch.setattr(strips, "STRIP_BYTES", 1)  # one row of windows a strip
    grid = {"crs": "EPSG:32631", "resolution": 10, "tile": tile}
    found = run(archive, tmp_path / "run", grid=grid)
    for name in reference.data_vars:
        np.testing.assert_array_equal(found[name].values, reference[name].values)


@pytest.mark.extended
def test_large_tiles_take_turns(
    archive: Landscape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that don't have room side by side: no strip of one is there with that of another."""
    taken, most = 0, 0
    composites = mapping.composite_strips

    def counted(*args: object) -> Iterator[dict]:
        nonlocal taken, most
        taken += 1
        most = max(most, taken)
        time.sleep(0.05)  # for the other one to come
        try:
            yield from composites(*args)
        finally:
            taken -= 1

    monkeypatch.setattr(mapping, "composite_strips", counted)
    for limit, expected in ((1, 1), (1 << 30, 2)):
        monkeypatch.setattr(mapping, "STRIPS", SharedBytes(limit))
        most = 0
        rs.run(archive.part(), tmp_path / str(limit), threads=2, device="cpu")
        assert most == expected


def test_strips_compute_no_row_twice() -> None:
    import dask.array as da

    done: list[tuple[int, int]] = []

    def block(array: np.ndarray, block_info: dict | None = None) -> np.ndarray:
        if block_info:
            done.append(tuple(block_info[0]["array-location"][2]))
        return array

    data = da.zeros((1, 1, 1000, 30), chunks=(1, 1, (90, 256, 256, 256, 142), 30))
    lazy = xr.DataArray(data.map_blocks(block, dtype="f4"), dims=("time", "band", "y", "x"))
    around = PixelBox(-20, 0, 980, 30)
    reads = [PixelBox(top, 0, min(top + 300, 980), 30) for top in range(-20, 900, 200)]
    parts = strips.composite_strips({"a": lazy}, around, reads, 1, StageTimer())
    sizes = [part["a"].sizes["y"] for part in parts]
    assert sizes == [read.shape[0] for read in reads]
    assert sorted(done) == [(0, 90), (90, 346), (346, 602), (602, 858), (858, 1000)]


def test_strips_end_on_the_rows_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    box, lattice = PixelBox(100, 0, 1500, 600), Lattice(224, 8)
    assert strips.strips(box, lattice, 3) == [box]
    # Two rows of windows, and the rows of the blocks in which they end.
    monkeypatch.setattr(strips, "STRIP_BYTES", 4 * 3 * (672 + 16) * (448 + 16 + 512))
    cut = strips.strips(box, lattice, 3)
    assert [(part.col0, part.col1) for part in cut] == [(0, 600)] * 4
    edges = [part.row0 for part in cut] + [cut[-1].row1]
    assert edges[0] == 100
    assert edges[-1] == 1500
    assert all(edge % 224 == 0 for edge in edges[1:-1])
    assert [part.row1 for part in cut] == edges[1:]


@pytest.mark.parametrize("lattice", [Lattice(1024, 64), Lattice(224, 16), Lattice(224, 16, "hann")])
@pytest.mark.parametrize("channels", [6, 18, 60])
def test_strips_cover_a_tile_once_and_stay_small(lattice: Lattice, channels: int) -> None:
    """Many channels make even one row of windows too large: then it is cut into panels."""
    box = PixelBox(-8192, 8192, 0, 16384)
    cut = strips.strips(box, lattice, channels)
    seen = np.zeros((64, 64), int)  # of 128 px
    for part in cut:
        rows, cols = part.slices(box)
        seen[rows.start // 128 : rows.stop // 128, cols.start // 128 : cols.stop // 128] += 1
        assert part.row0 % lattice.stride == 0 or part.row0 == box.row0
        assert part.col0 % lattice.stride == 0 or part.col0 == box.col0
    if lattice.stride == 1024:
        assert (seen == 1).all()
    assert sum(part.shape[0] * part.shape[1] for part in cut) == 8192**2
    assert strips.strip_bytes(box, lattice, channels) <= strips.STRIP_BYTES


def test_panels_give_the_composites_of_the_whole() -> None:
    import dask.array as da

    values = np.random.default_rng(0).normal(size=(2, 3, 700, 900)).astype("f4")
    dims = ("time", "band", "y", "x")
    lazy = xr.DataArray(da.from_array(values, chunks=(2, 3, 200, 256)), dims=dims)
    lazy = lazy.assign_coords(observations=(dims[:1] + dims[2:], lazy.data[:, 0] * 2))
    around = PixelBox(50, -30, 750, 870)
    reads = [
        PixelBox(top, left, min(top + 300, 750), right)
        for left, right in ((-30, 420), (380, 870))
        for top in range(50, 650, 250)
    ]
    parts = strips.composite_strips({"a": lazy}, around, reads, 2, StageTimer())
    for read, part in zip(reads, parts, strict=True):
        inside = (..., *read.slices(around))
        np.testing.assert_array_equal(part["a"].values, values[inside])
        np.testing.assert_array_equal(part["a"].observations.values, 2 * values[:, 0][inside])


def test_a_buffer_holds_no_more_than_its_strip() -> None:
    """Rows are written to their place, not joined to those that are held: that took thrice."""
    import dask.array as da

    data = da.zeros((1, 1, 8000, 1000), dtype="f4", chunks=(1, 1, 500, 1000))
    lazy = xr.DataArray(data, dims=("time", "band", "y", "x"))
    around = PixelBox(0, 0, 8000, 1000)
    reads = [
        PixelBox(max(top - 50, 0), 0, min(top + 1050, 8000), 1000) for top in range(0, 8000, 1000)
    ]
    parts = strips.composite_strips({"a": lazy}, around, reads, 1, StageTimer())
    for read, part in zip(reads, parts, strict=True):
        held = part["a"].values
        while held.base is not None and isinstance(held.base, np.ndarray):
            held = held.base
        assert held.nbytes <= 4 * 1000 * (read.shape[0] + 512)


def broken(land: Landscape, folder: Path, **options: object) -> dict:
    """A recipe whose catalogue names a file that is not there."""
    catalog = json.loads((land.folder / "catalog.json").read_text())
    features = []
    for link in catalog["links"]:
        if link["rel"] == "item":
            one = pystac.Item.from_file(str(land.folder / link["href"]))
            one.make_asset_hrefs_absolute()
            features.append(one.to_dict(include_self_link=False))
    features[0]["assets"]["nir"]["href"] = str(folder / "gone.tif")
    (folder / "items.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )
    made = land.part()
    made["inputs"]["s2"] |= {"catalog": str(folder / "items.json"), **options}
    return made


@pytest.mark.slow
def test_a_read_that_fails_fails_its_tiles(archive: Landscape, tmp_path: Path) -> None:
    with pytest.raises(TilesFailedError, match=r"asset 'nir'.*gone\.tif"):
        rs.run(broken(archive, tmp_path), tmp_path / "run", threads=2, device="cpu")


@pytest.mark.slow
@pytest.mark.extended
def test_a_read_may_be_skipped_and_is_on_record(
    archive: Landscape, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = rs.run(archive.part(), tmp_path / "full", threads=2, device="cpu").open()
    with caplog.at_level(logging.WARNING):
        skipping = broken(archive, tmp_path, on_error="skip")
        rs.run(skipping, tmp_path / "run", threads=2, device="cpu")
    ds = xr.open_zarr(tmp_path / "run" / "product.zarr")
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    told = [
        json.loads(f.read_text())["unreadable"] for f in (tmp_path / "run/ledger").rglob("*.json")
    ]
    lines = {line for entry in told for line in entry}
    assert len(lines) == 1
    assert "gone.tif" in next(iter(lines))
    assert state["steps"]["map"]["facts"]["unreadable"] == sum(map(len, told)) > 0
    assert "counted as not seen" in caplog.text
    before, after = full.observations.values.astype(int), ds.observations.values.astype(int)
    inside = before < 255
    assert (after[inside] <= before[inside]).all()
    assert (after[inside] < before[inside]).any()


def test_many_failures_of_an_asset_are_one_line() -> None:
    missing: dict[str, str] = {}
    note = _noted(missing)
    for block in range(3):
        note(ReadError(f"item 'a', asset 'red': x.tif is cut short at {block}", "a/red"))
    note(ReadError("item 'a', asset 'nir': x.tif is cut short", "a/nir"))
    assert list(missing.values()) == [
        "item 'a', asset 'red': x.tif is cut short at 0",
        "item 'a', asset 'nir': x.tif is cut short",
    ]


def test_a_signer_that_is_not_allowed_here_is_told_before_anything_is_mapped(
    archive: Landscape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RSSCALE_SIGNERS", raising=False)
    signed = archive.recipe()
    signed["inputs"]["s2"]["sign"] = "os:system"
    assert read_recipe(signed).inputs["s2"].sign == "os:system"  # to look at is no harm
    with pytest.raises(RecipeError, match="does not allow the module 'os'"):
        rs.run(signed, tmp_path / "run")


@pytest.mark.parametrize("crs", ["EPSG:3460", "EPSG:32760"])
def test_what_lies_around_an_area_across_180_degrees_stays_small(crs: str) -> None:
    """As in Fiji: its halves must not be joined around the globe."""
    halves = [[177.0, -19.0, 180.0, -16.0], [-180.0, -19.0, -179.0, -16.0]]
    area = Geometry(shapely.MultiPolygon([shapely.box(*half) for half in halves]), "EPSG:4326")
    around = _with_margin(Grid(crs, 10), area, 100)
    assert around.geom.is_valid
    assert 12.0 < around.geom.area < 13.0  # square degrees; the halves have 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": {"band": "scl", "keep": [4], "drop": [3]}}, "exactly one of"),
        ({"composite": {"by": "season", "reducer": "medain"}}, "reducer"),
        ({"composite": {"by": "seasn"}}, "season"),
        ({"on_error": "ignore"}, "on_error"),
        ({"loader": "odc"}, "loader"),
        ({"sign": "planetary-computr"}, "did you mean 'planetary-computer'"),
    ],
)
def test_wrong_keys_of_an_input_are_told(
    archive: Landscape, tmp_path: Path, changes: dict, message: str
) -> None:
    wrong = archive.recipe()
    wrong["inputs"]["s2"] |= changes
    with pytest.raises(RecipeError, match=message):
        rs.run(wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "fails",
    [
        "reading",
        pytest.param(None, marks=pytest.mark.extended),
        pytest.param("predicting", marks=pytest.mark.extended),
    ],
)
def test_composites_go_with_their_tile(
    archive: Landscape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str | None
) -> None:
    """Cycles, as of xarray's accessors or Dask's errors, would hold some tiles' at a time."""
    made: list[weakref.ref] = []

    class Noted(np.ndarray):
        pass

    def noted(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        array = np.zeros(shape, dtype).view(Noted)
        made.append(weakref.ref(array))
        return array

    reads = Reader._read

    def read(reader: Reader, *args: object) -> np.ndarray:
        if DATES[-1] in reader.source.item:
            raise ReadError("nothing is there")
        return reads(reader, *args)

    def predict(*_: object, **__: object) -> None:
        raise ReadError("nothing is there")

    monkeypatch.setattr(strips, "mmap_array", noted)
    monkeypatch.setattr(Patience, "pause", lambda *_: 0.0)
    if fails == "reading":
        monkeypatch.setattr(Reader, "_read", read)
    if fails == "predicting":
        monkeypatch.setattr(mapping, "predict_box", predict)
    gc.collect()
    gc.disable()
    try:
        if fails is None:
            run(archive, tmp_path / "run")
        else:
            with pytest.raises(TilesFailedError, match="nothing is there"):
                run(archive, tmp_path / "run")
        assert len(made) > 4
        assert not [one for one in made if one() is not None]
    finally:
        gc.enable()
