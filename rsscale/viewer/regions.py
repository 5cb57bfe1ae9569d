"""Regions of a run, and the areas or objects in them, as GeoJSON for the viewer's page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from rsscale.errors import RecipeError, RunFolderError
from rsscale.geo.lattice import PixelBox
from rsscale.plans.plan import read_frozen
from rsscale.store.run_folder import RunFolder
from rsscale.store.run_state import run_grid
from rsscale.store.table_store import read_table

if TYPE_CHECKING:
    from rsscale.reference.zones import Zones

# Lines are drawn, not measured: this part of the product's width may be lost.
_LINES = 4000


AREAS, COUNTS = "zones", "object-counts"
"""Kinds of steps that measure regions: hectares of classes, and objects."""


def zone_steps(folder: RunFolder, state: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Steps that measure regions whose sums are there: each with what it counted, and its kind."""
    done = [
        name
        for name, step in state["steps"].items()
        if step["kind"] in (AREAS, COUNTS)
        and step.get("gathered")
        and step["tiles"]["done"] == step["tiles"]["total"]
    ]
    if not done:
        return []
    recipe, _ = read_frozen(folder, state)
    steps = []
    for name in done:
        reference = next(iter(recipe.all_steps[name].references), "map")
        steps.append((name, reference, state["steps"][name]["kind"]))
    return steps


def regions_geojson(folder: RunFolder, step: str) -> dict[str, Any]:
    """Polygons of a step that measures regions, with what it has found in each by period.

    Parameters
    ----------
    folder : RunFolder
    step : str

    Returns
    -------
    dict
        A FeatureCollection in the grid's CRS, lines simplified to what a screen shows. Each
        feature has ``properties.areas``: by span a list of ``class``, ``name``, ``hectares``; of a
        step of kind ``object-counts`` ``properties.counts`` instead: by span a list of ``class``
        (null: all together), ``name``, ``objects``, ``per_km2``.

    Raises
    ------
    RunFolderError
        When the step's zones are not in the folder any more, or can't be read.
    """
    state = folder.read_state()
    grid = run_grid(state)
    zones = _zones(folder, state, step)
    extent = grid.geobox_of(PixelBox(*state["extent"])).boundingbox
    tolerance = max((extent.right - extent.left) / _LINES, grid.resolution)
    kind = state["steps"][step]["kind"]
    name, read_regions = ("counts", _counts) if kind == COUNTS else ("areas", _areas)
    values = read_regions(folder, step)
    lines = shapely.set_precision(
        shapely.simplify(list(zones.shapes), tolerance), grid.resolution / 10, mode="pointwise"
    )
    features = [
        {
            "type": "Feature",
            "id": zone,
            "geometry": shapely.geometry.mapping(shape),
            "properties": {"id": zone, name: values[zone]},
        }
        for zone, shape in zip(zones.ids, lines, strict=True)
    ]
    return {"type": "FeatureCollection", "features": features}


def _zones(folder: RunFolder, state: Mapping[str, Any], step: str) -> Zones:
    from rsscale.reference.zones import read_zones

    recipe, _ = read_frozen(folder, state)
    options = recipe.all_steps[step].options
    kept = state["attachments"]
    room, digest = (kept.get(step) or kept[f"{step}-tiles"])["zones"]
    name = f"{room}/{digest}/{Path(options['zones']).name}"
    try:
        path = folder.storage.local(name)
        return read_zones(path, options["id"], run_grid(state), options.get("zones_layer"))
    except (FileNotFoundError, RecipeError) as error:
        raise RunFolderError(f"{folder.url}: zones of {step!r} can't be read: {error}") from None


def _areas(folder: RunFolder, step: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """By zone and span, the classes with pixels, in the order of the table."""
    areas: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in _rows(read_table(folder, step)):
        if row["pixels"] > 0 and row["name"]:
            areas[row["zone"]][row["span"]].append(
                {
                    "class": row["class"],
                    "name": row["name"],
                    "hectares": round(row["hectares"], 2),
                }
            )
    return areas


def _counts(folder: RunFolder, step: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """By zone and span, the numbers of objects, of all classes together first."""
    by_zone: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in _rows(read_table(folder, step)):
        dense = None if row["per_km2"] is None else float(f"{row['per_km2']:.4g}")
        counted = {"class": row["class"], "name": row["name"], "objects": row["objects"]}
        by_zone[row["zone"]][row["span"]].append({**counted, "per_km2": dense})
    return by_zone


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()
