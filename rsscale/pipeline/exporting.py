"""Export layers as Cloud Optimized GeoTIFFs, for QGIS, GDAL, R and all that can't read the Zarr."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial as with_first
from pathlib import Path
from typing import Any, get_args

import numpy as np
import odc.geo.xr  # noqa: F401 -- gives arrays their .odc
import xarray as xr

from rsscale.documents import read_json
from rsscale.errors import RecipeError, RunFolderError, nearest
from rsscale.formats.cog import Raster, write_cog
from rsscale.geo.area import read_area
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Axis, DataType, Layer
from rsscale.legend.flags import flag_classes
from rsscale.passes.overviews import reduce
from rsscale.progress.bars import progress
from rsscale.recipe import GridRecipe
from rsscale.runs.run import Run
from rsscale.store.run_folder import RunFolder
from rsscale.store.run_state import check_layers
from rsscale.store.zarr_store import axis_chunk

_ENDINGS = (".tif", ".tiff")


@dataclass(frozen=True)
class StoredProduct:
    """Layers as they are stored, and what they are called.

    Attributes
    ----------
    stored : Dataset
        Not decoded; ``(time, y, x)``, ``(time, axis, y, x)``, or without time.
    layers : mapping of name to Layer
    periods : tuple of str
        Along the time axis; one that is empty where there is none.
    prefix : str
        Of file names.
    tags : mapping
        Metadata of the files.
    """

    stored: xr.Dataset
    layers: Mapping[str, Layer]
    periods: tuple[str, ...]
    prefix: str
    tags: Mapping[str, str]

    def title(self, layer: str) -> str:
        """A layer's name in files and catalogues: with its step, where that is not the map."""
        return layer if self.prefix in ("", layer) else f"{self.prefix}_{layer}"

    def file_name(self, layer: str, period: str) -> str:
        """Name of the GeoTIFF of one layer and period."""
        return f"{self.title(layer)}_{period}.tif" if period else f"{self.title(layer)}.tif"


def export(
    source: Run | str | Path | xr.Dataset,
    to: str | Path,
    *,
    step: str = "map",
    layers: Sequence[str] = (),
    periods: Sequence[int | str] = (),
    partial: bool = False,
    whole_tiles: bool = False,
) -> list[Path]:
    """Write layers as Cloud Optimized GeoTIFFs, one file for each layer and period.

    A file has the stored values in blocks of 512 px, DEFLATE, with nodata, CRS, scale, offset and
    units; classes have their colours, and their names in a ``.aux.xml`` beside the file.
    Overviews follow the rule of the layer as the step ``overviews`` does: the most frequent class,
    the mean of quantities; nodata counts nowhere. A layer with an axis is a file of several bands.
    Read in windows, so that memory does not grow with the area. Files of a run are cut to its
    area, as those that :func:`rsscale.publish` writes: pixels of the rows and columns around it,
    nodata where their centre lies outside.

    Parameters
    ----------
    source : Run, path or Dataset
        A run, its folder or address; or layers as :meth:`Run.open`, :func:`rsscale.predict` or
        :func:`rsscale.detect_change` give them, which may be lazy.
    to : path
        A folder; or ``name.tif`` where one layer of one period is chosen. Files that are there
        are replaced, each there whole or not at all.
    step : str
        Of a run: whose layers.
    layers : sequence of str
        All of the step when omitted.
    periods : sequence of int or str
        As the run calls them: ``2023``, ``"2023-2024"``; all when omitted.
    partial : bool
        Export a step of which tiles are not done, as nodata where they are not.
    whole_tiles : bool
        Of a run: files as wide as its arrays, which are whole tiles, with nodata beyond the area.

    Returns
    -------
    list of Path

    Raises
    ------
    RecipeError
        When there is no such step, layer or period, or ``to`` can't hold what is asked for.
    RunFolderError
        When the step is not done, or stored objects are lost.
    StorageError
        When a file can't be written.
    """
    run = Run(source) if isinstance(source, str | Path) else source
    product = _of_dataset(run) if isinstance(run, xr.Dataset) else product_of_run(run, step)
    chosen = _chosen("layer", list(product.layers), layers)
    spans = _chosen("period", list(product.periods), periods)
    paths = _paths(product, chosen, spans, to)
    if isinstance(run, Run):
        check_whole(run.folder, step, chosen, spans, partial=partial)
    rasters = {
        paths[name, span]: raster_of(product, name, span) for name in chosen for span in spans
    }
    if isinstance(run, Run) and not whole_tiles:
        rasters = {path: _cut_to_area(raster, run) for path, raster in rasters.items()}
    total = sum(len(raster.windows()) for raster in rasters.values())
    with progress("export", total, "windows") as bar:
        for path, raster in rasters.items():
            bar.note(path.name)
            write_cog(raster, path, with_first(reduce, raster.layer), bar.advance)
    return list(rasters)


