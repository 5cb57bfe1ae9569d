"""Objects as one file of each format, as other programs read it."""

import json
import shutil
from pathlib import Path

import geopandas as gpd
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from known_objects import KIND, allowed

import rsscale as rs
from rsscale.object_files import vector_formats
from rsscale.objects.columns import object_schema

COLUMNS = [n for n in object_schema("EPSG:4326").names if n not in ("bbox", "geometry")]


@pytest.fixture(scope="module")
def ponds(object_run: Path) -> gpd.GeoDataFrame:
    return rs.read_objects(object_run, "ponds")


def same(found: gpd.GeoDataFrame, wanted: gpd.GeoDataFrame) -> None:
    """All columns and shapes are equal, whatever the order."""
    order = ["span", "id"]
    one, other = (f.sort_values(order).reset_index(drop=True) for f in (found, wanted))
    assert len(one) == len(other)
    for name in COLUMNS:
        assert one[name].tolist() == other[name].tolist(), name
    assert shapely.equals(
        shapely.normalize(one.geometry.array), shapely.normalize(other.geometry.array)
    ).all()


@pytest.mark.parametrize("ending", ["parquet", "gpkg", "fgb"])
def test_a_file_has_all_objects_as_they_are(
    object_run: Path, ponds: gpd.GeoDataFrame, tmp_path: Path, ending: str
) -> None:
    path = rs.export_objects(object_run, tmp_path / f"new/ponds.{ending}", step="ponds")
    if ending == "parquet":
        found = gpd.read_parquet(path)
    elif ending == "gpkg":
        layers = pyogrio.list_layers(path)[:, 0].tolist()
        assert layers == ["ponds_2023", "ponds_2024"]
        found = gpd.pd.concat([gpd.read_file(path, layer=name) for name in layers])
    else:
        found = gpd.read_file(path)
    assert found.crs == "EPSG:32631"
    same(found, ponds)
    assert list(path.parent.iterdir()) == [path]


def test_geoparquet_has_row_groups_of_neighbours_and_says_where_it_is_from(
    object_run: Path, ponds: gpd.GeoDataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_formats, "_GROUP", 50)
    path = rs.export_objects(object_run, tmp_path / "ponds.parquet", step="ponds")
    metadata = pq.read_metadata(path)
    said = {k.decode(): v.decode() for k, v in metadata.metadata.items()}
    assert json.loads(said["geo"])["columns"]["geometry"]["covering"]["bbox"]["xmin"]
    assert said["rsscale:step"] == "ponds"
    assert said["rsscale:version"]
    assert "rsscale" in json.loads(said["rsscale:software"])
    assert str(tmp_path) not in str(said)
    rows = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    assert sum(rows) == len(ponds)
    assert len(rows) > 6
    bounds = ponds.iloc[20].geometry.bounds
    near = gpd.read_parquet(path, bbox=bounds)
    boxes = shapely.box(*ponds.bounds.to_numpy().T)
    assert len(near) == shapely.intersects(boxes, shapely.box(*bounds)).sum()
    # The boxes of the row groups cover little more than all of it together does.
    x = [(_column(metadata, n, "bbox.xmin").min, _column(metadata, n, "bbox.xmax").max)
         for n in range(len(rows))]  # fmt: skip
    y = [(_column(metadata, n, "bbox.ymin").min, _column(metadata, n, "bbox.ymax").max)
         for n in range(len(rows))]  # fmt: skip
    areas = [(b - a) * (d - c) for (a, b), (c, d) in zip(x, y, strict=True)]
    west, south, east, north = ponds.total_bounds
    assert sum(areas) / 2 < 1.5 * (east - west) * (north - south)  # of two years


def _column(metadata, group, name):
    columns = [metadata.row_group(group).column(n) for n in range(metadata.num_columns)]
    return next(one.statistics for one in columns if one.path_in_schema == name)


def test_a_geopackage_has_indexes_metadata_and_the_same_bytes_again(
    object_run: Path, tmp_path: Path
) -> None:
    one, other = (
        rs.export_objects(object_run, tmp_path / f"{name}.gpkg", step="ponds", span=2023)
        for name in ("a", "b")
    )
    assert one.read_bytes() == other.read_bytes()
    info = pyogrio.read_info(one)
    assert info["layer_metadata"]["step"] == "ponds"
    assert info["geometry_type"] == "MultiPolygon"
    assert info["capabilities"]["fast_spatial_filter"]


