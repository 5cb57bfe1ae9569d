"""Objects of a run as GeoDataFrames: all, those of a place, a tile at a time."""

import json
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from known_objects import objects_in

import rsscale as rs
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.objects.columns import object_schema
from rsscale.store.storage import Folder


@pytest.fixture(scope="module")
def ponds(object_run: Path) -> gpd.GeoDataFrame:
    return rs.Run(object_run).objects("ponds")


def test_all_objects_of_the_area_are_read_with_their_columns(
    object_run: Path, ponds: gpd.GeoDataFrame
) -> None:
    state = rs.Run(object_run).state
    grid = Grid("EPSG:32631", 10, 128)
    area = gpd.read_file(object_run.parent / "area.gpkg").union_all()
    wanted = {}
    for span in ("2023", "2024"):
        table = objects_in(PixelBox(*state["extent"]), span, grid, 16).to_pandas()
        # The pixel of the centre decides, as for all that is in the area.
        x = (np.floor(table["x"] / 10) + 0.5) * 10
        y = (np.floor(table["y"] / 10) + 0.5) * 10
        table = table[shapely.contains_xy(area, x, y)]
        wanted |= {(span, row.id): row.geometry for row in table.itertuples()}
    found = {(row.span, row.id): row.geometry.wkb for row in ponds.itertuples()}
    assert found == wanted
    assert len(found) > 300
    names = [name for name in object_schema("EPSG:32631").names if name != "bbox"]
    assert list(ponds.columns) == names
    assert ponds.crs == "EPSG:32631"
    assert ponds.attrs == {"run": str(object_run), "step": "ponds"}
    assert ponds["score"].between(0, 1).all()
    assert set(ponds["name"]) == {"pond", "shed"}


def test_areas_are_those_on_the_ground(ponds: gpd.GeoDataFrame) -> None:
    # The scale of UTM is within 0.1 % of 1 there.
    assert np.allclose(ponds["area_m2"], ponds.area, rtol=3e-3)


