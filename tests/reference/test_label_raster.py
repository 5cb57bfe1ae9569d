"""Rasters as labels: codes of any size, names beside the file, another grid, and the area."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from odc.geo.geom import Geometry
from rasterio.warp import Resampling, reproject

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.legend.classes import LandClass
from rsscale.reference.label_rules import LabelRules
from rsscale.reference.labels import read_labels
from rsscale.reference.unused_labels import Reason, Unit

GRID = Grid("EPSG:32631", 10.0)
BOX = PixelBox(-498_300, 50_000, -498_240, 50_080)
CLASSES = (LandClass(3, "forest", "#006600"), LandClass(8, "water", "#0000ff"))
DATA = Path(__file__).resolve().parents[2] / "../shared/data"


def codes(*values: int, dtype: str = "uint16") -> np.ndarray:
    """Stripes of columns, one for each code, of the same width."""
    height, width = BOX.shape
    stripes = np.array(values)[np.arange(width) * len(values) // width]
    return np.broadcast_to(stripes, (height, width)).astype(dtype)


def write(
    path: Path, values: np.ndarray, *, nodata: float | None = None, grid: Grid = GRID, box=BOX
) -> Path:
    profile = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "crs": grid.crs}
    height, width = values.shape
    with rasterio.open(
        path, "w", height=height, width=width, nodata=nodata,
        transform=grid.geobox_of(box).affine, **profile,
    ) as file:  # fmt: skip
        file.write(values, 1)
    return path


def area(box: PixelBox) -> Geometry:
    return GRID.geobox_of(box).extent.to_crs("EPSG:4326")


def attribute_table(path: Path, columns: str, *rows: tuple[object, ...]) -> None:
    """What GDAL writes beside a raster; columns as ``Name:type:usage``."""
    fields = [column.split(":") for column in columns.split()]
    defined = "".join(
        f'<FieldDefn index="{k}"><Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage>'
        "</FieldDefn>"
        for k, (name, kind, usage) in enumerate(fields)
    )
    cells = "".join(
        f'<Row index="{k}">{"".join(f"<F>{cell}</F>" for cell in row)}</Row>'
        for k, row in enumerate(rows)
    )
    path.with_name(f"{path.name}.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable tableType="thematic">'
        f"{defined}{cells}</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"
    )


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_values_are_the_classes(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "a.tif", codes(3, 0, 8, dtype=dtype), nodata=0)
    labels = read_labels(path, None, classes=CLASSES)
    expected = np.where(codes(3, 0, 8) == 0, 255, codes(3, 0, 8))
    on = labels.on(GRID, 2023)
    assert np.array_equal(on.rasterize(BOX), expected)
    assert (on.rasterize(BOX.pad(9))[:9] == 255).all()
    assert on.blocks(64) == [b for b in BOX.blocks(64) if (on.rasterize(b) != 255).any()]
    own = read_labels(path, None)
    assert [(c.value, c.name) for c in own.classes] == [(3, "3"), (8, "8")]
    assert labels.unused_in({2023: on}).counts == {}


def test_codes_beyond_a_map_are_merged_and_ignored(tmp_path: Path) -> None:
    """As in CORINE: three-digit codes."""
    path = write(tmp_path / "a.tif", codes(311, 312, 523, 999, 65535), nodata=65535)
    rules = LabelRules(merge={"forest": (311, "312"), "water": (523,)}, ignore=(999,))
    labels = read_labels(path, None, classes=CLASSES, rules=rules)
    stripes = {311: 3, 312: 3, 523: 8, 999: 255, 65535: 255}
    expected = np.vectorize(stripes.get)(codes(*stripes))
    assert np.array_equal(labels.on(GRID).rasterize(BOX), expected)
    ignored = int((codes(*stripes) == 999).sum())
    assert labels.unused.counts == {("999", Reason.IGNORED, Unit.RASTER_PIXELS): ignored}
    numbered = read_labels(path, None, rules=LabelRules(ignore=(999,)))
    assert [(c.value, c.name) for c in numbered.classes] == [(1, "311"), (2, "312"), (3, "523")]
    assert set(np.unique(numbered.on(GRID).rasterize(BOX))) == {1, 2, 3, 255}


def test_names_and_colours_of_an_attribute_table_are_the_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", codes(1, 2, 4))
    attribute_table(
        path, "Value:0:5 Class:2:2 Red:0:6 Green:0:7 Blue:0:8 German:2:0",
        (1, "conifer", 0, 102, 0, "Nadelwald"), (2, "broadleaf", 0, 153, 0, "Laubwald"),
        (4, "water", 0, 0, 255, "Wasser"),
    )  # fmt: skip
    labels = read_labels(path, None)
    assert labels.classes == (
        LandClass(1, "conifer", "#006600"),
        LandClass(2, "broadleaf", "#009900"),
        LandClass(4, "water", "#0000ff"),
    )
    rules = LabelRules(merge={"forest": ("conifer", "broadleaf")})
    merged = read_labels(path, None, classes=CLASSES, rules=rules)
    assert np.array_equal(np.unique(merged.on(GRID).rasterize(BOX)), [3, 8])  # by name, not value
    named = read_labels(path, "German").classes
    assert [c.name for c in named] == ["Nadelwald", "Laubwald", "Wasser"]
    with pytest.raises(RecipeError, match=r"no attribute table with the column 'Germ'.*'German'"):
        read_labels(path, "Germ")


def test_a_table_of_arcgis_has_the_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", codes(1, 2, dtype="uint8"))
    table = gpd.pd.DataFrame({"Value": [1, 2], "Count": [9, 9], "CLASS_NAME": ["wood", "lake"]})
    import pyogrio

    pyogrio.write_dataframe(table, tmp_path / "table.dbf", driver="ESRI Shapefile")
    (tmp_path / "table.dbf").rename(tmp_path / "a.tif.vat.dbf")
    labels = read_labels(path, None)
    assert [(c.value, c.name) for c in labels.classes] == [(1, "wood"), (2, "lake")]


def test_a_map_that_was_exported_is_read_with_its_classes(tmp_path: Path) -> None:
    """Category names and colour table as rasterio and GDAL write them."""
    path = write(tmp_path / "a.tif", codes(1, 2, dtype="uint8"))
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {1: (1, 2, 3, 255), 2: (255, 0, 0, 255)})
    path.with_name("a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category/><Category>wood</Category>'
        "<Category>lake</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    labels = read_labels(path, None)
    assert labels.classes == (LandClass(1, "wood", "#010203"), LandClass(2, "lake", "#ff0000"))


def test_another_grid_and_crs_give_the_nearest_value(tmp_path: Path) -> None:
    other = Grid("EPSG:4326", 0.00031)
    around = other.box(GRID.geobox_of(BOX.pad(30)).extent)
    height, width = around.shape
    values = np.random.default_rng(1).choice([3, 8], (height, width)).astype("uint8")
    path = write(tmp_path / "a.tif", values, grid=other, box=around)
    expected = np.empty(BOX.shape, "uint8")
    reproject(
        values, expected, src_crs=other.crs, src_transform=other.geobox_of(around).affine,
        dst_crs=GRID.crs, dst_transform=GRID.geobox_of(BOX).affine, resampling=Resampling.nearest,
        tolerance=0,
    )  # fmt: skip
    burnt = read_labels(path, None, classes=CLASSES).on(GRID).rasterize(BOX)
    # GDAL's warper strays by up to an eighth of a pixel, so that edges may differ.
    assert (burnt == expected).mean() > 0.97
    assert (burnt[:, 1:] == expected[:, :-1]).mean() < 0.9


def test_only_the_area_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", codes(3, 8, 77, 78, dtype="uint8"))
    inner = PixelBox(BOX.row0 + 5, BOX.col0 + 3, BOX.row0 + 50, BOX.col0 + 35)
    labels = read_labels(path, None, classes=CLASSES, area=area(inner))
    burnt = labels.on(GRID).rasterize(BOX)
    expected = np.full(BOX.shape, 255, "uint8")
    expected[inner.slices(BOX)] = codes(3, 8, 77, 78)[inner.slices(BOX)]
    assert np.array_equal(burnt, expected)
    west, _, east, _ = labels.frame.total_bounds
    assert (east - west) / 10 < 40
    with pytest.raises(RecipeError, match=r"hold 77 \(1,200 pixels\), 78 .*not among the classes"):
        read_labels(path, None, classes=CLASSES)
    with pytest.raises(RecipeError, match="none of them in the area, which is at"):
        read_labels(path, None, classes=CLASSES, area=FAR)


FAR = Geometry(shapely.box(20, 10, 21, 11), "EPSG:4326")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (codes(3, 8, dtype="float32") + np.float32(0.25), r"hold 3.25 \(4,800 pixels are no whole"),
        (np.arange(4800, dtype="int32").reshape(60, 80), "more than 4096 different values"),
        (np.arange(4800, dtype="int32").reshape(60, 80) % 300, "at most 254 classes"),
        (codes(3, -9999, dtype="int16"), r"hold -9999 \(2,400 pixels\), which is no class value"),
        (codes(255, dtype="uint8"), "hold no value here"),
    ],
)
def test_rasters_that_are_no_classes_are_refused(
    tmp_path: Path, values: np.ndarray, message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        read_labels(write(tmp_path / "a.tif", values), None)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_rasters_that_lie_nowhere_are_refused(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": 9, "width": 9}
    with rasterio.open(tmp_path / "a.tif", "w", crs="EPSG:32631", **profile) as file:
        file.write(np.ones((1, 9, 9), "uint8"))
    with pytest.raises(RecipeError, match="does not say where it lies"):
        read_labels(tmp_path / "a.tif", None)
    with rasterio.open(tmp_path / "b.tif", "w", **profile) as file:
        file.write(np.ones((1, 9, 9), "uint8"))
    with pytest.raises(RecipeError, match="the CRS None; expected"):
        read_labels(tmp_path / "b.tif", None)


def test_an_area_beside_the_raster_has_no_label(tmp_path: Path) -> None:
    """Its bounds meet those of the raster, and the raster itself does not."""
    path = write(tmp_path / "a.tif", codes(3, 8))
    west, south, east, north = GRID.geobox_of(BOX).extent.to_crs("EPSG:4326").boundingbox.bbox
    width, height = east - west, north - south
    corner = shapely.Polygon(
        [(west, south - height), (east + width, south - height), (east + width, north)]
    )
    labels = read_labels(path, None, classes=CLASSES, area=Geometry(corner, "EPSG:4326"))
    on = labels.on(GRID, 2023)
    inside = on.rasterize(BOX) != 255
    assert on.blocks(64) == [b for b in BOX.blocks(64) if (on.rasterize(b) != 255).any()]
    assert inside.sum() < 300


def test_rules_of_features_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", codes(3, 8))
    for rules in (
        LabelRules(edge=5.0),
        LabelRules(priority=("water",)),
        LabelRules(overlap="majority"),
    ):
        with pytest.raises(RecipeError, match=r"are a raster, and .* is a rule for polygons"):
            read_labels(path, None, rules=rules)
    with pytest.raises(RecipeError, match="are a raster, and period_column is for polygons"):
        read_labels(path, None, period_column="year")
    with pytest.raises(RecipeError, match=r"all values .* are listed in train.ignore"):
        read_labels(path, None, rules=LabelRules(ignore=(3, 8)))
    with pytest.raises(RecipeError, match=r"train.merge makes 'wood', which is not among"):
        read_labels(path, None, classes=CLASSES, rules=LabelRules(merge={"wood": (3,)}))


def test_thinned_pixels_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", codes(3, 8))
    labels = read_labels(path, None, classes=CLASSES, rules=LabelRules(most_pixels=100))
    on = labels.on(GRID, 2023)
    kept = sum(int((on.rasterize(b) == 3).sum()) for b in on.blocks(512))
    thinned = labels.unused_in({2023: on}).counts["forest", Reason.THINNED, Unit.PIXELS]
    assert kept + thinned == 2400
    assert kept == 100 * len(on.blocks(512))


def test_a_real_reference_is_read() -> None:
    path = DATA / "taizhou-change/reference.tif"
    if not path.exists():
        pytest.skip(f"the reference is not at {path}")
    with rasterio.open(path) as file:
        grid = rs.Grid(
            file.crs.to_string(), file.res[0], origin=(file.bounds.left, file.bounds.top)
        )
        box = PixelBox(0, 0, *file.shape)
    labels = read_labels(path, None)
    burnt = labels.on(grid).rasterize(box)
    assert [(int((burnt == c.value).sum()), c.name) for c in labels.classes] == [
        (17163, "0"),
        (4227, "1"),
    ]


def test_a_class_that_a_negative_code_is_merged_into_keeps_its_value(tmp_path: Path) -> None:
    """-1 is nodata of many rasters that don't say so: a class of it and 5 is 5, others stay."""
    path = write(tmp_path / "a.tif", codes(-1, 5, 7, 300, dtype="int16"))
    table = [
        (-1, "none", 9, 9, 9),
        (5, "wood", 0, 102, 0),
        (7, "lake", 0, 0, 255),
        (300, "ice", 1, 1, 1),
    ]
    attribute_table(path, "Value:0:5 Class:2:2 Red:0:6 Green:0:7 Blue:0:8", *table)
    rules = LabelRules(merge={"forest": (-1, 5), "water": (7, 300)})
    labels = read_labels(path, None, rules=rules)
    assert labels.classes == (LandClass(5, "forest", "#006600"), LandClass(7, "water", "#0000ff"))
    assert np.array_equal(labels.on(GRID).rasterize(BOX), codes(5, 5, 7, 7))
    # Where a class has no code that fits, all are numbered.
    alone = read_labels(path, None, rules=LabelRules(merge={"other": (-1, 300)}))
    assert [(c.value, c.name) for c in alone.classes] == [(1, "other"), (2, "wood"), (3, "lake")]
