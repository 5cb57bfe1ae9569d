"""Files of area estimates in a run's folder: JSON, tables, and points for a map."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from rsscale.estimation.area_estimates import AreaEstimates
from rsscale.store.ledger import write_json
from rsscale.store.storage import Storage

AREAS, TABLE, TEXT, POINTS = "areas.json", "areas.parquet", "areas.csv", "sample.geojson"


def write_area_files(
    storage: Storage,
    estimates: AreaEstimates,
    head: Mapping[str, Any],
    sample: Mapping[str, Any],
    points: Mapping[str, Any],
) -> None:
    """Write ``areas.json`` last, so that it is there only where the others are.

    Parameters
    ----------
    storage : Storage
        The run's folder.
    estimates : AreaEstimates
    head : mapping
        What else ``areas.json`` says: version of the map, when.
    sample : mapping
        Of the sample's file.
    points : mapping
        GeoJSON of the units, EPSG:4326.
    """
    table = estimates.table()
    parquet = io.BytesIO()
    table.to_parquet(parquet, index=False)
    storage.write(TABLE, parquet.getvalue())
    storage.write(TEXT, table.to_csv(index=False).encode())
    storage.write(POINTS, json.dumps(points).encode())
    content = estimates.to_dict() | dict(head)
    content["sample"] = content["sample"] | dict(sample)
    write_json(storage, AREAS, content)
