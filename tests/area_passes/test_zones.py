"""Areas by zone against shapely and NumPy, pixel by pixel; the same for every tile size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
import xarray as xr
from formula_pass import AREA, allowed, formula_recipe, values

import rsscale as rs
from rsscale.errors import RecipeError, TilesFailedError
from rsscale.geo.lattice import PixelBox
from rsscale.runs.verification import verify

CRS = "EPSG:32631"
OPTIONS: dict[str, Any] = {"threads": 1, "device": "cpu"}
MAP = {"layers": ["classification"]}


@pytest.fixture(scope="module", autouse=True)
def formula_allowed() -> Iterator[None]:
    with allowed():
        yield


@pytest.fixture(scope="module")
def zones() -> gpd.GeoDataFrame:
    """Some that overlap, with a hole, of parts, beyond the area's border, and far away."""
    ring = (
        shapely.Point(735_000, 4_983_500)
        .buffer(1400)
        .difference(shapely.Point(735_100, 4_983_400).buffer(433.3))
    )
    parts = shapely.union(
        shapely.box(736_003, 4_984_007, 737_111, 4_985_552),
        shapely.Polygon([(738_000, 4_986_000), (739_990, 4_987_123), (737_500, 4_988_000)]),
    )
    across = shapely.box(728_000, 4_979_000, 732_007, 4_983_000)
    shapes = {
        "17": ring,
        "b": parts,
        "A": across,
        "sliver": shapely.box(736_000.5, 4_982_000, 736_004, 4_984_000),
        "far": shapely.box(7e5, 49e5, 701e3, 4901e3),
    }
    return gpd.GeoDataFrame({"code": list(shapes)}, geometry=list(shapes.values()), crs=CRS)


def counted(
    folder: Path, zones: gpd.GeoDataFrame, tile: int = 512, client: Any = None, **options: Any
) -> rs.Run:
    folder.mkdir(parents=True, exist_ok=True)
    zones.to_file(folder / "zones.gpkg")
    step = {"kind": "zones", "of": "map", "zones": str(folder / "zones.gpkg"), "id": "code"}
    grid = {"grid": options.pop("grid")} if "grid" in options else {}
    recipe = formula_recipe(folder, tile=tile, steps={"areas": step | options}, options=MAP, **grid)
    return rs.run(recipe, folder / "run", client, **OPTIONS)


