"""What is fuzzed: for each kind of document, inputs and all that rsscale does with one."""

from __future__ import annotations

import json
import os
import shutil
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fault_archive
import numpy as np
import yaml
from fuzz_mutate import as_json, changes, cuts, mutate, mutate_bytes, yaml_edits
from hypothesis import strategies as st
from stac_factory import landing, make_collection, make_item, page

import rsscale as rs
from rsscale.catalog.search import find_features, search_filter
from rsscale.catalog.search import search as find
from rsscale.geo.area import read_area
from rsscale.items.freeze import freeze, thaw
from rsscale.items.item_index import ItemIndex
from rsscale.items.versions import keep_newest
from rsscale.model.files import read_spec
from rsscale.recipe import read_recipe
from rsscale.reference.labels import read_labels
from rsscale.runs.run import Run
from rsscale.runs.verification import verify

TARGETS = {}


def target(**strategies):
    """Register a class whose ``__init__`` takes a folder and whose ``run`` takes the inputs."""

    def register(cls):
        TARGETS[cls.__name__.lower()] = (cls, strategies)
        return cls

    return register


def make_shared(folder):
    """A tiny archive with a recipe and a model, and a finished run of it."""
    path = fault_archive.make(folder / "archive")
    recipe = yaml.safe_load(path.read_text())
    del recipe["area"]
    recipe |= {"bbox": [3.02, 41.47, 3.06, 41.50], "periods": [2023]}
    path.write_text(yaml.safe_dump(recipe))
    rs.run(path, folder / "run", device="cpu", threads=1)
    return folder


def stac(path):
    """All that a search and a plan do with a catalogue."""
    window = {"area": [-1.0, -1.0, 3.0, 3.0], "datetime": "2020/2030"}
    filters = search_filter(None, window["area"], window["datetime"], None)
    found = find_features(path, filters, None)
    kept, _ = keep_newest(found)
    freeze(kept, path.parent / "frozen.parquet")
    thaw(path.parent / "frozen.parquet")
    ItemIndex(kept, "EPSG:32631", ["red"])
    items = find(path, **window)
    str(items)
    rs.load(items, rs.Grid("EPSG:4326", 0.1).geobox([0.0, 0.0, 0.5, 0.5]), bands=["red"])


def item(number):
    made = make_item(f"i{number}", west=number / 10)
    made["properties"] |= {
        "proj:code": "EPSG:4326", "proj:shape": [10, 10], "created": "2023-01-01T00:00:00Z",
        "proj:transform": [0.1, 0, 0, 0, -0.1, 1], "updated": "2023-02-01T00:00:00Z",
        "s2:processing_baseline": "04.00", "s2:mgrs_tile": "31TCG",
    }  # fmt: skip
    made["assets"]["nir"] = {
        "href": "b.tif", "type": "image/tiff", "roles": ["data"],
        "raster:bands": [{"data_type": "uint16", "scale": 1e-4, "offset": -0.1, "nodata": 0}],
        "eo:bands": [{"name": "nir", "common_name": "nir"}], "proj:epsg": 4326,
        "proj:bbox": [0, 0, 1, 1], "alternate": {"s3": {"href": "s3://b/b.tif"}},
    }  # fmt: skip
    made["assets"]["red"]["raster:bands"] = [{"data_type": "uint16", "nodata": 0}]
    made["links"] = [{"rel": "self", "href": "https://h/i.json"}]
    return made


@target(edits=changes, texts=yaml_edits)
class Recipes:
    def __init__(self, shared):
        # Links, since what is shared may not be changed; paths in the recipe are relative.
        place = Path.cwd() / "archive"
        self.folder = shutil.copytree(shared / "archive", place, copy_function=os.link)
        recipe = yaml.safe_load((self.folder / "recipe.yaml").read_text())
        self.recipe = recipe | {
            "train": {
                "labels": "labels.gpkg", "class": "class", "split": {"blocks": 500},
                "classes": [{"value": 1, "name": "a", "color": "#ff0000"}],
            },
            "output": {"layers": ["classification", "confidence"]},
            "steps": {"areas": {"kind": "overviews", "of": "map"}},
        }  # fmt: skip
        self.recipe["inputs"]["s2"] |= {"query": {"eo:cloud_cover": {"lt": 60}}, "sign": None}

    def run(self, edits, texts):
        text = yaml.safe_dump(mutate(self.recipe, edits), allow_unicode=False)
        for number, junk in texts:
            spots = [n for n, letter in enumerate(text) if letter in ":-\n"] or [0]
            at = spots[number % len(spots)] + 1
            text = f"{text[:at]} {junk}{text[at:]}"
        path = self.folder / "fuzzed.yaml"
        path.write_text(text, "utf-8", errors="surrogatepass")
        recipe = read_recipe(path)
        assert read_recipe(yaml.safe_load(recipe.to_yaml())).name == recipe.name
        rs.plan(path, device="cpu", threads=1)


