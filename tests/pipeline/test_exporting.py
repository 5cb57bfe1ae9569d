"""Exported files, read by GDAL alone: values, overviews, place, colours, names, layout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from forked import run_forked
from formula_pass import CLASSES, allowed, formula_recipe
from odc.geo.xr import xr_coords

import rsscale as rs
from rsscale.errors import RecipeError, RunFolderError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer
from rsscale.legend.classes import class_attributes
from rsscale.passes.overviews import reduce

STEPS = {
    "change": {"kind": "post-classification", "of": "map", "from": 2022, "to": 2023},
    "overviews": {"kind": "overviews", "of": "map", "levels": 2},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    with allowed():
        rs.run(formula_recipe(folder, tile=128, periods=[2022, 2023], steps=STEPS), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def exported(finished: Path) -> Path:
    rs.export(finished, finished.parent / "cogs", whole_tiles=True)
    return finished.parent / "cogs"


def stored(run: Path, layer: str, step: str = "product", level: str = "") -> np.ndarray:
    return np.asarray(zarr.open_group(run / f"{step}.zarr", path=level)[layer][:])


def layers_of(run: Path) -> dict[str, Layer]:
    described = json.loads((run / "run.json").read_text())["steps"]["map"]["layers"]
    return {one["name"]: Layer.parse(one) for one in described}


def layout(path: Path) -> str:
    with rasterio.open(path) as file:
        return str(file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT"))


def offsets(path: Path) -> list[int]:
    """Offset of the first block of each level, from fine to coarse: what makes a COG a COG."""
    with rasterio.open(path) as file:
        levels = [None, *range(len(file.overviews(1)))]
        return [int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", 1, level)) for level in levels]


@pytest.mark.extended
def test_values_of_every_layer_and_period_are_the_stores(finished: Path, exported: Path) -> None:
    for name in layers_of(finished):
        values = stored(finished, name)
        for place, year in enumerate((2022, 2023)):
            with rasterio.open(exported / f"{name}_{year}.tif") as file:
                found = file.read().reshape(values[place].shape)
                assert found.dtype == values.dtype
                np.testing.assert_array_equal(found, values[place])
    assert len(list(exported.glob("*.tif"))) == 2 * len(layers_of(finished))
    assert [path.name for path in exported.iterdir() if "partial" in path.name] == []


@pytest.mark.extended
def test_files_are_cut_to_the_area_as_those_of_a_publication(
    finished: Path, tmp_path: Path
) -> None:
    (path,) = rs.export(finished, tmp_path, layers=["classification"], periods=[2023])
    published = rs.publish(finished, tmp_path / "published", layers=["classification"])
    assert published
    product = rs.Run(finished).open().classification.isel(time=1)
    inside = np.argwhere(product.values != 255)
    (north, west), (south, east) = inside.min(axis=0), inside.max(axis=0)
    with rasterio.open(path) as file:
        values, place = file.read(1), file.transform
    row, col = (
        round((place.f - product.odc.geobox.affine.f) / -10),
        round((place.c - product.odc.geobox.affine.c) / 10),
    )
    height, width = values.shape
    np.testing.assert_array_equal(values, product.values[row : row + height, col : col + width])
    # All of the area, and around it less than a pixel.
    assert 0 <= north - row <= 1
    assert 0 <= west - col <= 1
    assert 0 <= row + height - 1 - south <= 1
    assert 0 <= col + width - 1 - east <= 1
    assert values.size < product.size
    with rasterio.open(tmp_path / "published/cogs/classification_2023.tif") as file:
        assert file.transform == place
        np.testing.assert_array_equal(file.read(1), values)


@pytest.mark.extended
def test_place_nodata_scale_and_units(finished: Path, exported: Path) -> None:
    product = rs.Run(finished).open()
    geobox = product.odc.geobox
    layers = layers_of(finished)
    for name, layer in layers.items():
        with rasterio.open(exported / f"{name}_2023.tif") as file:
            assert file.crs.to_epsg() == 32631
            assert file.transform == geobox.affine
            assert tuple(file.bounds) == geobox.boundingbox.bbox
            np.testing.assert_equal(file.nodata, layer.nodata)
            assert set(file.scales) == {layer.scale}
            assert set(file.offsets) == {layer.offset}
            assert file.units[0] == layer.attributes.get("units")
            assert file.tags()["PERIOD"] == "2023"
    with rasterio.open(exported / "temperature_2023.tif") as file:
        raw = file.read(1, masked=True)
        physical = product.temperature.sel(time="2023").values[0]
        np.testing.assert_allclose(
            (raw * file.scales[0] + file.offsets[0]).filled(np.nan), physical, rtol=1e-6
        )


@pytest.mark.extended
def test_every_file_is_a_cog(exported: Path) -> None:
    for path in exported.glob("*.tif"):
        assert layout(path) == "COG"
        with rasterio.open(path) as file:
            assert set(file.block_shapes) == {(512, 512)}
            assert file.compression.name == "deflate"
        # Coarse levels first, so that a header and one range show the whole map.
        assert offsets(path) == sorted(offsets(path), reverse=True)
        assert len(offsets(path)) >= 3


@pytest.mark.extended
def test_overviews_are_those_of_rsscale(finished: Path, exported: Path) -> None:
    for name, layer in layers_of(finished).items():
        whole = stored(finished, name)[1]
        with rasterio.open(exported / f"{name}_2023.tif") as file:
            levels = len(file.overviews(1))
        assert levels >= 2
        for level in range(levels):
            odd = [size % 2 for size in whole.shape[-2:]]
            pad = [(0, 0)] * (whole.ndim - 2) + [(0, odd[0]), (0, odd[1])]
            whole = reduce(layer, np.pad(whole, pad, constant_values=layer.nodata))
            with rasterio.open(exported / f"{name}_2023.tif", overview_level=level) as file:
                np.testing.assert_array_equal(file.read().reshape(whole.shape), whole)


@pytest.mark.extended
def test_overviews_of_files_are_those_of_the_step(finished: Path, exported: Path) -> None:
    """Where they lie on the same lines: the extent begins at an even pixel."""
    of_step = stored(finished, "classification", level="1")[1]
    with rasterio.open(exported / "classification_2023.tif", overview_level=0) as file:
        found = file.read(1)
        place = file.transform
    step = zarr.open_group(finished / "product.zarr", path="1").attrs["spatial:transform"]
    row, col = round((step[5] - place.f) / -20), round((place.c - step[2]) / 20)
    part = of_step[row : row + found.shape[0], col : col + found.shape[1]]
    np.testing.assert_array_equal(part, found)


@pytest.mark.extended
def test_no_overview_of_classes_holds_a_class_that_none_of_its_pixels_has(
    exported: Path,
) -> None:
    with rasterio.open(exported / "classification_2023.tif") as file:
        fine = file.read(1)
    with rasterio.open(exported / "classification_2023.tif", overview_level=0) as file:
        coarse = file.read(1)
    four = [fine[r::2, c::2][: coarse.shape[0], : coarse.shape[1]] for r in (0, 1) for c in (0, 1)]
    assert np.any([coarse == one for one in four], axis=0).all()
    # Nodata only where all four are.
    np.testing.assert_array_equal(coarse == 255, np.all([one == 255 for one in four], axis=0))


@pytest.mark.extended
def test_classes_have_colours_and_names(exported: Path) -> None:
    path = exported / "classification_2023.tif"
    with rasterio.open(path) as file:
        assert file.colorinterp[0].name == "palette"
        colors = file.colormap(1)
        for known in CLASSES:
            assert "#{:02x}{:02x}{:02x}".format(*colors[known.value][:3]) == known.color
            assert colors[known.value][3] == 255
        assert colors[255][3] == 0
        assert file.tags(1)["flag_meanings"] == "water open_forest crops built"
    names, table = side_file(path)
    assert [names[known.value] for known in CLASSES] == [known.name for known in CLASSES]
    assert table == [[str(c.value), c.name] for c in CLASSES]
    with rasterio.open(exported / "probability_2023.tif") as file:
        assert file.descriptions == tuple(f"probability of {c.name}" for c in CLASSES)
    assert not (exported / "confidence_2023.tif.aux.xml").exists()


def side_file(path: Path) -> tuple[list[str], list[list[str]]]:
    """Category names, and values and names of the attribute table, as GDAL keeps them."""
    from xml.etree import ElementTree as ET

    root = ET.parse(path.with_name(f"{path.name}.aux.xml")).getroot()  # noqa: S314 -- ours
    names = [one.text or "" for one in root.iter("Category")]
    rows = [[str(f.text) for f in row.iter("F")][:2] for row in root.iter("Row")]
    return names, rows


def test_a_step_a_layer_and_a_period_are_chosen(finished: Path, tmp_path: Path) -> None:
    paths = rs.export(finished, tmp_path, step="change", layers=["change", "from"])
    assert [path.name for path in paths] == ["change_2022-2023.tif", "change_from_2022-2023.tif"]
    lone = tmp_path / "deep" / "lone.tif"
    assert rs.export(finished, lone, layers=["index"], periods=[2022], whole_tiles=True) == [lone]
    with rasterio.open(lone) as file:
        np.testing.assert_array_equal(file.read(1), stored(finished, "index")[0])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"step": "chnge"}, "did you mean 'change'"),
        ({"step": "overviews"}, "has no layers; there are map, change"),
        ({"layers": ["clasification"]}, "did you mean 'classification'"),
        ({"periods": [2021]}, "there is no period '2021'; there are 2022, 2023"),
        ({"to": "one.tif"}, "10 to write"),
        ({"to": "s3://bucket/x"}, "local folder"),
    ],
)
def test_what_can_not_be_exported(
    finished: Path, tmp_path: Path, words: dict[str, Any], says: str
) -> None:
    to = words.pop("to", "cogs")
    with pytest.raises((RecipeError, RunFolderError), match=says):
        rs.export(finished, to if "://" in to else tmp_path / to, **words)
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_run_is_refused_without_a_word(tmp_path: Path) -> None:
    options = {"fails": [first_tile(tmp_path)]}
    recipe = formula_recipe(tmp_path, tile=512, periods=[2023], options=options)
    with allowed(), pytest.raises(rs.TilesFailedError):
        rs.run(recipe, tmp_path / "run")
    with pytest.raises(RunFolderError, match=r"is not finished.*--partial"):
        rs.export(tmp_path / "run", tmp_path / "cogs")
    paths = rs.export(
        tmp_path / "run", tmp_path / "cogs", layers=["classification"], partial=True,
        whole_tiles=True,
    )  # fmt: skip
    with rasterio.open(paths[0]) as file:
        np.testing.assert_array_equal(file.read(1), stored(tmp_path / "run", "classification")[0])


def first_tile(folder: Path) -> str:
    from rsscale.recipe import read_recipe

    recipe = read_recipe(formula_recipe(folder, tile=512, periods=[2023]))
    tile = next(iter(recipe.grid.build().tiles(rs.read_area(recipe.area))))
    return f"x{tile.ix}_y{tile.iy}"


def test_lost_objects_are_no_nodata(finished: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    next(p for p in (copy / "product.zarr/confidence/c/1").rglob("*") if p.is_file()).unlink()
    with pytest.raises(RunFolderError, match=r"1 of \d+ stored objects of layer 'confidence'"):
        rs.export(copy, tmp_path / "cogs")
    assert not (tmp_path / "cogs").exists()
    rs.export(copy, tmp_path / "cogs", layers=["classification"])


def grid_dataset(values: np.ndarray, crs: str = "EPSG:32631", **attributes: Any) -> xr.Dataset:
    grid = Grid(crs, 10.0)
    box = grid.geobox_of(
        PixelBox(-500_003, 50_001, -500_003 + values.shape[-2], 50_001 + values.shape[-1])
    )
    coords = dict(xr_coords(box, always_yx=True))
    array = xr.DataArray(values, dims=("y", "x"), coords=coords, attrs=attributes)
    return array.to_dataset(name="layer")


def test_datasets_are_exported_with_odd_sizes_and_south_up(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.choice([0, 1, 4, 255], (1111, 1301)).astype(np.uint8)
    ds = grid_dataset(values, **class_attributes(CLASSES), nodata=255)
    turned = ds.isel(y=slice(None, None, -1)).chunk({"y": 300})
    (path,) = rs.export(turned, tmp_path)
    assert path.name == "layer.tif"
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), values)
        assert file.transform == ds.odc.geobox.affine


@pytest.mark.parametrize("crs", ["EPSG:3035", "EPSG:2180", "ESRI:102003", "EPSG:5041"])
def test_crs_whatever_the_order_of_its_axes(tmp_path: Path, crs: str) -> None:
    ds = grid_dataset(np.ones((40, 30), np.uint8), crs, nodata=255)
    (path,) = rs.export(ds, tmp_path)
    with rasterio.open(path) as file:
        assert file.crs == rasterio.crs.CRS.from_user_input(crs)
        assert file.transform == ds.odc.geobox.affine


def test_datasets_that_say_too_little(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="int64; a file holds"):
        rs.export(grid_dataset(np.ones((4, 4), np.int64), nodata=0), tmp_path)
    with pytest.raises(RecipeError, match="does not say what its nodata is"):
        rs.export(grid_dataset(np.ones((4, 4), np.uint8)), tmp_path)


def test_memory_does_not_grow_with_the_area(tmp_path: Path) -> None:
    """Windows are read one after the other, each once."""
    import dask.array as da

    seen: list[tuple[int, int]] = []

    def block(block_info: Any = None) -> np.ndarray:
        (_, _), (row, col) = (0, 0), block_info[None]["chunk-location"]
        seen.append((row, col))
        return np.full((2048, 2048), (row * 3 + col) % 7, np.uint8)

    values = da.map_blocks(
        block, chunks=((2048,) * 3, (2048,) * 3), dtype=np.uint8, meta=np.empty((0, 0), np.uint8)
    )
    ds = grid_dataset(values, nodata=255)
    seen.clear()
    (path,) = rs.export(ds, tmp_path)
    assert sorted(seen) == [(row, col) for row in range(3) for col in range(3)]
    with rasterio.open(path) as file:
        assert file.overviews(1) == [2, 4, 8, 16]
        assert int(file.read(1, window=((5000, 5001), (2100, 2101)))[0, 0]) == 0


SMALL_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from rsscale.cli import main
main(["export", sys.argv[1], "--to", sys.argv[2], "--layer", "index"])
"""


def test_a_full_disk_leaves_nothing_half_there(finished: Path, tmp_path: Path) -> None:
    ended = run_forked(SMALL_FILES, str(finished), str(tmp_path / "cogs"))
    assert ended.returncode == 1, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "can't be written" in lines[0]
    assert "Traceback" not in ended.stderr
    assert [p for p in (tmp_path / "cogs").rglob("*") if p.is_file()] == []


def test_the_command(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rsscale.cli import main

    words = ["export", str(finished), "--to", str(tmp_path), "--layer", "confidence"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--period", "2023"])
    assert not ended.value.code
    assert capsys.readouterr().out == f"{tmp_path / 'confidence_2023.tif'}\n"