def oracle(zones: gpd.GeoDataFrame, *, method: str) -> pd.DataFrame:
    """Every pixel against every zone, by shapely alone; hectares by a scale from pyproj."""
    area = shapely.Polygon(AREA)
    rows = []
    for code, zone in zip(zones["code"], zones.geometry, strict=True):
        near = shapely.intersection(zone, area.buffer(30))
        if near.is_empty:
            continue
        west, south, east, north = (int(v) for v in near.bounds)
        box = PixelBox(-north // 10 - 2, west // 10 - 2, -south // 10 + 2, east // 10 + 2)
        x = (np.arange(box.col0, box.col1) + 0.5) * 10
        y = -(np.arange(box.row0, box.row1) + 0.5) * 10
        x, y = np.meshgrid(x, y)
        if method == "centre":
            share = shapely.contains_xy(zone, x, y).astype(float)
        else:
            cells = shapely.box(x - 5, y - 5, x + 5, y + 5)
            share = shapely.area(shapely.intersection(zone, cells)) / 100
        share[~shapely.contains_xy(area, x, y)] = 0
        lon, lat = pyproj.Transformer.from_crs(CRS, 4326, always_xy=True).transform(x, y)
        scale = pyproj.Proj(CRS).get_factors(lon, lat).areal_scale
        classes = values(box, "2023")["classification"]
        rows += [
            (code, "2023", value, share[here].sum(), (share / scale)[here].sum() / 100)
            for value in np.unique(classes[share > 1e-7])
            for here in [(classes == value) & (share > 1e-7)]
        ]
    return pd.DataFrame(rows, columns=["zone", "span", "class", "pixels", "hectares"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["centre", pytest.param("coverage", marks=pytest.mark.extended)])
def test_zones_hold_what_shapely_finds_pixel_by_pixel(
    tmp_path: Path, zones: gpd.GeoDataFrame, method: str
) -> None:
    run = counted(tmp_path, zones, method=method)
    found = run.table("areas").to_pandas()
    wanted = oracle(zones, method=method)
    assert (wanted["class"] == 255).any()
    # The sliver lies between centres of pixels.
    empty = {"far", "sliver"} if method == "centre" else {"far"}
    none = found[found["zone"].isin(empty)]
    assert set(none["zone"]) == empty
    assert (none[["class", "pixels", "hectares"]].to_numpy() == [255, 0, 0]).all()
    found = found[~found["zone"].isin(empty)].reset_index(drop=True)
    keys = ["zone", "span", "class"]
    assert found[keys].to_numpy().tolist() == wanted[keys].to_numpy().tolist()
    tolerance = {"rtol": 0, "atol": 0} if method == "centre" else {"rtol": 1e-7, "atol": 1e-4}
    np.testing.assert_allclose(found["pixels"], wanted["pixels"], **tolerance)
    np.testing.assert_allclose(found["hectares"], wanted["hectares"], rtol=1e-6, atol=1e-6)
    names = dict(zip(found["class"], found["name"], strict=True))
    assert names == {1: "water", 2: "open forest", 4: "crops", 9: "built", 255: None}


@pytest.mark.extended
@pytest.mark.parametrize("method", ["centre", "coverage"])
def test_every_tile_size_and_worker_count_gives_the_same_table(
    tmp_path: Path, zones: gpd.GeoDataFrame, two_workers: str, method: str
) -> None:
    cuts = ((512, None), (384, None), (1024, two_workers))
    tables = [
        counted(tmp_path / str(tile), zones, tile, client, method=method).table("areas")
        for tile, client in cuts
    ]
    assert tables[0].num_rows > 15
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_tiles_have_rows_of_their_own_and_their_sum_is_the_table(
    tmp_path: Path, zones: gpd.GeoDataFrame
) -> None:
    run = counted(tmp_path, zones, area="ellipsoid")
    rows, total = run.table("areas-tiles").to_pandas(), run.table("areas").to_pandas()
    assert len(rows) > len(total)
    summed = rows.groupby(["zone", "class"])[["pixels", "hectares"]].sum()
    wanted = total[total["pixels"] > 0].set_index(["zone", "class"]).sort_index()
    np.testing.assert_array_equal(summed["pixels"], wanted["pixels"])
    np.testing.assert_allclose(summed["hectares"], wanted["hectares"], rtol=1e-14)


@pytest.mark.extended
def test_zones_in_degrees_and_other_formats_of_files(
    tmp_path: Path, zones: gpd.GeoDataFrame
) -> None:
    wanted = counted(tmp_path / "metres", zones).table("areas").to_pandas()
    # Cut short first: an edge that is straight in metres is not in degrees.
    straight = zones.set_geometry(zones.geometry.segmentize(50)).to_crs(4326)
    for ending in ("geojson", "parquet"):
        folder = tmp_path / ending
        folder.mkdir()
        path = folder / f"zones.{ending}"
        straight.to_parquet(path) if ending == "parquet" else straight.to_file(path)
        step = {"kind": "zones", "of": "map", "zones": str(path), "id": "code"}
        recipe = formula_recipe(folder, steps={"areas": step}, options=MAP)
        found = rs.run(recipe, folder / "run", **OPTIONS).table("areas").to_pandas()
        assert found["zone"].tolist() == wanted["zone"].tolist()
        # Geometries in degrees have fewer digits: a pixel or two on an edge may change sides.
        np.testing.assert_allclose(found["pixels"], wanted["pixels"], atol=3)


@pytest.mark.extended
def test_areas_in_the_plane_of_an_equal_area_crs_are_those_on_the_ellipsoid(
    tmp_path: Path, zones: gpd.GeoDataFrame
) -> None:
    grid = {"crs": "EPSG:3035", "resolution": 10, "tile": 512}
    plane, ellipsoid = (
        counted(tmp_path / area, zones, grid=grid, area=area).table("areas").to_pandas()
        for area in ("projected", "ellipsoid")
    )
    np.testing.assert_array_equal(plane["hectares"], plane["pixels"] / 100)
    assert plane["hectares"].sum() > 1000
    np.testing.assert_array_equal(plane["pixels"], ellipsoid["pixels"])
    np.testing.assert_allclose(plane["hectares"], ellipsoid["hectares"], rtol=1e-7)


BOX = shapely.box(735_000, 4_983_000, 736_000, 4_984_000)
BOWTIE = shapely.Polygon([(735e3, 4983e3), (736e3, 4984e3), (736e3, 4983e3), (735e3, 4984e3)])


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({"name": ["a", "b"]}, {}, r"no column 'code'; there are \['name'\]"),
        (
            {"code": ["a", "a"]},
            {},
            "column 'code' of zones.gpkg has 1 id more than once, such as 'a'",
        ),
        ({"code": ["a", None]}, {}, "zones.gpkg has 1 zone without 'code'"),
        ({"code": ["a", "b"], "geometry": [BOX, None]}, {}, "has 1 empty zone, such as 'b'"),
        (
            {"code": ["a", "b"], "geometry": [BOX, BOWTIE]},
            {},
            r"has 1 zone that is not valid, such as 'b' \(Self-intersection",
        ),
        (
            {"code": ["a", "b"], "geometry": [BOX, BOX.boundary]},
            {},
            "has 1 zone that is no polygon, such as 'b'",
        ),
        (
            {"code": ["a"], "geometry": [shapely.box(0, 0, 9, 9)]},
            {},
            "the one zone does not touch the recipe's area",
        ),
        ({"code": ["a", "b"]}, {"layer": "classes"}, "no layer 'classes'; it has classification"),
        ({"code": ["a", "b"]}, {"area": "projected"}, "EPSG:32631 is no equal-area CRS"),
        ({"code": ["a", "b"]}, {"method": "center"}, "method: "),
    ],
)
def test_what_can_t_be_counted_is_refused_in_one_line(
    tmp_path: Path, content: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    frame = gpd.GeoDataFrame({"geometry": [BOX, BOX], **content}, crs=CRS)
    with pytest.raises(RecipeError, match=message) as caught:
        counted(tmp_path, frame, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    step = {"kind": "zones", "of": "map", "zones": "absent.gpkg", "id": "code"}
    recipe = formula_recipe(tmp_path, steps={"areas": step})
    with pytest.raises(RecipeError, match=r"there are no zones at .*absent\.gpkg"):
        rs.run(recipe, tmp_path / "run", **OPTIONS)


def test_the_sum_waits_for_every_tile(tmp_path: Path, zones: gpd.GeoDataFrame) -> None:
    zones.to_file(tmp_path / "zones.gpkg")
    flag = tmp_path / "fails"
    flag.touch()
    step = {"kind": "zones", "of": "map", "zones": str(tmp_path / "zones.gpkg"), "id": "code"}
    options = MAP | {"fails": ["x143_y973"], "while_there": str(flag)}
    recipe = formula_recipe(tmp_path, steps={"areas": step}, options=options)
    with pytest.raises(TilesFailedError, match=r"1 tile failed .* 2 wait for it"):
        rs.run(recipe, tmp_path / "run", **OPTIONS)
    flag.unlink()
    found = rs.resume(tmp_path / "run").table("areas")
    assert found.equals(counted(tmp_path / "other", zones).table("areas"))


@pytest.mark.extended
def test_a_run_that_grows_ends_with_the_table_and_the_overviews_of_a_whole_one(
    tmp_path: Path, zones: gpd.GeoDataFrame
) -> None:
    zones.to_file(tmp_path / "zones.gpkg")
    steps = {
        "pyramid": {"kind": "overviews", "of": "map", "levels": 2},
        "areas": {
            "kind": "zones",
            "of": "map",
            "zones": str(tmp_path / "zones.gpkg"),
            "id": "code",
        },
    }
    # Area is added in the north and west too, and a period before the other: shards move.
    part = shapely.intersection(
        shapely.Polygon(AREA).buffer(-50), shapely.box(733e3, 0, 738e3, 5e6)
    )
    gpd.GeoDataFrame(geometry=[part], crs=CRS).to_file(tmp_path / "part.gpkg")

    def made(name: str, **changes: Any) -> rs.Run:
        recipe = formula_recipe(tmp_path, tile=256, options=MAP, **changes)
        return rs.run(recipe, tmp_path / name, **OPTIONS)

    made("grown", area=str(tmp_path / "part.gpkg"))
    made("grown", area=str(tmp_path / "part.gpkg"), steps=steps)
    grown = made("grown", steps=steps, periods=[2022, 2023])
    whole = made("whole", steps=steps, periods=[2022, 2023])
    for level in range(3):
        xr.testing.assert_identical(grown.open(level=level).load(), whole.open(level=level).load())
    assert grown.table("areas").equals(whole.table("areas"))
    found = verify(tmp_path / "grown")
    assert (found.sound, found.damaged) == (found.total, ())