@target(edits=changes)
class Items:
    def __init__(self, folder):
        self.path = folder / "items.json"
        self.document = {"type": "FeatureCollection", "features": [item(n) for n in range(2)]}

    def run(self, edits):
        self.path.write_bytes(as_json(mutate(self.document, edits)))
        stac(self.path)


class _Tree:
    def __init__(self, folder):
        self.folder = folder
        self.catalog = {
            "type": "Catalog", "stac_version": "1.1.0", "id": "c", "description": "c",
            "links": [{"rel": "child", "href": "./collection.json"}],
        }  # fmt: skip
        links = [{"rel": "item", "href": "./i0.json"}, {"rel": "root", "href": "./catalog.json"}]
        self.collection = make_collection("optical", links)
        self.item = {**item(0), "collection": "optical"}
        self.write()

    def write(self, **changed):
        documents = {"catalog": self.catalog, "collection": self.collection, "i0": self.item}
        for name, document in (documents | changed).items():
            (self.folder / f"{name}.json").write_bytes(as_json(document))


@target(edits=changes)
class Collections(_Tree):
    def run(self, edits):
        self.write(collection=mutate(self.collection, edits))
        stac(self.folder / "collection.json")


@target(edits=changes, which=st.sampled_from(["catalog", "i0"]))
class Catalogues(_Tree):
    def run(self, edits, which):
        document = self.catalog if which == "catalog" else self.item
        self.write(**{which: mutate(document, edits)})
        stac(self.folder / "catalog.json")


@target(edits=cuts)
class Geoparquet:
    def __init__(self, folder):
        self.path = folder / "items.parquet"
        freeze([*rs_items()], self.path)
        self.content = self.path.read_bytes()

    def run(self, edits):
        self.path.write_bytes(mutate_bytes(self.content, edits))
        stac(self.path)


def rs_items():
    from rsscale.items.freeze import to_features

    return to_features([item(0), item(1)])


@target(edits=changes, which=st.sampled_from(["landing", "page", "second", "collections"]))
class Answers:
    def __init__(self, _folder):
        self.answers = {}
        handler = partial(_Answer, self.answers)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        documents = {
            "landing": landing("https://api.stacspec.org/v1.0.0/item-search#query"),
            "page": page([item(0)], "/second", numberMatched=2, context={"matched": 2}),
            "second": page([item(1)]),
            "collections": {"collections": [{"id": "optical"}], "links": []},
        }
        text = json.dumps(documents).replace("URL", self.url)
        self.documents = json.loads(text)

    def run(self, edits, which):
        served = {**self.documents, which: mutate(self.documents[which], edits)}
        self.answers.clear()
        self.answers |= {
            "/": served["landing"], "/search": served["page"], "/second": served["second"],
            "/collections": served["collections"],
        }  # fmt: skip
        window = {"area": [-1.0, -1.0, 3.0, 3.0], "query": {"eo:cloud_cover": {"lt": 60}}}
        rs.search(self.url, **window)
        rs.search(self.url, "radar", **window)


class _Answer(BaseHTTPRequestHandler):
    def __init__(self, answers, *args):
        self.answers = answers
        super().__init__(*args)

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        document = self.answers.get(self.path.partition("?")[0], ())
        body = b"no" if document == () else as_json(document)
        self.send_response(404 if document == () else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args):
        pass


@target(edits=cuts, remote=st.booleans())
class Cogs:
    def __init__(self, folder):
        import rasterio
        from fault_server import serve

        self.folder = folder
        with rasterio.open(
            folder / "whole.tif", "w", driver="COG", width=300, height=300, count=1,
            dtype="uint16", crs="EPSG:32631", nodata=0, blocksize=128, compress="deflate",
            transform=rasterio.Affine(10, 0, 500_000, 0, -10, 4_600_000),
        ) as file:  # fmt: skip
            file.write(np.arange(90_000, dtype="uint16").reshape(1, 300, 300))
        self.content = (folder / "whole.tif").read_bytes()
        self.server = serve(folder)
        self.faults = self.server.__enter__()
        self.number = 0

    def run(self, edits, remote):
        self.number += 1
        path = self.folder / f"cog{self.number}.tif"
        path.write_bytes(mutate_bytes(self.content, edits))
        made = make_item("cog")
        href = f"{self.faults.url}/{path.name}" if remote else str(path)
        made["assets"] = {"red": {"href": href, "type": "image/tiff"}}
        grid = rs.Grid("EPSG:32631", 10).geobox([3.0, 41.53, 3.03, 41.55])
        try:
            cube = rs.load([made], grid, bands=["red"], loader="dask")
            cube.compute(scheduler="synchronous")
        finally:
            path.unlink()


