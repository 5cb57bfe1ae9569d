"""Pieces of a product: tiles that join to the whole, regions, their names and places."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.merge
import shapely
from published_runs import zones
from rasterio.features import geometry_mask

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.publishing.pieces import _file_names, bbox_of


@pytest.mark.extended
def test_tiles_join_to_the_whole(finished: Path, published: Path, tmp_path: Path) -> None:
    rs.publish(
        finished, tmp_path / "out", cogs="tile", steps=["map"], layers=["classification"],
        periods=[2023],
    )  # fmt: skip
    files = sorted((tmp_path / "out/cogs").rglob("classification_2023.tif"))
    assert len(files) > 4
    joined, place = rasterio.merge.merge(files)
    with rasterio.open(published / "cogs/classification_2023.tif") as file:
        whole, bounds = file.read(), file.bounds
    # The whole is cut to the area, beyond which tiles hold nothing.
    col, row = map(round, ~place * (bounds.left, bounds.top))
    inside = joined[:, row : row + whole.shape[1], col : col + whole.shape[2]]
    np.testing.assert_array_equal(inside, whole)
    assert (joined != 255).sum() == (whole != 255).sum()


def test_regions_have_their_pixels_and_nodata_around(
    finished: Path, published: Path, tmp_path: Path
) -> None:
    """A pixel belongs to a region where its centre lies in it, as rasterio has it."""
    zones().to_file(tmp_path / "zones.gpkg")
    out = tmp_path / "out"
    rs.publish(
        finished, out, cogs="region", regions=tmp_path / "zones.gpkg", region_id="code",
        layers=["classification", "probability"], periods=[2023],
    )  # fmt: skip
    with rasterio.open(published / "cogs/classification_2023.tif") as file:
        whole, transform = file.read(1), file.transform
    assert sorted(path.name for path in (out / "cogs").iterdir()) == ["A-1", "Ängsö-ö"]
    for name, shape in zip(("A-1", "Ängsö-ö"), zones().geometry, strict=False):
        with rasterio.open(out / f"cogs/{name}/classification_2023.tif") as file:
            found, place = file.read(1), file.transform
        inside = geometry_mask([shape], whole.shape, transform, invert=True)
        wanted = np.where(inside, whole, 255)
        col, row = map(round, ~transform * (place.c, place.f))
        part = wanted[row : row + found.shape[0], col : col + found.shape[1]]
        np.testing.assert_array_equal(found[: part.shape[0], : part.shape[1]], part)
        assert (found != 255).sum() == (wanted != 255).sum() > 1000
        with rasterio.open(out / f"cogs/{name}/probability_2023.tif") as file:
            assert ((file.read() == 255).all(axis=0) == (found == 255)).all()
    items = sorted(path.name for path in (out / "items").iterdir())
    assert items == ["formula-2023-A-1.json", "formula-2023-Ängsö-ö.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.iloc[[2]], "the one zone does not touch the product's area"),
        (lambda f: f.assign(code="same"), r"column 'code' of zones.gpkg has 1 id more than once"),
        (lambda f: f.drop(columns="code"), "have no column 'code'"),
        (
            lambda f: f.set_geometry(
                [shapely.Polygon([(730_000, 4_981_000), (735_000, 4_986_000),
                                  (735_000, 4_981_000), (730_000, 4_986_000)])] * 3,
                crs=f.crs,
            ),
            "3 zones that are not valid.*Self-intersection.*make_valid",
        ),
    ],
)  # fmt: skip
def test_regions_that_are_wrong(finished: Path, tmp_path: Path, change, said: str) -> None:
    frame: gpd.GeoDataFrame = change(zones())
    frame.to_file(tmp_path / "zones.gpkg")
    with pytest.raises(RecipeError, match=said):
        rs.publish(
            finished, tmp_path / "out", cogs="region", regions=tmp_path / "zones.gpkg",
            region_id="code",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_regions_where_files_are_no_regions(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="regions are for cogs='region', and cogs is 'tile'"):
        rs.publish(finished, tmp_path / "out", cogs="tile", regions=tmp_path / "zones.gpkg")


def test_names_of_files_are_safe_and_differ() -> None:
    given = ["../etc", "a b", "a/b", "A b", "", "Ärger", "東京", "x" * 300]
    names = _file_names(given)
    assert names[:7] == ["etc", "a-b", "a-b-2", "A-b-3", "region", "Ärger", "東京"]
    assert len(names[7]) == 80
    assert len({name.casefold() for name in names}) == len(given)


def test_boxes_across_the_antimeridian() -> None:
    fiji = shapely.MultiPolygon(
        [shapely.box(177, -20, 180, -16), shapely.box(-180, -19, -178, -15)]
    )
    assert bbox_of(fiji) == [177, -20, -178, -15]
    assert bbox_of(shapely.box(-180, -90, 180, 90)) == [-180, -90, 180, 90]
    assert bbox_of(shapely.box(1, 2, 3, 4)) == [1, 2, 3, 4]