def _cut_to_area(raster: Raster, run: Run) -> Raster:
    """A raster of a run without the rows and columns that its area does not touch."""
    state = run.state
    grid = GridRecipe.model_validate(state["grid"]).build()
    area = read_area(read_json(run.folder.storage.read(state["area"])))
    inside = grid.box(area) & PixelBox(*state["extent"])
    return raster.part(*inside.slices(grid.box_of(raster.geobox)))


def product_of_run(run: Run, step: str) -> StoredProduct:
    """The stored layers of a step of a run, lazy, and what they are called."""
    state = run.state
    check_layers(state, step, run.folder.url)
    steps = state["steps"]
    opened = run.open(step)  # says what is wrong with a store that is damaged
    stored = xr.open_zarr(
        run.folder.store(step).zarr(read_only=True), chunks=None, mask_and_scale=False
    )
    layers = [Layer.parse(entry) for entry in steps[step]["layers"]]
    return StoredProduct(
        stored=stored,
        layers={layer.name: layer for layer in layers},
        periods=tuple(steps[step]["spans"]),
        prefix="" if step == "map" else step,
        tags={k.upper(): str(opened.attrs[k]) for k in ("title", "source") if k in opened.attrs},
    )


def _of_dataset(ds: xr.Dataset) -> StoredProduct:
    """Layers in memory or lazy, described by their attributes."""
    layers = {
        str(name): _layer_of(str(name), array)
        for name, array in ds.data_vars.items()
        if {"y", "x"} <= set(array.dims)
    }
    if not layers:
        raise RecipeError(f"the dataset has no layer with y and x; it has {list(ds.data_vars)}")
    periods = tuple(_periods(ds["time"].values)) if "time" in ds.dims else ("",)
    tags = {k.upper(): str(ds.attrs[k]) for k in ("title", "source") if k in ds.attrs}
    return StoredProduct(ds, layers, periods, "", tags)


def _layer_of(name: str, array: xr.DataArray) -> Layer:
    dtype = str(array.dtype)
    if dtype not in get_args(DataType):
        raise RecipeError(
            f"layer {name!r} is {dtype}; a file holds {', '.join(get_args(DataType))}: "
            f"convert it with .astype"
        )
    given = array.attrs.get("nodata", array.attrs.get("_FillValue"))
    is_float = array.dtype.kind == "f"
    axes = [str(dim) for dim in array.dims if dim not in ("time", "y", "x")]
    axis = _axis(array, axes[0]) if len(axes) == 1 else None
    if given is None and not is_float:
        raise RecipeError(
            f"layer {name!r} does not say what its nodata is; set its attribute 'nodata'"
        )
    return Layer(
        name,
        dtype=dtype,  # type: ignore[arg-type]
        nodata=math.nan if given is None else float(given),
        axis=axis,
        overview="mode" if flag_classes(array.attrs) else "mean",
        attributes={k: v for k, v in array.attrs.items() if k not in ("nodata", "grid_mapping")},
    )


def _axis(array: xr.DataArray, name: str) -> Axis:
    """The dimension of a layer beside time, y and x; its coordinate where that is whole numbers."""
    values = array[name].to_numpy()
    whole = values if values.dtype.kind in "iu" else np.arange(1, len(values) + 1)
    return Axis(name, tuple(whole.tolist()))


def _periods(times: Any) -> Iterator[str]:
    """Years where all differ, else dates."""
    days = [str(np.datetime64(time, "D")) for time in times]
    by_year = Counter(day[:4] for day in days)
    yield from (day if max(by_year.values()) > 1 else day[:4] for day in days)


def _chosen(subject: str, known: list[str], wanted: Sequence[int | str]) -> list[str]:
    """Names in the order of the product; all where none is named."""
    names = [str(choice) for choice in wanted]
    for name in names:
        if name not in known:
            raise RecipeError(
                f"there is no {subject} {name!r}; there are {', '.join(known)}"
                f"{nearest(name, known)}"
            )
    return [known_name for known_name in known if known_name in names or not names]


