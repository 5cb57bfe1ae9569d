"""Units of a sample as points for a map: what the map has, and what the interpreter."""

from __future__ import annotations

from typing import Any

from rsscale.estimation.estimate import MappedClasses
from rsscale.estimation.sample_table import SampleTable
from rsscale.sample_assessment.layers_of_run import MapLayers
from rsscale.sample_assessment.sample_file import SampleFile


def sample_points(
    file: SampleFile, maps: MapLayers, table: SampleTable, mapped: MappedClasses
) -> dict[str, Any]:
    """Units as GeoJSON in degrees, EPSG:4326: a feature for each unit and period.

    Properties are ``id``, ``period``, ``stratum``, ``map`` and ``reference`` (names; null where
    there is none), ``map_value`` and ``reference_value``, and ``agrees``, null where it is not
    interpreted.
    """
    names = [*(c.name for c in maps.classes), None]
    values = [*(c.value for c in maps.classes), None]
    degrees = file.frame.geometry.to_crs("EPSG:4326")
    features = []
    for period, reference in table.references.items():
        for n, (k, r) in enumerate(
            zip(mapped.periods[period].tolist(), reference.tolist(), strict=True)
        ):
            point = degrees.iloc[n]
            is_known = r >= 0
            features.append(
                {
                    "type": "Feature",
                    "geometry": {
                        "type": "Point",
                        "coordinates": [round(point.x, 7), round(point.y, 7)],
                    },
                    "properties": {
                        "id": _plain(table.ids[n]),
                        "period": period,
                        "map": names[k],
                        "map_value": values[k],
                        "reference": names[r] if is_known else None,
                        "reference_value": values[r] if is_known else None,
                        "agrees": k == r if is_known else None,
                        "stratum": table.design.strata[int(table.stratum[n])].name,
                    },
                }
            )
    return {"type": "FeatureCollection", "features": features}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
