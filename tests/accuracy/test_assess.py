"""Accuracy against scikit-learn, the interval against simulation, blocks against brute force."""

import json
from collections.abc import Iterator
from pathlib import Path

import dask.array as da
import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import xarray as xr
from odc.geo.xr import xr_coords
from rich.console import Console
from scipy.ndimage import gaussian_filter
from sklearn import metrics

from rsscale.accuracy.assess import Accuracy, assess, confusion_matrix
from rsscale.accuracy.evaluation_blocks import cluster_interval
from rsscale.change.post_classification import change_accuracy
from rsscale.errors import AreaError, ModelError, RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass, class_attributes

CLASSES = (
    LandClass(3, "water", "#0000ff"),
    LandClass(7, "forest", "#00ff00"),
    LandClass(9, "built up", "#ff0000"),
)
VALUES = [c.value for c in CLASSES]
GRID = Grid("EPSG:32631", 10.0, origin=(5.0, 5.0))
# Off the block lattice on all sides: the blocks of 40 px are cut at the map's edges.
EXTENT = PixelBox(-4523, 30, -4310, 341)


def layer(values: np.ndarray, box: PixelBox = EXTENT, grid: Grid = GRID) -> xr.DataArray:
    coords = xr_coords(grid.geobox_of(box), always_yx=True)
    attributes = class_attributes(CLASSES) | {"nodata": NODATA}
    return xr.DataArray(values, dims=("y", "x"), coords=dict(coords), attrs=attributes)


def pair(seed: int = 0, shape: tuple[int, int] = EXTENT.shape) -> tuple[np.ndarray, np.ndarray]:
    """A map and a reference that agree in most pixels; both with holes."""
    rng = np.random.default_rng(seed)
    reference = rng.choice([*VALUES, NODATA], shape, p=[0.2, 0.5, 0.1, 0.2]).astype(np.uint8)
    mapped = np.where(rng.random(shape) < 0.7, reference, rng.choice(VALUES, shape))
    mapped = np.where(mapped == NODATA, 7, mapped).astype(np.uint8)
    mapped[rng.random(shape) < 0.05] = NODATA
    return mapped, reference


def test_matrix_has_the_map_in_rows() -> None:
    mapped = np.array([[3, 3, 7, 255, 200]], np.uint8)
    reference = np.array([[3, 7, 255, 9, 9]], np.uint8)
    matrix, unmapped = confusion_matrix(mapped, reference, CLASSES)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(unmapped, [0, 0, 2])  # a value that is no class is no class


@pytest.mark.parametrize("lazy", [False, True])
def test_figures_equal_scikit_learn(lazy: bool) -> None:
    mapped, reference = pair()
    data = da.from_array(mapped, chunks=64) if lazy else mapped
    accuracy = assess(layer(data), layer(reference), grid=GRID, block=400)
    known = reference != NODATA
    truth, found = reference[known], mapped[known]
    expected = metrics.confusion_matrix(truth, found, labels=VALUES)  # truth in rows
    np.testing.assert_array_equal(accuracy.matrix, expected.T)
    assert accuracy.pixels == known.sum()
    assert accuracy.unmapped.sum() == (found == NODATA).sum() > 0
    assert accuracy.overall == pytest.approx(metrics.accuracy_score(truth, found))
    assert accuracy.kappa == pytest.approx(metrics.cohen_kappa_score(truth, found))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, found, labels=VALUES)
    for k, one in enumerate(CLASSES):
        assert accuracy.users(one.name) == accuracy.users(k) == pytest.approx(precision[k])
        assert accuracy.producers(one.name) == pytest.approx(recall[k])
        assert accuracy.f1(one.name) == pytest.approx(f1[k])


def test_kappa_of_a_country_does_not_overflow() -> None:
    blocks = np.array([[[4, 1], [1, 4]]]) * 10**10
    nothing = np.zeros((1, 2), int)
    accuracy = Accuracy(CLASSES[:2], nothing, blocks, nothing, np.zeros((1, 3, 2)), 1000.0)
    assert accuracy.kappa == pytest.approx(0.6)


