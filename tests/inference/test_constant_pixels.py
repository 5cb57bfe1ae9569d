"""Observations that are the same number in all bands are counted while imagery is read."""

import logging
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pystac
import pytest
import shapely
import torch
import xarray as xr
from cube_scenes import WEST, item, write
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import rsscale as rs
from rsscale.cli import runs as run_commands
from rsscale.cube.load import load
from rsscale.inference import constant_pixels
from rsscale.inference.constant_pixels import (
    ConstantPixels,
    constant_lines,
    fold_constant,
    noted_constant,
)
from rsscale.monitoring.summary import summary

SIZE, EDGE = 320, 80
SHAPE = (SIZE, SIZE)
BANDS = ("red", "nir", "swir16")


def bands(edge: int, dtype: str = "uint8") -> dict[str, np.ndarray]:
    """Bands of land, whose western edge holds one number."""
    rng = np.random.default_rng(3)
    made = {name: rng.integers(20, 200, (SIZE, SIZE)).astype(dtype) for name in BANDS}
    for band in made.values():
        band[:, :EDGE] = edge
    return made


def files(folder: Path, edge: int, dtype: str = "uint8") -> dict[str, str]:
    """The bands as files."""
    made = bands(edge, dtype)
    return {n: write(folder / f"{n}.tif", band, WEST, "EPSG:32631") for n, band in made.items()}


def cube(
    folder: Path, edge: int, *, nodata: dict | None = None, dtype: str = "uint8"
) -> xr.DataArray:
    """A cube of one scene; its files say that 0 is nodata."""
    made = files(folder, edge, dtype)
    scene = item("scene", "2023-06-01", made, epsg=32631, transform=WEST, shape=SHAPE)
    return load([scene], GeoBox(SHAPE, WEST, "EPSG:32631"), list(BANDS), nodata=nodata)


@pytest.mark.parametrize(("edge", "dtype"), [(255, "uint8"), (65535, "uint16"), (-9999, "int16")])
def test_a_border_of_undeclared_fill_is_told(tmp_path: Path, edge: int, dtype: str) -> None:
    read, counted = cube(tmp_path, edge, dtype=dtype), ConstantPixels()
    noted = noted_constant(read, counted)
    assert counted.sampled == 0  # lazy
    xr.testing.assert_identical(noted.compute(), read.compute())
    assert counted.sampled == (SIZE / 16) ** 2
    assert counted.constant == {edge: counted.sampled * EDGE / SIZE}
    (line,) = constant_lines(counted.facts())
    assert line.startswith(f"25.0% of the observations are {edge} in all bands")
    assert f"{{BAND: {edge}}}" in line


def test_declared_nodata_of_one_band_is_enough(tmp_path: Path) -> None:
    counted = ConstantPixels()
    noted_constant(cube(tmp_path, 255, nodata={"red": 255}), counted).compute()
    assert counted.sampled == (SIZE / 16) ** 2 * (1 - EDGE / SIZE)
    assert not counted.constant
    assert not constant_lines(counted.facts())


def test_nodata_that_files_declare_does_not_count(tmp_path: Path) -> None:
    counted = ConstantPixels()
    noted_constant(cube(tmp_path, 0), counted).compute()
    assert not counted.constant


def test_one_band_is_not_counted(tmp_path: Path) -> None:
    counted = ConstantPixels()
    noted_constant(cube(tmp_path, 255).isel(band=[0]), counted).compute()
    assert counted.facts() == {}


def test_a_cloud_in_a_tile_of_a_few_observations_is_no_fill() -> None:
    counted, block = ConstantPixels(), np.full((1, 2, 48, 48), 7, np.uint8)
    block[:, 1] = 8
    block[..., :16, :16] = 255
    counted.count(block, 0)
    assert counted.facts() == {"sampled_observations": 9, "all_bands_255": 1, "most_constant": 0.0}
    large = {"sampled_observations": 90_000, "most_constant": 0.0}
    assert constant_lines(fold_constant([counted.facts(), large])) == []


def test_numbers_that_differ_between_bands_are_land() -> None:
    counted, block = ConstantPixels(), np.zeros((2, 2, 64, 64), np.int16)
    block[:, 1] = 255
    counted.count(block, -1)
    assert counted.facts() == {"sampled_observations": 32, "most_constant": 0.0}
    counted.count(np.full((1, 2, 64, 64), np.nan, np.float32), float("nan"))
    assert counted.sampled == 32


def test_facts_of_tiles_fold_and_a_little_is_not_told() -> None:
    edge = {"sampled_observations": 100, "all_bands_255": 60, "most_constant": 0.6}
    inner = {"sampled_observations": 900, "all_bands_0": 1, "most_constant": 0.0011}
    assert not constant_lines(inner)
    (line,) = constant_lines(fold_constant([edge, inner, {"pixels": 7}]))
    assert line.startswith("6.0% of the observations are 255 in all bands, up to 60% in one place")


