"""STAC documents of a publication, checked without a network."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pystac
import pytest
import shapely
from odc.geo.geom import Geometry
from stac_rules import core_errors, extension_errors

import rsscale as rs
from rsscale.publishing import stac


def documents(out: Path) -> dict[Path, dict[str, Any]]:
    paths = [out / "collection.json", *sorted((out / "items").glob("*.json"))]
    return {path: json.loads(path.read_text()) for path in paths}


@pytest.fixture(scope="module")
def by_tile(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tiles")
    rs.publish(finished, out, cogs="tile", layers=["classification", "index"], periods=[2023])
    return out


@pytest.fixture(scope="module")
def without_files(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("zarr")
    rs.publish(finished, out, cogs="none", steps=["map"])
    return out


@pytest.mark.parametrize("name", ["published", "by_tile", "without_files"])
def test_documents_are_stac(name: str, request: pytest.FixtureRequest) -> None:
    out = request.getfixturevalue(name)
    found = documents(out)
    assert len(found) >= 3
    for path, document in found.items():
        kind = "collection" if path.name == "collection.json" else "item"
        assert core_errors(document, kind) == [], path
        assert extension_errors(document) == [], path
    collection = found[out / "collection.json"]
    makers = [one for one in collection["providers"] if "processing:lineage" in one]
    assert {"producer", "processor"} & set(makers[0]["roles"])


def test_the_rules_find_what_is_wrong(published: Path) -> None:
    item = json.loads((published / "items/formula-2023.json").read_text())
    assert core_errors(item | {"bbox": "everywhere"}, "item")
    item["assets"]["classification"]["file:checksum"] = "sha256:00"
    item["properties"]["proj:epsg"] = 32631
    item["stac_extensions"].remove(stac.RASTER)
    assert len(extension_errors(item)) == 3


@pytest.mark.parametrize("name", ["published", "by_tile", "without_files"])
def test_links_and_assets_are_there_with_size_and_checksum(
    name: str, request: pytest.FixtureRequest
) -> None:
    out = request.getfixturevalue(name)
    files = set()
    for path, document in documents(out).items():
        for link in document["links"]:
            if "://" not in link["href"]:
                assert (path.parent / link["href"]).resolve().exists(), link
        for asset in document["assets"].values():
            file = (path.parent / asset["href"]).resolve()
            files.add(file)
            if file.suffix == ".zarr":
                assert file.is_dir()
                continue
            content = file.read_bytes()
            assert asset["file:size"] == len(content)
            assert asset["file:checksum"] == f"1220{hashlib.sha256(content).hexdigest()}"
    told = {path for path in out.rglob("*") if path.is_file() and path not in files}
    untold = {p.relative_to(out).parts[0] for p in told}
    linked = {"collection.json", "publication.json", "items", "viewer"}
    assert untold <= linked | {"product.zarr", "change.zarr"}


def test_pystac_reads_all_of_it(published: Path) -> None:
    collection = pystac.Collection.from_file(str(published / "collection.json"))
    items = {item.id: item for item in collection.get_items()}
    assert set(items) == {"formula-2022", "formula-2023", "formula-2022-2023"}
    item = items["formula-2022-2023"]
    assert item.common_metadata.start_datetime.year == 2022
    assert item.common_metadata.end_datetime.year == 2023
    assert set(item.get_assets(role="data")) == {
        "change", "change_from", "change_to", "change_change_probability",
    }  # fmt: skip
    asset = items["formula-2023"].assets["classification"]
    assert Path(asset.get_absolute_href()).exists()
    classes = asset.extra_fields["classification:classes"]
    assert classes[1] == {
        "value": 2, "name": "open forest", "description": "open forest", "color_hint": "1B7837",
    }  # fmt: skip
    bands = items["formula-2023"].assets["temperature"].extra_fields["bands"]
    assert bands[0]["raster:scale"] == 0.01
    assert bands[0]["nodata"] == -32768
    bands = items["formula-2023"].assets["probability"].extra_fields["bands"]
    assert [band["name"] for band in bands] == [f"probability_class_{k}" for k in (1, 2, 4, 9)]


def test_places_of_items(finished: Path, by_tile: Path) -> None:
    area = rs.read_area(finished.parent / "area.gpkg").geom
    found = [d for path, d in documents(by_tile).items() if path.name != "collection.json"]
    shapes = [shapely.geometry.shape(d["geometry"]) for d in found
              if d["properties"]["rsscale:period"] == "2023"]  # fmt: skip
    tiles = rs.Grid("EPSG:32631", 10, 512).tiles(Geometry(area, "EPSG:4326"))
    assert len(shapes) == sum(1 for _ in tiles)
    assert shapely.union_all(shapes).symmetric_difference(area).area < 1e-4 * area.area
    for document in found:
        assert document["bbox"] == pytest.approx(
            shapely.geometry.shape(document["geometry"]).bounds, abs=2e-7
        )
        raster = document["assets"]
        for asset in raster.values():
            if "proj:shape" in asset:
                assert asset["proj:shape"] == [512, 512]