@pytest.mark.parametrize("size", [7, 40, 5000])
def test_blocks_are_those_of_the_global_lattice(size: int) -> None:
    mapped, reference = pair(1)
    accuracy = assess(layer(mapped), layer(reference), grid=GRID, block=size * 10)
    assert accuracy.block == size * 10
    rows = np.arange(EXTENT.row0, EXTENT.row1)[:, None] // size + np.zeros_like(mapped, int)
    cols = np.arange(EXTENT.col0, EXTENT.col1)[None, :] // size + np.zeros_like(mapped, int)
    cells = {tuple(c) for c in np.stack([rows, cols], -1)[reference != NODATA]}
    assert {tuple(c) for c in accuracy.cells} == cells
    for cell, matrix, unmapped in zip(
        accuracy.cells, accuracy.blocks, accuracy.unmapped, strict=True
    ):
        inside = (rows == cell[0]) & (cols == cell[1])
        expected = confusion_matrix(mapped[inside], reference[inside], CLASSES)
        np.testing.assert_array_equal(matrix, expected[0])
        np.testing.assert_array_equal(unmapped, expected[1])


def test_a_map_of_several_pieces_is_counted_once() -> None:
    box = PixelBox(-10, -2100, 5, 2500)
    mapped, reference = pair(2, box.shape)
    accuracy = assess(layer(mapped, box), layer(reference, box), grid=GRID, block=1000)
    expected = confusion_matrix(mapped, reference, CLASSES)
    np.testing.assert_array_equal(accuracy.matrix, expected[0])
    np.testing.assert_array_equal(accuracy.unmapped.sum(axis=0), expected[1])
    assert len(np.unique(accuracy.cells, axis=0)) == len(accuracy.cells)


