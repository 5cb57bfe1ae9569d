"""Training a detector of turned boxes."""

import geopandas as gpd
import numpy as np
import odc.geo.xr
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from turned_scene import turned_scene

import rsscale as rs
from rsscale.object_scenes.targets import rectangles_of

SMALL = {"backbone": "small", "width": 32, "levels": 2}
TO_CRS = Affine(1, 0, 700_000, 0, -1, 5_000_000)


def found_in(model: rs.Model, seed: int) -> tuple[gpd.GeoDataFrame, np.ndarray]:
    """What a model finds in a scene that it never saw, and the true outlines."""
    image, objects = turned_scene(260, seed)
    box = GeoBox(image.shape[1:], TO_CRS, "EPSG:32631")
    placed = odc.geo.xr.wrap_xr(image.to_numpy(), box, axis=1)
    placed = placed.rename({placed.dims[0]: "band"}).assign_coords(band=["1", "2"], window="image")
    shapes = shapely.transform(
        objects.geometry.to_numpy(), lambda xy: np.stack(TO_CRS @ (xy[:, 0], xy[:, 1]), axis=1)
    )
    return rs.detect(placed, model, score=0.6), np.asarray(shapes, object)


@pytest.mark.long
def test_the_angle_of_what_is_found_is_right_to_ten_degrees() -> None:
    """A minute of a core: rectangles of any angle, in a scene that was not trained on."""
    image, objects = turned_scene(416, 1)
    model, report = rs.train_objects(
        image, objects, column="kind", architecture="fcos-oriented", hyperparameters=SMALL,
        crop=128, steps=300, batch=2, learning_rate=3e-3, stride=96, halo=48, device="cpu",
        block=104,
    )  # fmt: skip
    assert model.spec.objects.kind == "oriented"
    assert report.figures.total.f1 > 0.7
    found, truth = found_in(model, 9)
    assert abs(len(found) - len(truth)) <= 2
    shapes = np.asarray(found.geometry.to_numpy(), object)
    pairs = shapely.STRtree(shapes).nearest(shapely.centroid(truth))
    turned = rectangles_of(truth)[:, 4] - rectangles_of(shapes[pairs])[:, 4]
    errors = np.abs((turned + 90) % 180 - 90)
    assert errors.mean() < 10
    both = shapely.area(shapely.intersection(truth, shapes[pairs]))
    assert np.mean(both / shapely.area(shapely.union(truth, shapes[pairs]))) > 0.6
