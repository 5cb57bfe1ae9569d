"""Objects of a run in its publication: files, assets, the data card, written once."""

import hashlib
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas as gpd
import pandas as pd
import pyogrio
import pystac
import pytest
from known_objects import allowed
from stac_rules import core_errors, extension_errors

import rsscale as rs
from rsscale.errors import RecipeError, RunFolderError


@pytest.fixture(scope="module")
def product(objects_alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is published of it."""
    out = tmp_path_factory.mktemp("objects") / "product"
    rs.publish(objects_alone, out, about={"licence": "CC-BY-4.0"})
    return out


@pytest.mark.extended
def test_objects_are_published_beside_layers(object_run: Path, tmp_path: Path) -> None:
    product = tmp_path / "product"
    rs.publish(object_run, product, cogs="none")
    wanted = rs.read_objects(object_run, "ponds")
    assert len(gpd.read_parquet(product / "objects/ponds.parquet")) == len(wanted)
    collection = json.loads((product / "collection.json").read_text())
    assert {"product", "objects/ponds.parquet", "objects/ponds.gpkg"} <= set(collection["assets"])
    item = json.loads((product / "items/formula-2024.json").read_text())
    assert {"product", "objects/ponds.parquet"} <= set(item["assets"])
    again = rs.publish(object_run, product, cogs="none")
    assert (again.written, again.removed) == (0, 0)
    # By tiles, the files of objects belong to an item of the whole.
    rs.publish(object_run, product, cogs="tile", layers=["classification"], periods=[2024])
    items = [json.loads(path.read_text()) for path in (product / "items").glob("*.json")]
    holding = [one["id"] for one in items if "objects/ponds.parquet" in one["assets"]]
    assert holding == ["formula-2024"]
    assert len(items) > 2
    # A step by its name alone.
    rs.publish(object_run, product, steps=["map"], cogs="none")
    assert not (product / "objects").exists() or not list((product / "objects").iterdir())
    assert not list(product.rglob("*.fgb"))  # neither on the page
    assert json.loads((product / "viewer/viewer.json").read_text())["objects"] == []
    rs.publish(object_run, product, steps=["once"])
    drawn = {path.parent.name for path in product.rglob("*.fgb")}
    assert drawn == {"once"}
    assert sorted(path.name for path in (product / "objects").iterdir()) == [
        "once.gpkg", "once.parquet", "once.qml",
    ]  # fmt: skip
    assert not (product / "product.zarr/zarr.json").exists()


def test_objects_without_layers(objects_alone: Path, product: Path) -> None:
    wanted = rs.read_objects(objects_alone, "ponds")
    found = gpd.read_parquet(product / "objects/ponds.parquet")
    key = ["span", "id"]
    pd.testing.assert_frame_equal(
        pd.DataFrame(found).sort_values(key, ignore_index=True),
        pd.DataFrame(wanted).sort_values(key, ignore_index=True),
        check_like=True,
    )
    assert len(gpd.read_parquet(product / "objects/never.parquet")) == 0
    in_2024 = gpd.read_file(product / "objects/ponds.gpkg", layer="ponds_2024")
    assert len(in_2024) == (wanted["span"] == "2024").sum()
    # OGR knows the layers without any of ours.
    layers = pyogrio.list_layers(product / "objects/ponds.gpkg")
    assert layers.tolist() == [["ponds_2023", "MultiPolygon"], ["ponds_2024", "MultiPolygon"]]
    info = pyogrio.read_info(product / "objects/ponds.gpkg", layer="ponds_2023")
    assert (info["crs"], info["features"]) == ("EPSG:32631", (wanted["span"] == "2023").sum())
    again = rs.publish(objects_alone, product, about={"licence": "CC-BY-4.0"})
    assert (again.written, again.removed) == (0, 0)


def test_their_style_draws_every_class(product: Path) -> None:
    root = ET.fromstring((product / "objects/ponds.qml").read_text().partition("\n")[2])  # noqa: S314
    found = {one.get("value"): one.get("label") for one in root.iter("category")}
    assert found == {"1": "pond", "4": "shed"}
    colors = [one.get("value") for one in root.iter("Option") if one.get("name") == "color"]
    assert len(set(colors)) == 2


def test_their_documents_are_stac(product: Path) -> None:
    collection = json.loads((product / "collection.json").read_text())
    assert core_errors(collection, "collection") == []
    assert extension_errors(collection) == []
    found = pystac.Collection.from_file(str(product / "collection.json"))
    items = {item.id: item for item in found.get_items()}
    assert set(items) == {"formula-2023", "formula-2024"}
    for item in items.values():
        document = json.loads((product / f"items/{item.id}.json").read_text())
        assert core_errors(document, "item") == []
        assert extension_errors(document) == []
        assert set(item.get_assets(role="data")) == {
            f"objects/{name}" for name in
            ("ponds.parquet", "ponds.gpkg", "never.parquet", "never.gpkg")
        }  # fmt: skip
        for asset in item.assets.values():
            content = Path(asset.get_absolute_href() or "").read_bytes()
            assert asset.extra_fields["file:size"] == len(content)
            digest = hashlib.sha256(content).hexdigest()
            assert asset.extra_fields["file:checksum"] == f"1220{digest}"
    asset = collection["assets"]["objects/ponds.parquet"]
    assert asset["table:primary_geometry"] == "geometry"
    assert asset["table:row_count"] == len(gpd.read_parquet(product / "objects/ponds.parquet"))
    assert {"name": "score", "type": "float"}.items() <= asset["table:columns"][4].items()
    assert asset["proj:code"] == "EPSG:32631"
    damaged = {**asset, "table:row_count": "many"}
    assert extension_errors({**collection, "assets": {"one": damaged}})


def test_counted_objects_are_tables(objects_alone: Path, product: Path) -> None:
    rows = rs.Run(objects_alone).table("counts").to_pandas()
    csv = pd.read_csv(product / "tables/counts.csv")
    assert csv["objects"].tolist() == rows["objects"].tolist()
    frame = gpd.read_parquet(product / "tables/counts.parquet").set_index("code")
    assert list(frame.index) == ["A/1", "Ängsö", "far"]
    assert frame["people"].tolist() == [5, 7, 9]
    for row in rows.itertuples():
        assert frame.loc[row.zone, f"{row.span} {row.name}"] == row.objects
        assert frame.loc[row.zone, f"{row.span} {row.name} ha"] == row.area_ha
        dense = frame.loc[row.zone, f"{row.span} {row.name} per km2"]
        assert dense == row.per_km2 or (pd.isna(dense) and pd.isna(row.per_km2))
    assert frame.loc["far", "2023 all"] == 0
    assert frame["2023 pond"].dtype == "int64"
    collection = json.loads((product / "collection.json").read_text())
    assert collection["assets"]["tables/counts.parquet"]["roles"] == ["data"]


def test_counts_of_regions_are_on_the_page(objects_alone: Path, product: Path) -> None:
    rows = rs.Run(objects_alone).table("counts").to_pandas()
    found = json.loads((product / "viewer/regions/counts.json").read_text())["features"]
    counts = {one["id"]: one["properties"]["counts"] for one in found}
    for row in rows.itertuples():
        (one,) = [one for one in counts[row.zone][row.span] if one["name"] == row.name]
        assert one["objects"] == row.objects
        assert one["per_km2"] == (
            None if pd.isna(row.per_km2) else pytest.approx(row.per_km2, 1e-3)
        )
    assert [one["name"] for one in counts["A/1"]["2023"]] == ["all", "pond", "shed"]


def test_the_card_tells_of_objects(product: Path) -> None:
    card = (product / "README.md").read_text()
    found = gpd.read_parquet(product / "objects/ponds.parquet")
    ponds = found[(found["name"] == "pond") & (found["span"] == "2023")]
    hectares = ponds["area_m2"].sum() / 1e4
    assert f"| `objects/ponds.parquet` | 2023 | pond | {len(ponds)} | {hectares:,.2f} |" in card
    assert "Not measured against true objects before it was published: ponds, never." in card
    assert 'read_parquet("objects/ponds.parquet")' in card
    for word in ("## Layers", "open_zarr", "## Accuracy"):
        assert word not in card


def test_measured_objects_are_told(objects_alone: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(objects_alone, run)
    rs.read_objects(run, "ponds", span=2023)[["class", "name", "geometry"]].to_file(
        tmp_path / "truth.gpkg"
    )
    with allowed("formula_pass"):
        rs.assess_objects(
            run, tmp_path / "truth.gpkg", step="ponds", class_column="name", span=2023
        )
    rs.publish(run, tmp_path / "product", steps=["ponds"])
    assert (tmp_path / "product/objects-accuracy.json").exists()
    card = (tmp_path / "product/README.md").read_text()
    assert "- ponds, 2023: Against" in card
    assert "Not measured" not in card


def test_the_page_beside_them_draws_over_nothing(objects_alone: Path, product: Path) -> None:
    assert (product / "viewer/objects/ponds/2024.fgb").exists()
    document = json.loads((product / "viewer/viewer.json").read_text())
    assert document["layers"] == []
    assert [one["step"] for one in document["objects"]] == ["ponds", "never"]
    with rs.view(objects_alone) as viewer:
        assert "to see them over imagery: rsscale view" in viewer.notes[0]


def test_counts_that_are_left_out_are_not_on_the_page(objects_alone: Path, tmp_path: Path) -> None:
    rs.publish(objects_alone, tmp_path, steps=["never"])
    page = json.loads((tmp_path / "viewer/viewer.json").read_text())
    assert (page["regions"], [entry["step"] for entry in page["objects"]]) == ([], ["never"])
    assert not (tmp_path / "viewer/regions").exists()


def test_what_cant_be_published_is_named(objects_alone: Path, tmp_path: Path) -> None:
    target = tmp_path / "product"
    with pytest.raises(RecipeError, match=r"'pods' of .* has no layers or objects; .*ponds"):
        rs.publish(objects_alone, target, steps=["pods"])
    with pytest.raises(RunFolderError, match=r"counts of .* counts objects, and .*ponds, never"):
        rs.publish(objects_alone, target, steps=["counts"])
    with pytest.raises(RecipeError, match="no layer 'classification'; there are none"):
        rs.publish(objects_alone, target, layers=["classification"])
    run = tmp_path / "run"
    shutil.copytree(objects_alone, run)
    next((run / "tables/ponds/2023").glob("*.parquet")).unlink()
    with pytest.raises(RunFolderError, match=r"1 of \d+ tables of step 'ponds' of 2023 are lost"):
        rs.publish(run, target)
    assert not (target / "collection.json").exists()
