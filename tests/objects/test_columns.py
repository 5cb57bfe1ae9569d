"""Rows of objects are GeoParquet 1.1."""

from __future__ import annotations

import io
import json

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import shapely

from rsscale.objects.columns import is_of_objects, object_rows, object_schema

CRS = "EPSG:32632"


def test_rows_are_read_by_geopandas_with_crs_and_by_a_box():
    shapes = [shapely.box(0, 0, 10, 10), shapely.box(100, 0, 120, 10)]
    rows = object_rows(
        shapes,
        crs=CRS,
        ids=["a", "b"],
        classes=[1, 2],
        names={1: "pond"},
        area_m2=[100, 200],
        span="2023",
        run="r",
        step="ponds",
        scores=[0.5, 0.25],
    )
    file = io.BytesIO()
    pq.write_table(rows, file)
    every = gpd.read_parquet(file)
    assert every.crs == CRS
    assert [every.name.tolist(), every.x.tolist()] == [["pond", "2"], [5, 110]]
    assert shapely.is_ccw(shapely.get_exterior_ring(every.geometry.values)).all()
    assert gpd.read_parquet(file, bbox=(90, 0, 200, 5)).id.tolist() == ["b"]


def test_no_objects_are_an_empty_table_of_the_same_schema():
    rows = object_rows(
        [], crs=CRS, ids=[], classes=[], names={}, area_m2=[], span="2023", run="r", step="s"
    )
    assert rows.num_rows == 0
    assert rows.schema.equals(object_schema(CRS), check_metadata=True)
    assert is_of_objects(rows.schema)


def test_metadata_name_the_covering_and_the_encoding():
    geo = json.loads(object_schema(CRS).metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert geo["version"] == "1.1.0"
    assert column["covering"]["bbox"]["xmax"] == ["bbox", "xmax"]
    assert column["encoding"] == "WKB"


def test_scores_that_are_left_out_are_null():
    rows = object_rows(
        [shapely.box(0, 0, 1, 1)], crs=CRS, ids=["a"], classes=np.array([1]), names={},
        area_m2=[1.0], span="2023", run="r", step="s",
    )  # fmt: skip
    assert rows["score"].null_count == 1
