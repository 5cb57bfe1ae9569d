"""``viewer.json``: all that the viewer's page needs to know of a product before it reads pixels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyproj
import shapely
from odc.geo.geom import Geometry

from rsscale.documents import read_json
from rsscale.errors import RunFolderError
from rsscale.geo.area import read_area
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.object_files.class_colors import class_colors
from rsscale.object_files.step_objects import object_steps, open_objects
from rsscale.store.run_folder import RunFolder
from rsscale.store.run_state import run_grid
from rsscale.store.storage import Storage
from rsscale.viewer.areas import area_notes, legend_areas, not_sampled
from rsscale.viewer.imagery import imagery_folder
from rsscale.viewer.layer_entries import layer_entries
from rsscale.viewer.regions import COUNTS, zone_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 1
"""Of ``viewer.json``."""
SAMPLE = "sample.geojson"
# An outline is drawn, not measured: this part of the product's width may be lost.
_OUTLINE = 2000


def viewer_document(
    folder: RunFolder, place: Storage | None = None, shown: Collection[str] | None = None
) -> dict[str, Any]:
    """Describe a run's product for the viewer's page.

    Parameters
    ----------
    folder : RunFolder
        Finished or not: what is not done is drawn as nodata, and ``notes`` say so.
    place : Storage, optional
        Where the stores are published, under their names; the run folder when omitted.
    shown : collection of str, optional
        Steps with layers or objects, or that count these, that the page may show; all when omitted.

    Returns
    -------
    dict
        For JSON: ``title``, ``crs``, ``extent`` and ``area`` in the grid's CRS, ``grid``,
        ``tiles``, ``layers`` (see :func:`~rsscale.viewer.layer_entries.layer_entries`),
        ``regions``, ``objects``, ``sample``, ``areas`` (see
        :func:`~rsscale.viewer.areas.legend_areas`), ``not_sampled``, ``notes``. Stores are named
        relative to the product's folder.

    Raises
    ------
    RunFolderError
        When the folder is no run, or has no layers yet.
    """
    state = folder.read_state()
    stores = place or folder.storage
    layers = layer_entries(stores, state) + _imagery(folder, state, place)
    objects = [entry for entry in _objects(folder) if shown is None or entry["step"] in shown]
    if not layers and not objects:
        raise RunFolderError(
            f"{stores.url} holds no layers or objects to look at; the steps are "
            f"{', '.join(state['steps']) or 'none'}: "
            + ("run a recipe with a map" if place is None else "publish the stores first")
        )
    grid = run_grid(state)
    area = read_area(read_json(folder.storage.read(state["area"]))["features"][0])
    box = PixelBox(*state["extent"])
    extent = grid.geobox_of(box).boundingbox
    return {
        "format": FORMAT,
        "title": _title(folder),
        "crs": _crs(grid),
        "extent": list(extent.bbox),
        "area": _outline(area, grid, (extent.right - extent.left) / _OUTLINE),
        "tiles": _tiles(area, grid),
        "grid": {
            "origin": list(grid.origin),
            "resolution": grid.resolution,
            "tile": grid.tile,
            "shape": list(box.shape),
        },
        "layers": layers,
        "regions": [
            {
                "step": step,
                "title": _words(step),
                "of": of,
                "kind": kind,
            }
            for step, of, kind in zone_steps(folder, state)
            if shown is None
            or (step if kind == COUNTS else of) in shown
            or (kind != COUNTS and state["steps"].get(of, {}).get("store") != of)
        ],
        "objects": objects,
        "sample": folder.storage.exists(SAMPLE),
        "areas": legend_areas(folder, layers),
        "not_sampled": not_sampled(folder),
        "notes": [*_notes(folder, state, layers), *_without_layers(folder, layers, place)],
    }


def _objects(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """Steps that hold objects, with their spans, and the colours that are known of classes."""
    for step in object_steps(folder):
        colors = class_colors(folder, step)
        yield {
            "step": step,
            "title": _words(step),
            "spans": list(open_objects(folder, step).spans),
            "colors": {f"{value} {name}": color for (value, name), color in colors.items()},
        }


def _words(step: str) -> str:
    """The name of a step for people."""
    return step.replace("_", " ").replace("-", " ")


def _without_layers(
    folder: RunFolder, layers: Sequence[Mapping[str, Any]], place: Storage | None
) -> Iterator[str]:
    """A line where objects lie over nothing."""
    if layers:
        return
    yield "there are objects alone, without a map" + (
        f"; to see them over imagery: rsscale view {folder.url} --imagery" if place is None else ""
    )


def _imagery(
    folder: RunFolder, state: Mapping[str, Any], place: Storage | None
) -> list[dict[str, Any]]:
    """Layers of the run of imagery beside this one, unless the run has imagery itself."""
    beside = imagery_folder(folder)
    own = any(step.get("store") == "imagery" for step in state["steps"].values())
    if own or not beside.exists:
        return []
    return layer_entries(place or beside.storage, beside.read_state())


def _title(folder: RunFolder) -> str:
    """The recipe's name."""
    from rsscale.recipe.yaml_text import parse_yaml

    try:
        recipe = parse_yaml(folder.storage.read("recipe.yaml").decode(), "recipe.yaml")
        return str(recipe["name"])
    except (FileNotFoundError, UnicodeDecodeError, KeyError, TypeError):
        return folder.url.rstrip("/").rpartition("/")[2]


