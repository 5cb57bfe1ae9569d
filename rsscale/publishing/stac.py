"""STAC 1.1 documents of a publication: an item for each period and piece, one collection."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyproj

from rsscale.finished_runs.finished_run import FinishedRun
from rsscale.layers import Layer
from rsscale.legend.flags import flag_classes
from rsscale.publishing.about import About
from rsscale.publishing.cog_files import CogLayer
from rsscale.publishing.pieces import Piece, bbox_of, rounded
from rsscale.publishing.target import COLLECTION, WrittenFile

STAC_VERSION = "1.1.0"
_SCHEMAS = "https://stac-extensions.github.io"
PROJECTION = f"{_SCHEMAS}/projection/v2.0.0/schema.json"
RASTER = f"{_SCHEMAS}/raster/v2.0.0/schema.json"
CLASSIFICATION = f"{_SCHEMAS}/classification/v2.0.0/schema.json"
FILE = f"{_SCHEMAS}/file/v2.1.0/schema.json"
PROCESSING = f"{_SCHEMAS}/processing/v1.1.0/schema.json"
VERSION = f"{_SCHEMAS}/version/v1.2.0/schema.json"
TABLE = f"{_SCHEMAS}/table/v1.2.0/schema.json"
SCIENTIFIC = f"{_SCHEMAS}/scientific/v1.0.0/schema.json"

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
ZARR = "application/vnd.zarr; version=3; profile=multiscales"
PARQUET = "application/vnd.apache.parquet"
GEOJSON = "application/geo+json"
_MEDIA = {
    ".tif": COG, ".parquet": PARQUET, ".csv": "text/csv", ".json": "application/json",
    ".geojson": GEOJSON, ".html": "text/html", ".md": "text/markdown", ".svg": "image/svg+xml",
    ".png": "image/png", ".qml": "application/xml", ".xml": "application/xml",
    ".yaml": "application/yaml", ".safetensors": "application/octet-stream",
    ".gpkg": "application/geopackage+sqlite3",
}  # fmt: skip


Scenes = Callable[[str, int, int], Sequence[str]]


@dataclass(frozen=True)
class Provenance:
    """What a product was made from, as links and texts.

    Attributes
    ----------
    lineage : str
        How it was made, in a paragraph.
    software : mapping of name to version
    links : sequence of mapping
        From the root of the publication.
    scenes : callable
        Takes a span and the index of a tile, gives ids of its input items.
    addresses : mapping of id to str
        Of input items that have one on the web.
    """

    lineage: str
    software: Mapping[str, str]
    links: Sequence[Mapping[str, Any]]
    scenes: Scenes
    addresses: Mapping[str, str]


@dataclass(frozen=True)
class ItemDraft:
    """One item before it is written.

    Attributes
    ----------
    id : str
    span : str
    piece : Piece
    """

    id: str
    span: str
    piece: Piece

    @property
    def name(self) -> str:
        """Name of its file, from the root of the publication."""
        return f"items/{self.id}.json"


def asset(file: WrittenFile, *, up: str = "./", **fields: Any) -> dict[str, Any]:
    """An asset of a written file: address from the document, media type, size and checksum."""
    ending = f".{file.name.rpartition('.')[2].lower()}"
    media = {"type": _MEDIA[ending]} if ending in _MEDIA else {}
    return {"href": f"{up}{file.name}", **(media | fields), **file.fields}


def cog_asset(layer: CogLayer, piece: Piece, file: WrittenFile, fingerprint: str) -> dict[str, Any]:
    """The asset of a GeoTIFF: bands, classes, place, and what it was made from."""
    made = {"rsscale:fingerprint": fingerprint}
    return asset(file, up="../", **item_asset(layer), **_projection(piece), **made)


def item_asset(cog_layer: CogLayer) -> dict[str, Any]:
    """What all GeoTIFFs of a layer have in common: title, bands, classes."""
    layer = cog_layer.described
    title = str(layer.attributes.get("long_name", cog_layer.title))
    return {
        "type": COG,
        "title": title[:1].upper() + title[1:],
        "roles": ["data"],
        "bands": _bands(cog_layer),
        **_classes(layer),
        "rsscale:step": cog_layer.step,
    }


def _bands(cog_layer: CogLayer) -> list[dict[str, Any]]:
    layer = cog_layer.described
    band: dict[str, Any] = {
        "data_type": layer.dtype,
        "nodata": "nan" if math.isnan(layer.nodata) else _plain(layer.nodata),
        "raster:sampling": "area",
        "raster:spatial_resolution": _metres(cog_layer),
    }
    if "units" in layer.attributes:
        band["unit"] = str(layer.attributes["units"])
    if layer.is_scaled:
        band |= {"raster:scale": layer.scale, "raster:offset": layer.offset}
    return [{"name": name, **band} for name in band_names(cog_layer)]


def band_names(layer: CogLayer) -> list[str]:
    """Names of a layer's bands in STAC: unique in an asset."""
    if layer.described.axis is None:
        return [layer.title]
    axis = layer.described.axis
    return [f"{layer.title}_{axis.name}_{value}" for value in axis.values]


