"""GeoTIFFs of a publication: a file for each layer, period and piece, made once."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from rsscale.documents import read_json
from rsscale.finished_runs.finished_run import FinishedRun
from rsscale.formats.cog import write_cog
from rsscale.formats.qml import legend_of, write_legend_csv, write_legend_svg, write_qml
from rsscale.layers import Layer
from rsscale.passes.overviews import reduce
from rsscale.pipeline.exporting import StoredProduct, product_of_run, raster_of
from rsscale.publishing.pieces import Piece
from rsscale.publishing.target import Target, WrittenFile
from rsscale.publishing.zarr_copy import store_name
from rsscale.store.storage import Folder

_WRITER = "1"  # raised whenever files of the same layers would differ

Range = tuple[float, float]


@dataclass(frozen=True)
class CogLayer:
    """A layer of a period that is published as a file.

    Attributes
    ----------
    step, layer, span : str
    title : str
        Key of its asset, and beginning of its file's name.
    product : StoredProduct
    values : (float, float)
        What its style shows.
    """

    step: str
    layer: str
    span: str
    title: str
    product: StoredProduct
    values: Range

    @property
    def described(self) -> Layer:
        """Its type, nodata, classes."""
        return self.product.layers[self.layer]

    def name(self, piece: Piece) -> str:
        """Name of its file, from the root of the publication."""
        folder = f"cogs/{piece.name}" if piece.name else "cogs"
        return f"{folder}/{self.product.file_name(self.layer, self.span)}"


def cog_layers(
    finished: FinishedRun, layers: Any, periods: Any, ranges: Mapping[tuple[str, str], Range]
) -> list[CogLayer]:
    """All layers of all steps and periods that are to be files, of those that are named."""
    made = []
    for step in finished.steps:
        product = product_of_run(finished.run, step)
        for name in product.layers:
            for span in product.periods:
                if (not layers or name in layers) and (not periods or span in periods):
                    values = ranges.get((step, name), (0.0, 1.0))
                    made.append(CogLayer(step, name, span, product.title(name), product, values))
    return made


def fingerprint(finished: FinishedRun, layer: CogLayer, piece: Piece) -> str:
    """Hash of all that decides the bytes of a file."""
    shape = "" if piece.shape is None else hashlib.sha256(piece.shape.wkb).hexdigest()
    box = piece.box
    content = [
        _WRITER, finished.versions[layer.step], layer.span, layer.described.describe(),
        dict(layer.product.tags), [box.row0, box.col0, box.row1, box.col1], shape,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def write_files(
    layer: CogLayer, piece: Piece, target: Target, made: str, known: Mapping[str, Any] | None
) -> list[WrittenFile]:
    """Write the GeoTIFF of a layer with what QGIS and GDAL find beside it, unless it is there.

    Parameters
    ----------
    layer : CogLayer
    piece : Piece
    target : Target
    made : str
        Its :func:`fingerprint`.
    known : mapping, optional
        The asset that an earlier publication wrote of it.

    Returns
    -------
    list of WrittenFile
        The GeoTIFF first.
    """
    name = layer.name(piece)
    names = f"{name}.aux.xml"
    style = target.put_text(
        f"{name.removesuffix('.tif')}.qml", write_qml(layer.described, layer.values)
    )
    unchanged = _unchanged(target, name, known, made)
    if unchanged is not None:
        target.take(name)
        there = [names] if target.storage.exists(names) else []
        return [unchanged, *(target.put(n, target.storage.read(n)) for n in there), style]
    storage = target.storage
    if isinstance(storage, Folder):  # the scratch files of a GeoTIFF lie beside it
        return [*_write(layer, piece, storage.local(name), target, name), style]
    with tempfile.TemporaryDirectory(prefix="rsscale-") as scratch:
        return [*_write(layer, piece, Path(scratch) / Path(name).name, target, name), style]


def _write(
    layer: CogLayer, piece: Piece, path: Path, target: Target, name: str
) -> list[WrittenFile]:
    raster = raster_of(layer.product, layer.layer, layer.span)
    rows, cols = piece.box.slices(_whole(raster.geobox, piece))
    write_cog(raster.part(rows, cols, piece.where), path, partial(reduce, raster.layer))
    beside = path.with_name(f"{path.name}.aux.xml")
    # The names of classes first: who sees the GeoTIFF finds them.
    names = [target.put_file(f"{name}.aux.xml", beside)] if beside.exists() else []
    return [target.put_file(name, path), *names]


def _whole(geobox: Any, piece: Piece) -> Any:
    """The box of a raster in the grid's pixels."""
    return piece.grid.box_of(geobox)


def _unchanged(
    target: Target, name: str, known: Mapping[str, Any] | None, wanted: str
) -> WrittenFile | None:
    """The file that an earlier publication wrote of the same pixels, if it is still there."""
    if not known or known.get("rsscale:fingerprint") != wanted or not target.storage.exists(name):
        return None
    size, checksum = known.get("file:size"), str(known.get("file:checksum", ""))
    if not isinstance(size, int):
        return None
    if isinstance(target.storage, Folder) and target.storage.local(name).stat().st_size != size:
        return None
    return WrittenFile(name, size, checksum[4:])


def earlier_assets(target: Target, item: str) -> dict[str, Any]:
    """Assets of an item that an earlier publication wrote; empty where it did not."""
    try:
        document = read_json(target.storage.read(item))
        return dict(document["assets"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def write_legends(layer: CogLayer, target: Target) -> list[WrittenFile]:
    """The legend of a layer of classes, as a picture and a table; its style."""
    stem = f"styles/{layer.title}"
    files = [target.put_text(f"{stem}.qml", write_qml(layer.described, layer.values))]
    if legend_of(layer.described):
        title = str(layer.described.attributes.get("long_name", layer.title))
        files.append(target.put_text(f"{stem}.svg", write_legend_svg(layer.described, title)))
        files.append(target.put_text(f"{stem}.csv", write_legend_csv(layer.described)))
    return files


def value_ranges(finished: FinishedRun, target: Target) -> dict[tuple[str, str], Range]:
    """What styles of quantities show: 2 to 98 % of the physical values of the coarsest overview."""
    ranges: dict[tuple[str, str], Range] = {}
    for step in finished.steps:
        storage = target.storage.child(store_name(step))
        root = read_json(storage.read("zarr.json"))
        levels = root["attributes"].get("multiscales", {}).get("layout", [])
        for layer in finished.layers(step):
            if legend_of(layer):
                continue
            if layer.attributes.get("units") == "percent":
                ranges[step, layer.name] = (0.0, 100.0)
            elif levels and layer.overview != "none":
                group = levels[-1]["asset"]
                store = storage.zarr(read_only=True)
                stored = xr.open_zarr(store, group=group, mask_and_scale=False, chunks=None)
                ranges[step, layer.name] = _range(layer, stored[layer.name].to_numpy())
    return ranges


def _range(layer: Layer, stored: Any) -> Range:
    values = stored[layer.is_valid(stored)].astype(np.float64) * layer.scale + layer.offset
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, [2, 98])
    low, high = (float(f"{edge:.4g}") for edge in (low, high))
    return (low, high) if high > low else (low, low + 1.0)