def _paths(
    product: StoredProduct, layers: list[str], periods: list[str], to: str | Path
) -> dict[tuple[str, str], Path]:
    if "://" in os.fspath(to):
        raise RecipeError(f"{to} can't be exported to; give a local folder or file, and copy it")
    target = Path(to)
    pairs = [(layer, period) for layer in layers for period in periods]
    if target.suffix.lower() in _ENDINGS and not target.is_dir():
        if len(pairs) > 1:
            raise RecipeError(
                f"{target} is one file, and there are {len(pairs)} to write ({len(layers)} layers "
                f"of {len(periods)} periods); choose one with --layer and --period, or give a "
                "folder"
            )
        return {pairs[0]: target}
    if target.exists() and not target.is_dir():
        raise RecipeError(f"{target} is a file; give a folder, or a name that ends in .tif")
    return {(layer, period): target / product.file_name(layer, period) for layer, period in pairs}


def check_whole(
    folder: RunFolder, step: str, layers: list[str], periods: list[str], *, partial: bool
) -> None:
    """Refuse a step that is not done, unless it is asked for, and one with lost objects always."""
    state = folder.read_state()
    described = state["steps"][step]
    tiles = described["tiles"]
    if tiles["done"] < tiles["total"] and not partial:
        raise RunFolderError(
            f"{folder.url} is not finished: {tiles['done']} of {tiles['total']} tiles of step "
            f"{step!r} are done; go on with: rsscale resume {folder.url}, or export what is there "
            "with --partial"
        )
    known = {entry["name"]: Layer.parse(entry) for entry in described["layers"]}
    storage, tile = folder.store(step), state["grid"]["tile"]
    for name in layers:
        layer = known[name]
        parts = math.ceil(layer.depth / axis_chunk(layer, tile)) if layer.axis else 1
        for span in periods:
            done = sum(1 for _ in folder.storage.names(f"ledger/{step}/{span}"))
            place = described["spans"].index(span)
            there = sum(1 for _ in storage.names(f"{name}/c/{place}"))
            if there < done * parts:
                raise RunFolderError(
                    f"{folder.url} is damaged: {done * parts - there} of {done * parts} stored "
                    f"objects of layer {name!r} of {span} are lost; compute them again with: "
                    f"rsscale resume {folder.url}"
                )


def raster_of(product: StoredProduct, name: str, period: str) -> Raster:
    """One layer of one period as it is written to a file, read window by window.

    Raises
    ------
    RecipeError
        When the layer has more dimensions than a file, or no place on the ground.
    """
    layer, array = product.layers[name], product.stored[name]
    if "time" in array.dims:
        array = array.isel(time=product.periods.index(period))
    extra = [str(dim) for dim in array.dims if dim not in ("y", "x")]
    if len(extra) > 1:
        raise RecipeError(f"layer {name!r} has the dimensions {array.dims}; one beside y and x")
    array = _north_up(array.transpose(*extra, "y", "x"))
    geobox = array.odc.geobox
    if geobox is None or geobox.crs is None:
        raise RecipeError(
            f"layer {name!r} has no CRS or no even coordinates; see ds.odc.assign_crs"
        )

    def read(rows: slice, cols: slice) -> Any:
        return array[..., rows, cols].to_numpy()

    bands = _bands(product, array, layer, extra)
    return Raster(layer, geobox, read, bands, {**product.tags, **_period_tag(period)})


def _period_tag(period: str) -> dict[str, str]:
    return {"PERIOD": period} if period else {}


def _north_up(array: xr.DataArray) -> xr.DataArray:
    if array["y"].values[0] < array["y"].values[-1]:
        array = array.isel(y=slice(None, None, -1))
    if array["x"].values[0] > array["x"].values[-1]:
        array = array.isel(x=slice(None, None, -1))
    return array


def _bands(
    product: StoredProduct, array: xr.DataArray, layer: Layer, extra: list[str]
) -> tuple[str, ...]:
    """Descriptions of the bands: names of classes where the axis is of these."""
    if not extra:
        return (layer.name,)
    values = array[extra[0]].values.tolist()
    classes: dict[int, str] = {}
    if extra[0] == "class" and "classification" in product.layers:
        flags = flag_classes(product.layers["classification"].attributes)
        classes = {land_class.value: land_class.name for land_class in flags}
    return tuple(f"{layer.name} of {classes.get(v, f'{extra[0]} {v}')}" for v in values)
