"""The fingerprint of a tile: the hash of all that decides what it stores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import shapely

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.steps.base import Gather, NotReadyError, Pass
from rsscale.store.ledger import Entry


def fingerprint(step: Pass, key: TileKey, grid: Grid, shape: shapely.Geometry) -> str:
    """Hash of pass, version, options, grid, area in the tile, and every source around it.

    Parameters
    ----------
    step : Pass
    key : TileKey
    grid : Grid
        Of level 0.
    shape : shapely geometry
        The area in the grid's CRS.

    Raises
    ------
    NotReadyError
        When a tile of an earlier step that it reads is not done.
    """
    level = grid.at_level(key.level)
    core = level.tile_at(key.ix, key.iy).box
    around = step.depends_on(core)
    stored = [{**layer.describe(), "attributes": None} for layer in step.layers]
    parts = [
        step.kind,
        step.version,
        _json(dict(step.parameters())),
        _json(stored),
        step.schema.to_string() if step.schema is not None else "",
        step.digest(key.span),
        _json([grid.crs, grid.resolution, grid.origin, grid.tile]),
        f"{key.span} {key.level}",
        area_in(shape, level, core),
    ]
    parts += [f"{name} {source.digest(around, key)}" for name, source in step.sources.items()]
    return _hash(parts)


def gather_fingerprint(step: Gather, entries: Iterable[Entry], count: int) -> str:
    """Hash of a gather and of every table that it folds.

    Parameters
    ----------
    step : Gather
    entries : iterable of Entry
        Of the tiles that are done.
    count : int
        How many tiles there are.

    Raises
    ------
    NotReadyError
        When not all of them are done.
    """
    parts = [step.kind, step.version, _json(dict(step.parameters())), step.schema.to_string()]
    tables = sorted(f"{entry.key} {sorted(entry.digests.items())}" for entry in entries)
    if len(tables) < count:
        raise NotReadyError(
            f"it folds the rows of step {step.of!r}, {count - len(tables)} tiles of which are "
            "not done"
        )
    return _hash(parts + tables)


def area_in(shape: shapely.Geometry, grid: Grid, box: PixelBox) -> str:
    """Hash of the part of an area inside a box; ``"whole"`` when the box lies inside."""
    extent = grid.geobox_of(box).extent.geom
    part = shapely.intersection(shape, extent)
    if part.equals(extent):
        return "whole"
    return hashlib.sha256(shapely.to_wkb(shapely.normalize(part))).hexdigest()


def _json(content: object) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
