"""A run with objects that grows: only new tiles are computed, the rest is as if made at once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from imagery_detector import allowed_detector, save_detector
from odc.geo.geobox import GeoBox
from two_years import BANDS, CRS, PLACE, SIZE, write_archive

import rsscale as rs

SETTINGS: dict[str, Any] = {"threads": 1, "device": "cpu"}
TILE = 64
METRES = TILE * 10
# Neither on lines of tiles nor on those of windows, which are 48 px wide.
WHOLE = shapely.box(*GeoBox((SIZE, SIZE), PLACE, CRS).extent.boundingbox).buffer(-55)
PART = WHOLE & shapely.box(499_905, 4_590_000, 510_000, 4_599_455)
BORDER = PART.boundary - WHOLE.boundary.buffer(1)


@pytest.fixture(scope="module", autouse=True)
def detectors_allowed() -> Iterator[None]:
    with allowed_detector():
        yield


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two years, areas and zones as files, and a network that outlines what is bright or dark."""
    folder = write_archive(tmp_path_factory.mktemp("archive"))
    for name, shape in (("whole", WHOLE), ("part", PART)):
        gpd.GeoDataFrame({"code": [name]}, geometry=[shape], crs=CRS).to_file(
            folder / f"{name}.gpkg"
        )
    save_detector(
        folder / "model", kind="outlines", stride=48, halo=16, bands=BANDS, times=("year",),
        mean=2000, std=440, threshold=1.25, smooth=2,
    )  # fmt: skip
    return folder


def recipe_of(archive: Path, area: str, *years: int, counted: bool = False) -> dict[str, Any]:
    things = {"kind": "detect", "of": "s2", "model": str(archive / "model")}
    zones = {"zones": str(archive / "whole.gpkg"), "id": "code"}
    counts = {"counts": {"kind": "object-counts", "of": "things", **zones}}
    s2 = {
        "catalog": str(archive / "items.json"),
        "bands": list(BANDS),
        "composite": {"by": "year"},
        "harmonize": False,
    }
    return {
        "name": "growing",
        "area": str(archive / f"{area}.gpkg"),
        "grid": {"crs": CRS, "resolution": 10, "tile": TILE},
        "periods": list(years),
        "inputs": {"s2": s2},
        "steps": {"things": things, **(counts if counted else {})},
    }


def computed(out: Path) -> dict[str, set[tuple[str, str]]]:
    """Spans and tiles that the last command computed, by step."""
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    start = max(n for n, line in enumerate(lines) if line["event"] == "started")
    steps: dict[str, set[tuple[str, str]]] = {}
    for line in lines[start:]:
        if line["event"] == "tile":
            steps.setdefault(line["step"], set()).add((line["span"], line["tile"]))
    return steps


def ground_of(tile: str) -> shapely.Polygon:
    ix, iy = (int(part[1:]) for part in tile.split("_"))
    return shapely.box(ix * METRES, iy * METRES, (ix + 1) * METRES, (iy + 1) * METRES)


def rows_of(run: rs.Run) -> pa.Table:
    return run.table("things").sort_by([("span", "ascending"), ("id", "ascending")])


@pytest.mark.extended
def test_it_grows_by_area_then_by_a_period_then_by_a_step(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = rs.run(recipe_of(archive, "part", 2023), out, **SETTINGS)
    before = rows_of(first)
    had = computed(out)["things-windows"]

    rs.run(recipe_of(archive, "whole", 2023), out, **SETTINGS)
    done = computed(out)
    inner = {one for one in had if shapely.within(ground_of(one[1]), PART)}
    assert len(inner) == 4
    assert done["things-windows"].isdisjoint(inner), "a tile with all of its area is kept"
    assert {span for span, _ in done["things-windows"]} == {"2023"}
    assert len(done["things-windows"] - had) == 9
    deep = {one for one in inner if ground_of(one[1]).distance(BORDER) > METRES}
    assert deep
    assert done["things"].isdisjoint(deep), "no row of it has changed"

    rs.run(recipe_of(archive, "whole", 2023, 2024), out, **SETTINGS)
    done = computed(out)
    for step in ("things-windows", "things"):
        assert {span for span, _ in done[step]} == {"2024"}
        assert len(done[step]) == 25

    grown = rs.run(recipe_of(archive, "whole", 2023, 2024, counted=True), out, **SETTINGS)
    assert {step.partition("-")[0] for step in computed(out)} == {"counts"}

    at_once = rs.run(
        recipe_of(archive, "whole", 2023, 2024, counted=True), tmp_path / "once", **SETTINGS
    )
    assert rows_of(grown).equals(rows_of(at_once))
    assert grown.table("counts").equals(at_once.table("counts"))
    files = [
        pq.read_table(rs.export_objects(folder, tmp_path / f"{folder.name}.parquet", step="things"))
        for folder in (out, tmp_path / "once")
    ]
    assert files[0].equals(files[1])
    one, other = (file.schema.metadata[b"rsscale:version"] for file in files)
    assert one == other
    assert rs.verify(out).damaged == ()
    of_border_are_there_once(before, grown)


def of_border_are_there_once(before: pa.Table, grown: rs.Run) -> None:
    """Objects across the border of the first area: cut or left out there, and now whole."""
    frame = grown.objects("things", span=2023)
    assert frame["id"].is_unique
    shapes, classes = frame.geometry.to_numpy(), frame["class"].to_numpy()
    across = shapely.intersects(shapes, BORDER)
    assert across.sum() > 4
    assert (frame["parts"][across] > 1).any()
    one, other = shapely.STRtree(shapes).query(shapes[across])
    one = np.flatnonzero(across)[one]
    one, other = (each[(one != other) & (classes[one] == classes[other])] for each in (one, other))
    common = shapely.area(shapely.intersection(shapes[one], shapes[other]))
    assert (common < 0.5 * shapely.area(shapes[one])).all(), "none is there twice"
    assert set(frame["id"][across]) - set(before["id"].to_pylist())
