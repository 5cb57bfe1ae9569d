"""Features in the wrong place: what is likely wrong is said."""

import numpy as np
import pytest
import shapely
from odc.geo.geom import Geometry

from rsscale.errors import RecipeError
from rsscale.geo.feature_place import check_area, check_coordinates

AREA = Geometry(shapely.box(5.7, 49.4, 6.5, 50.2), "EPSG:4326")  # Luxembourg


def points(*places: tuple[float, float]) -> np.ndarray:
    return np.array([(x, y, x, y) for x, y in places], float)


INSIDE = points((6.1, 49.6), (6.2, 49.7))


@pytest.mark.parametrize(
    ("bounds", "crs"),
    [
        (INSIDE, "EPSG:4326"),
        (points((290_000, 5_500_000)), "EPSG:32632"),
        (np.vstack([INSIDE, points((-70, 10))]), "EPSG:4326"),  # some elsewhere
        (np.array([[0.0, 40.0, 20.0, 60.0]]), "EPSG:4326"),  # all around
    ],
)
def test_labels_in_the_area_pass(bounds: np.ndarray, crs: str) -> None:
    check_coordinates(bounds, crs, "labels")
    check_area(bounds, crs, AREA, "labels")


@pytest.mark.parametrize(
    ("bounds", "crs", "message"),
    [
        (
            points((6.1, 49.6), (290_000, 5_500_000)),
            "EPSG:4326",
            r"row 1 lies at \(290000, 5500000",
        ),
        (points((10.0, 120.0), (11, 121)), "EPSG:4326", r"\(2 of 2 rows\); .* look swapped"),
        (points((6.1, np.nan)), "EPSG:32632", "row 0 has coordinates that are no numbers"),
    ],
)
def test_coordinates_that_cannot_be_are_refused(bounds: np.ndarray, crs: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check_coordinates(bounds, crs, "labels")


@pytest.mark.parametrize(
    ("bounds", "crs", "message"),
    [
        (INSIDE[:, [1, 0, 3, 2]], "EPSG:4326", "with x and y swapped they would be there"),
        (points((5_500_000, 290_000)), "EPSG:32632", "with x and y swapped they would be there"),
        (INSIDE, "EPSG:32632", "taken as longitude and latitude they would be there"),
        (INSIDE[:, [1, 0, 3, 2]], "EPSG:32632", "taken as latitude and longitude they would"),
        (points((290_000, 5_500_000)), "EPSG:32633", "check the CRS of the labels and the area"),
        (points((-70.0, 10.0)), "EPSG:4326", r"lie at \[-70, 10, -70, 10\].*\[5.7, 49.4, 6.5"),
        (points((1e12, 1e12)), "EPSG:3035", "nowhere on the ground"),
    ],
)
def test_labels_far_from_the_area_are_refused_with_the_likely_reason(
    bounds: np.ndarray, crs: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        check_area(bounds, crs, AREA, "labels x")
    assert "none of them in the area" in str(caught.value)
