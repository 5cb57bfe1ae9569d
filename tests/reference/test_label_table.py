"""Tables of points: coordinates by name, codes as they are written, refused with the row."""

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest

from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.legend.classes import LandClass
from rsscale.reference.labels import read_labels

CLASSES = (LandClass(3, "forest", "#006600"), LandClass(8, "water", "#0000ff"))
# Near the central meridian of zone 31, and the same places there.
DEGREES = [(3.0, 45.0), (3.01, 45.01), (3.02, 45.02)]
PLACES = gpd.GeoSeries(gpd.points_from_xy(*zip(*DEGREES, strict=True)), crs="EPSG:4326")
UTM = PLACES.to_crs("EPSG:32631")
TABLE = pd.DataFrame(
    {
        "cover": ["forest", "08", "water"],
        "seen": ["2023-04-01", "2024-05-01", "2023-06-30"],
        "lon": [lon for lon, _ in DEGREES],
        "lat": [lat for _, lat in DEGREES],
    }
)


def write(table: pd.DataFrame, path: Path, sep: str = ",") -> Path:
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep=sep)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.tsv", "semicolon.csv", "a.txt"])
def test_every_format_gives_the_same_points(tmp_path: Path, name: str) -> None:
    sep = "\t" if name.endswith("tsv") else ";" if name.startswith("semi") else ","
    path = write(TABLE, tmp_path / name, sep)
    labels = read_labels(path, "cover", classes=CLASSES, period_column="seen")
    assert labels.frame["value"].tolist() == [3, 8, 8]
    assert labels.frame["period"].tolist() == [2023, 2024, 2023]
    assert labels.frame.crs == "EPSG:4326"
    assert labels.frame.geometry.geom_equals_exact(PLACES, 1e-9).all()


def test_rows_are_counted_whatever_a_parquet_table_calls_them(tmp_path: Path) -> None:
    table = TABLE.set_axis([7, 7, 7])
    labels = read_labels(
        write(table, tmp_path / "a.parquet"), "cover", classes=CLASSES, period_column="seen"
    )
    grid = Grid("EPSG:32631", 10.0)
    unused = labels.unused_in({2024: labels.on(grid, 2024)})
    assert unused.lines() == [
        "1 feature of 'forest': of other years than those of train.periods",
        "1 feature of 'water': of other years than those of train.periods",
    ]


def test_a_byte_order_mark_and_blanks_in_the_header_are_no_names(tmp_path: Path) -> None:
    text = "\ufeffcover, LON ,Lat\nwater, 3.0, 45.0\n"
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    labels = read_labels(tmp_path / "a.csv", "cover", classes=CLASSES)
    assert labels.frame.geometry[0].coords[0] == (3.0, 45.0)


def test_projected_coordinates_need_their_crs(tmp_path: Path) -> None:
    table = TABLE.drop(columns=["lon", "lat"]).assign(x=UTM.x, y=UTM.y)
    path = write(table, tmp_path / "a.csv")
    labels = read_labels(path, "cover", classes=CLASSES, crs="EPSG:32631")
    assert labels.frame.geometry.geom_equals_exact(UTM, 1e-3).all()
    with pytest.raises(RecipeError, match=r"\['x', 'y'\] and no CRS; say it with train.labels_crs"):
        read_labels(path, "cover", classes=CLASSES)
    with pytest.raises(RecipeError, match="'EPSG:99999999' is not known"):
        read_labels(path, "cover", classes=CLASSES, crs="EPSG:99999999")


def test_columns_of_coordinates_may_have_any_name(tmp_path: Path) -> None:
    path = write(TABLE.rename(columns={"lon": "POINT_X", "lat": "POINT_Y"}), tmp_path / "a.csv")
    options = {"classes": CLASSES, "coordinates": ("POINT_X", "POINT_Y")}
    labels = read_labels(path, "cover", crs="EPSG:4326", **options)
    assert labels.frame.geometry.geom_equals_exact(PLACES, 1e-9).all()
    with pytest.raises(RecipeError, match="no CRS"):
        read_labels(path, "cover", **options)
    with pytest.raises(RecipeError, match=r"no column 'POINTX' of .*did you mean 'POINT_X'"):
        read_labels(path, "cover", classes=CLASSES, coordinates=("POINTX", "POINT_Y"))
    with pytest.raises(RecipeError, match=r"without coordinates.*\['cover', 'seen', 'POINT_X'"):
        read_labels(path, "cover", classes=CLASSES)


def test_a_class_named_na_is_a_class(tmp_path: Path) -> None:
    path = write(TABLE.assign(cover=["NA", "None", ""]), tmp_path / "a.csv")
    labels = read_labels(path, "cover")
    assert [c.name for c in labels.classes] == ["NA", "None"]
    assert labels.unused.lines() == ["1 feature without a class: the cell of the class is empty"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lat": [45.0, None, None]}, r"row 1 has no value in .* 'lat' \(2 rows in all\)"),
        ({"lat": ["45.0", "45,1", "45.2"]}, "row 1 has '45,1' in .*expected a number"),
        ({"lon": [3.0, 3.0, 1e400]}, "row 2 has 'inf'"),
        ({"lat": [45.0, 4.5e6, 45.1]}, r"row 1 lies at .*can't be longitude and latitude"),
    ],
)
def test_coordinates_that_are_none_are_refused(
    tmp_path: Path, change: dict[str, list[object]], message: str
) -> None:
    path = write(TABLE.assign(**change), tmp_path / "a.csv")
    with pytest.raises(RecipeError, match=message):
        read_labels(path, "cover", classes=CLASSES)


def test_keys_of_a_table_are_refused_for_other_files(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"cover": ["water"]}, geometry=PLACES[:1])
    frame.to_parquet(tmp_path / "a.parquet")
    for key in ("coordinates", "crs"):
        value = {"coordinates": ("x", "y"), "crs": "EPSG:4326"}[key]
        with pytest.raises(RecipeError, match="are a vector file"):
            read_labels(tmp_path / "a.parquet", "cover", classes=CLASSES, **{key: value})
    with pytest.raises(RecipeError, match="are a table, which has no layers"):
        read_labels(write(TABLE, tmp_path / "a.csv"), "cover", classes=CLASSES, layer="a")


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"lon,lat,cover\n1,2,\xff\xfe\n")
    with pytest.raises(RecipeError, match=r"can't be read as a table.*CSV in UTF-8"):
        read_labels(tmp_path / "a.csv", "cover")
    (tmp_path / "b.csv").write_text("lon,lat,cover\n")
    with pytest.raises(RecipeError, match="hold no row"):
        read_labels(tmp_path / "b.csv", "cover")
    (tmp_path / "c.csv").write_text("")
    with pytest.raises(RecipeError, match="can't be read as a table"):
        read_labels(tmp_path / "c.csv", "cover")