@pytest.mark.parametrize("number", [3, 40, 111])
def test_a_box_gives_what_touches_it_from_the_files_that_hold_it(
    object_run: Path, ponds: gpd.GeoDataFrame, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ponds.iloc[[number]]
    west, south, east, north = one.to_crs("EPSG:4326").total_bounds
    box = (west, (south + north) / 2, east, north)
    opened: list[str] = []
    read = Folder.read

    def watched(self: Folder, name: str) -> bytes:
        opened.append(name)
        return read(self, name)

    monkeypatch.setattr(Folder, "read", watched)
    found = rs.read_objects(object_run, "ponds", bbox=box)
    tables = [name for name in opened if name.startswith("tables/")]
    square = gpd.GeoSeries(
        [shapely.segmentize(shapely.box(*box), 1e-5)], crs="EPSG:4326"
    ).to_crs(ponds.crs)[0]  # fmt: skip
    wanted = ponds[ponds.intersects(square)]
    assert set(zip(found["span"], found["id"], strict=True)) == set(
        zip(wanted["span"], wanted["id"], strict=True)
    )
    assert one["id"].item() in set(found["id"])
    files = sum(1 for _ in (object_run / "tables/ponds").rglob("*.parquet"))
    assert len(tables) < files / 3


def test_an_object_that_reaches_into_another_tile_is_found_from_there(
    object_run: Path, ponds: gpd.GeoDataFrame
) -> None:
    side = 128 * 10
    bounds = ponds.bounds
    reaches = np.floor(bounds["maxx"] / side) > np.floor(ponds["x"] / side)
    assert reaches.any()
    for row in ponds[reaches].head(3).itertuples():
        east = row.geometry.bounds[2]
        line = np.floor(east / side) * side
        beyond = shapely.intersection(
            row.geometry, shapely.box(line + 0.01, -1e8, 1e8, 1e8)
        ).representative_point()
        lon, lat = gpd.GeoSeries([beyond], crs=ponds.crs).to_crs("EPSG:4326")[0].coords[0]
        found = rs.read_objects(
            object_run, "ponds", span=row.span, bbox=(lon, lat, lon + 1e-7, lat + 1e-7)
        )
        assert row.id in set(found["id"])


def test_a_span_columns_and_tiles_can_be_chosen(object_run: Path, ponds: gpd.GeoDataFrame) -> None:
    run = rs.Run(object_run)
    some = run.objects("ponds", span=2024, columns=["class", "score"])
    assert list(some.columns) == ["class", "score", "geometry"]
    assert len(some) == (ponds["span"] == "2024").sum()
    parts = list(run.object_tiles("ponds", span="2024", columns=["id"]))
    assert len(parts) == sum(1 for _ in (object_run / "tables/ponds/2024").iterdir())
    ids = [name for part in parts for name in part["id"]]
    assert sorted(ids) == sorted(ponds[ponds["span"] == "2024"]["id"])
    assert parts[0].attrs["span"] == "2024"
    assert parts[0].attrs["tile"].startswith("x")


def test_no_objects_are_a_frame_with_columns_and_no_rows(object_run: Path) -> None:
    none = rs.read_objects(object_run, "never")
    assert len(none) == 0
    assert none.crs == "EPSG:32631"
    assert "score" in none
    assert rs.read_objects(object_run, "once")["span"].unique().tolist() == ["2023"]
    far = rs.read_objects(object_run, "ponds", bbox=(5.0, 40.0, 5.1, 40.1))
    assert len(far) == 0
    assert far.columns.tolist() == none.columns.tolist()


def test_a_folder_of_tables_is_geoparquet(object_run: Path, ponds: gpd.GeoDataFrame) -> None:
    folder = object_run / "tables/ponds/2023"
    first = next(folder.iterdir())
    geo = json.loads(pq.read_schema(first).metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    whole = gpd.read_parquet(folder)
    in_2023 = ponds[ponds["span"] == "2023"]
    assert sorted(whole["id"]) == sorted(in_2023["id"])
    assert whole.crs == ponds.crs
    bounds = in_2023.iloc[10].geometry.bounds
    near = gpd.read_parquet(folder, bbox=bounds)
    square = shapely.box(*bounds)
    boxes = shapely.box(*in_2023.bounds.to_numpy().T)
    assert sorted(near["id"]) == sorted(in_2023[shapely.intersects(boxes, square)]["id"])


@pytest.mark.parametrize(
    ("step", "options", "line"),
    [
        ("ponts", {}, "has no step 'ponts'; did you mean 'ponds'?"),
        ("map", {}, "step 'map' of .* holds no objects; those that do: ponds, once, never"),
        (None, {}, r"has 3 steps that hold objects \(ponds, once, never\); say which"),
        ("ponds", {"span": 2022}, "step 'ponds' has no span '2022'; there are 2023, 2024"),
        ("ponds", {"columns": ["scor"]}, "objects have no column 'scor'; there are id, .*score"),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    object_run: Path, step: str | None, options: dict, line: str
) -> None:
    with pytest.raises(rs.RsscaleError, match=line) as error:
        rs.read_objects(object_run, step, **options)
    assert error.value.exit_code == 2


def test_a_lost_or_damaged_table_is_told_by_name(object_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(object_run, copy)
    file = max((copy / "tables/ponds/2023").iterdir(), key=lambda path: path.stat().st_size)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(rs.RunFolderError, match=f"{file.name} is damaged .*rsscale resume"):
        rs.read_objects(copy, "ponds")
    with pytest.raises(rs.RunFolderError, match=f"{file.name} is damaged"):
        rs.read_objects(copy, "ponds", span=2023, bbox=(5.9, 44.9, 6.0, 45.0))
    file.unlink()
    with pytest.raises(rs.RunFolderError, match=r"1 of .* tables of step 'ponds' of 2023 are lost"):
        rs.read_objects(copy, "ponds")