def _metres(layer: CogLayer) -> float:
    geobox = layer.product.stored.odc.geobox
    size = abs(float(geobox.affine.a))
    return round(size * 111_320.0, 3) if geobox.crs.geographic else size


def _classes(layer: Layer) -> dict[str, Any]:
    classes = flag_classes(layer.attributes)
    if not classes:
        return {}
    return {
        "classification:classes": [
            {
                "value": entry.value,
                "name": entry.name,
                "description": entry.name,
                **({"color_hint": entry.color.lstrip("#").upper()} if entry.color else {}),
            }
            for entry in classes
        ]
    }


def crs_fields(crs: Any) -> dict[str, Any]:
    """A CRS as the extension ``projection`` has it."""
    known = pyproj.CRS.from_user_input(str(crs))
    code = known.to_epsg()
    return {"proj:code": f"EPSG:{code}"} if code else {"proj:code": None,
                                                       "proj:wkt2": known.to_wkt()}  # fmt: skip


def _projection(piece: Piece) -> dict[str, Any]:
    box = piece.geobox
    return {
        **crs_fields(box.crs),
        "proj:shape": [int(size) for size in box.shape],
        "proj:transform": [float(value) for value in list(box.affine)[:6]],
        "proj:bbox": [float(edge) for edge in box.boundingbox.bbox],
    }


