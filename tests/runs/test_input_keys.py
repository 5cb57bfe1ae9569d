"""Keys of a recipe's input in whole runs: which items, which bands of them, how they are read."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from cube_scenes import item, write
from fault_server import serve

import rsscale as rs
from rsscale.errors import BandError, CatalogError, RecipeError, RunFolderError, TilesFailedError
from rsscale.plans.plan import RunPlan
from rsscale.store.run_folder import RunFolder

CORNER = Affine(10, 0, 500_000, 0, -10, 5_000_000)
SHAPE = (96, 128)
CRS = "EPSG:32631"
SETTINGS = {"threads": 2, "device": "cpu"}


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    monkeypatch.setenv("RSSCALE_FUNCTIONS", "tile_functions")


def raster(folder, name, *layers):
    data = np.stack([np.full(SHAPE, v, "uint16") if np.isscalar(v) else v for v in layers])
    return write(folder / f"{name}.tif", data, CORNER, CRS)


def scene(name, files, when="2023-06-15", collection=None, **fields):
    fields = {"raster:bands": [{"data_type": "uint16", "nodata": 0}], **fields}
    place = {"epsg": 32631, "transform": CORNER, "shape": SHAPE}
    made = item(name, when, files, fields=fields, **place)
    made.collection_id = collection
    return made.to_dict()


def catalog(folder, *items):
    path = folder / "c.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(items)}))
    return str(path)


def recipe(catalog, bands, **keys):
    names = [name for band in bands for name in (band if isinstance(band, dict) else [band])]
    layers = [{"name": n, "dtype": "float32", "nodata": float("nan"), "overview": "mean"}
              for n in names]  # fmt: skip
    west, south = 500_000, 5_000_000 - 960
    box = rs.read_area(
        rs.Grid(CRS, 10).geobox_of(rs.Grid(CRS, 10).box_of(_geobox(west, south))).extent
    )
    w, s, e, n = box.boundingbox.bbox
    return {
        "name": "keys",
        "bbox": [w, s, e, n],
        "grid": {"crs": CRS, "resolution": 10, "tile": 64},
        "periods": [2023],
        "inputs": {
            "s2": {"catalog": catalog, "bands": bands,
                   "composite": {"by": "year", "reducer": "mean"}, **keys},
        },
        "steps": {
            "bands": {"kind": "function", "of": "s2", "function": "tile_functions:first_window",
                      "version": "1", "layers": layers},
        },
    }  # fmt: skip


def _geobox(west, south):
    from odc.geo.geobox import GeoBox

    return GeoBox(SHAPE, Affine(10, 0, west, 0, -10, south + 960), CRS)


def values(out, band):
    """A layer over the scene's pixels."""
    found = rs.Run(out).open("bands")[band].isel(time=0)
    x = 500_000 + 5 + 10 * np.arange(SHAPE[1])
    y = 5_000_000 - 5 - 10 * np.arange(SHAPE[0])
    return found.sel(x=x, y=y, method="nearest").values


def test_bands_of_one_file_as_rasterio_reads_them(tmp_path):
    layers = [np.arange(96 * 128).reshape(SHAPE).astype("uint16") + 1 + k for k in range(4)]
    path = raster(tmp_path, "naip", *layers)
    names = ["red", "green", "blue", "nir"]
    made = scene("naip", {"image": path})
    made["assets"]["image"]["raster:bands"] = [
        {"name": n, "data_type": "uint16", "nodata": 0} for n in names
    ]
    rs.run(recipe(catalog(tmp_path, made), ["nir", {"second": "image.2"}]), tmp_path / "out",
           **SETTINGS)  # fmt: skip
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(values(tmp_path / "out", "nir"), file.read(4))
        np.testing.assert_array_equal(values(tmp_path / "out", "second"), file.read(2))