@pytest.mark.extended
def test_a_person_is_told_when_training_planning_and_of_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def said() -> int:
        lines = [r for r in caplog.records if "are 255 in all bands" in r.getMessage()]
        caplog.clear()
        return len(lines)

    recipe = scene_recipe(tmp_path)
    caplog.set_level(logging.WARNING)
    rs.train(recipe, device="cpu")
    assert "around the labels" in caplog.text
    assert "are 255 in all bands" in caplog.text
    plan = rs.plan(recipe, device="cpu", pilot=1)
    assert any("255 in all bands" in note for note in plan.notes)
    caplog.clear()
    rs.preview(recipe, recipe["area"], device="cpu")
    assert said() == 1
    run = rs.run(recipe, tmp_path / "run", device="cpu")
    assert said() == 1
    assert "25.0% of the observations are 255 in all bands: see summary()" in repr(run)
    rs.resume(run.path)
    assert said() == 1
    run_commands.resume(str(run.path))
    assert said() == 0  # its summary tells
    assert "255 in all bands" in capsys.readouterr().out
    told = summary(run.status(), str(run.path)).splitlines()
    (line,) = [line for line in told if "255 in all bands" in line]
    assert line.startswith("constant  25.0% of the observations")
    gates = rs.check_quality(run)
    assert "undeclared-fill" in gates.failed
    assert "25.00 % of the observations of 2023" in str(gates)
    assert "the number is 255" in str(gates)
    said = {"inputs": {"s2": {**recipe["inputs"]["s2"], "nodata": {"red": 255}}}}
    other = rs.run({**recipe, **said}, tmp_path / "other", device="cpu")
    assert "in all bands" not in summary(other.status(), "")
    (gate,) = [g for g in rs.check_quality(other).gates if g["name"] == "undeclared-fill"]
    assert (gate["status"], gate["value"]) == ("passed", 0)
    assert (other.open().classification.values[0, :, : EDGE - 8] == 255).all()


def scene_recipe(folder: Path) -> dict[str, Any]:
    """A recipe of a catalogue of one scene with a border, and labels beside that."""
    scene = item("scene", "2023-06-01", files(folder, 255), epsg=32631, transform=WEST, shape=SHAPE)
    around = GeoBox(SHAPE, WEST, "EPSG:32631").extent
    scene.geometry, scene.bbox = (
        around.to_crs("EPSG:4326").json,
        list(around.to_crs("EPSG:4326").boundingbox),
    )
    catalog = pystac.Catalog("one", "one scene")
    catalog.add_item(scene)
    catalog.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    west, north = WEST.c + 10 * (EDGE - 20), WEST.f
    boxes = [shapely.box(west, north - y - 800, west + 600, north - y) for y in range(0, 3200, 800)]
    labels = {"class": ["a", "b", "a", "b"], "geometry": boxes}
    gpd.GeoDataFrame(labels, crs="EPSG:32631").to_file(folder / "labels.gpkg")
    gpd.GeoDataFrame(geometry=[around.geom], crs="EPSG:32631").to_file(folder / "area.gpkg")
    return {
        "name": "border",
        "area": str(folder / "area.gpkg"),
        "grid": {"crs": "EPSG:32631", "resolution": 10, "tile": 512},
        "periods": [2023],
        "inputs": {
            "s2": {
                "catalog": str(folder / "catalog.json"),
                "bands": list(BANDS),
                "composite": {"by": "year"},
            }
        },
        "model": str(folder / "model"),
        "train": {
            "labels": str(folder / "labels.gpkg"),
            "class": "class",
            "architecture": "pixel",
            "halo": 0,
            "steps": 2,
            "split": {"validation": 0, "blocks": 800},
        },
    }


def composites(edge: float) -> xr.DataArray:
    """What was made of the bands in Python: one date."""
    made = np.stack(list(bands(255).values())).astype(np.float32)[None]
    made[..., :EDGE] = edge
    coords = {"time": ["year"], "band": list(BANDS), **xr_coords(GeoBox(SHAPE, WEST, "EPSG:32631"))}
    return xr.DataArray(made, dims=("time", "band", "y", "x"), coords=coords)


def small_model() -> rs.Model:
    classes = [rs.LandClass(1, "a", "#000000"), rs.LandClass(2, "b", "#ffffff")]
    network = torch.nn.Conv2d(len(BANDS), 2, 1).eval()
    inputs = [rs.ModelInput("s2", BANDS, ("year",), (0.0,) * 3, (1.0,) * 3)]
    return rs.Model.of(network, inputs=inputs, classes=classes, stride=256, halo=0)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_composite_that_holds_fill_is_told_when_it_is_predicted(
    lazy: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constant_pixels, "_told", set())
    chunks = {"y": 64, "x": 64} if lazy else None

    def said(edge: float) -> list[str]:
        caplog.clear()
        rs.predict(
            composites(edge).chunk(chunks) if lazy else composites(edge), small_model()
        ).load()
        return [r.getMessage() for r in caplog.records if "in all bands" in r.getMessage()]

    assert said(np.nan) == []
    (line,) = said(255)
    assert line.startswith("25.0% of the observations are 255 in all bands, up to 25%")
    assert "load it with nodata={BAND: 255}" in line
    assert len(said(255)) == (0 if lazy else 1)  # of tasks each number once


def test_a_stretch_leaves_out_what_is_one_edge_in_all_bands() -> None:
    seen = np.array([[40, 90, 255, 0, 0], [50, 255, 255, 0, 7]], np.float32)
    # 255 in one band alone, or 0, is seen; both bands at an edge are fill.
    np.testing.assert_array_equal(constant_pixels.without_fill(seen), seen[:, [0, 1, 4]])
    fill = np.full((2, 3), 255, np.float32)
    np.testing.assert_array_equal(constant_pixels.without_fill(fill), fill)  # nothing else is there
    assert constant_pixels.without_fill(np.empty((3, 0), np.float32)).shape == (3, 0)
