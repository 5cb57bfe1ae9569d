"""The simulated archive: deterministic, true to its truth, and readable like a real one."""

import hashlib
import json
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pystac
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pystac.validation import validate_dict
from rasterio.windows import Window
from scipy.ndimage import distance_transform_edt

from rsscale.catalog.search import search
from rsscale.cube.load import load
from rsscale.demo.serve import serve_catalog
from rsscale.errors import RecipeError
from rsscale.items.radiometry import scale_offset
from rsscale.simulation import atmosphere
from rsscale.simulation import simulate as module
from rsscale.simulation.noise import cells, fractal_noise
from rsscale.simulation.scenes import schedule
from rsscale.simulation.simulate import DEFAULT_SIZE, simulate
from rsscale.simulation.tiles import make_tiles, truth_grid
from rsscale.simulation.truth import make_areas
from rsscale.simulation.world import CLASSES, World

SIZE, YEARS, DATES, SEED = 520, (2023, 2024), 6, 3
SMALL = {"size": 160, "years": (2023,), "dates": 4}
CLOUD_CODES = (8, 9, 10)


@pytest.fixture(scope="module")
def archive(once):
    return once("simulated", partial(simulate, size=SIZE, years=YEARS, dates=DATES, seed=SEED))


@pytest.fixture(scope="module")
def items(archive):
    return search(archive.catalog, archive.collection)