@target(edits=cuts, kind=st.sampled_from(["gpkg", "geojson", "parquet"]), labels=st.booleans())
class Vectors:
    def __init__(self, folder):
        import geopandas as gpd
        import shapely

        shapes = [shapely.box(3, 41, 3.1, 41.1), shapely.box(3.2, 41, 3.3, 41.1)]
        frame = gpd.GeoDataFrame({"class": ["a", "b"]}, geometry=shapes, crs="EPSG:4326")
        self.folder, self.content = folder, {}
        for kind in ("gpkg", "geojson", "parquet"):
            path = folder / f"whole.{kind}"
            frame.to_parquet(path) if kind == "parquet" else frame.to_file(path)
            self.content[kind] = path.read_bytes()

    def run(self, edits, kind, labels):
        path = self.folder / f"fuzzed.{kind}"
        path.write_bytes(mutate_bytes(self.content[kind], edits))
        if labels:
            read_labels(path, "class").on(rs.Grid("EPSG:32631", 10))
        else:
            read_area(path)


@target(edits=cuts, kind=st.sampled_from(["csv", "parquet", "tif"]))
class LabelFiles:
    """Tables and rasters of labels."""

    def __init__(self, folder):
        import pandas as pd
        import rasterio

        table = pd.DataFrame({"class": ["a", "b"], "lon": [3.0, 3.1], "lat": [41.0, 41.1]})
        table.to_csv(folder / "table.csv", index=False)
        table.to_parquet(folder / "table.parquet")
        with rasterio.open(
            folder / "table.tif", "w", driver="GTiff", width=64, height=64, count=1,
            dtype="uint8", crs="EPSG:32631", nodata=0,
            transform=rasterio.Affine(10, 0, 500_000, 0, -10, 4_600_000),
        ) as file:  # fmt: skip
            file.write((np.arange(4096, dtype="uint16") % 5).astype("uint8").reshape(1, 64, 64))
        kinds = ("csv", "parquet", "tif")
        self.content = {kind: (folder / f"table.{kind}").read_bytes() for kind in kinds}
        self.folder, self.number = folder, 0

    def run(self, edits, kind):
        self.number += 1  # another name: files that are open are kept by theirs
        path = self.folder / f"labels{self.number}.{kind}"
        path.write_bytes(mutate_bytes(self.content[kind], edits))
        try:
            labels = read_labels(path, None if kind == "tif" else "class")
            labels.on(rs.Grid("EPSG:32631", 10)).blocks(64)
        finally:
            path.unlink()


@target(edits=changes, raw=cuts, part=st.sampled_from(["item", "item", "item", "weights"]))
class Models:
    def __init__(self, shared):
        self.folder = shutil.copytree(shared / "archive/model", Path.cwd() / "model")
        self.document = json.loads((self.folder / "item.json").read_bytes())
        self.weights = (self.folder / "model.safetensors").read_bytes()

    def run(self, edits, raw, part):
        item, weights = self.document, self.weights
        if part == "item":
            item = mutate(item, edits)
        else:
            weights = mutate_bytes(weights, raw)
        (self.folder / "item.json").write_bytes(as_json(item))
        (self.folder / "model.safetensors").write_bytes(weights)
        read_spec(self.folder)
        rs.open_model(self.folder, device="cpu")


@target(number=st.integers(0, 2**20), edits=changes, raw=cuts, resumes=st.integers(0, 19))
class Runs:
    def __init__(self, shared):
        self.whole, self.folder = shared / "run", Path.cwd() / "run"
        files = sorted(p for p in self.whole.rglob("*") if p.is_file())
        # run.json, the frozen recipe and the ledger say more than a shard does.
        self.names = [p.relative_to(self.whole) for p in files]
        self.names += [n for n in self.names if n.suffix in (".json", ".yaml", ".geojson")] * 2

    def run(self, number, edits, raw, resumes):
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.whole, self.folder, copy_function=shutil.copyfile)
        path = self.folder / self.names[number % len(self.names)]
        if path.suffix in (".json", ".geojson") and number % 4:
            path.write_bytes(as_json(mutate(json.loads(path.read_bytes()), edits)))
        else:
            path.write_bytes(mutate_bytes(path.read_bytes(), raw))
        for look in (_status, verify, *([rs.resume] if resumes == 0 else [])):
            try:
                look(self.folder)
            except rs.RsscaleError:
                continue


def _status(folder):
    found = Run(folder)
    repr(found), found.summary(), list(found.events())
