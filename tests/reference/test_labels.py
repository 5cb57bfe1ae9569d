"""Labels: read from any file, refused with the row that is wrong, burnt without a doubt."""

from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.legend.classes import LandClass
from rsscale.reference.grid_features import GridFeatures
from rsscale.reference.labels import read_labels

GRID = Grid("EPSG:32631", 10.0)
CLASSES = (LandClass(3, "forest", "#006600"), LandClass(8, "water", "#0000ff"))
DATA = Path(__file__).resolve().parents[2] / "../shared/data"


def square(row: float, col: float, size: float = 20) -> shapely.Polygon:
    """A square of ``size`` px with its north-west corner at a pixel of the grid."""
    return shapely.box(col * 10, -(row + size) * 10, (col + size) * 10, -row * 10)


def frame_of(*rows: tuple, crs: str | None = "EPSG:32631") -> gpd.GeoDataFrame:
    shapes, names, years = zip(*rows, strict=True)
    return gpd.GeoDataFrame({"cover": names, "year": years}, geometry=list(shapes), crs=crs)


# Near the CRS's central meridian, at 45 degrees north, so that degrees make sense too.
ROW, COL = -498_300, 50_000
TWO = frame_of(
    (square(ROW, COL), "water", 2023),
    (square(ROW + 100, COL + 300), "forest", 2024),
)


def write(frame: gpd.GeoDataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


def on_grid(*shapes: tuple[shapely.Geometry, int]) -> GridFeatures:
    return GridFeatures(GRID, shapes=shapes)


@pytest.mark.parametrize("name", ["a.gpkg", "a.parquet", "a.shp", "a.geojson"])
def test_every_format_gives_the_same_pixels(tmp_path: Path, name: str) -> None:
    frame = TWO.to_crs("EPSG:4326") if name.endswith("json") else TWO
    labels = read_labels(write(frame, tmp_path / name), "cover", classes=CLASSES)
    box = PixelBox(ROW - 5, COL - 5, ROW + 130, COL + 330)
    expected = np.full(box.shape, 255)
    expected[5:25, 5:25] = 8
    expected[105:125, 305:325] = 3
    assert np.array_equal(labels.on(GRID).rasterize(box), expected)


def test_labels_of_a_year(tmp_path: Path) -> None:
    path = write(TWO, tmp_path / "a.gpkg")
    labels = read_labels(path, "cover", period_column="year", classes=CLASSES)
    box = PixelBox(ROW, COL, ROW + 200, COL + 400)
    found = {year: set(np.unique(labels.on(GRID, year).rasterize(box))) for year in (2023, 2024)}
    assert found == {2023: {8, 255}, 2024: {3, 255}}
    assert set(np.unique(labels.on(GRID).rasterize(box))) == {3, 8, 255}
    assert labels.on(GRID, 2030).blocks(128) == []
    always = read_labels(path, "cover", classes=CLASSES)
    assert set(np.unique(always.on(GRID, 2030).rasterize(box))) == {3, 8, 255}


def test_dates_are_years_too(tmp_path: Path) -> None:
    frame = TWO.assign(year=["2023-04-01", "2024"])
    labels = read_labels(write(frame, tmp_path / "a.gpkg"), "cover", period_column="year")
    assert labels.frame["period"].tolist() == [2023, 2024]
    bad = write(TWO.assign(year=["2023", None]), tmp_path / "b.gpkg")
    with pytest.raises(RecipeError, match="row 1 has the period"):
        read_labels(bad, "cover", period_column="year")


def test_classes_are_numbered_when_nobody_says(tmp_path: Path) -> None:
    labels = read_labels(write(TWO, tmp_path / "a.gpkg"), "cover")
    assert [(c.value, c.name) for c in labels.classes] == [(1, "forest"), (2, "water")]
    assert labels.frame["value"].tolist() == [2, 1]


def test_values_may_stand_for_classes(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {"cover": [8, 3]}, geometry=[square(ROW, COL), square(ROW, COL + 99)], crs=32631
    )
    labels = read_labels(write(frame, tmp_path / "a.gpkg"), "cover", classes=CLASSES)
    assert labels.frame["value"].tolist() == [8, 3]


def test_where_classes_disagree_there_is_no_label() -> None:
    low, high = square(0, 0), square(10, 10)
    box = PixelBox(0, 0, 40, 40)
    both = np.zeros(box.shape, bool)
    both[10:20, 10:20] = True
    either = np.zeros(box.shape, bool)
    either[:20, :20] = either[10:30, 10:30] = True
    for shapes in ([(low, 1), (high, 2)], [(low, 1), (high, 2), (low, 1)]):
        burnt = on_grid(*shapes).rasterize(box)
        assert (burnt[both] == 255).all()
        assert (burnt[either & ~both] != 255).all()
    same = on_grid((low, 1), (high, 1)).rasterize(box)
    assert ((same == 1) == either).all()


def test_blocks_are_those_with_a_labelled_pixel() -> None:
    shapes = [
        (square(100, 100, 60), 1),  # over the corner of four blocks
        (shapely.Point(5000, 5000), 2),
        (square(640, -200, 0.3), 1),  # holds no pixel centre
    ]
    labels = on_grid(*shapes)
    around = PixelBox(-1000, -1000, 1000, 1000)
    burnt = labels.rasterize(around)
    expected = [b for b in around.blocks(128) if (burnt[(b & around).slices(around)] != 255).any()]
    assert labels.blocks(128) == sorted(expected)
    assert len(expected) == 5


def test_the_same_pixels_from_another_box() -> None:
    labels = on_grid((square(0.3, 0.7, 33.3), 1), (square(20.2, 11.1, 15.5), 2))
    whole = PixelBox(-10, -10, 60, 60)
    for cut in (PixelBox(3, 5, 30, 31), PixelBox(-10, 20, 59, 21)):
        assert np.array_equal(labels.rasterize(cut), labels.rasterize(whole)[cut.slices(whole)])


def test_long_edges_stay_where_they_were(tmp_path: Path) -> None:
    """Two degrees along a parallel: in UTM it bows, by about 700 m in the middle here."""
    wide = shapely.box(1.0, 46.0, 3.0, 46.5)
    path = write(frame_of((wide, "water", 0), crs="EPSG:4326"), tmp_path / "a.gpkg")
    ((shape, _),) = read_labels(path, "cover").on(GRID).shapes
    middle = gpd.GeoSeries([shapely.Point(2.0, 46.0)], crs="EPSG:4326").to_crs("EPSG:32631")
    assert shape.exterior.distance(middle[0]) < 2
    ends = shape.exterior.coords
    assert max(np.hypot(*np.subtract(a[:2], b[:2])) for a, b in pairwise(ends)) < 6000


BOWTIE = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])


