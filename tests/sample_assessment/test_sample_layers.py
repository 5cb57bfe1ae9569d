"""A sample that was saved again by another program."""

from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from rsscale.errors import RecipeError
from rsscale.sample_assessment.sample_file import _layer


def test_a_file_with_a_second_layer_is_refused_with_the_layers(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"reference": ["water"]}, geometry=[shapely.Point(1, 2)], crs=32631)
    frame.to_file(tmp_path / "units.gpkg", layer="sample")
    assert _layer(tmp_path / "units.gpkg") == "sample"
    frame.to_file(tmp_path / "units.gpkg")  # geopandas names the layer after the file
    with pytest.raises(RecipeError, match="has the layers sample, units, and which one"):
        _layer(tmp_path / "units.gpkg")
