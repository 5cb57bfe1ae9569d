"""The archive's STAC 1.1 metadata: items as Earth Search writes them, collection, catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import shapely

from rsscale.simulation.render import NODATA, Rendered
from rsscale.simulation.scenes import Processing, Scene, Swath
from rsscale.simulation.tiles import RESOLUTION, TileGrid
from rsscale.simulation.truth import to_degrees

COLLECTION = "sentinel-2-l2a"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/grid/v1.1.0/schema.json",
    "https://stac-extensions.github.io/mgrs/v1.0.0/schema.json",
    "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
]
# Key, name at ESA, common name, centre and width in micrometres.
_SPECTRAL = (
    ("blue", "B02", "blue", 0.490, 0.098),
    ("green", "B03", "green", 0.560, 0.045),
    ("red", "B04", "red", 0.665, 0.038),
    ("nir", "B08", "nir", 0.842, 0.145),
    ("swir16", "B11", "swir16", 1.610, 0.143),
    ("swir22", "B12", "swir22", 2.190, 0.242),
)
_PROVIDER = {
    "name": "rsscale simulate",
    "description": "Synthetic data; no satellite saw this landscape.",
    "roles": ["producer", "processor"],
}


def make_item(scene: Scene, rendered: Rendered) -> dict[str, Any]:
    """The STAC item of a scene, with asset hrefs relative to its own folder."""
    geometry = to_degrees(_footprint(scene.swath, scene.tile), scene.tile.crs)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": _EXTENSIONS,
        "id": scene.id,
        "collection": COLLECTION,
        "geometry": shapely.geometry.mapping(geometry),
        "bbox": list(geometry.bounds),
        "properties": _properties(scene, rendered),
        "links": [
            {"rel": "root", "href": "../../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../collection.json", "type": "application/json"},
            {"rel": "collection", "href": "../collection.json", "type": "application/json"},
        ],
        "assets": {
            **{band[0]: _band_asset(band, scene.processing) for band in _SPECTRAL},
            "scl": {
                "href": "./scl.tif",
                "type": _COG,
                "title": "Scene classification, at 10 m",
                "roles": ["data"],
                "nodata": NODATA,
                "data_type": "uint8",
            },
        },
    }


def _properties(scene: Scene, rendered: Rendered) -> dict[str, Any]:
    """Item properties as Earth Search writes them."""
    tile = scene.tile
    zone, square = tile.name[:3], tile.name[3:]
    properties: dict[str, Any] = {
        "datetime": f"{scene.when:%Y-%m-%dT%H:%M:%SZ}",
        "platform": f"sentinel-2{scene.platform[-1].lower()}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "eo:cloud_cover": rendered.cloud_cover,
        "proj:code": tile.crs,
        "proj:shape": [tile.height, tile.width],
        "proj:transform": list(tile.transform)[:6],
        "proj:bbox": list(tile.bounds),
        "grid:code": f"MGRS-{tile.name}",
        "mgrs:utm_zone": int(zone[:2]),
        "mgrs:latitude_band": zone[2],
        "mgrs:grid_square": square,
        "sat:relative_orbit": scene.orbit,
        "s2:processing_baseline": scene.processing.baseline,
        "s2:nodata_pixel_percentage": rendered.nodata,
    }
    if scene.processing.applied is not None:
        properties["earthsearch:boa_offset_applied"] = scene.processing.applied
    return properties


def _band_asset(band: tuple[str, str, str, float, float], processing: Processing) -> dict[str, Any]:
    key, name, common, centre, width = band
    asset: dict[str, Any] = {
        "href": f"./{key}.tif",
        "type": _COG,
        "title": f"{key} ({name}), at 10 m",
        "roles": ["data", "reflectance"],
        "nodata": NODATA,
        "data_type": "uint16",
        "raster:spatial_resolution": RESOLUTION,
        "bands": [
            {
                "name": name,
                "eo:common_name": common,
                "eo:center_wavelength": centre,
                "eo:full_width_half_max": width,
            }
        ],
    }
    if processing.offset is not None:
        asset["raster:scale"] = 0.0001
        asset["raster:offset"] = processing.offset
    return asset


def _footprint(swath: Swath | None, tile: TileGrid) -> shapely.Polygon:
    """What was seen of a tile, in its CRS."""
    west, south, east, north = tile.bounds
    outline = shapely.box(west, south, east, north)
    if swath is None:
        return outline
    width = east - west
    top, bottom = west + swath.x * width, west + (swath.x - swath.slope) * width
    far = -10 * width if swath.keep_left else 10 * width
    side = shapely.Polygon(
        [(top, north), (bottom, south), (west + far, south), (west + far, north)]
    )
    return outline & side


def write_catalog(root: Path, final_root: Path, items: Sequence[dict[str, Any]]) -> None:
    """Write items, collection, ``items.json`` and, last, ``catalog.json``.

    Parameters
    ----------
    root : Path
        Where to write.
    final_root : Path
        Where the archive will lie: the absolute hrefs of ``items.json`` start with it.
    items : sequence of dict
        Of :func:`make_item`; their files are in ``<collection>/<id>/``.
    """
    home = root / COLLECTION
    for item in items:
        _write(home / item["id"] / f"{item['id']}.json", item)
    _write(home / "collection.json", _collection(items))
    served = [_with_absolute_hrefs(item, final_root / COLLECTION / item["id"]) for item in items]
    _write(root / "items.json", {"type": "FeatureCollection", "features": served})
    _write(root / "catalog.json", _catalog())


def _with_absolute_hrefs(item: dict[str, Any], folder: Path) -> dict[str, Any]:
    assets = {
        key: {**asset, "href": (folder / asset["href"].removeprefix("./")).as_uri()}
        for key, asset in item["assets"].items()
    }
    return {**item, "links": [], "assets": assets}


def _collection(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    boxes = [item["bbox"] for item in items]
    times = sorted(item["properties"]["datetime"] for item in items)
    links = [
        {"rel": "root", "href": "../catalog.json", "type": "application/json"},
        {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
    ]
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": COLLECTION,
        "title": "Simulated Sentinel-2 Level-2A",
        "description": "A synthetic archive with known truth, made by `rsscale simulate`.",
        "license": "CC0-1.0",
        "providers": [_PROVIDER],
        "extent": {
            "spatial": {"bbox": [[*map(min, *(b[:2] for b in boxes)), *_upper(boxes)]]},
            "temporal": {"interval": [[times[0], times[-1]]]},
        },
        "summaries": {
            "platform": sorted({item["properties"]["platform"] for item in items}),
            "s2:processing_baseline": sorted(
                {item["properties"]["s2:processing_baseline"] for item in items}
            ),
        },
        "links": links + list(_children("item", [f"./{i['id']}/{i['id']}.json" for i in items])),
    }


def _upper(boxes: Iterable[Sequence[float]]) -> list[float]:
    columns = list(zip(*boxes, strict=True))
    return [max(columns[2]), max(columns[3])]


def _catalog() -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": "rsscale-simulated",
        "description": "A simulated Sentinel-2-like archive; its truth is in the folder `truth`.",
        "links": [
            {"rel": "root", "href": "./catalog.json", "type": "application/json"},
            *_children("child", [f"./{COLLECTION}/collection.json"]),
        ],
    }


def _children(rel: str, hrefs: Iterable[str]) -> Iterable[dict[str, str]]:
    kind = "application/geo+json" if rel == "item" else "application/json"
    return [{"rel": rel, "href": href, "type": kind} for href in hrefs]


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
