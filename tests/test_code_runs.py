"""Blocks of Python of our pages run, over small archives and runs in place of a reader's own.

A block that is not run here has its reason, or the test that runs it, in ``NOT_RUN``.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
import yaml
from code_blocks import ROOT, CodeBlock, blocks, blocks_of
from landscape import Landscape, make_model
from published_runs import make_run
from rasterio.warp import transform_bounds

import rsscale as rs

NOT_RUN = {
    "docs/areas.md": "run by tests/estimation/test_areas_page.py",
    "docs/design.md": "run by tests/test_design.py, but the last, which refuses a recipe",
    "docs/object-scores.md": "run by tests/object_scores/test_scores_page.py",
    "docs/buckets.md": "needs a bucket and s3fs, which is not installed",
    "docs/notebooks.md": "run by tests/test_reprs.py",
    "docs/training.md": "a network that is trained by its recipe, below",
    "docs/objects.md": "needs a run with a detector; the same calls run in tests/object_passes",
}
# Of pages of which others are run: place, and why this one is not.
SINGLE = {
    "docs/models.md": {
        "table = rs": "six trainings of minutes; tests/points run the calls",
        "import json, torch": "run by tests/runtimes, with what it writes opened again",
    },
    "docs/publishing.md": {"xr.open_zarr": "rioxarray and communes of a reader's own product"},
    "docs/viewer.md": {"from rsscale": "writes into a bucket; tests/viewer run it into a folder"},
    "docs/tutorial.md": {"import rsscale": "run with its commands, by -m long, below"},
    "docs/change-networks.md": {},
}
# What a reader has, by what stands on the page.
CATALOG = "https://earth-search.aws.element84.com/v1"


def python_blocks(page: str) -> list[CodeBlock]:
    return [b for b in blocks_of(ROOT / page) if b.language in ("python", "py")]


def run_page(page: str, names: dict[str, Any], changes: Mapping[str, str] = {}) -> dict[str, Any]:
    """Run the blocks of a page one after the other, each text changed as asked."""
    ran = 0
    for block in python_blocks(page):
        if any(block.text.startswith(start) for start in SINGLE.get(page, {})):
            continue
        text = block.text
        for old, new in changes.items():
            text = text.replace(old, new)
        exec(compile(text, block.place, "exec"), names)  # noqa: S102 -- our own pages
        ran += 1
    assert ran, page
    return names


RUN = (
    "README.md", "docs/catalogues.md", "docs/change-guards.md", "docs/change-networks.md",
    "docs/functions.md",
    "docs/models.md", "docs/publishing.md", "docs/quality-gates.md", "docs/reading.md",
    "docs/report.md", "docs/sample-design.md",
)  # fmt: skip


def test_every_block_is_run_or_has_a_reason() -> None:
    pages = {block.page for block in blocks() if block.language in ("python", "py")}
    reasons = {*NOT_RUN, *RUN, *SINGLE}
    assert pages - reasons == set(), "run these pages here, or say why not"
    assert not set(NOT_RUN) & set(RUN)
    for page, starts in SINGLE.items():
        for start in starts:
            assert [b for b in python_blocks(page) if b.text.startswith(start)], (page, start)
    assert len(NOT_RUN) == 7
    assert sum(map(len, SINGLE.values())) == 5


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader works in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two years with change and zones, of a formula. Read-only: copy it."""
    return make_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def run_folder(finished: Path, here: Path) -> Callable[[str], Path]:
    def copy(name: str) -> Path:
        shutil.copytree(finished, here / name)
        return here / name

    return copy


def test_change_guards() -> None:
    random = np.random.default_rng(0)
    field = random.normal(size=(2, 300, 300)).cumsum(1).cumsum(2)
    before = xr.DataArray(field[:, :256, :256], dims=("band", "y", "x"))
    after = xr.DataArray(field[:, :256, 3:259], dims=("band", "y", "x"))
    found = run_page("docs/change-guards.md", {"rs": rs, "before": before, "after": after})["found"]
    assert round(found.shift.dx) == -3