@pytest.mark.parametrize(
    ("frame", "column", "message"),
    [
        (TWO, "covr", "no column 'covr'.*did you mean 'cover'"),
        (frame_of((BOWTIE, "water", 0)), "cover", "row 0 is not valid: Self-intersection"),
        (frame_of((shapely.LineString([(0, 0), (1, 1)]), "water", 0)), "cover", "a LineString"),
        (frame_of((square(0, 0), "water", 0), (None, "water", 0)), "cover", "row 1 has no geom"),
        (frame_of((square(0, 0), None, 0)), "cover", "all 1 features have no class"),
        (frame_of((square(0, 0), "watr", 0)), "cover", r"'watr' \(1 feature\).*mean 'water'"),
        (TWO.iloc[:0], "cover", "hold no feature"),
        (frame_of((square(0, 0), "water", 0), crs=None), "cover", "no CRS"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, frame: gpd.GeoDataFrame, column: str, message: str
) -> None:
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(RecipeError, match=message) as caught:
        read_labels(tmp_path / "a.parquet", column, classes=CLASSES)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no labels at"):
        read_labels(tmp_path / "none.gpkg", "cover")
    (tmp_path / "bad.gpkg").write_bytes(b"nothing")
    with pytest.raises(RecipeError, match="cannot be read as a vector file"):
        read_labels(tmp_path / "bad.gpkg", "cover")


def test_labels_that_the_grid_cannot_hold(tmp_path: Path) -> None:
    far = frame_of((square(0, 3e6), "water", 0), crs="EPSG:32631")
    labels = read_labels(write(far, tmp_path / "a.parquet"), "cover")
    with pytest.raises(RecipeError, match="row 0 cannot be projected"):
        labels.on(Grid("EPSG:3413", 10.0))


def test_altitudes_are_ignored(tmp_path: Path) -> None:
    frame = TWO.set_geometry(shapely.force_3d(TWO.geometry.values, 120.0), crs=TWO.crs)
    labels = read_labels(write(frame, tmp_path / "a.gpkg"), "cover")
    assert not labels.frame.geometry.has_z.any()


def test_real_polygons_keep_their_area() -> None:
    path = DATA / "rachel-carson-sentinel2/labels.parquet"
    if not path.exists():
        pytest.skip(f"the labels are not at {path}")
    labels = read_labels(path, "Classname")
    assert len(labels.classes) == 6
    on = labels.on(Grid("EPSG:32618", 2.0))
    counted = dict.fromkeys((c.value for c in labels.classes), 0)
    for block in on.blocks(512):
        for value, count in zip(*np.unique(on.rasterize(block), return_counts=True), strict=True):
            if value != 255:
                counted[value] += count
    areas = labels.frame.to_crs("EPSG:32618").dissolve("value").area
    for value, count in counted.items():
        assert count * 4 == pytest.approx(areas[value], rel=0.01)