@pytest.mark.parametrize(
    ("distance", "as_frame"),
    # Projected there and back, edges neither merely touch nor lie at exactly 400 m.
    [(0.0, False), (150.0, False), (400.0, False), (150.0, True)],
)
def test_blocks_near_labels_do_not_count(distance: float, as_frame: bool) -> None:
    mapped, reference = pair(3)
    size = 40
    x0, y0 = 5 + 10 * 120, 5 + 10 * 4440
    labels = shapely.MultiPolygon(
        [
            # Edges on block edges: the blocks beside it lie at 0 m, the next at exactly 400 m.
            shapely.box(x0, y0, x0 + 400, y0 + 400),
            shapely.Point(5 + 2000, 5 + 43500).buffer(57),
        ]
    )
    exclude = (
        gpd.GeoDataFrame(geometry=[labels], crs=GRID.crs).to_crs("EPSG:4326")
        if as_frame
        else labels
    )
    accuracy = assess(
        layer(mapped),
        layer(reference),
        grid=GRID,
        exclude=exclude,
        distance=distance,
        block=size * 10,
    )
    expected = set()
    for cell in EXTENT.blocks(size):
        extent = GRID.geobox_of(cell).extent.geom
        overlap = extent.intersection(labels).area > 0
        if not overlap and extent.distance(labels) >= distance:
            expected.add((cell.row0 // size, cell.col0 // size))
    assert {tuple(c) for c in accuracy.cells} == expected
    assert 0 < len(expected) < len(list(EXTENT.blocks(size)))


def test_no_block_left_says_why() -> None:
    mapped, reference = pair()
    everywhere = GRID.geobox_of(EXTENT).extent.geom
    with pytest.raises(
        AreaError, match=r"map's 63 blocks of 400 m .* all lie within 1000 m .* distance or block"
    ):
        assess(layer(mapped), layer(reference), grid=GRID, exclude=everywhere, block=400)
    nothing = layer(np.full_like(reference, NODATA))
    with pytest.raises(AreaError, match="the others have no reference"):
        assess(layer(mapped), nothing, grid=GRID)
    # Blocks without a pixel of the map are not counted, and those with labels alone are told.
    part, labels = np.full_like(mapped, NODATA), np.full_like(reference, NODATA)
    part[:80], labels[:20, :20] = mapped[:80], reference[:20, :20]
    box = GRID.geobox_of(PixelBox(EXTENT.row0, EXTENT.col0, EXTENT.row0 + 20, EXTENT.col0 + 20))
    with pytest.raises(AreaError) as refused:
        assess(
            layer(part), layer(labels), grid=GRID, exclude=box.extent.geom, distance=0, block=400
        )
    total = len({(r // 40, c // 40) for r in range(EXTENT.row0, EXTENT.row0 + 80)
                 for c in range(EXTENT.col0, EXTENT.col1)})  # fmt: skip
    assert str(refused.value).startswith(f"none of the map's {total} blocks of 400 m can be")
    assert "hold training labels" in str(refused.value)
    assert "choose a smaller block, or a reference that" in str(refused.value)


def test_reference_from_a_file_a_function_and_an_array_are_the_same(tmp_path: Path) -> None:
    mapped, reference = pair(4)
    path = tmp_path / "truth.tif"
    box = GRID.geobox_of(EXTENT)
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "height": EXTENT.shape[0],
        "width": EXTENT.shape[1],
        "crs": GRID.crs,
        "transform": box.affine,
        "nodata": NODATA,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(reference, 1)
    sources = (layer(reference), path, str(path), lambda part: reference[part.slices(EXTENT)])
    found = [assess(layer(mapped), source, block=400) for source in sources]
    for one in found[1:]:
        np.testing.assert_array_equal(one.blocks, found[0].blocks)
        np.testing.assert_array_equal(one.cells, found[0].cells)


def test_only_pieces_with_a_block_that_counts_are_read() -> None:
    """A country is not read for the sake of one region."""
    box = PixelBox(0, 0, 10, 6000)
    asked: list[PixelBox] = []

    def reference(part: PixelBox) -> np.ndarray:
        asked.append(part)
        return np.full(part.shape, 3, np.uint8)

    west = shapely.box(0, -500, 41_000, 500)
    mapped = layer(np.full(box.shape, 3, np.uint8), box)
    accuracy = assess(mapped, reference, grid=GRID, exclude=west, distance=1000, block=1000)
    assert accuracy.overall == 1
    assert asked
    assert min(part.col0 for part in asked) >= 4000
    assert max(part.shape[1] for part in asked) <= 2048


def test_a_map_in_degrees_is_refused() -> None:
    grid = Grid("EPSG:4326", 0.001)
    mapped, reference = pair()
    box = PixelBox(*(EXTENT.row0 - 50_000, EXTENT.col0, EXTENT.row1 - 50_000, EXTENT.col1))
    with pytest.raises(
        AreaError, match=r"square on the ground; in WGS 84 they are 64.\d+ m wide and 111.\d m high"
    ):
        assess(layer(mapped, box, grid), layer(reference, box, grid), grid=grid)


@pytest.mark.parametrize("given", [{"distance": -5}, {"block": 0}, {"block": float("nan")}])
def test_lengths_that_can_not_be_are_refused(given: dict[str, float]) -> None:
    mapped, reference = pair()
    with pytest.raises(RecipeError, match="expected a distance of 0 or more, and a block wider"):
        assess(layer(mapped), layer(reference), grid=GRID, **given)


def test_wrong_arrays_are_refused() -> None:
    mapped, reference = pair()
    with pytest.raises(ModelError, match=r"the map holds the values 7.5 .* whole numbers"):
        assess(layer(mapped + 0.5), layer(reference), grid=GRID)
    with pytest.raises(ModelError, match="the reference holds <U1"):
        assess(layer(mapped), layer(np.full(mapped.shape, "3")), grid=GRID)
    moved = layer(reference, PixelBox(*(v + 1 for v in (-4523, 30, -4310, 341))))
    with pytest.raises(AreaError, match="crop both to the same area"):
        assess(layer(mapped), moved, grid=GRID)
    with pytest.raises(AreaError, match="choose one time"):
        assess(layer(mapped).expand_dims("time"), layer(reference), grid=GRID)
    with pytest.raises(ModelError, match="no class 'wate'"):
        assess(layer(mapped), layer(reference), grid=GRID).f1("wate")


def test_pooling_adds_pixels_and_keeps_blocks() -> None:
    first, second = (
        assess(layer(mapped), layer(reference), grid=GRID, block=400)
        for mapped, reference in (pair(5), pair(6))
    )
    pooled = first + second
    np.testing.assert_array_equal(pooled.matrix, first.matrix + second.matrix)
    np.testing.assert_array_equal(pooled.unmapped.sum(0), (first.unmapped + second.unmapped).sum(0))
    assert pooled.pixels == first.pixels + second.pixels
    assert len(pooled.blocks) == len(first.blocks)
    # The same year twice tells nothing new: the interval must not become narrower.
    assert (first + first).overall == first.overall
    assert (first + first).interval == pytest.approx(first.interval)
    other = assess(layer(pair(5)[0]), layer(pair(5)[1]), grid=GRID, block=500)
    with pytest.raises(ModelError, match="can't be pooled"):
        first + other


def test_json_and_text() -> None:
    mapped, reference = pair()
    reference[reference == 9] = NODATA
    mapped[mapped == 9] = 3
    accuracy = assess(layer(mapped), layer(reference), grid=GRID, block=400)
    content = json.loads(json.dumps(accuracy.to_dict(), allow_nan=False))
    assert content["overall"] == pytest.approx(accuracy.overall, abs=1e-6)
    assert content["classes"]["built up"]["f1"] is None
    forest = content["classes"]["forest"]
    ground = np.broadcast_to(pixel_areas(GRID, EXTENT), EXTENT.shape)  # far west of its zone
    assert forest["reference_ha"] == pytest.approx(ground[reference == 7].sum() / 1e4, abs=1e-6)
    assert forest["reference_ha"] == pytest.approx((reference == 7).sum() / 100, rel=0.01)
    assert forest["reference_pixels"] == (reference == 7).sum()
    low, high = forest["users_interval"]
    assert low < forest["users_accuracy"] < high
    assert "built up" in str(accuracy)
    console = Console(width=100, force_terminal=False)
    with console.capture() as shown:
        console.print(accuracy)
    assert shown.get().splitlines()[0].startswith(f"overall accuracy {accuracy.overall:.3f} (95 %")
    assert len(shown.get().splitlines()) == len(str(accuracy).splitlines()) == 5


def simulate_blocks(rng: np.random.Generator, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Right and all reference pixels of 100 blocks of 20 x 20 px; errors come in patches."""
    field = gaussian_filter(rng.normal(size=(200, 200)), 2, mode="wrap")
    field *= 2 * np.sqrt(4 * np.pi)  # a Gaussian of sigma s leaves 1 / (4 pi s^2) of the variance
    right = field < level
    labelled = rng.random((200, 200)) < np.repeat(np.repeat(rng.random((10, 10)), 20, 0), 20, 1)
    right = (right & labelled).reshape(10, 20, 10, 20).sum(axis=(1, 3)).ravel()
    return right, labelled.reshape(10, 20, 10, 20).sum(axis=(1, 3)).ravel()


@pytest.mark.parametrize("truth", [0.8, 0.95])
def test_interval_covers_the_truth_where_a_binomial_one_does_not(truth: float) -> None:
    from scipy.stats import norm

    rng = np.random.default_rng(20)
    covered, binomial = 0, 0
    trials = 300
    for _ in range(trials):
        right, size = simulate_blocks(rng, norm.ppf(truth))
        low, high = cluster_interval(right, size)
        covered += low <= truth <= high
        p = right.sum() / size.sum()
        half = 1.96 * np.sqrt(p * (1 - p) / size.sum())
        binomial += abs(p - truth) <= half
    assert 0.90 <= covered / trials <= 0.98
    assert binomial / trials < 0.6


def test_interval_at_its_ends() -> None:
    ten = np.full(50, 10)
    low, high = cluster_interval(ten, ten)
    assert high == pytest.approx(1)
    assert 0.9 < low < 0.95  # 50 blocks without an error do not prove 1
    mirrored = cluster_interval(ten * 0, ten)
    assert mirrored == pytest.approx((1 - high, 1 - low))
    assert cluster_interval(ten[:1], ten[:1]) == (0, 1)
    # Blocks without a pixel say nothing.
    padded = [np.concatenate([values, np.zeros(9, int)]) for values in (ten // 2, ten)]
    assert cluster_interval(*padded) == cluster_interval(ten // 2, ten)


def test_interval_of_independent_pixels_is_the_binomial_one() -> None:
    rng = np.random.default_rng(3)
    size = np.full(4000, 25)
    right = rng.binomial(size, 0.9)
    low, high = cluster_interval(right, size)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.09 / size.sum()), rel=0.05)


def halves(grid: Grid, box: PixelBox) -> xr.DataArray:
    """A map whose west is water and whose east is forest."""
    values = np.full(box.shape, 3, np.uint8)
    values[:, box.shape[1] // 2 :] = 7
    return layer(values, box, grid)


@pytest.mark.parametrize(
    ("crs", "resolution", "box"),
    [
        ("EPSG:3857", 10, PixelBox(-840_000, 100_000, -839_700, 100_300)),  # 60 degrees north
        ("EPSG:3857", 25, PixelBox(200_000, 40_000, 200_300, 40_300)),
        ("EPSG:2263", 30, PixelBox(-7_000, 33_000, -6_700, 33_300)),  # US feet
        ("EPSG:32631", 10, PixelBox(-498_000, 50_000, -497_700, 50_300)),
    ],
)
def test_hectares_blocks_and_distances_are_those_of_the_ground(
    crs: str, resolution: float, box: PixelBox
) -> None:
    grid = Grid(crs, resolution)
    mapped = halves(grid, box)
    accuracy = assess(mapped, mapped, block=500)
    extent = grid.geobox_of(box).extent.to_crs("EPSG:4326").geom
    geod = pyproj.Geod(ellps="WGS84")
    hectares = abs(geod.geometry_area_perimeter(shapely.segmentize(extent, 0.001))[0]) / 1e4
    found = accuracy.to_dict()["classes"]
    assert found["water"]["mapped_ha"] == pytest.approx(hectares / 2, rel=2e-3)
    assert found["forest"]["reference_ha"] == pytest.approx(hectares / 2, rel=2e-3)
    width = np.sqrt(hectares * 1e4) / 300  # of a pixel, metres
    assert accuracy.block == pytest.approx(500, abs=width)
    across = 300 * width / accuracy.block
    assert int(across) ** 2 <= len(accuracy.blocks) <= (int(across) + 2) ** 2
    # A label at the west edge keeps blocks away that lie within the distance on the ground.
    west = grid.geobox_of(PixelBox(box.row0, box.col0, box.row1, box.col0 + 1)).extent.geom
    kept = assess(mapped, mapped, block=2 * width, distance=100 * width, exclude=west)
    first = kept.cells[:, 1].min() * round(kept.block / width) - box.col0
    assert first == pytest.approx(101, abs=4)
    assert kept.overall == 1


def test_where_the_reference_is_of_other_classes_it_is_refused_or_said() -> None:
    mapped, reference = pair()
    some = np.where(reference == 9, 2, reference).astype(np.uint8)
    accuracy = assess(layer(mapped), layer(some), grid=GRID)
    count = int((reference == 9).sum())
    assert accuracy.notes == (
        f"left out of the reference: the value 2 ({count:,} pixels), no class of the map",
    )
    assert accuracy.pixels == int(np.isin(reference, [3, 7]).sum())
    assert accuracy.notes[0] in str(accuracy)
    assert json.loads(json.dumps(accuracy.to_dict()))["notes"] == list(accuracy.notes)
    change = (np.random.default_rng(0).random(mapped.shape) < 0.1).astype(np.uint8)
    with pytest.raises(ModelError, match=r"holds the values 0 .*, 1 .* 3 water, .* one of change"):
        assess(layer(mapped), layer(change), grid=GRID)
    with pytest.raises(
        ModelError, match=r"the reference holds the values 7 .* 0 unchanged, 1 chan"
    ):
        change_accuracy(layer(change), layer(reference))
    one = np.where(change == 1, 1, 255).astype(np.uint8)
    one[0, 0] = 7
    with pytest.raises(ModelError, match=r"the value 7 \(1 pixel\)"):
        change_accuracy(layer(change), layer(one))


@pytest.mark.parametrize("names", ["forest water crop", "water crop forest", "f forest water"])
def test_a_reference_that_gives_names_to_other_values_is_refused(
    tmp_path: Path, names: str
) -> None:
    mapped, reference = pair()
    for given in named(reference, tmp_path, names.split()):
        with pytest.raises(ModelError, match=r"the reference calls .* and the map has the classes"):
            assess(layer(mapped), given, grid=GRID)


def test_other_names_for_the_same_values_are_told(tmp_path: Path) -> None:
    mapped, reference = pair()
    for given in named(reference, tmp_path, ["Wasser", "Forest ", "built_up"]):
        notes = assess(layer(mapped), given, grid=GRID).notes
        assert "the reference has other names than the map for 1 value: 3 'Wasser' (water)" in notes


def named(values: np.ndarray, folder: Path, names: list[str]) -> Iterator[xr.DataArray | Path]:
    """A reference whose values have names, as an array and as a file."""
    classes = [LandClass(v, name, "#000000") for v, name in zip(VALUES, names, strict=True)]
    yield layer(values).assign_attrs(class_attributes(classes))
    path = folder / "reference.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=EXTENT.shape[1], height=EXTENT.shape[0], count=1,
        dtype="uint8", nodata=NODATA, crs=GRID.crs, transform=GRID.geobox_of(EXTENT).affine,
    ) as file:  # fmt: skip
        file.write(values, 1)
    texts = dict(zip(VALUES, names, strict=True))
    categories = "".join(f"<Category>{texts.get(n, '')}</Category>" for n in range(10))
    path.with_name("reference.tif.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{categories}</CategoryNames>'
        "</PAMRasterBand></PAMDataset>"
    )
    yield path


def test_a_reference_that_is_none_is_refused() -> None:
    mapped, reference = pair()
    for wrong in (reference, layer(reference).to_dataset(name="classification")):
        with pytest.raises(ModelError, match=r"the reference is a .*; expected a path"):
            assess(layer(mapped), wrong, grid=GRID)


def test_a_map_with_values_that_are_no_class_is_refused() -> None:
    mapped, reference = pair()
    mapped[3, 4] = 8
    with pytest.raises(ModelError, match=r"the map holds the value 8 .* none of its classes 3 wat"):
        assess(layer(mapped), layer(np.full_like(reference, 3)), grid=GRID)


@pytest.mark.parametrize(("dtype", "none"), [("float32", np.nan), ("int16", -5), ("uint8", 0)])
def test_nodata_of_map_and_reference_is_what_they_say(dtype: str, none: float) -> None:
    mapped, reference = pair(8)
    expected = assess(layer(mapped), layer(reference), grid=GRID)

    def stored(values: np.ndarray) -> xr.DataArray:
        out = layer(np.where(values == NODATA, none, values.astype(float)).astype(dtype))
        return out.assign_attrs(nodata=none)

    found = assess(stored(mapped), stored(reference), grid=GRID)
    np.testing.assert_array_equal(found.blocks, expected.blocks)
    np.testing.assert_array_equal(found.unmapped, expected.unmapped)


def test_a_sample_of_unknown_design_has_no_intervals_and_no_areas() -> None:
    mapped, reference = pair(9)
    points = np.full_like(reference, NODATA)
    points[::7, ::5] = reference[::7, ::5]
    accuracy = assess(layer(mapped), layer(points), grid=GRID, block=200)
    assert accuracy.is_sample
    assert np.isnan(accuracy.interval).all()
    assert np.isnan(accuracy.users_interval(0)).all()
    content = json.loads(json.dumps(accuracy.to_dict(), allow_nan=False))
    assert content["is_sample_of_unknown_design"]
    assert content["interval"] == [None, None]
    assert content["classes"]["water"]["reference_ha"] is None
    assert str(accuracy).startswith(f"agreement {accuracy.overall:.3f} with a sample of single")
    assert "stratified one needs weights" in str(accuracy)
    assert "reference px" in str(accuracy)
    random = assess(layer(mapped), layer(points), grid=GRID, block=200, design="random")
    assert random.overall == accuracy.overall
    assert 0 < random.interval[0] < random.overall < random.interval[1] < 1
    assert not assess(layer(mapped), layer(reference), grid=GRID, block=200).is_sample


def test_two_years_have_no_area_together() -> None:
    first, second = (
        assess(layer(mapped), layer(reference), grid=GRID, block=400)
        for mapped, reference in (pair(5), pair(6))
    )
    pooled = first + second
    assert pooled.maps == 2
    assert pooled.to_dict()["classes"]["water"]["reference_ha"] is None
    assert "reference px" in str(pooled)
    turned = second.in_order_of((CLASSES[2], CLASSES[0], CLASSES[1]))
    assert turned.f1("forest") == second.f1("forest")
    np.testing.assert_array_equal((first + turned).blocks, pooled.blocks)
    np.testing.assert_array_equal((first + turned).areas, pooled.areas)