@dataclass(frozen=True)
class Catalogue:
    """What all documents of a publication say.

    Attributes
    ----------
    finished : FinishedRun
    about : About
    provenance : Provenance
    id : str
        Of the collection.
    """

    finished: FinishedRun
    about: About
    provenance: Provenance
    id: str

    def item(self, draft: ItemDraft, assets: Mapping[str, Any]) -> dict[str, Any]:
        """One item: a period of a piece, with the files of all layers that have the period."""
        finished, about, provenance = self.finished, self.about, self.provenance
        start, end = finished.interval(draft.span)
        tile = draft.piece.tile
        scenes = list(provenance.scenes(draft.span, tile.ix, tile.iy)) if tile else []
        properties: dict[str, Any] = {
            "title": f"{about.title or finished.name}, {draft.span}"
            + (f", {draft.piece.title}" if draft.piece.name else ""),
            "datetime": None,
            "start_datetime": start,
            "end_datetime": end,
            "created": finished.updated,
            "updated": finished.updated,
            "version": version_of(finished, about),
            "processing:lineage": provenance.lineage,
            "processing:software": dict(provenance.software),
            "rsscale:period": draft.span,
            **_scientific(about, finished),
        }
        if draft.piece.name and draft.piece.shape is not None:
            properties["rsscale:region"] = draft.piece.title
        if scenes:
            properties["rsscale:scenes"] = scenes
        known = [scene for scene in scenes if scene in provenance.addresses]
        return {
            "type": "Feature",
            "stac_version": STAC_VERSION,
            "stac_extensions": _extensions(assets),
            "id": draft.id,
            "collection": self.id,
            "geometry": rounded(draft.piece.footprint),
            "bbox": bbox_of(draft.piece.footprint),
            "properties": properties,
            "links": [
                *(_up(relation) for relation in ("root", "parent", "collection")),
                *({**asset, "href": f".{asset['href']}"} for asset in provenance.links),
                *(_derived(provenance.addresses[scene]) for scene in known),
            ],
            "assets": dict(assets),
        }

    def collection(
        self,
        drafts: Sequence[ItemDraft],
        assets: Mapping[str, Any],
        item_assets: Mapping[str, Any],
        extra: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The collection, which is written last: who finds it finds all that it names."""
        finished, about, provenance = self.finished, self.about, self.provenance
        spans = finished.all_spans
        starts, ends = zip(*map(finished.interval, spans), strict=True)
        return {
            "type": "Collection",
            "stac_version": STAC_VERSION,
            "stac_extensions": _extensions({**assets, **item_assets}),
            "id": self.id,
            "title": about.title or finished.name,
            "description": about.description or _description(finished),
            "keywords": about.keywords or _keywords(finished),
            "license": about.licence,
            "providers": _providers(about, provenance),
            "version": version_of(finished, about),
            **_scientific(about, finished),
            "extent": {
                "spatial": {"bbox": [bbox_of(finished.area.geom)]},
                "temporal": {"interval": [[min(starts), max(ends)]]},
            },
            "summaries": {
                "processing:lineage": [provenance.lineage],
                "processing:software": [dict(provenance.software)],
                "rsscale:period": sorted(spans),
            },
            "item_assets": dict(item_assets),
            **extra,
            "links": [
                {"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"},
                *({"rel": "item", "href": f"./{asset.name}", "type": GEOJSON} for asset in drafts),
                *provenance.links,
                _VIEWER,
                about.licence_link,
                *about.doi_links,
            ],
            "assets": dict(assets),
        }


_VIEWER = {
    "rel": "alternate", "href": "./viewer/index.html", "type": "text/html",
    "title": "Viewer, on any host that honours Range",
}  # fmt: skip


def _up(relation: str) -> dict[str, str]:
    return {"rel": relation, "href": f"../{COLLECTION}", "type": "application/json"}


def _derived(address: str) -> dict[str, str]:
    return {"rel": "derived_from", "href": address, "type": GEOJSON}


def zarr_asset(finished: FinishedRun, step: str, name: str) -> dict[str, Any]:
    """The asset of a step's store: all periods and levels."""
    return {
        "href": f"./{name}",
        "type": ZARR,
        "title": f"All periods and overviews of {'the map' if step == 'map' else step}, Zarr",
        "roles": ["data", "overview"],
        **_projection(Piece("", finished.extent, finished.grid, "", finished.area.geom)),
        "rsscale:version": finished.versions[step],
    }


def version_of(finished: FinishedRun, about: About) -> str:
    """The product's version: the publisher's, else the hash of what its first step stored."""
    return about.version or finished.versions[finished.stored[0]]


def collection_id(finished: FinishedRun, about: About) -> str:
    """Id of the collection: the publisher's, else made of the run's name."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", finished.name).strip("-.")[:100]
    return about.id or slug or "product"


def citation(finished: FinishedRun, about: About) -> str:
    """How to cite the product."""
    who = ", ".join(provider.name for provider in about.providers)
    title = about.title or finished.name
    doi = f" https://doi.org/{about.doi}" if about.doi else ""
    made = f"{who + ', ' if who else ''}{title}, version {version_of(finished, about)}"
    return about.citation or f"{made} ({finished.updated[:4]}).{doi}"


def _scientific(about: About, finished: FinishedRun) -> dict[str, Any]:
    doi = {"sci:doi": about.doi} if about.doi else {}
    return {"sci:citation": citation(finished, about), **doi}


def _providers(about: About, provenance: Provenance) -> list[dict[str, Any]]:
    made = {
        "processing:lineage": provenance.lineage,
        "processing:software": dict(provenance.software),
    }
    given = [provider.model_dump(exclude_none=True) for provider in about.providers]
    makes = [asset for asset in given if {"producer", "processor"} & set(asset["roles"])]
    if makes:
        makes[0].update(made)
    else:
        given.append({"name": "unnamed producer", "roles": ["processor"], **made})
    return given


def _description(finished: FinishedRun) -> str:
    layers = [layer for step in finished.steps for layer in finished.layers(step)]
    first, last = finished.years
    years = f"{first}" if first == last else f"{first} to {last}"
    names = sorted({str(layer.attributes.get("long_name", layer.name)) for layer in layers})
    if finished.objects:
        names.append(f"objects ({', '.join(finished.objects)})")
    return f"{finished.name} of {years}: {', '.join(names)}. Pixels of {_size(finished)}."


def _keywords(finished: FinishedRun) -> list[str]:
    kinds = {"land cover"} if finished.steps else set()
    kinds |= {"objects"} if finished.objects else set()
    return sorted({*kinds, *finished.stored} - {"map"})


def _size(finished: FinishedRun) -> str:
    unit = "degrees" if pyproj.CRS(str(finished.grid.crs)).is_geographic else "m"
    return f"{finished.grid.resolution:g} {unit} in {finished.grid.crs}"


def _extensions(assets: Mapping[str, Any]) -> list[str]:
    has_classes = any("classification:classes" in asset for asset in assets.values())
    has_raster = any("bands" in asset for asset in assets.values())
    has_places = any("proj:code" in asset for asset in assets.values())
    return [
        *([PROJECTION] if has_places else []),
        *([RASTER] if has_raster else []),
        *([CLASSIFICATION] if has_classes else []),
        *([TABLE] if any("table:columns" in asset for asset in assets.values()) else []),
        *([FILE] if any("file:size" in asset for asset in assets.values()) else []),
        PROCESSING,
        VERSION,
        SCIENTIFIC,
    ]


def _plain(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value
