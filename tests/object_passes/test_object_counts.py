"""Objects by zone: each counts once by its centre, zones without any have rows of zeros."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from formula_pass import SMALL, formula_recipe
from known_objects import KIND, allowed

import rsscale as rs

# Two neighbours, one that overlaps both, one beside the area but in a tile of it, one far away.
ZONES = {
    "west": shapely.box(728_000, 4_980_000, 732_000, 4_986_000),
    "east": shapely.box(732_000, 4_980_000, 736_000, 4_986_000),
    "over": shapely.box(731_000, 4_982_000, 733_000, 4_984_000),
    "beside": shapely.box(729_100, 4_984_500, 729_300, 4_984_700),
    "far": shapely.box(100_000, 4_000_000, 101_000, 4_001_000),
}


def counted(folder: Path, tile: int, **options: Any) -> rs.Run:
    folder.mkdir(parents=True, exist_ok=True)
    frame = gpd.GeoDataFrame({"code": list(ZONES)}, geometry=list(ZONES.values()), crs=32631)
    frame.to_file(folder / "zones.gpkg")
    counts = {"kind": "object-counts", "of": "ponds", "zones": str(folder / "zones.gpkg"),
              "id": "code", **options}  # fmt: skip
    recipe = formula_recipe(
        folder, tile=tile, shape=SMALL, periods=[2023, 2024],
        options={"layers": ["classification"]},
        steps={"ponds": {"kind": KIND, "every": 16, "without": [2024]}, "counts": counts},
    )  # fmt: skip
    with allowed("formula_pass"):
        return rs.run(recipe, folder / "run", threads=2, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return counted(tmp_path_factory.mktemp("counts"), 128)


def test_counts_areas_and_densities_are_those_of_the_objects(run: rs.Run) -> None:
    table = run.table("counts").to_pandas()
    objects = run.objects("ponds", span=2023)
    area = gpd.read_file(Path(run.path).parent / "area.gpkg").union_all()
    assert table["zone"].unique().tolist() == list(ZONES)
    for zone, shape in ZONES.items():
        inside = objects[shapely.contains_xy(shape, objects["x"], objects["y"])]
        rows = table[(table["zone"] == zone) & (table["span"] == "2023")].set_index("name")
        assert rows.index.tolist() == ["all", "pond", "shed"]
        assert rows["objects"].tolist() == [
            len(inside), *((inside["name"] == name).sum() for name in ("pond", "shed"))
        ]  # fmt: skip
        assert rows["area_ha"]["all"] == pytest.approx(inside["area_m2"].sum() / 1e4, rel=1e-6)
        ground = shapely.intersection(shape, area).area / 1e4
        # Pixels count by their centres, and UTM is true to 0.1 % of lengths there.
        assert rows["zone_ha"]["all"] == pytest.approx(ground, rel=0.005, abs=0.05)
        if ground:
            density = rows["objects"] / rows["zone_ha"] * 100
            assert np.allclose(rows["per_km2"], density)
        else:
            assert rows["per_km2"].isna().all()
    first = table[(table["name"] == "all") & (table["span"] == "2023")].set_index("zone")
    assert first["objects"]["west"] + first["objects"]["east"] == len(objects)
    assert first["objects"]["over"] > 10
    assert first["objects"]["far"] == 0


def test_a_year_without_objects_has_rows_of_zeros(run: rs.Run) -> None:
    table = run.table("counts").to_pandas()
    none = table[table["span"] == "2024"]
    assert len(none) == 3 * len(ZONES)
    assert (none["objects"] == 0).all()
    assert (none.loc[none["zone"] == "west", "per_km2"] == 0).all()


@pytest.mark.extended
def test_the_rows_are_the_same_for_other_tiles(run: rs.Run, tmp_path: Path) -> None:
    other = counted(tmp_path, 512)
    assert other.table("counts").equals(run.table("counts"))


def test_an_object_on_the_line_between_zones_counts_once() -> None:
    from types import SimpleNamespace

    from rsscale.geo.grid import Grid
    from rsscale.geo.lattice import PixelBox
    from rsscale.object_passes.object_counts import _zones_of
    from rsscale.reference.zones import Zones

    grid = Grid("EPSG:32631", 10, 128)
    corner = grid.geobox_of(PixelBox(0, 0, 64, 64)).extent.boundingbox
    west, north = corner.left, corner.top
    shapes = tuple(shapely.box(west + 100 * n, north - 500, west + 100 * (n + 1), north)
                   for n in range(3))  # fmt: skip
    block: Any = SimpleNamespace(core=PixelBox(0, 0, 64, 64))
    x = np.array([west + 100, west + 150, west + 200, west + 300, west + 400])
    zones = Zones(("a", "b", "c"), shapes, grid)
    objects, numbers = _zones_of(x, np.full(5, north - 50.0), zones, block)
    assert sorted(zip(objects.tolist(), numbers.tolist(), strict=True)) == [
        (0, 0), (1, 1), (2, 1), (3, 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"of": "map"}, r"counts: counts objects, and 'map' holds none; .* do: ponds"),
        ({"id": "name"}, "have no column 'name'"),
        ({"zones": "nowhere.gpkg"}, "there are no zones at"),
    ],
)
def test_what_can_not_be_counted_is_refused(tmp_path: Path, options: Any, line: str) -> None:
    with pytest.raises(rs.RecipeError, match=line):
        counted(tmp_path, 512, **options)