def test_geojson_is_in_degrees(object_run: Path, ponds: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = rs.export_objects(object_run, tmp_path / "ponds.geojson", step="ponds", span="2023")
    found = gpd.read_file(path).set_index("id")
    wanted = ponds[ponds["span"] == "2023"].to_crs("EPSG:4326").set_index("id").loc[found.index]
    assert found.crs == "EPSG:4326"
    assert shapely.hausdorff_distance(found.geometry, wanted.geometry).max() < 2e-7


def test_vector_tiles_have_every_object_at_the_last_zoom(
    object_run: Path, ponds: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    path = rs.export_objects(object_run, tmp_path / "ponds.pmtiles", step="ponds", span=2023)
    found = pyogrio.read_dataframe(path, ZOOM_LEVEL=15)  # an object for each tile that it lies in
    assert found.crs == "EPSG:3857"
    assert set(found["id"]) == set(ponds[ponds["span"] == "2023"]["id"])
    with pytest.raises(rs.RecipeError, match=r"PMTiles can't be empty; write .* none.fgb"):
        rs.export_objects(object_run, tmp_path / "none.pmtiles", step="never")


@pytest.mark.parametrize("ending", ["parquet", "gpkg", "fgb", "geojson"])
def test_no_objects_are_a_file_without_rows(object_run: Path, tmp_path: Path, ending: str) -> None:
    path = rs.export_objects(object_run, tmp_path / f"none.{ending}", step="never")
    layer = {"layer": "never_2024"} if ending == "gpkg" else {}
    found = gpd.read_parquet(path) if ending == "parquet" else gpd.read_file(path, **layer)
    assert len(found) == 0
    if ending != "geojson":  # which has no columns without features
        assert set(COLUMNS) <= set(found.columns)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("ponds.shp", r"'ponds.shp' ends in '.shp'; objects are written as .parquet, .gpkg"),
        ("ponds", "'ponds' has no ending"),
        ("there.gpkg", "is there already; choose another name, or give --overwrite"),
        ("folder.gpkg", "is a folder; give the name of a file"),
        ("s3://maps/ponds.gpkg", "can't be written to; give a local file"),
        ("file/ponds.gpkg", "can't be made: "),
    ],
)
def test_a_file_that_can_not_be_is_refused(
    object_run: Path, tmp_path: Path, name: str, line: str
) -> None:
    (tmp_path / "there.gpkg").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "folder.gpkg").mkdir()
    to = name if "://" in name else tmp_path / name
    with pytest.raises(rs.RsscaleError, match=line) as error:
        rs.export_objects(object_run, to, step="ponds")
    assert error.value.exit_code == (1 if name.startswith("file/") else 2)
    assert (tmp_path / "there.gpkg").read_bytes() == b"mine"


def test_a_file_is_replaced_when_asked_and_kept_when_something_goes_wrong(
    object_run: Path, tmp_path: Path
) -> None:
    path = rs.export_objects(object_run, tmp_path / "a.gpkg", step="never")
    before = path.read_bytes()
    copy = tmp_path / "run"
    shutil.copytree(object_run, copy)
    damaged = max((copy / "tables/ponds/2024").iterdir(), key=lambda one: one.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(rs.RunFolderError, match=f"{damaged.name} is damaged"):
        rs.export_objects(copy, path, step="ponds", overwrite=True)
    assert path.read_bytes() == before
    rs.export_objects(object_run, path, step="ponds", overwrite=True)
    assert path.read_bytes() != before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.gpkg", "run"]


def test_a_step_that_is_not_done_is_exported_when_asked(tmp_path: Path) -> None:
    from formula_pass import SMALL, formula_recipe

    stone = tmp_path / "stone"
    stone.touch()
    options = {"kind": KIND, "fails": ["x571_y3893"], "while_there": str(stone)}
    recipe = formula_recipe(
        tmp_path, tile=128, shape=SMALL, steps={"ponds": options},
        options={"layers": ["classification"]},
    )  # fmt: skip
    with allowed("formula_pass"), pytest.raises(rs.TilesFailedError):
        rs.run(recipe, tmp_path / "run", threads=2, device="cpu")
    to = tmp_path / "ponds.gpkg"
    with pytest.raises(rs.RunFolderError, match=r"not finished: .* take what is there with --part"):
        rs.export_objects(tmp_path / "run", to)
    rs.export_objects(tmp_path / "run", to, partial=True)
    assert len(gpd.read_file(to)) == len(rs.read_objects(tmp_path / "run")) > 50
