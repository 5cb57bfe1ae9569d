"""The reference sample as points of the viewer's page, in the grid's CRS."""

from __future__ import annotations

from typing import Any

import pyproj

from rsscale.documents import read_json
from rsscale.errors import RunFolderError
from rsscale.geo.grid import Grid
from rsscale.store.run_folder import RunFolder

SAMPLE = "sample.geojson"
"""What ``assess --sample`` writes into a run folder: points in EPSG:4326."""
_PROPERTIES = ("id", "map", "reference", "agrees", "stratum", "period")


def sample_geojson(folder: RunFolder, grid: Grid) -> dict[str, Any]:
    """Points of the reference sample in the grid's CRS.

    Returns
    -------
    dict
        A FeatureCollection; ``properties`` are ``id``, ``map``, ``reference``, ``agrees``,
        ``stratum`` and ``period``, as far as the file has them.

    Raises
    ------
    RunFolderError
        When ``sample.geojson`` is no FeatureCollection of points.
    FileNotFoundError
        When there is none.
    """
    content = folder.storage.read(SAMPLE)
    try:
        features = read_json(content)["features"]
        places = [feature["geometry"]["coordinates"][:2] for feature in features]
        known = [feature.get("properties") or {} for feature in features]
        xs, ys = zip(*places, strict=True) if places else ((), ())
        to_grid = pyproj.Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True)
        x, y = to_grid.transform(list(xs), list(ys))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise RunFolderError(
            f"{folder.url}/{SAMPLE} is no GeoJSON of points ({error}); assess the sample again"
        ) from None
    points = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [round(east, 3), round(north, 3)]},
            "properties": {name: unit.get(name) for name in _PROPERTIES if name in unit},
        }
        for east, north, unit in zip(x, y, known, strict=True)
    ]
    return {"type": "FeatureCollection", "features": points}