def test_two_collections_are_one_input(tmp_path):
    low, high, edge = (raster(tmp_path, n, v) for n, v in (("l", 100), ("s", 300), ("e", 9000)))
    path = catalog(
        tmp_path,
        scene("same", {"B05": low}, collection="L30"),
        scene("same", {"B05": edge, "B8A": high}, collection="S30"),
        scene("other", {"B8A": edge}, collection="S10"),
    )
    nir = {"nir": {"L30": "B05", "S30": "B8A"}}
    content = recipe(path, [nir], collection=["L30", "S30"])
    run = rs.run(content, tmp_path / "out", **SETTINGS)
    assert run.state["items"] == {"s2": 2}
    assert (values(tmp_path / "out", "nir") == 200).all()
    again = rs.read_recipe(tmp_path / "out" / "recipe.yaml")
    assert again.inputs["s2"].requests == [nir]
    # A run that grows keeps both, and takes neither twice.
    grown = {**content, "periods": [2023, 2024]}
    later = scene("same", {"B05": low}, "2024-06-15", "L30")
    known = json.loads((tmp_path / "c.json").read_text())["features"]
    later["id"] = "later"
    catalog(tmp_path, *known, later)
    assert rs.run(grown, tmp_path / "out", **SETTINGS).state["items"] == {"s2": 3}


def test_items_of_one_id_in_two_collections_are_two(tmp_path):
    one, other = raster(tmp_path, "a", 100), raster(tmp_path, "b", 300)
    path = catalog(
        tmp_path,
        scene("T32TPT_June", {"red": one}, "2023-06-10", "s2a"),
        scene("T32TPT_June", {"red": other}, "2023-06-20", "s2b"),
    )
    run = rs.run(recipe(path, ["red"]), tmp_path / "out", **SETTINGS)
    assert run.state["items"] == {"s2": 2}
    assert (values(tmp_path / "out", "red") == 200).all()
    [entry, *_] = [json.loads(p.read_text()) for p in (tmp_path / "out/ledger").rglob("x*.json")]
    assert entry["inputs"] == ["s2a/T32TPT_June", "s2b/T32TPT_June"]
    lookup = RunPlan.read(RunFolder.at(tmp_path / "out")).setup.lookups("s2")
    assert [r.identity for r in lookup.scenes] == [
        ("T32TPT_June", "s2a"), ("T32TPT_June", "s2b")]  # fmt: skip


def test_items_are_left_out_by_rule_with_a_count(tmp_path):
    good, bad = raster(tmp_path, "a", 100), raster(tmp_path, "b", 900)
    items = [
        scene("good", {"red": good, "nir": good}, "2023-06-10"),
        scene("cloudy", {"red": bad, "nir": bad}, "2023-06-11"),
        scene("half", {"red": bad}, "2023-06-12"),
    ]
    path = catalog(tmp_path, *items)
    with pytest.raises(BandError, match=r"'half' has no asset 'nir'.*missing_asset: skip"):
        rs.plan(recipe(path, ["red", "nir"]))
    content = recipe(path, ["red", "nir"], exclude=["cloudy"], missing_asset="skip")
    told = "left out: 1 of s2 (exclude), 1 of s2 (missing_asset: skip)"
    assert told in repr(rs.plan(content))
    run = rs.run(content, tmp_path / "out", **SETTINGS)
    assert run.state["left_out"] == {"s2": {"exclude": 1, "missing_asset": 1}}
    assert "left out  1 of s2 (exclude), 1 of s2 (missing_asset: skip)" in run.summary()
    assert (values(tmp_path / "out", "red") == 100).all()
    # Which items a run has is decided when it is planned.
    other = recipe(path, ["red", "nir"], exclude=["cloudy", "good"], missing_asset="skip")
    with pytest.raises(RunFolderError, match=r"inputs\.s2\.exclude"):
        rs.run(other, tmp_path / "out", **SETTINGS)
    with pytest.raises(CatalogError, match=r"inputs\.s2: all 3 items are excluded"):
        rs.plan(recipe(path, ["red"], exclude=["cloudy", "good", "half"]))


def test_an_unknown_id_among_the_excluded_is_told(tmp_path, caplog):
    path = catalog(tmp_path, scene("good", {"red": raster(tmp_path, "a", 100)}))
    rs.plan(recipe(path, ["red"], exclude=["godo"]))
    assert "exclude names godo, which the search did not find" in caplog.text