@pytest.fixture(scope="module")
def scenes():
    return {scene.id: scene for scene in schedule(make_tiles(SIZE), YEARS, DATES, SEED)}


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def digest(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@cache
def sky_over(scene):
    """The true sky over a whole scene."""
    whole = Window(0, 0, SIZE, SIZE)
    return atmosphere.sky(scene.weather, scene.tile, whole, 0.85 * SIZE * 10)


def truth_at(archive, tile):
    """The land cover of every pixel of a tile in each year, from the truth's nearest pixel."""
    rows, cols = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    x, y = tile.left + 10 * cols, tile.top - 10 * rows
    x, y = pyproj.Transformer.from_crs(tile.crs, "EPSG:32631", always_xy=True).transform(x, y)
    out = {}
    for year, path in archive.truth.items():
        with rasterio.open(path) as dataset:
            col, row = ~dataset.transform * (x, y)
            # The outermost pixel centres of a turned tile may round to just outside.
            row = np.clip(np.floor(row).astype(int), 0, dataset.height - 1)
            col = np.clip(np.floor(col).astype(int), 0, dataset.width - 1)
            out[year] = dataset.read(1)[row, col]
    return out


# --- the same arguments, the same bytes ---------------------------------------------------


@pytest.mark.extended
def test_same_seed_same_bytes_whatever_the_threads(tmp_path):
    one = simulate(tmp_path / "one", **SMALL, seed=5, workers=1)
    three = simulate(tmp_path / "three", **SMALL, seed=5, workers=3)
    first, second = digest(one.root), digest(three.root)
    # Its hrefs are absolute: the same once the folder's name is taken out.
    assert first.pop("items.json") != second.pop("items.json")
    assert first == second
    texts = [a.items.read_text().replace(str(a.root), "") for a in (one, three)]
    assert texts[0] == texts[1]
    other = digest(simulate(tmp_path / "other", **SMALL, seed=6).root)
    kept = {name for name, value in other.items() if value == first.get(name)}
    assert kept <= {
        "area.geojson", "training_area.geojson", "classes.json", "catalog.json",
    }  # fmt: skip


def test_the_world_does_not_depend_on_the_window():
    world = World(11, YEARS)
    tile = make_tiles(2000)[1]
    whole = Window(301, 517, 200, 150)
    ground = world.evaluate(*tile.world_xy(whole))
    for part in (Window(301, 517, 77, 150), Window(310, 600, 191, 67), Window(450, 640, 1, 1)):
        piece = world.evaluate(*tile.world_xy(part))
        row, col = part.row_off - whole.row_off, part.col_off - whole.col_off
        here = np.s_[row : row + part.height, col : col + part.width]
        for year in YEARS:
            np.testing.assert_array_equal(piece.landcover[year], ground.landcover[year][here])
            np.testing.assert_array_equal(piece.kind[year], ground.kind[year][here])
        for name in ("texture", "track", "hedge"):
            np.testing.assert_array_equal(getattr(piece, name), getattr(ground, name)[here])


@pytest.mark.extended
def test_the_sky_does_not_depend_on_the_window(scenes):
    scene = max(scenes.values(), key=lambda scene: 0.2 < scene.weather.cover < 0.8)
    whole = sky_over(scene)
    part = atmosphere.sky(scene.weather, scene.tile, Window(100, 37, 64, 80), 0.85 * SIZE * 10)
    for name in ("cloud", "thin", "shadow", "relief"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[37:117, 100:164])


def test_cells_are_those_of_the_nearest_seed():
    # The oracle compares with every seed that is the nearest of any point at all.
    x, y = np.meshgrid(np.linspace(-900, 900, 41), np.linspace(-700, 700, 37))
    found = cells(x, y, 250.0, 0.4, salt=9)
    owners = np.stack([found.column.ravel(), found.row.ravel()], axis=1)
    _, first = np.unique(owners, axis=0, return_index=True)
    places = np.stack([(x - found.dx).ravel()[first], (y - found.dy).ravel()[first]], axis=1)
    distance = np.hypot(x[..., None] - places[:, 0], y[..., None] - places[:, 1])
    np.testing.assert_allclose(distance.min(-1), np.hypot(found.dx, found.dy), atol=0.05)
    two = np.sort(distance, -1)[..., :2]
    border = two[..., 1] - two[..., 0] > 20
    assert (found.edge[border] > 0).all()


def test_noise_keeps_to_its_range_and_is_smooth():
    x, y = np.meshgrid(np.arange(0, 60_000, 40.0), np.arange(-20_000, 20_000, 40.0))
    noise = fractal_noise(x, y, 5000, 3, salt=4)
    assert 0 <= noise.min() < 0.25
    assert 0.75 < noise.max() <= 1
    assert abs(noise.mean() - 0.5) < 0.03
    assert np.abs(np.diff(noise, axis=1)).max() < 0.1


# --- the landscape ------------------------------------------------------------------------


@pytest.mark.extended
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_is_there_and_some_of_it_changes(seed):
    grid = truth_grid(make_tiles(DEFAULT_SIZE))
    x, y = grid.world_xy(Window(0, 0, grid.width, grid.height))
    cover = World(seed, YEARS).landcover(x[::4, ::4], y[::4, ::4])
    for values in cover.values():
        shares = np.bincount(values.ravel(), minlength=8)[1:] / values.size
        assert shares.min() > 0.01, shares
        assert shares.max() < 0.45, shares
    changed = cover[2023] != cover[2024]
    assert 0.015 < changed.mean() < 0.06
    kinds = set(zip(cover[2023][changed], cover[2024][changed], strict=True))
    names = {c.value: c.name for c in CLASSES}
    told = {(names[a], names[b]) for a, b in kinds}
    assert ("broadleaf forest", "grassland") in told or ("conifer forest", "grassland") in told
    assert {("winter crops", "summer crops"), ("grassland", "built-up")} <= told
    assert not any("water" in pair for pair in told)


@pytest.mark.extended
def test_truth_is_the_world_at_its_pixels_and_change_is_its_difference(archive):
    before, after = read(archive.truth[2023]), read(archive.truth[2024])
    change = read(archive.change[2023, 2024])
    inside = before != 255
    assert 0.7 < inside.mean() < 1
    np.testing.assert_array_equal(inside, after != 255)
    np.testing.assert_array_equal(change, np.where(inside, before != after, 255))
    with rasterio.open(archive.truth[2023]) as dataset:
        assert dataset.crs == "EPSG:32631"
        assert dataset.res == (10, 10)
        assert dataset.transform.c % 10 == 0
        assert dataset.transform.f % 10 == 0
        assert dataset.nodata == 255
        colors = dataset.colormap(1)
    for one in archive.classes:
        assert "#{:02x}{:02x}{:02x}".format(*colors[one.value]) == one.color
    assert json.loads((archive.root / "classes.json").read_text()) == [
        {"value": c.value, "name": c.name, "color": c.color} for c in CLASSES
    ]


@pytest.mark.extended
def test_labels_agree_with_the_truth_and_stay_in_the_west(archive):
    labels = geopandas.read_file(archive.labels)
    assert labels.crs == "EPSG:32631"
    assert set(labels["year"]) == set(YEARS)
    names = {c.name: c.value for c in archive.classes}
    assert set(labels["landcover"]) <= set(names)
    training = geopandas.read_file(archive.training_area).to_crs(labels.crs).union_all()
    assert labels.within(training.buffer(1)).all()
    for year, path in archive.truth.items():
        of_year = labels[labels["year"] == year]
        with rasterio.open(path) as dataset:
            drawn = rasterio.features.rasterize(
                zip(of_year.geometry, of_year["landcover"].map(names), strict=True),
                out_shape=dataset.shape,
                transform=dataset.transform,
            )
            truth = dataset.read(1)
        assert (drawn > 0).sum() > 10_000
        np.testing.assert_array_equal(drawn[drawn > 0], truth[drawn > 0])


def test_most_of_the_area_is_a_kilometre_from_its_training_part():
    area, training = make_areas(make_tiles(DEFAULT_SIZE))
    far = area - training.buffer(1000)
    assert far.area > 0.4 * area.area
    assert far.is_valid
    assert area.is_valid


def test_tiles_overlap_and_do_not_lie_on_the_lattice_of_their_blocks():
    for size in (160, 1100, 1200, 10_980):
        west, east = make_tiles(size)
        shared = (west.footprint & east.footprint).area / west.footprint.area
        assert 0.2 < shared < 0.4
        for tile in (west, east):
            assert tile.left % 10 == tile.top % 10 == 0
            assert tile.left % 5120 != 0
            assert tile.top % 5120 != 0


def test_coordinates_of_the_other_zone_are_those_of_proj():
    tile = make_tiles(10_980)[1]
    to_world = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:32631", always_xy=True)
    anchor = np.subtract(tile_corner_in_world(tile), [a[0, 0] for a in corner_xy(tile)])
    for row, col in ((0, 0), (33, 31), (5000, 10_975), (10_979, 17)):
        x, y = tile.world_xy(Window(col, row, 3, 2))
        exact = to_world.transform(tile.left + 10 * (col + 0.5), tile.top - 10 * (row + 0.5))
        np.testing.assert_allclose(np.add(anchor, (x[0, 0], y[0, 0])), exact, atol=0.01)


def corner_xy(tile):
    return tile.world_xy(Window(0, 0, 1, 1))


def tile_corner_in_world(tile):
    to_world = pyproj.Transformer.from_crs(tile.crs, "EPSG:32631", always_xy=True)
    return to_world.transform(tile.left + 5, tile.top - 5)


# --- the scenes ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_schedule_has_everything_a_real_archive_has(seed):
    scenes = schedule(make_tiles(DEFAULT_SIZE), YEARS, 15, seed)
    assert len({scene.id for scene in scenes}) == len(scenes) == 2 * 2 * 15
    for year in YEARS:
        days = [scene.doy for scene in scenes if scene.year == year]
        for start, end in ((60, 151), (152, 227), (228, 304)):  # the recipe's windows
            assert sum(start <= day <= end for day in days) >= 4
        cover = [scene.weather.cover for scene in scenes if scene.year == year]
        assert 0.2 < np.mean(cover) < 0.55
        assert min(cover) < 0.15
        assert max(cover) > 0.7
        late = [s.processing.baseline >= "04.00" for s in scenes if s.year == year]
        assert 0.3 < np.mean(late) < 0.7
    dialects = {(s.processing.offset, s.processing.applied) for s in scenes}
    assert {(-0.1, False), (None, None)} <= dialects
    assert any(applied for _, applied in dialects)
    unseen = sum(scene.swath is not None for scene in scenes)
    assert 4 <= unseen <= len(scenes) / 2


@pytest.mark.parametrize("dates", [4, 7, 60])
def test_dates_of_a_tile_are_never_the_same_day(dates):
    scenes = schedule(make_tiles(160), (2023, 2024), dates, seed=2)
    assert len({scene.id for scene in scenes}) == len(scenes) == 4 * dates
    assert {scene.year for scene in scenes} == {2023, 2024}


@pytest.mark.extended
def test_decoded_reflectance_agrees_between_baselines(archive, items, scenes):
    """The metadata of each item must undo what is in its pixels: forest is dark in blue."""
    decoded = {}
    cover = {tile.name: truth_at(archive, tile) for tile in make_tiles(SIZE)}
    for item in items:
        scene = scenes[item.id]
        sky = sky_over(scene)
        numbers = read(item.assets["blue"].href)
        forest = np.isin(cover[scene.tile.name][scene.year], (2, 3))
        clear = forest & (sky.cloud == 0) & (sky.shadow == 0) & (numbers > 0)
        if clear.sum() < 300:
            continue
        scale, offset = scale_offset(item, "blue")
        dialect = (scene.processing.baseline >= "04.00", scene.processing.applied)
        value = float(np.median(numbers[clear]) * scale + offset)
        decoded.setdefault(dialect, []).append(value)
        assert scale == pytest.approx(1e-4)
        assert 0.01 < value < 0.08, item.id
    assert len(decoded) >= 4, decoded.keys()
    medians = [np.median(values) for values in decoded.values()]
    assert np.ptp(medians) < 0.03


@pytest.mark.extended
def test_numbers_are_never_nodata_inside_the_swath(items, scenes):
    wedges = 0
    for item in items:
        codes = read(item.assets["scl"].href)
        for band in ("blue", "swir22"):
            numbers = read(item.assets[band].href)
            np.testing.assert_array_equal(numbers == 0, codes == 0)
        unseen = codes == 0
        assert item.properties["s2:nodata_pixel_percentage"] == pytest.approx(
            100 * unseen.mean(), abs=0.01
        )
        assert unseen.any() == (scenes[item.id].swath is not None)
        wedges += unseen.any()
        # The item's footprint is what was seen, to a pixel along the slanted edge.
        to_tile = pyproj.Transformer.from_crs("EPSG:4326", scenes[item.id].tile.crs, always_xy=True)
        shape = shapely.transform(
            shapely.geometry.shape(item.geometry), to_tile.transform, interleaved=False
        )
        assert shape.area / (100 * SIZE**2) == pytest.approx(1 - unseen.mean(), abs=0.004)
    assert 0 < wedges < len(items)


@pytest.mark.extended
def test_cloud_cover_is_true_and_the_classification_misses_rims_only(items, scenes):
    missed, missed_far, clouded, false, clear_px = 0, 0, 0, 0, 0
    for item in items:
        codes = read(item.assets["scl"].href)
        seen = codes != 0
        cloud = (sky_over(scenes[item.id]).cloud > atmosphere.CLOUDY) & seen
        share = 100 * cloud.sum() / seen.sum()
        assert item.properties["eo:cloud_cover"] == pytest.approx(share, abs=0.01)
        told = np.isin(codes, (*CLOUD_CODES, 3))
        near = distance_transform_edt(~told) <= 3 if told.any() else told
        clouded += cloud.sum()
        missed += (cloud & ~told).sum()
        missed_far += (cloud & ~near).sum()
        false += (seen & ~cloud & np.isin(codes, CLOUD_CODES)).sum()
        clear_px += (seen & ~cloud).sum()
    assert 0.005 < missed / clouded < 0.12
    # What is missed lies at rims: 30 m of dilation take most of it.
    assert missed_far < 0.5 * missed
    assert 0.0005 < false / clear_px < 0.05


@pytest.mark.extended
def test_a_shadow_lies_beside_its_cloud_away_from_the_sun(scenes):
    for scene in scenes.values():
        down, right = scene.weather.shadow
        # The morning sun stands in the south-east, and so does the cloud seen from its shadow.
        assert down > 0
        assert right > 0
        sky = sky_over(scene)
        heap = np.where(sky.thin > 0, 0, sky.cloud)[down:, right:]
        shadow = sky.shadow[: SIZE - down, : SIZE - right]
        solid = heap > 0.9
        assert (shadow[solid] > 0.8).all()


@pytest.mark.extended
def test_the_two_tiles_agree_where_they_overlap(archive):
    """Read as anybody would: the same day, the same ground, two zones."""
    items = search(archive.catalog, archive.collection)
    by_day = {}
    for item in items:
        by_day.setdefault(item.datetime.date(), []).append(item)
    grid = truth_grid(make_tiles(SIZE))
    middle = grid.width // 2
    corner = grid.transform * Affine.translation(middle - 40, grid.height // 2 - 40)
    box = GeoBox((80, 80), corner, "EPSG:32631")
    compared = 0
    for pair in by_day.values():
        if len(pair) != 2:
            continue
        cube = load(pair, box, ["nir", "scl"]).compute()
        numbers, codes = cube.sel(band="nir").values, cube.sel(band="scl").values
        scale = cube["scale"].sel(band="nir").values[:, None, None]
        value = numbers * scale + cube["offset"].sel(band="nir").values[:, None, None]
        both = ((numbers > 0) & np.isin(codes, (4, 5, 6, 7))).all(axis=0)
        if both.sum() < 500:
            continue
        compared += 1
        # Texture of single pixels is interpolated; large structures are the same.
        assert np.median(np.abs(value[0] - value[1])[both]) < 0.02
        assert np.corrcoef(value[0][both], value[1][both])[0, 1] > 0.85
    assert compared > 0


# --- files and metadata -------------------------------------------------------------------


@pytest.mark.extended
def test_assets_are_cloud_optimised(archive, items):
    paths = [asset.href for asset in items[0].assets.values()]
    for path in [*paths, archive.truth[2023], archive.change[2023, 2024]]:
        with rasterio.open(path) as dataset:
            assert dataset.block_shapes == [(512, 512)]
            assert dataset.overviews(1)[0] == 2
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert dataset.compression.name == "deflate"
            assert dataset.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"


@pytest.mark.extended
def test_metadata_say_what_the_files_are(items):
    for item in items:
        for key, asset in item.assets.items():
            with rasterio.open(asset.href) as dataset:
                assert str(dataset.crs) == item.properties["proj:code"]
                assert list(dataset.shape) == item.properties["proj:shape"]
                assert list(dataset.transform)[:6] == item.properties["proj:transform"]
                assert dataset.dtypes == (asset.extra_fields["data_type"],)
                assert dataset.nodata == asset.extra_fields["nodata"] == 0
            if key != "scl":
                assert asset.extra_fields["bands"][0]["eo:common_name"] == key


@pytest.mark.extended
def test_stac_is_valid(archive):
    """Against the core schemas that come with pystac; those of the extensions are online."""
    catalog = pystac.Catalog.from_file(str(archive.catalog))
    collections = list(catalog.get_children())
    found = list(catalog.get_items(recursive=True))
    assert len(collections) == 1
    assert len(found) == 2 * len(YEARS) * DATES
    for one in (catalog, *collections, *found):
        raw = json.loads(Path(one.get_self_href()).read_text())
        assert raw["stac_version"] == "1.1.0"
        assert validate_dict({**raw, "stac_extensions": []})
        for link in raw["links"]:
            assert not link["href"].startswith(("/", "file:", "http"))
            assert (Path(one.get_self_href()).parent / link["href"]).is_file()


@pytest.mark.extended
def test_api_and_static_catalogue_find_the_same(archive):
    query = {"eo:cloud_cover": {"lt": 60}}
    when = "2023-04/2023-09"
    static = search(archive.catalog, archive.collection, datetime=when, query=query)
    with serve_catalog(archive.items) as url:
        served = search(url, archive.collection, area=archive.area, datetime=when, query=query)
    assert [item.id for item in served] == [item.id for item in static]
    for one, other in zip(served, static, strict=True):
        assert one.assets["nir"].href == other.assets["nir"].href


# --- bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": 64}, "at least 128"),
        ({"years": ()}, "years are"),
        ({"years": (2024, 2023)}, "increasing"),
        ({"years": (2023, 2023)}, "increasing"),
        ({"dates": 3}, "dates is 3"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(RecipeError, match=message) as caught:
        simulate(tmp_path / "new", **{**SMALL, **arguments})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(RecipeError, match=r"not empty.*thesis\.tex"):
        simulate(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError, match="cannot write to"):
        simulate(tmp_path / "file" / "archive", **SMALL)


def test_nothing_is_left_after_a_failure(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "render", broken)
    with pytest.raises(OSError, match="No space left"):
        simulate(tmp_path / "archive", **SMALL)
    assert list((tmp_path / "archive").iterdir()) == []


# --- memory -------------------------------------------------------------------------------


@pytest.mark.long
def test_memory_does_not_grow_with_the_size(tmp_path):
    """Peak resident memory of whole runs, 9 times the pixels."""
    code = (
        "import sys\n"
        "from rsscale.runs.worker import peak_rss\n"
        "from rsscale.simulation.simulate import simulate\n"
        "simulate(sys.argv[1], size=int(sys.argv[2]), years=(2023,), dates=4, workers=2)\n"
        "print(peak_rss())\n"
    )
    peaks = []
    for size in (1100, 3300):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / str(size)), str(size)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] < 1.15 * peaks[0]