def _crs(grid: Grid) -> dict[str, Any]:
    """The CRS as the page registers it; ``proj4`` is null where PROJ can't write it so."""
    import warnings

    crs = pyproj.CRS(str(grid.crs))
    with warnings.catch_warnings():
        # A PROJ string loses the name of the datum; the page shows degrees to five digits.
        warnings.simplefilter("ignore", UserWarning)
        text = crs.to_proj4()
    code = crs.to_epsg()
    return {
        "code": f"EPSG:{code}" if code else "rsscale:grid",
        "name": crs.name,
        "proj4": text or None,
        "units": "degrees" if crs.is_geographic else "m",
    }


def _outline(area: Geometry, grid: Grid, tolerance: float) -> dict[str, Any]:
    """The area as a GeoJSON geometry in the grid's CRS, simplified for drawing."""
    shape = shapely.simplify(grid.project(area).geom, tolerance)
    return dict(shapely.geometry.mapping(shape))


def _tiles(area: Geometry, grid: Grid) -> dict[int, list[int]]:
    """Tiles that there are: for each row, first and last column of each run of them.

    A page asks for nothing elsewhere: where a host has no file, browsers write an error.
    """
    rows: dict[int, list[int]] = {}
    for tile in grid.tiles(area):
        runs = rows.setdefault(tile.iy, [])
        if runs and runs[-1] == tile.ix - 1:
            runs[-1] = tile.ix
        else:
            runs += [tile.ix, tile.ix]
    return rows


def _notes(folder: RunFolder, state: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> Any:
    """Lines for the page on what is missing."""
    for step in dict.fromkeys(layer["step"] for layer in layers):
        if step not in state["steps"]:
            continue  # imagery of a run beside
        tiles = state["steps"][step]["tiles"]
        if tiles["done"] < tiles["total"]:
            yield (
                f"{step}: {tiles['done']:,} of {tiles['total']:,} tiles are done; the others are "
                "empty here"
            )
    yield from area_notes(folder, state)
    flat = [
        step
        for step in dict.fromkeys(layer["step"] for layer in layers)
        if all(layer["levels"] == 1 for layer in layers if layer["step"] == step)
    ]
    rows, cols = PixelBox(*state["extent"]).shape
    if flat and max(rows, cols) > WITHOUT_OVERVIEWS:
        names = " and ".join(flat)
        yield (
            f"{names} {'have' if len(flat) > 1 else 'has'} no overviews, so that pixels show only "
            "when zoomed in; add "
            + ", ".join(f"{step}-overviews: {{kind: overviews, of: {step}}}" for step in flat)
            + f" to the recipe's steps and run it again into {folder.url.rpartition('/')[2]}"
        )


WITHOUT_OVERVIEWS = 4096
"""Pixels in a row of a store without overviews that a page may read as a whole."""
