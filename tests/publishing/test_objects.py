"""Objects of a run in its publication: files, assets, the data card, written once."""

import json
from pathlib import Path

import geopandas as gpd
import pytest
from formula_pass import SMALL, formula_recipe
from known_objects import KIND, allowed

import rsscale as rs
from rsscale.errors import RunFolderError


def test_objects_are_published_as_geoparquet_and_geopackage(
    object_run: Path, tmp_path: Path
) -> None:
    product = tmp_path / "product"
    rs.publish(object_run, product, cogs="none")
    wanted = rs.read_objects(object_run, "ponds")
    assert len(gpd.read_parquet(product / "objects/ponds.parquet")) == len(wanted)
    in_2024 = gpd.read_file(product / "objects/ponds.gpkg", layer="ponds_2024")
    assert len(in_2024) == (wanted["span"] == "2024").sum()
    assert len(gpd.read_parquet(product / "objects/never.parquet")) == 0
    collection = json.loads((product / "collection.json").read_text())
    asset = collection["assets"]["objects/ponds.parquet"]
    assert asset["table:primary_geometry"] == "geometry"
    assert {"name": "score", "type": "float"} in asset["table:columns"]
    assert any("/table/" in name for name in collection["stac_extensions"])
    assert 'read_parquet("objects/ponds.parquet")' in (product / "README.md").read_text()
    assert (product / "viewer/objects/ponds/2024.fgb").exists()
    again = rs.publish(object_run, product, cogs="none")
    assert (again.written, again.removed) == (0, 0)


def test_objects_without_a_map_are_written_as_files(tmp_path: Path) -> None:
    recipe = formula_recipe(tmp_path, shape=SMALL, steps={"ponds": {"kind": KIND, "every": 64}})
    del recipe["steps"]["map"]
    with allowed("formula_pass"):
        run = rs.run(recipe, tmp_path / "run", threads=1, device="cpu")
        with pytest.raises(RunFolderError, match=r"no layers to publish; write.*rsscale objects"):
            rs.publish(run, tmp_path / "product")
        with pytest.raises(RunFolderError, match=r"holds objects, and no layers.*--imagery"):
            rs.view(run)
