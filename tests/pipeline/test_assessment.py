"""A run against references: the year of the labels, what is recorded, what is never overwritten."""

import json
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from formula_pass import CLASSES, allowed, formula_recipe

import rsscale as rs
from rsscale.errors import ModelError, RecipeError

YEARS = [2022, 2023]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rs.Run]:
    """Maps of two years that differ in some pixels."""
    folder = tmp_path_factory.mktemp("assessed")
    options = {"layers": ["classification"]}
    with allowed():
        yield rs.run(
            formula_recipe(folder, tile=512, periods=YEARS, options=options),
            folder / "run",
            threads=1,
            device="cpu",
        )


@pytest.fixture(autouse=True)
def is_allowed(run: rs.Run) -> Iterator[None]:
    for path in run.path.glob("accuracy*.json"):
        path.unlink()
    with allowed():
        yield


def values(run: rs.Run, year: int) -> np.ndarray:
    return run.open().classification.sel(time=str(year)).squeeze().values


def raster(run: rs.Run, path: Path, content: np.ndarray) -> Path:
    box = run.open().odc.geobox
    with rasterio.open(
        path, "w", driver="GTiff", height=box.shape[0], width=box.shape[1], count=1,
        dtype="uint8", crs="EPSG:32631", transform=box.affine, nodata=255,
    ) as file:  # fmt: skip
        file.write(content.astype("uint8"), 1)
    return path


def labels(run: rs.Run, path: Path, *, column: str = "year") -> Path:
    """A label for every 200th pixel of both years where these differ: true in its year alone."""
    maps = {year: values(run, year) for year in YEARS}
    known = (maps[2022] != 255) & (maps[2023] != 255) & (maps[2022] != maps[2023])
    rows, cols = np.argwhere(known)[::200].T
    x, y = run.open().odc.geobox.affine * (cols + 0.5, rows + 0.5)
    names = {c.value: c.name for c in CLASSES}
    frames = [
        gpd.GeoDataFrame(
            {"cover": [names[v] for v in maps[year][rows, cols]], column: year},
            geometry=shapely.box(x - 2, y - 2, x + 2, y + 2),
            crs="EPSG:32631",
        )
        for year in YEARS
    ]
    frame = frames[0]
    frame = frame._append(frames[1], ignore_index=True)
    frame.to_file(path)
    return path


def test_names_of_a_raster_are_compared_with_the_classes(run: rs.Run, tmp_path: Path) -> None:
    path = raster(run, tmp_path / "r.tif", values(run, 2023))
    swapped = [CLASSES[1].name, CLASSES[0].name]
    rows = "".join(
        f"<Row><F>{c.value}</F><F>{name}</F></Row>"
        for c, name in zip(CLASSES[:2], swapped, strict=True)
    )
    columns = "".join(
        f"<FieldDefn><Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage></FieldDefn>"
        for name, kind, usage in (("value", 0, 5), ("name", 2, 2))
    )
    path.with_name("r.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable>'
        f"{columns}{rows}</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"
    )
    with pytest.raises(ModelError, match=r"r\.tif calls .* and the map has the classes"):
        rs.assess(run, path)


def written(run: rs.Run) -> dict:
    return json.loads((run.path / "accuracy.json").read_text())


@pytest.mark.extended
def test_labels_of_several_years_count_in_their_own(run: rs.Run, tmp_path: Path) -> None:
    path = labels(run, tmp_path / "l.gpkg")
    count = len(gpd.read_file(path)) // 2
    for reference in (path, dict.fromkeys(YEARS, path)):
        accuracy = rs.assess(run, reference, class_column="cover", period_column="year")
        assert accuracy.overall == 1
    content = written(run)
    assert set(content["periods"]) == {"2022", "2023"}
    for record in content["references"].values():
        assert record["features"] == count
        assert record["period_column"] == "year"
        assert record["left_out"] == [f"other years left out: {count} of {2 * count} features"]
    assert any("other years left out" in note for note in accuracy.notes)
    # Without the column both years' labels lie on each pixel, and no two agree.
    with pytest.raises(rs.AreaError, match="have no reference"):
        rs.assess(run, path, class_column="cover")
    with pytest.raises(RecipeError, match=r"years \[2022, 2023\] .* none of 2023|no column 'yaer'"):
        rs.assess(run, path, class_column="cover", period_column="yaer")


def test_what_was_measured_is_recorded(run: rs.Run, tmp_path: Path) -> None:
    path = raster(run, tmp_path / "r.tif", values(run, 2023))
    rs.assess(run, path)
    content = written(run)
    (record,) = content["references"].values()
    assert record["path"] == str(path)
    assert len(record["sha256"]) == 64
    assert record["kind"] == "raster"
    assert content["assessed"].startswith("20")
    assert content["training_labels"] is None


def test_figures_against_another_reference_are_kept(run: rs.Run, tmp_path: Path) -> None:
    first = raster(run, tmp_path / "a.tif", values(run, 2023))
    second = raster(run, tmp_path / "b.tif", values(run, 2022))
    rs.assess(run, first)
    before = written(run)
    again = rs.assess(run, first)
    assert len(list(run.path.glob("accuracy*.json"))) == 1
    assert not any("another reference" in note for note in again.notes)
    before = written(run)
    other = rs.assess(run, second)
    (kept,) = run.path.glob("accuracy-*.json")
    assert json.loads(kept.read_text()) == before
    assert f"they are in {kept.name} now" in str(other)
    assert written(run)["overall"] < 1 == before["overall"]
    rs.assess(run, first, period=2022)  # the same file for another map is another figure
    assert len(list(run.path.glob("accuracy-*.json"))) == 2


def test_a_reference_of_change_is_refused(run: rs.Run, tmp_path: Path) -> None:
    changed = values(run, 2022) != values(run, 2023)
    path = raster(run, tmp_path / "c.tif", changed)
    with pytest.raises(
        ModelError, match=r"the value 0 .* is it the reference of another map, such"
    ):
        rs.assess(run, path)
    assert not (run.path / "accuracy.json").exists()