def test_files_of_ones_own_become_a_catalogue(here: Path) -> None:
    (here / "images").mkdir()
    values = np.arange(4 * 40 * 50, dtype=np.uint16).reshape(4, 40, 50) + 1
    about = {
        "driver": "GTiff", "count": 4, "height": 40, "width": 50, "dtype": "uint16", "nodata": 0,
        "crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
    }  # fmt: skip
    for day in ("2023-07-14", "2024-07-11"):
        with rasterio.open(here / f"images/{day}.tif", "w", **about) as file:
            file.write(values)
    run_page("docs/catalogues.md", {})
    inside = (500_050, 4_999_650, 500_450, 4_999_950)
    area = transform_bounds("EPSG:32631", "EPSG:4326", *inside)
    grid = rs.Grid("EPSG:32631", resolution=10)
    items = rs.search(str(here / "catalog/catalog.json"), area=area, datetime="2023/2024")
    cube = rs.load(items, grid.geobox(area), bands=["nir", "red"]).compute()
    assert [str(time)[:10] for time in cube.time.values] == ["2023-07-14", "2024-07-11"]
    assert (cube.sel(band="nir") - cube.sel(band="red") == 2000).all()


@pytest.mark.extended
def test_a_network_of_the_training_page_is_trained_as_it_says(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (network,) = python_blocks("docs/training.md")
    page = blocks_of(ROOT / "docs/training.md")
    (said,) = [
        yaml.safe_load(b.text)["train"]
        for b in page
        if "mynets:" in b.text and b.language == "yaml"
    ]
    (here / "mynets.py").write_text(network.text, "utf-8")
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.setenv("RSSCALE_ARCHITECTURES", "mynets")
    archive = rs.simulate(here / "archive", size=256, years=[2023], dates=4)
    recipe = {
        "name": "own",
        "area": str(archive.area),
        "grid": {"crs": "EPSG:32631", "resolution": 10},
        "periods": [2023],
        "inputs": {
            "s2": {
                "catalog": str(archive.catalog),
                "bands": ["red", "nir"],
                "composite": {"by": "year", "reducer": "median"},
            }
        },
        "model": str(here / "model"),
        "train": {**said, "labels": str(archive.labels), "steps": 4, "chip": 64},
    }
    model, report = rs.train(recipe, device="cpu")
    assert model.spec.architecture == "mynets:SmallNet"
    assert model.spec.lattice.halo == said["halo"]
    assert report.basis == "folds"
    assert len(report.folds) == said["split"]["folds"]


def composite(value: float, times: tuple[str, ...] = ("spring", "summer")) -> xr.DataArray:
    """A composite of the bands red and nir in memory."""
    grid = rs.Grid("EPSG:32632", resolution=10)
    shape = (len(times), 2, 64, 64)
    x = 500_005 + 10.0 * np.arange(64)
    y = 5_000_005 + 10.0 * np.arange(64)[::-1]
    array = xr.DataArray(
        np.full(shape, value, np.float32),
        dims=("time", "band", "y", "x"),
        coords={"band": ["red", "nir"], "window": ("time", list(times)), "x": x, "y": y,
                "year": ("time", [2023] * len(times))},
    )  # fmt: skip
    return (
        array.rio.write_crs(grid.crs) if hasattr(array, "rio") else array.odc.assign_crs(grid.crs)
    )


def test_change_networks(here: Path) -> None:
    import odc.geo.xr  # noqa: F401 -- the accessor that gives arrays a CRS

    names = {"rs": rs, "network": torch.nn.Conv2d(8, 2, 1), "composite_2023": composite(0.1),
             "composite_2024": composite(0.3)}  # fmt: skip
    ds = run_page("docs/change-networks.md", names)["ds"]
    assert "classification" in ds
    assert (here / "models/change/item.json").exists()


# to_zarr of xarray consolidates metadata and writes names of bands as text: zarr 3 warns of both.
@pytest.mark.filterwarnings("ignore:Consolidated metadata", "ignore:The data type")
@pytest.mark.extended
def test_readme_and_reading(here: Path, landscape: Landscape, two_workers: str) -> None:
    shutil.copy(landscape.folder / "area.gpkg", here / "area.gpkg")
    make_model(here / "model", times=("winter", "spring", "summer", "autumn"))
    rs.run(landscape.part(), here / "out", threads=2, device="cpu")
    changes = {CATALOG: str(landscape.folder / "catalog.json"), '"sentinel-2-l2a"': "None"}
    names = run_page("README.md", {"xr": xr}, changes)
    assert set(names["maps"]) >= {"classification", "confidence", "observations"}
    whole = names["grid"].geobox(rs.read_area("area.gpkg"))
    names |= {"bands": ["red", "nir", "scl"], "part": whole[512:1024, 512:1024]}
    changes = {"tcp://scheduler:8786": two_workers, "grid.geobox(area)": "part",
               "/shared/models/landcover": str(here / "model"), "map.zarr": str(here / "map.zarr"),
               "seasons.zarr": str(here / "seasons.zarr")}  # fmt: skip
    run_page("docs/reading.md", names, changes)
    names["client"].close()
    assert (xr.open_zarr("map.zarr").classification != 255).any()


@pytest.mark.extended
def test_functions(run_folder: Callable[[str], Path]) -> None:
    run_folder("out/landcover")
    names = run_page("docs/functions.md", {"rs": rs, "xr": xr, "client": None})
    assert set(np.unique(names["ds"].edge)) == {0, 1, 255}


@pytest.mark.extended
def test_gates_report_and_publication(run_folder: Callable[[str], Path]) -> None:
    run_folder("out")
    shutil.copytree("out", "landcover")
    names: dict[str, Any] = {"rs": rs, "xr": xr}
    run_page("docs/quality-gates.md", names, {"out/landcover": "landcover"})
    assert names["gates"].gates
    rs.report("out")
    made = run_page("docs/report.md", names, {"x70_y513": "x0_y0"})["made"]
    assert {"tile", "span", "scene"} <= set(made.columns)
    published = run_page("docs/publishing.md", names)["published"]
    assert Path(published.collection).exists()


@pytest.mark.extended
def test_sample_design(run_folder: Callable[[str], Path]) -> None:
    run = rs.Run(run_folder("out"))
    name = rs.Run("out").open().classification.attrs["flag_meanings"].split()[0]
    names = run_page(
        "docs/sample-design.md",
        {"run": run},
        {"2023, 2024": "2022, 2023", "built-up": name, "size=600": "size=60"},
    )
    assert names["plan"].table() is not None
    assert Path("sample.gpkg").exists()


@pytest.mark.extended
@pytest.mark.usefixtures("here")
def test_models(landscape: Landscape) -> None:
    import yaml
    from sklearn.ensemble import RandomForestClassifier

    random = np.random.default_rng(0)
    forest = RandomForestClassifier(5).fit(random.random((60, 4)), np.arange(60) % 2 + 1)
    Path("recipe.yaml").write_text(yaml.safe_dump(landscape.part()))
    box = [6.015, 44.98, 6.025, 44.985]
    names = {"network": torch.nn.Conv2d(4, 2, 1), "forest": forest, "bbox": box,
             "composite": composite(0.2)}  # fmt: skip
    found = run_page("docs/models.md", names, {'"local:4", ': ""})
    assert "classification" in found["ds"]
    assert rs.open_model("models/crops").spec.classes[0].name == "crop"


@pytest.mark.long
@pytest.mark.usefixtures("here")
def test_the_tutorial_from_its_first_command_to_its_last() -> None:
    """All of it as it stands, but what installs, and what waits for a person."""
    import subprocess
    import sys

    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(ROOT)
    for block in blocks_of(ROOT / "docs/tutorial.md"):
        if block.language == "yaml":
            Path("recipe.yaml").write_text(block.text)
        elif block.language == "python":
            subprocess.run([sys.executable, "-c", block.text], env=environment, check=True)
        elif block.language == "sh" and ".ci/setup" not in block.text:
            lines = [
                line for line in block.text.splitlines() if not line.startswith("rsscale view")
            ]
            text = "\n".join(lines).replace("mkdir -p first-map && cd first-map", "")
            subprocess.run(["bash", "-ec", text], env=environment, check=True)
    assert Path("published/collection.json").exists()