@pytest.mark.extended
def test_on_error_may_change_while_a_run_is_not_finished(tmp_path):
    """One damaged file; tiles that are done stay done."""
    good = raster(tmp_path, "good", 100)
    path = catalog(
        tmp_path,
        scene("good", {"red": good}, "2023-06-10"),
        scene("gone", {"red": str(tmp_path / "gone.tif")}, "2023-06-11"),
    )
    content = recipe(path, ["red"])
    with pytest.raises(TilesFailedError, match=r"item 'gone', asset 'red'.*'on_error: skip'"):
        rs.run(content, tmp_path / "out", **SETTINGS)
    assert rs.Run(tmp_path / "out").state["tiles"]["done"] == 0
    skipping = recipe(path, ["red"], on_error="skip")
    run = rs.run(skipping, tmp_path / "out", **SETTINGS)
    assert run.state["state"] == "done"
    assert (values(tmp_path / "out", "red") == 100).all()
    assert "count as not seen" in run.summary()
    before = (tmp_path / "out" / "events.jsonl").read_text().count('"tile"')
    rs.run(content, tmp_path / "out", **SETTINGS)
    assert (tmp_path / "out" / "events.jsonl").read_text().count('"tile"') == before
    assert rs.read_recipe(tmp_path / "out" / "recipe.yaml").inputs["s2"].on_error == "fail"


def test_headers_and_alternates_of_a_run(tmp_path, monkeypatch):
    secret = "hunter2-7f3a"  # noqa: S105
    monkeypatch.setenv("EXAMPLE_TOKEN", secret)
    monkeypatch.setenv("RSSCALE_TOKENS", "EXAMPLE_TOKEN")
    data = raster(tmp_path, "red", 100)
    made = scene("one", {"red": "http://127.0.0.1:9/behind/red.tif"})
    with serve(tmp_path) as faults:
        made["assets"]["red"]["alternate"] = {"mirror": {"href": f"{faults.url}/red.tif"}}
        path = catalog(tmp_path, made)
        host = faults.url.removeprefix("http://")
        headers = {host: {"Authorization": "Bearer env:EXAMPLE_TOKEN"}}
        content = recipe(path, ["red"], alternate=["s3", "mirror"], headers=headers)
        out = tmp_path / "out"
        rs.run(content, out, **SETTINGS)
        assert (values(out, "red") == 100).all()
        assert {h.get("Authorization") for h in faults.headers} == {f"Bearer {secret}"}
    kept = b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file())
    assert b"EXAMPLE_TOKEN" in kept
    assert secret.encode() not in kept
    assert Path(data).exists()
    monkeypatch.delenv("EXAMPLE_TOKEN")
    with pytest.raises(RecipeError, match="EXAMPLE_TOKEN of the environment, which is not set"):
        rs.plan(content)


def test_two_rules_of_a_mask(tmp_path):
    red = raster(tmp_path, "red", 100)
    clear, cloud = np.ones(SHAPE, "uint16"), np.ones(SHAPE, "uint16")
    clear[:10], cloud[20:30] = 2, 5
    udm = raster(tmp_path, "udm2", clear, cloud)
    made = scene("ps", {"red": red})
    made["assets"]["udm2"] = {
        "href": udm,
        "bands": [
            {"name": "clear", "data_type": "uint16"},
            {"name": "cloud", "data_type": "uint16"},
        ],
    }
    rules = [{"band": "clear", "keep": [1]}, {"band": "cloudy", "drop": [5]}]
    path = catalog(tmp_path, made)
    content = recipe(path, ["red"], mask=rules, names={"cloudy": "udm2.2"})
    rs.run(content, tmp_path / "out", **SETTINGS)
    found = values(tmp_path / "out", "red")
    assert np.isnan(found[:10]).all()
    assert np.isnan(found[20:30]).all()
    assert np.nansum(found) == 100 * (96 - 20) * 128
    again = rs.read_recipe(tmp_path / "out" / "recipe.yaml").inputs["s2"]
    assert again.mask.bands == ("clear", "cloudy")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"names": {"blue": "B02"}}, "names 'blue', which is none of .*red"),
        (
            {"mask": [{"band": "a", "keep": [1]}, {"band": "a", "drop": [2]}]},
            "two rules of band 'a'",
        ),
        ({"mask": []}, "empty list"),
        ({"mask": {"rules": ["fmask"], "band": "b"}}, "put it among them"),
        ({"missing_asset": "drop"}, "missing_asset"),
        ({"exlude": ["a"]}, "unknown key; did you mean 'exclude'"),
        ({"mask": [{"band": "red", "keep": [1]}]}, "leave it out of 'bands'"),
    ],
)
def test_keys_that_make_no_sense(tmp_path, keys, message):
    path = catalog(tmp_path, scene("good", {"red": raster(tmp_path, "a", 100)}))
    with pytest.raises(RecipeError, match=message):
        rs.plan(recipe(path, ["red"], **keys))
