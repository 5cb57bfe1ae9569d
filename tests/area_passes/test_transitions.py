"""What became what, against NumPy; the same however the area was cut."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from formula_pass import AREA, CLASSES, SMALL, allowed, formula_recipe, over

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.geo.pixel_area import pixel_areas
from rsscale.legend.flags import flag_classes

OPTIONS: dict[str, Any] = {"threads": 1, "device": "cpu"}
NAMES = {c.value: c.name for c in CLASSES}
ZONES = {
    "west": shapely.box(729_000, 4_979_000, 734_004, 4_990_000),
    "middle": shapely.Point(735_000, 4_984_000).buffer(1500),
    "far": shapely.box(7e5, 49e5, 701e3, 4901e3),
}


@pytest.fixture(scope="module", autouse=True)
def formula_allowed() -> Iterator[None]:
    with allowed():
        yield


def recipe_of(folder: Path, tile: int = 512, shape: Any = AREA, **step: Any) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    frame = gpd.GeoDataFrame({"code": list(ZONES)}, geometry=list(ZONES.values()), crs="EPSG:32631")
    frame.to_file(folder / "zones.gpkg")
    given = {"kind": "transitions", "of": "map", "from": 2020, "to": 2022} | step
    return formula_recipe(
        folder,
        tile=tile,
        shape=shape,
        periods=[2020, 2022],
        options={"layers": ["classification", "confidence"]},
        steps={
            "change": {"kind": "post-classification", "of": "map", "from": 2020, "to": 2022},
            "became": {k: v for k, v in given.items() if v is not None},
        },
    )


def zoned(folder: Path, tile: int = 512, client: Any = None, **step: Any) -> rs.Run:
    given = {"zones": str(folder / "zones.gpkg"), "id": "code"} | step
    return rs.run(recipe_of(folder, tile, **given), folder / f"run-{tile}", client, **OPTIONS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return zoned(tmp_path_factory.mktemp("transitions"))


def pairs(run: rs.Run) -> tuple[Any, Any]:
    """Classes of both years over the extent, as they are stored."""
    before, after = run.open()["classification"].to_numpy()
    return before, after


def test_the_layer_is_a_code_of_both_classes_with_a_legend(run: rs.Run) -> None:
    before, after = pairs(run)
    layer = run.open("became")["transition"].squeeze("time")
    code = layer.to_numpy()
    known = (before != 255) & (after != 255)
    assert layer.dtype == np.uint16
    assert (code[~known] == 65535).all()
    wanted = 256 * before.astype(int) + after
    np.testing.assert_array_equal(code[known], wanted[known])
    legend = {one.value: one for one in flag_classes(layer.attrs)}
    assert len(legend) == len(CLASSES) ** 2
    assert set(np.unique(code[known])) <= set(legend)
    assert legend[256 * 2 + 9].name == "open forest to built"
    assert legend[256 * 2 + 2].name == "open forest unchanged"
    assert len({one.color for one in legend.values()}) == len(legend)


def test_hectares_are_those_of_pixels_by_their_area(run: rs.Run) -> None:
    before, after = pairs(run)
    grid = rs.Grid("EPSG:32631", resolution=10)
    layers = run.open()
    box = grid.box_of(layers.odc.geobox)
    areas = np.broadcast_to(pixel_areas(grid, box), box.shape) / 10_000
    found = run.table("became-hectares").to_pandas()
    assert set(found["estimator"]) == {"mapped"}
    assert set(found["span"]) == {"2020-2022"}
    x, y = np.meshgrid(layers.x.values, layers.y.values)
    inside = {name: shapely.contains_xy(shape, x, y) for name, shape in ZONES.items()}
    inside[""] = np.ones(before.shape, bool)
    for zone, where in inside.items():
        of_zone = found[(found["zone"] == zone) & (found["from"] != 255)]
        for old, new in itertools.product(NAMES, NAMES):
            here = where & (before == old) & (after == new)
            row = of_zone[(of_zone["from"] == old) & (of_zone["to"] == new)]
            assert len(row) == here.any()
            if here.any():
                assert row["pixels"].item() == here.sum()
                assert row["hectares"].item() == pytest.approx(areas[here].sum(), rel=1e-7)
                assert (row["from_name"].item(), row["to_name"].item()) == (
                    NAMES[old], NAMES[new],
                )  # fmt: skip
    far = found[found["zone"] == "far"]
    assert far[["from", "to", "pixels", "hectares"]].to_numpy().tolist() == [[255, 255, 0, 0]]
    whole = found[found["zone"] == ""]
    unknown = whole[whole["from"] == 255]
    assert unknown[["to", "from_name"]].to_numpy().tolist() == [[255, None]]
    # All of the area, whose corner is cut off: the nodata of pixels outside is not in it.
    assert whole["pixels"].sum() < before.size
    facts = run.state["steps"]["became"]["facts"]
    assert facts["compared"] == whole["pixels"].sum() - unknown["pixels"].sum()
    changed = whole[(whole["from"] != whole["to"])]["pixels"].sum()
    assert facts["changed"] == changed > 0


def test_of_a_step_of_change_it_takes_its_layers(tmp_path: Path, run: rs.Run) -> None:
    options = {"of": "change", "from": None, "to": None}
    other = rs.run(recipe_of(tmp_path, **options), tmp_path / "run", **OPTIONS)
    first = run.table("became-hectares").to_pandas()
    second = other.table("became-hectares").to_pandas()
    whole = first[first["zone"] == ""].reset_index(drop=True)
    pd.testing.assert_frame_equal(whole, second)


def test_a_preview_has_the_layer(tmp_path: Path) -> None:
    box = [5.96, 44.97, 5.97, 44.98]
    assert "transition" in rs.preview(recipe_of(tmp_path), bbox=box, step="became", device="cpu")


@pytest.mark.extended
def test_every_tile_size_and_worker_count_gives_the_same(tmp_path: Path, two_workers: str) -> None:
    """Of pixels by their centre, and by the share of them that lies in a zone."""
    runs = []
    for tile, client in ((192, None), (256, two_workers), (512, two_workers)):
        given = {"zones": str(tmp_path / "zones.gpkg"), "id": "code"}
        recipe = recipe_of(tmp_path, tile, SMALL, **given, method="centre")
        recipe["steps"]["covered"] = recipe["steps"]["became"] | {"method": "coverage"}
        runs.append(rs.run(recipe, tmp_path / f"run-{tile}", client, **OPTIONS))
    for step in ("became", "covered"):
        first, *others = (one.table(f"{step}-hectares") for one in runs)
        assert all(first.equals(other) for other in others)
        assert set(first["zone"].to_pylist()) == {"", *ZONES}
        one, *rest = (over(run.open(step), SMALL) for run in runs)
        for other in rest:
            np.testing.assert_array_equal(one["transition"], other["transition"])
    assert not runs[0].table("became-hectares").equals(runs[0].table("covered-hectares"))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"from": 2022, "to": 2020}, "from is 2022 and to is 2020; expected two periods, the earl"),
        ({"from": 2020, "to": 2020}, "expected two periods, the earlier first"),
        ({"to": None}, "needs the layers 'from' and 'to' of a step of change, or"),
        ({"from": None, "to": None}, "the step has the layers classification, confidence"),
        ({"to": 2021}, "2021"),
        ({"zones": "zones.gpkg"}, "has one of 'zones' and 'id'"),
        ({"zones": "nowhere.gpkg", "id": "code"}, "there are no zones at"),
        ({"of": "change"}, "the step of change has its own periods; leave them out"),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, step: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        rs.run(recipe_of(tmp_path, **step), tmp_path / "run", **OPTIONS)
