"""Vector files of several layers: one is chosen by name, never the first one in silence."""

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from rsscale.errors import AreaError, RecipeError
from rsscale.geo.area import read_area
from rsscale.geo.grid import Grid
from rsscale.geo.vector_file import VectorFileError, read_vector, split_layer
from rsscale.reference.labels import read_labels
from rsscale.reference.zones import read_zones

FIRST, SECOND = shapely.box(10, 46, 10.01, 46.01), shapely.box(11, 47, 12, 48)


@pytest.fixture
def project(tmp_path):
    path = tmp_path / "project.gpkg"
    for name, shape in {"draft": FIRST, "study area": SECOND}.items():
        frame = gpd.GeoDataFrame({"name": ["a"], "year": [2023]}, geometry=[shape], crs=4326)
        frame.to_file(path, layer=name)
    return path


def test_several_layers_are_listed(project):
    for read, error in (
        (lambda: read_area(project), AreaError),
        (lambda: read_labels(project, "name"), RecipeError),
        (lambda: read_zones(project, "name", Grid("EPSG:32632", 10)), RecipeError),
        (lambda: read_vector(project), VectorFileError),
    ):
        with pytest.raises(error, match=r"2 layers: 'draft', 'study area'; name one with .*layer"):
            read()


def test_a_layer_is_chosen_by_name(project):
    for area in (
        read_area(project, layer="study area"),
        read_area(f"{project}|layername=study area"),
        read_area(project, "study area"),
    ):
        assert area.geom.equals(SECOND)
    assert read_labels(project, "name", layer="draft").frame.geometry[0].equals(FIRST)
    grid = Grid("EPSG:32632", 10)
    assert read_zones(project, "name", grid, "study area").shapes[0].area > 1e9


def test_an_unknown_layer_names_those_there_are(project):
    with pytest.raises(AreaError, match="no layer 'study'; it has 'draft', 'study area'"):
        read_area(project, layer="study")
    with pytest.raises(RecipeError, match=r"no layer 'drafts'.*did you mean 'draft'"):
        read_labels(project, "name", layer="drafts")


def test_tables_without_geometry_are_no_layers(tmp_path):
    """QGIS saves its styles beside the layer."""
    import pyogrio

    path = tmp_path / "styled.gpkg"
    gpd.GeoDataFrame(geometry=[SECOND], crs=4326).to_file(path, layer="area")
    pyogrio.write_dataframe(pd.DataFrame({"style": ["x"]}), path, layer="layer_styles", append=True)
    assert read_area(path).geom.equals(SECOND)


def test_other_formats_of_several_layers(tmp_path):
    """A folder of shapefiles, and a KML of two folders."""
    folder = tmp_path / "shapes"
    folder.mkdir()
    for name, shape in {"old": FIRST, "new": SECOND}.items():
        gpd.GeoDataFrame({"a": [1]}, geometry=[shape], crs=4326).to_file(folder / f"{name}.shp")
    with pytest.raises(AreaError, match="2 layers"):
        read_area(folder)
    assert read_area(folder, layer="new").geom.equals(SECOND)


def test_a_layer_of_what_has_none_is_refused(tmp_path):
    path = tmp_path / "area.parquet"
    gpd.GeoDataFrame(geometry=[SECOND], crs=4326).to_parquet(path)
    with pytest.raises(AreaError, match="GeoParquet, which has no layers"):
        read_area(path, layer="a")
    with pytest.raises(AreaError, match="the area is no file"):
        read_area(SECOND, layer="a")
    assert split_layer("a.gpkg")[1] is None
